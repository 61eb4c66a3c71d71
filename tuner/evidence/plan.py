"""Which configurations are trained again, and on which seeds: the list of a confirmation's trainings, which only grows."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tuner.atomic import write_whole
from tuner.draws import seed_of
from tuner.errors import UserError
from tuner.plain_json import is_whole
from tuner.runs.journal import json_object
from tuner.runs.paths import CONFIRM
from tuner.runs.results import Results
from tuner.search.proposals import trial_seed
from tuner.space.confirming import Confirm
from tuner.space.spec import Spec

PLAN = "plan.json"  # in the folder of the confirmation


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What is confirmed. `trial`: the search's best trial with it; None for the model's default where no trial had that. `config`: every
    hyper-parameter and weight, without a seed. `figure`: the score that the search ranked it by."""

    trial: int | None
    is_default: bool
    config: Mapping[str, Any]
    figure: float | None

    @property
    def name(self) -> str:
        return "default" if self.trial is None else f"trial {self.trial}"


@dataclass(frozen=True, kw_only=True)
class Training:
    """One configuration on one seed. `of`: which of the plan's configurations. Its number is its place in the plan."""

    of: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`request`: the last one. `chosen`: the configurations that it comes to, best first and the default last; `seeds`: its seeds.
    `trainings`: these and those of earlier requests."""

    request: Confirm
    chosen: tuple[int, ...]
    seeds: tuple[int, ...]
    configurations: tuple[Configuration, ...]
    trainings: tuple[Training, ...]

    def config(self, number: int) -> dict[str, Any]:
        """A training's configuration with its seed, which is that of its pre-training, too: no outcome of the search's is used."""
        training = self.trainings[number]
        return {**self.configurations[training.of].config, "seed": training.seed, "pretrain_seed": training.seed}

    def requested(self) -> list[int]:
        """The numbers of the trainings that the last request asks for."""
        return [n for n, one in enumerate(self.trainings) if one.of in self.chosen and one.seed in self.seeds]

    def write(self, folder: Path) -> None:
        """In the folder of the run."""
        content = {**asdict(self), "trainings": [[one.of, one.seed] for one in self.trainings]}
        write_whole(folder / CONFIRM / PLAN, json.dumps(content) + "\n")


def read_plan(folder: Path) -> Plan | None:
    """That of the run in `folder`; None where nothing was confirmed.

    Raises:
        UserError: it is damaged.
    """
    path = folder / CONFIRM / PLAN
    if not path.is_file():
        return None
    content = json_object(path, _wrong)
    return Plan(
        request=Confirm(**content["request"]),
        chosen=tuple(content["chosen"]),
        seeds=tuple(content["seeds"]),
        configurations=tuple(Configuration(**one) for one in content["configurations"]),
        trainings=tuple(Training(of=of, seed=seed) for of, seed in content["trainings"]),
    )


def _wrong(content: Mapping[str, Any]) -> str | None:
    try:
        known = len(content["configurations"])
        sound = all(is_whole(content["request"][name], 1) for name in ("top", "seeds"))
        sound = sound and all(is_whole(one, 0, known) for one in content["chosen"]) and all(map(is_whole, content["seeds"]))
        sound = sound and all(is_whole(of, 0, known) and is_whole(seed) for of, seed in content["trainings"])
        sound = sound and all(isinstance(one["config"], dict) for one in content["configurations"])
        [Configuration(**one) for one in content["configurations"]]
        return None if sound else "it is no plan of trainings"
    except (KeyError, TypeError, ValueError):
        return "it is no plan of trainings"


def planned(before: Plan | None, results: Results, spec: Spec, request: Confirm) -> Plan:
    """The plan for a request. What an earlier one has trained is kept, and not trained again.

    Raises:
        UserError: no trial is complete.
    """
    candidates = _candidates(results, spec, request.top)
    known = list(before.configurations) if before else []
    places = {_key(one.config, spec): n for n, one in enumerate(known)}
    chosen = []
    for candidate in candidates:
        place = places.setdefault(_key(candidate.config, spec), len(known))
        known[place:] = [candidate, *known[place + 1 :]]  # with the figure of today
        chosen.append(place)
    seeds = fresh_seeds(spec.seed, request.seeds, used_seeds(results, spec))
    trainings = list(before.trainings) if before else []
    # Seed after seed: wherever it is interrupted, all configurations have had about as many.
    asked = [Training(of=place, seed=seed) for seed in seeds for place in chosen]
    trainings += [one for one in asked if one not in trainings]
    return Plan(request=request, chosen=tuple(chosen), seeds=seeds, configurations=tuple(known), trainings=tuple(trainings))


def fresh_seeds(seed: int, count: int, used: Collection[int]) -> tuple[int, ...]:
    """Seeds of 32 bits that follow from the run's seed, none of `used` among them."""
    found: list[int] = []
    n = 0
    while len(found) < count:
        new = seed_of(seed, "confirm", n) % 2**32
        if new not in used and new not in found:
            found.append(new)
        n += 1
    return tuple(found)


def used_seeds(results: Results, spec: Spec) -> set[int]:
    """All seeds that the search drew anything from, or may draw from when it goes on: of each seed of each configuration."""
    tried = {int(trial.config["seed"]) for trial in results.trials if "seed" in trial.config}
    return {spec.seed, spec.pretrain_seed, *tried, *(trial_seed(spec.seed, trial) for trial in range(spec.most_trials))}


def _candidates(results: Results, spec: Spec, top: int) -> list[Configuration]:
    """The best configurations, and the default behind them; one that is both stands in its rank, and is marked."""
    best: dict[str, Configuration] = {}
    default = default_config(spec)
    is_default = _key(default, spec)
    for trial in results.ranked():
        config = {name: value for name, value in trial.config.items() if name not in ("seed", "pretrain_seed")}
        key = _checked(config, spec, trial.trial, results)
        if key not in best and (len(best) < top or key == is_default):
            best[key] = Configuration(trial=trial.trial, is_default=key == is_default, config=config, figure=trial.score)
    if not best:
        raise UserError(
            f"{results.name} has no complete trial: there is nothing to confirm. `tuner show {results.name}` says how they ended."
        )
    marked = best.pop(is_default) if is_default in list(best)[top:] else None
    ranked: Sequence[Configuration] = list(best.values())
    if any(one.is_default for one in ranked):
        return list(ranked)
    return [*ranked, marked or Configuration(trial=None, is_default=True, config=default, figure=None)]


def _checked(config: Mapping[str, Any], spec: Spec, trial: int, results: Results) -> str:
    try:
        spec.hyper(config)
        return _key(config, spec)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"Trial {trial} of {results.name} cannot be trained again: {str(error).rstrip('.')}.") from error


def _key(config: Mapping[str, Any], spec: Spec) -> str:
    """Equal for configurations that train alike: switches of the space do not count."""
    return json.dumps({name: config[name] for name in sorted(spec.known)})


def default_config(spec: Spec) -> dict[str, Any]:
    """The model's default for everything that the search varies; what the space fixes stays fixed, and so does the length of a trial
    unless that is searched: a default of another K, size or length would be another question."""
    fixed = {found.name: found.value for found in spec.parameters if not found.searched and not found.when}
    values = {name: fixed.get(name, p.default) for name, p in spec.known.items()}
    if "epochs" not in spec.ranges:
        values["epochs"] = spec.epochs
    return {name: p.kind(values[name]) for name, p in spec.known.items()} | dict.fromkeys(sorted(spec.switches))


def with_request(plan: Plan | None, top: int | None, seeds: int | None, otherwise: Confirm) -> Confirm:
    """What is asked for where only a part was said: the rest as before, or `otherwise`."""
    before = plan.request if plan is not None else otherwise
    return replace(before, **{name: value for name, value in (("top", top), ("seeds", seeds)) if value is not None})
