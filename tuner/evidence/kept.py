"""Which weights a confirmation keeps, and how `best.yaml` names its winner."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.atomic import whole, write_whole
from tuner.runs.configurations import Configuration
from tuner.runs.course import BEST_COURSE, course_file
from tuner.runs.events import Run, TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.paths import BEST_WEIGHTS, CONFIRM, begun_file, checkpoint_file, weights_file
from tuner.runs.results import read_run
from tuner.runs.winner import BEST, best_yaml, read_best

from .plan import Plan
from .report import Confirmation, Confirmed


class KeptWeights:
    """Keeps of each configuration the weights of its best training, in the confirmation's folder: one of them may be the winner's."""

    def __init__(self, run: Run, files: RunFiles, plan: Plan) -> None:
        self._run, self._files, self._plan = run, files, plan
        self._best: dict[int, TrialEnd] = {}
        for end in run.past.ends if run.past else ():
            self._take(end)

    def trial_ended(self, end: TrialEnd) -> None:
        self._take(end)
        if end.is_over:
            self._remove(end.trial, checkpoint_file, begun_file)

    def finish(self) -> None:
        """Nothing is left to be done: the winner is named later."""

    def _take(self, end: TrialEnd) -> None:
        of = self._plan.trainings[end.trial].of
        before = self._best.get(of)
        if end.state == "complete" and self._better(end, before):
            self._best[of], end_of_worse = end, before
            if end_of_worse is not None:
                self._remove(end_of_worse.trial, weights_file, course_file)
        elif end.is_over:
            self._remove(end.trial, weights_file, course_file)

    def _better(self, end: TrialEnd, before: TrialEnd | None) -> bool:
        assert end.score is not None
        return before is None or before.score is None or self._run.spec.metric.better(end.score, before.score)

    def _remove(self, trial: int, *which: Any) -> None:
        for folder in (self._files.folder, self._files.fallback):
            for file in which:
                with contextlib.suppress(OSError):  # it is away
                    file(folder, trial).unlink(missing_ok=True)


def write_winner(run: Run, found: Confirmation) -> None:
    """Names the confirmed winner in the run's `best.yaml`, and puts its weights beside it.

    Where it is the search's best, that trial and its weights stay, and what was confirmed is added. Else, and where the search could not
    keep those weights, they are those of the best of its trainings, and so are the seed, the score and the metrics. A default that no
    trial had has no number.
    """
    winner = found.winner
    assert winner is not None
    assert winner.summary is not None
    before, own = read_best(run.folder / BEST), _own_best(winner, found)
    stays = before.get("trial") == winner.configuration.trial is not None and not _training_of(before)
    stays = stays and ((run.folder / BEST_WEIGHTS).exists() or own is None or not weights_file(run.folder / CONFIRM, own.trial).exists())
    search = _search_best(run, before)
    confirmed = {**_figures(winner, found), "search_best": search, "trial": winner.configuration.trial}
    if stays:
        best = next(one for one in read_run(run.folder).configurations() if one.end.trial == winner.configuration.trial)
        text = best_yaml(run, best, weights=(run.folder / BEST_WEIGHTS).exists(), confirmed=confirmed)
    else:
        if own is None:  # all collapsed or diverged, everywhere
            return
        weights = weights_file(run.folder / CONFIRM, own.trial)
        _put(weights, run.folder / BEST_WEIGHTS)
        _put(course_file(run.folder / CONFIRM, own.trial), run.folder / BEST_COURSE)
        trained = Configuration(number=own.trial, end=own)
        text = best_yaml(run, trained, weights=weights.exists(), confirmed={**confirmed, "training": own.trial})
    write_whole(run.folder / BEST, text)


def _put(weights: Path, target: Path) -> None:
    """Copies them; where there are none, takes away those of another training."""
    if weights.exists():
        with whole(target) as part:
            shutil.copyfile(weights, part)
    else:
        target.unlink(missing_ok=True)


def _own_best(winner: Confirmed, found: Confirmation) -> TrialEnd | None:
    complete = [end for end in winner.ends.values() if end.state == "complete" and end.score is not None]
    return min(complete, key=lambda end: found.metric.rank(end.score or 0.0), default=None)


def confirmed_mean(folder: Path) -> float | None:
    """What the winner that a run's `best.yaml` names is worth on fresh seeds; None where nothing was confirmed."""
    mean = (read_best(folder / BEST).get("confirmed") or {}).get("mean")
    return None if mean is None else float(mean)


def _training_of(before: Mapping[str, Any]) -> bool:
    """Whether `best.yaml` is of a training of the confirmation, not of a trial of the search."""
    return (before.get("confirmed") or {}).get("training") is not None


def _search_best(run: Run, before: Mapping[str, Any]) -> int | None:
    """The trial that the search itself names; a resumed search looks whether that is still so."""
    best = read_run(run.folder).best()
    return best.trial if best is not None else before.get("trial")


def _figures(winner: Confirmed, found: Confirmation) -> dict[str, Any]:
    """By what it is the winner."""
    assert winner.summary is not None
    figures = winner.summary
    interval = None if figures.interval is None else [figures.interval.low, figures.interval.high]
    return {
        "by": f"the mean {found.metric.name} on {figures.n} fresh seeds",
        "mean": figures.mean,
        "sd": figures.sd,
        "interval": interval,
        "n": figures.n,
        "search": winner.configuration.figure,
        "default": winner.configuration.is_default,
    }
