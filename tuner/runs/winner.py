"""The best trial: its configuration and weights, kept while the search runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .events import Run, TrialEnd
from .files import RunFiles
from .paths import BEST_WEIGHTS, begun_file, checkpoint_file, weights_file

logger = logging.getLogger("tuner")

BEST = "best.yaml"


class Winner:
    """Keeps `best.yaml` and `best.safetensors` those of the best complete trial so far, and no weights of the others."""

    def __init__(self, run: Run, files: RunFiles) -> None:
        self._run, self._files = run, files
        self._best: TrialEnd | None = None
        for end in run.past.ends if run.past else ():
            if end.state == "complete" and self._beats(end):
                self._best = end

    def catch_up(self, ends: Sequence[TrialEnd]) -> None:
        """Does what was left to be done when a driver died after it had journalled an end."""
        if self._best is not None and (self._weights(self._best.trial) or self._named() != self._best.trial):
            self._keep(self._best)
        for end in ends:
            self._clean(end)

    def trial_ended(self, end: TrialEnd) -> None:
        if end.state == "complete" and self._beats(end):
            self._best = end
            self._keep(end)
        if end.is_over:
            self._clean(end)

    def _keep(self, end: TrialEnd) -> None:
        files, weights = self._files, self._weights(end.trial)
        files.write(BEST, best_yaml(self._run, end, weights=weights is not None))
        if weights is not None:
            files.take(weights, BEST_WEIGHTS)
            return
        logger.warning(
            "Trial %d is the best so far, but its weights could not be kept. `tuner train` with its %s trains them again; if it ran on "
            "another machine, they may lie there in %s.",
            end.trial, BEST, weights_file(files.fallback, end.trial),
        )  # fmt: skip

    def _weights(self, trial: int) -> Path | None:
        """Where a trial left its weights."""
        files = self._files
        return next((path for folder in (files.folder, files.fallback) if (path := weights_file(folder, trial)).exists()), None)

    def _named(self) -> int | None:
        """The trial that `best.yaml` is of; where a confirmation has named another winner, the one that it was written for."""
        import yaml

        path = self._run.folder / BEST
        content = yaml.safe_load(path.read_text()) if path.exists() else {}
        found: int | None = (content.get("confirmed") or {}).get("search_best", content.get("trial"))
        return found

    def _clean(self, end: TrialEnd) -> None:
        for folder in (self._files.folder, self._files.fallback):
            for file in (weights_file, checkpoint_file, begun_file):
                with contextlib.suppress(OSError):  # it is away; `tuner resume` cleans again
                    file(folder, end.trial).unlink(missing_ok=True)

    def _beats(self, end: TrialEnd) -> bool:
        assert end.score is not None
        if self._best is None or self._best.score is None:
            return True
        rank = self._run.spec.metric.rank
        return (rank(end.score), end.trial) < (rank(self._best.score), self._best.trial)


def told(path: Path) -> dict[str, Any]:
    """What a `best.yaml` says beside its configuration: which search, trial and figures it is of. Empty where it is somebody's own."""
    import yaml

    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def best_yaml(run: Run, end: TrialEnd, *, weights: bool, confirmed: Mapping[str, Any] | None = None) -> str:
    """What `tuner train` takes to train the winner again. `weights`: whether there are any. `confirmed`: by what it is the winner, where
    it was trained again on fresh seeds; its `trial`, if `end` is of such a training, is the search's with that configuration."""
    import yaml

    spec = run.spec
    parameters = {name: value for name, value in spec.hyper(end.config).flat().items() if name != "epochs"}
    content = {
        "model": spec.model,
        "dataset": {key: value for key, value in vars(spec.dataset).items() if value is not None},
        "epochs": end.config["epochs"],
        "seed": end.config["seed"],
        "pretrain_seed": spec.pretrain_seed_of(end.config),
        "precision": spec.precision,
        "weights": BEST_WEIGHTS if weights else None,
        "search": run.name,
        "trial": end.trial if confirmed is None else confirmed["trial"],
        "metric": {"name": spec.metric.name, "goal": spec.metric.goal},
        "score": {"rule": spec.score, "value": end.score},
        "metrics": dict(end.metrics),
        "data": run.info.get("data"),
        **({} if confirmed is None else {"confirmed": {name: value for name, value in confirmed.items() if name != "trial"}}),
        **({} if spec.source is None else {"code": spec.source.code}),
        "parameters": parameters,
    }
    what = f"The best trial of {run.name}" if confirmed is None else f"The winner of {run.name} by {confirmed['by']}"
    head = f"# {what}. Train it again: tuner train {BEST}\n"
    return head + str(yaml.safe_dump(content, sort_keys=False))
