"""The best configuration and its weights, kept while the search runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .configurations import Configuration, Standings, number_of
from .course import BEST_COURSE, course_file
from .events import Run, TrialEnd
from .files import RunFiles
from .paths import BEST_WEIGHTS, CHECKPOINTS, begun_file, checkpoint_file, warm_file, weights_file

logger = logging.getLogger("tuner")

BEST = "best.yaml"


class Winner:
    """Keeps `best.yaml` and `best.safetensors` those of the best configuration so far, and no weights of the others.

    Of a configuration with several seeds it is the seed in the middle, so that the weights are worth what its mean promises. The
    weights of its seeds are kept until it is decided. In a race that is the end of the search, and `finish` takes the winner's."""

    def __init__(self, run: Run, files: RunFiles) -> None:
        self._run, self._files = run, files
        self._standings = Standings(run.spec.seeds, run.spec.metric, (run.spec.metrics or ())[1:])
        self._race = run.spec.seeds.race is not None
        for end in run.past.ends if run.past else ():
            self._standings.add(end)

    def catch_up(self, ends: Sequence[TrialEnd]) -> None:
        """Does what was left to be done when a driver died after it had journalled an end."""
        best = self._standings.best
        if best is not None and ((self._weights(best.end.trial) and not self._race) or self._named().trial != best.end.trial):
            self._keep(best)
        for end in ends:
            self._clean(end)

    def trial_ended(self, end: TrialEnd) -> None:
        if self._standings.add(end) and self._standings.best is not None:
            self._keep(self._standings.best)
        if end.is_over:
            self._clean(end)

    def finish(self) -> None:
        """The search is done: takes the winner's weights where that was not decided before, and removes the others'."""
        if self._race and self._standings.best is not None:
            self._race = False
            self._keep(self._standings.best)
            for end in self._standings.ends():
                self._remove(end)
        for path in (self._files.folder / CHECKPOINTS).glob(warm_file(Path(), "*").name):  # nobody begins with them any more
            path.unlink(missing_ok=True)
        for folder in (self._files.folder, self._files.fallback):
            for path in course_file(folder, 0).parent.glob("*.course.safetensors"):  # of trials that ended while the folder was away
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _keep(self, best: Configuration) -> None:
        files, end = self._files, best.end
        kept = self._run.spec.seeds.race is not None and (files.now / BEST_WEIGHTS).exists()  # by a race that now goes on
        if self._race and kept:
            return
        weights, named = None if self._race else self._weights(end.trial), self._named()
        kept = kept and named.trial == end.trial
        if kept and named.confirmed and weights is None:  # what a confirmation has said of it stands
            return
        files.write(BEST, best_yaml(self._run, best, weights=kept or weights is not None))
        if self._race or (kept and weights is None):
            return
        if weights is not None:
            files.take(weights, BEST_WEIGHTS)
            self._keep_course(end.trial)
            return
        logger.warning(
            "Trial %d is the best so far, but its weights could not be kept. `tuner train` with its %s trains them again; if it ran on "
            "another machine, they may lie there in %s.",
            end.trial, BEST, weights_file(files.fallback, end.trial),
        )  # fmt: skip

    def _keep_course(self, trial: int) -> None:
        """Of the trial whose weights are now the best; where it has none, another's may not stand for it."""
        course = course_file(self._files.folder, trial)
        if course.exists():
            self._files.take(course, BEST_COURSE)
        else:
            with contextlib.suppress(OSError):
                (self._files.now / BEST_COURSE).unlink(missing_ok=True)

    def _weights(self, trial: int) -> Path | None:
        """Where a trial left its weights."""
        files = self._files
        return next((path for folder in (files.folder, files.fallback) if (path := weights_file(folder, trial)).exists()), None)

    def _named(self) -> _Named:
        """What `best.yaml` is of."""
        content = read_best(self._run.folder / BEST)
        confirmed = content.get("confirmed") or {}
        return _Named(trial=confirmed.get("search_best", content.get("trial")), confirmed=bool(confirmed))

    def _clean(self, end: TrialEnd) -> None:
        """Removes what a trial left that is not needed any more: of one whose configuration is undecided, all but its weights."""
        number = number_of(end)
        if self._standings.decided(number):
            for member in self._standings.members(number):
                self._remove(member)
        else:
            self._remove(end, but_weights=True)

    def _remove(self, end: TrialEnd, *, but_weights: bool = False) -> None:
        kept = but_weights or keeps_weights(end)
        for folder in (self._files.folder, self._files.fallback):
            for file in (checkpoint_file, begun_file, *(() if kept else (weights_file, course_file))):
                with contextlib.suppress(OSError):  # it is away; `tuner resume` cleans again
                    file(folder, end.trial).unlink(missing_ok=True)


def keeps_weights(end: TrialEnd) -> bool:
    """Whether a trial that is never the best keeps its weights all the same: whoever asked for it wants them."""
    return end.warm is not None and end.state == "complete"


@dataclass(frozen=True, kw_only=True)
class _Named:
    """`trial`: the search's best; where a confirmation has named another winner, the one that it was named in place of."""

    trial: int | None
    confirmed: bool


def read_best(path: Path) -> dict[str, Any]:
    """A `best.yaml` as plain values: which search, trial and figures it is of. Empty where there is none, or no mapping."""
    import yaml

    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return content if isinstance(content, dict) else {}


def best_yaml(run: Run, best: Configuration, *, weights: bool, confirmed: Mapping[str, Any] | None = None) -> str:
    """What `tuner train` takes to train the winner again. `weights`: whether there are any. `confirmed`: by what it is the winner, where
    it was trained again on fresh seeds; its `trial`, if `best` is one such training, is the search's with that configuration."""
    import yaml

    spec, end = run.spec, best.end
    parameters = {name: value for name, value in spec.hyper(end.config).flat().items() if name != "epochs"}
    content = {
        "model": spec.model,
        "dataset": {key: value for key, value in spec.dataset.written().items() if value is not None},
        "epochs": end.config["epochs"],
        "seed": end.config["seed"],
        "pretrain_seed": spec.pretrain_seed_of(end.config),
        "precision": spec.precision,
        "weights": BEST_WEIGHTS if weights else None,
        "search": run.name,
        "trial": end.trial if confirmed is None else confirmed["trial"],
        "metric": {"name": spec.metric.name, "goal": spec.metric.goal},
        "score": {"rule": spec.score, "value": end.score, **_spread(run, best)},
        "metrics": dict(end.metrics),
        "data": run.info.get("data"),
        **({} if confirmed is None else {"confirmed": {name: value for name, value in confirmed.items() if name != "trial"}}),
        **({} if spec.source is None else {"code": spec.source.code}),
        "parameters": parameters,
    }
    kind = "trial" if spec.seeds.single else f"configuration ({best.n} seeds; their means, and the seed in the middle)"
    what = f"The best {kind} of {run.name}" if confirmed is None else f"The winner of {run.name} by {confirmed['by']}"
    head = f"# {what}. Train it again: tuner train {BEST}\n"
    return head + str(yaml.safe_dump(content, sort_keys=False))


def _spread(run: Run, best: Configuration) -> dict[str, Any]:
    """The spread of what the search tried on several seeds; nothing of a confirmation's training."""
    if run.spec.seeds.single or not best.scores:
        return {}
    return {"seeds": {"trials": list(best.trials), "scores": list(best.scores), "sd": dict(best.sd)}}
