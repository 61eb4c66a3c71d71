"""One Ray trial: a process that trains one configuration after another, and reports every epoch.

`TrialActor` knows no model and no tensor, and imports no torch, for the training side may be another process.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import ray
from ray import tune

from tuner.capture import Captured, attach, captured_for
from tuner.machines.versions import check_code
from tuner.runs.records import EpochLine
from tuner.search.trainer import Report

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Job:
    """What Tune's side of all trials of a search shares."""

    name: str  # the run's
    cpu: float
    gpu: float
    mailbox: str  # the name of the actor that takes pre-training epochs
    trainer: bytes  # pickled: `(trial, config) -> Iterator[Report]`
    code: Mapping[str, str | None]  # the driver's

    def trial_name(self, trial: int) -> str:
        return f"{self.name}-{trial:03d}"


# --- Tune's side -------------------------------------------------------------------------------------------------------


class TrialActor(tune.Trainable):
    """Trains trial after trial: Tune reuses it, for a process that imports torch costs 5 s."""

    job: ClassVar[Job]
    _trainer: Callable[[int, Mapping[str, Any]], Iterator[Report]] | None
    _reports: Iterator[Report] | None
    _before: list[EpochLine]  # lines of epochs that Tune has not heard of

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        from .quarantine import placement

        return placement(cls.job.cpu, cls.job.gpu, config["outside"])

    def setup(self, config: dict[str, Any]) -> None:
        self._trainer = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._reports = None
        self._before = []
        self._said = Captured()
        self._number, self._config = new_config["trial"], new_config["config"]
        return True

    def __repr__(self) -> str:
        """What the dashboard's list of actors shows; it asks once, when the first trial begins."""
        return f"{self.job.name}, trials from {self._number:03d} on"

    def step(self) -> dict[str, Any]:
        """Trains to the end of the next clustering epoch, and tells what was said meanwhile."""
        try:
            with captured_for(self._said):
                result = self._trained()
        except Exception as error:
            attach(self._said, error)
            raise
        return result | {"said": self._said.take()}

    def _trained(self) -> dict[str, Any]:
        """Pre-training epochs go to the mailbox as they end."""
        if self._reports is None:  # not in `setup`: what goes wrong is this trial's failure, not the process's
            if self._trainer is None:
                check_code(self.job.code)
                self._trainer = pickle.loads(self.job.trainer)
            self._reports = self._trainer(self._number, self._config)
        for report in self._reports:
            if report.score is None:
                mailbox: Any = ray.get_actor(self.job.mailbox)
                told = report.line | {"said": self._said.take()}
                wanted = ray.get(mailbox.put.remote(told))  # waits: what is trained next may be saved, and this must be known then
                self._before.append(report.line)
                if wanted:
                    continue
                return {"before": self._before, "ended": "stopped", "done": True, "node": ray.get_runtime_context().get_node_id()}
            before, self._before = self._before, []
            return {
                "score": report.score,
                "cluster_epoch": report.line["cluster_epoch"] or 0,
                "before": before,
                "line": report.line,
                "ended": report.ended,
                "reason": report.reason,
                "trouble": report.trouble,
                "node": ray.get_runtime_context().get_node_id(),
                "done": report.ended is not None,
            }
        raise RuntimeError("the training ended without saying how")

    def cleanup(self) -> None:
        self._reports = None


def trainable(job: Job) -> type[TrialActor]:
    """The class that Tune runs. The dashboard shows its name."""
    return type(job.name, (TrialActor,), {"job": job})
