"""The best trial: its configuration and weights, kept while the search runs."""

from __future__ import annotations

from collections.abc import Sequence

from .record import Run, TrialEnd, write_atomically
from .trial import begun_file, checkpoint_file, weights_file

BEST, BEST_WEIGHTS = "best.yaml", "best.safetensors"


class Winner:
    """Keeps `best.yaml` and `best.safetensors` those of the best complete trial so far, and no weights of the others."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._best: TrialEnd | None = None
        for end in run.past.ends if run.past else ():
            if end.state == "complete" and self._beats(end):
                self._best = end

    def catch_up(self, ends: Sequence[TrialEnd]) -> None:
        """Does what was left to be done when a driver died after it had journalled an end."""
        if self._best is not None:
            weights = weights_file(self._run.folder, self._best.trial)
            if weights.exists():
                weights.replace(self._run.folder / BEST_WEIGHTS)
            write_atomically(self._run.folder / BEST, best_yaml(self._run, self._best))
        for end in ends:
            self._clean(end)

    def trial_ended(self, end: TrialEnd) -> None:
        if end.state == "complete" and self._beats(end):
            self._best = end
            weights_file(self._run.folder, end.trial).replace(self._run.folder / BEST_WEIGHTS)
            write_atomically(self._run.folder / BEST, best_yaml(self._run, end))
        if end.is_over:
            self._clean(end)

    def _clean(self, end: TrialEnd) -> None:
        for file in (weights_file, checkpoint_file, begun_file):
            file(self._run.folder, end.trial).unlink(missing_ok=True)

    def _beats(self, end: TrialEnd) -> bool:
        assert end.score is not None
        if self._best is None or self._best.score is None:
            return True
        sign = 1.0 if self._run.spec.metric.goal == "maximize" else -1.0
        return (sign * end.score, -end.trial) > (sign * self._best.score, -self._best.trial)


def best_yaml(run: Run, end: TrialEnd) -> str:
    """What `tuner train` takes to train the winner again."""
    import yaml

    spec = run.spec
    parameters = {name: value for name, value in spec.hyper(end.config).flat().items() if name != "epochs"}
    content = {
        "model": spec.model,
        "dataset": {key: value for key, value in vars(spec.dataset).items() if value is not None},
        "epochs": end.config["epochs"],
        "seed": end.config["seed"],
        "pretrain_seed": spec.pretrain_seed,
        "precision": spec.precision,
        "weights": BEST_WEIGHTS,
        "search": run.name,
        "trial": end.trial,
        "metric": {"name": spec.metric.name, "goal": spec.metric.goal},
        "score": {"rule": spec.score, "value": end.score},
        "metrics": dict(end.metrics),
        "parameters": parameters,
    }
    head = f"# The best trial of {run.name}. Train it again: tuner train {BEST}\n"
    return head + str(yaml.safe_dump(content, sort_keys=False))
