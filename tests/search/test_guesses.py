"""The entry `prior` of a parameter: how it is read, and what is proposed first."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from random import Random
from typing import Any

import pytest
from kit.killed import killed_simulation
from kit.recorded import MANY, ends, recorded_table, simulated
from kit.searches import CONDITIONAL, SPACE, play, space

from tuner.errors import UserError
from tuner.search.guesses import guessed
from tuner.service.simulate import resume_simulated
from tuner.space.ranges import Prior, Range
from tuner.tune.searcher import StudySearch

GUESS = "lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 1e-2, prior: {value: 1e-3, spread: 1.5}}"
GUESSES = (
    CONDITIONAL.replace("lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}", GUESS)
    .replace("{values: [2, 5, 10]}", "{values: [2, 5, 10], prior: {value: 10}}")
    .replace("{values: [true, false]}", "{values: [true, false], prior: {value: true}}")
    .replace("max: 1e1, when", "max: 1e1, prior: {value: 0.5, spread: 2}, when")
)


def searcher(folder: Path, text: str, name: str = "s") -> StudySearch:
    (folder / name).mkdir()
    return StudySearch(space(folder, text), folder / name, name)


@pytest.mark.parametrize("method", ["tpe", "gp", "random", "qmc"])
def test_the_guess_comes_first_and_draws_around_it_follow(method: str, tmp_path: Path) -> None:
    asked = play(searcher(tmp_path, GUESSES.replace("epochs: 2", f"epochs: 2\nmethod: {method}")), 14)
    first = {name: asked[0][name] for name in ("latent_dim", "lr_ae", "use_cyclic", "weights.cyclic")}
    assert first == {"latent_dim": 10, "lr_ae": 1e-3, "use_cyclic": True, "weights.cyclic": 0.5}
    around, free = [config["lr_ae"] for config in asked[:10]], [config["lr_ae"] for config in asked[10:]]
    assert all(abs(math.log(lr / 1e-3)) < 3.5 * math.log(1.5) for lr in around) and len(set(around)) == 10
    assert 0 < sum(config["latent_dim"] == 10 for config in asked[1:10]) < 9 and free
    plain = play(searcher(tmp_path, CONDITIONAL.replace("epochs: 2", f"epochs: 2\nmethod: {method}"), "plain"), 10)
    assert max(abs(math.log(config["lr_ae"] / 1e-3)) for config in plain) > max(abs(math.log(lr / 1e-3)) for lr in around)


def test_draws_are_normal_and_stay_in_the_range() -> None:
    rng = Random(0)
    log = Range(name="lr", kind="log_uniform_values", min=1e-5, max=1e-1, prior=Prior(value=1e-3, spread=2.0))
    logs = [math.log(guessed(log, rng) / 1e-3) / math.log(2) for _ in range(4000)]
    assert statistics.fmean(logs) == pytest.approx(0, abs=0.08) and statistics.stdev(logs) == pytest.approx(1, abs=0.06)
    linear = Range(name="p", kind="uniform", min=0.0, max=0.5, prior=Prior(value=0.0, spread=0.1))
    drawn = [guessed(linear, rng) for _ in range(4000)]
    assert min(drawn) >= 0 and max(drawn) <= 0.5 and statistics.fmean(drawn) == pytest.approx(0.1 * math.sqrt(2 / math.pi), abs=0.01)
    whole = Range(name="k", kind="int_uniform", min=2, max=200, prior=Prior(value=10, spread=3.0))
    counts = [guessed(whole, rng) for _ in range(4000)]
    assert all(isinstance(k, int) for k in counts) and statistics.fmean(counts) == pytest.approx(10, abs=0.3)
    steps = Range(name="q", kind="q_uniform", min=0.0, max=1.0, q=0.25, prior=Prior(value=1.0, spread=0.3))
    assert {guessed(steps, rng) for _ in range(500)} <= {0.0, 0.25, 0.5, 0.75, 1.0}
    one = Range(name="v", kind="values", values=("a", "b"), prior=Prior(value="b"))
    assert 200 < [guessed(one, rng) for _ in range(500)].count("b") < 300


def test_a_search_with_a_guess_that_was_killed_goes_on_to_the_same_end(tmp_path: Path) -> None:
    table = recorded_table(tmp_path)
    spec = space(tmp_path, MANY.replace("{min: 2, max: 200}", "{min: 2, max: 200, prior: {value: 12, spread: 4}}"))
    whole = simulated(spec, table, tmp_path / "whole")
    first = [end["config"]["n_clusters"] for end in sorted(ends(whole.folder), key=lambda end: end["trial"])]
    assert first[0] == 12 and all(abs(k - 12) < 20 for k in first[:10])
    middle = next(end.trial for end in whole.results.trials if end.state == "complete")
    killed_simulation(tmp_path, table, (middle, 4))
    resumed = resume_simulated(tmp_path / "runs" / "s", None)
    assert ends(resumed.folder) == ends(whole.folder)
    assert resumed.results.spec_json["parameters"]["n_clusters"]["prior"] == {"value": 12, "spread": 4.0}


WRONG = {
    "n_clusters: {min: 2, max: 200, prior: 12}": r"`prior` must be a mapping such as \{value: 101, spread: 25\}, but got 12",
    "n_clusters: {min: 2, max: 200, prior: {spread: 2}}": "`prior` must be a mapping such as",
    "n_clusters: {min: 2, max: 200, prior: {value: 1, spread: 2}}": r"`prior` guesses 1, but searched is \[2, 200\]",
    "n_clusters: {min: 2, max: 200, prior: {value: ten, spread: 2}}": r"`prior` guesses 'ten', but searched is \[2, 200\]",
    "n_clusters: {min: 2, max: 200, prior: {value: 12}}": r"`prior` must say its `spread`, too: a number above 0, .* Write \{value: 101, ",
    "n_clusters: {min: 2, max: 200, prior: {value: 12, spread: 0}}": "`spread` must be a number above 0, by how much the guess may be off",
    "n_clusters: {min: 2, max: 200, prior: {value: 12, spred: 3}}": r"`prior` has no key 'spred'\. Did you mean 'spread'\?",
    "n_clusters: {values: [7, 10], prior: {value: 10, spread: 3}}": "one of `values` has no `spread`. Leave it out",
    "n_clusters: {values: [7, 10], prior: {value: 8}}": r"`prior` guesses 8, but searched is 7 \| 10",
    "n_clusters: {value: 7, prior: {value: 7}}": r"'n_clusters' has one value, which needs no guess\. Leave `prior` out",
    "n_clusters: {distribution: q_log_uniform_values, min: 2, max: 99, prior: {value: 12, spread: 1}}": "`spread` must be a factor above 1",
}


@pytest.mark.parametrize("entry", WRONG)
def test_a_wrong_guess_is_named_with_its_line(entry: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"space\.yaml:9: 'n_clusters'.*{WRONG[entry].removeprefix(chr(39) + 'n_clusters' + chr(39))}"):
        space(tmp_path, SPACE.replace("n_clusters: {min: 2, max: 200}", entry))


def test_a_grid_needs_no_guess(tmp_path: Path) -> None:
    text = SPACE.replace("{min: 2, max: 200}", "{values: [7, 10], prior: {value: 10}}") + "method: grid\n"
    with pytest.raises(UserError, match="a grid tries everything, so that no guess is needed"):
        space(tmp_path, text)


def test_it_is_shown_and_is_none_of_a_sweeps(tuner: Any, tmp_path: Path) -> None:
    spec = space(tmp_path, GUESSES)
    assert "prior" not in spec.sweep()["parameters"]["lr_ae"] and spec.resolved()["parameters"]["latent_dim"]["prior"] == {"value": 10}
    code, out, _ = tuner("check", str(tmp_path / "space.yaml"))
    said = " ".join(out.split())
    assert code == 0 and "0.0001 … 0.01 on a log scale, first around 0.001 ×÷ 1.5" in said and "2 | 5 | 10, first around 10" in said
