"""The key `seed`: a number, or on how many seeds each configuration is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.errors import UserError
from tuner.space.reader import Options, read_space
from tuner.space.seeding import Seeds
from tuner.space.spec import Spec

SPACE = """\
model: kmeans
dataset: {name: digits, limit: 200}
metric: {name: acc}
KEYS
parameters: {n_clusters: {values: [5, 10]}}
"""


def read(folder: Path, *keys: str, **options: int) -> Spec:
    (folder / "space.yaml").write_text(SPACE.replace("KEYS", "\n".join(keys)))
    return read_space(str(folder / "space.yaml"), options=Options(**options))  # type: ignore[arg-type]


def test_a_number_is_the_seed_of_trials_that_are_configurations(tmp_path: Path) -> None:
    spec = read(tmp_path, "seed: 7")
    assert spec.seed == 7 and spec.seeds == Seeds() and spec.seeds.single and spec.most_trials == spec.trials
    assert "seeds" not in spec.resolved(), "a search with one seed each is written down as ever"


def test_repeat_gives_every_configuration_as_many_seeds(tmp_path: Path) -> None:
    spec = read(tmp_path, "seed: {repeat: 3}", "trials: 2")
    assert (spec.seed, spec.seeds, spec.most_trials) == (0, Seeds(repeat=3), 6)
    assert spec.resolved()["seed"] == 0 and spec.resolved()["seeds"] == {"repeat": 3} and Seeds.of({"repeat": 3}) == spec.seeds
    assert read(tmp_path, "seed: {value: 4, repeat: 3}").seed == 4


@pytest.mark.parametrize(
    ("keys", "reduction", "levels"),
    [
        (("seed: {race: 5}",), 3, (1, 3, 5)),
        (("seed: {race: 9}", "early_terminate: {type: asha, reduction: 2}"), 2, (1, 2, 4, 8, 9)),
        (("seed: {race: 2}", "early_terminate: none"), 3, (1, 2)),
    ],
)
def test_a_race_has_the_levels_of_ashas_reduction(keys: tuple[str, ...], reduction: int, levels: tuple[int, ...], tmp_path: Path) -> None:
    seeds = read(tmp_path, *keys).seeds
    assert (seeds.reduction, seeds.levels) == (reduction, levels) and Seeds.of(seeds.plain()) == seeds


def test_the_seed_of_the_command_line_leaves_how_many_there_are(tmp_path: Path) -> None:
    spec = read(tmp_path, "seed: {value: 4, repeat: 3}", seed=9)
    assert (spec.seed, spec.seeds.repeat, spec.pretrain_seed) == (9, 3, 9)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("seed: {repeat: 1}", "'repeat' must be a whole number from 2 to 100, but got 1."),
        ("seed: {race: many}", "'race' must be a whole number from 2 to 100, but got 'many'."),
        ("seed: {value: 3}", "'seed' must be a whole number, {repeat: 3} or {race: 5}; the search's own seed is its 'value'."),
        ("seed: {repeat: 3, race: 5}",
         "'seed' has 'repeat' and 'race': each configuration on as many seeds, or good ones on more. Keep one."),
        ("seed: {repaet: 3, repeat: 3}", "'seed' has no key 'repaet'. Did you mean 'repeat'? Known are value, repeat, race."),
        ("seed: -1", "'seed' must be a whole number from 0 to 4294967295, but got -1."),
    ],
)  # fmt: skip
def test_what_is_said_wrongly_is_named(key: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, key)
    assert str(refused.value).splitlines()[1:] == [f"  space.yaml:4: {message}"]
