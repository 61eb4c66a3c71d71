"""One Ray trial: a process that trains one configuration after another, and reports every epoch.

`TrialActor` knows no model and no tensor, and imports no torch, for the training side may be another process.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import ray
from ray import tune

from tuner.capture import Captured, attach, captured_for
from tuner.machines.versions import check_code
from tuner.quick_imports import quick_imports
from tuner.runs.records import EpochLine
from tuner.search.trainer import Report

from .mailbox import Mail
from .quarantine import placement
from .result import TuneResult


@dataclass(frozen=True, kw_only=True)
class SearchContext:
    """What the processes of a search's trials share."""

    name: str  # the run's
    cpu: float
    gpu: float
    mailbox: str  # the name of the actor that takes pre-training epochs
    trainer: bytes  # pickled: `(trial, config) -> Iterator[Report]`
    code: Mapping[str, str | None]  # the driver's

    def trial_name(self, trial: int) -> str:
        return f"{self.name}-{trial:03d}"


class TrialActor(tune.Trainable):
    """Trains trial after trial: Tune reuses it, for a process that imports torch costs 5 s."""

    context: ClassVar[SearchContext]
    _trainer: Callable[[int, Mapping[str, Any]], Iterator[Report]] | None
    _reports: Iterator[Report] | None
    _before: list[EpochLine]  # lines of epochs that no result has brought to Tune yet

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return placement(cls.context.cpu, cls.context.gpu, config["outside"])

    def setup(self, config: dict[str, Any]) -> None:
        self._trainer = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._reports = None
        self._before = []
        self._captured = Captured()
        self._number, self._config = new_config["trial"], new_config["config"]
        return True

    def __repr__(self) -> str:
        """What the dashboard's list of actors shows; it asks once, when the first trial begins."""
        return f"{self.context.name}, trials from {self._number:03d} on"

    def step(self) -> dict[str, Any]:
        """Trains to the end of the next clustering epoch."""
        try:
            with captured_for(self._captured):
                result = self._train()
        except Exception as error:
            attach(self._captured, error)
            raise
        return replace(result, captured=self._captured.take()).for_tune()

    def _train(self) -> TuneResult:
        """Pre-training epochs go to the mailbox as they end."""
        if self._reports is None:  # not in `setup`: what goes wrong is this trial's failure, not the process's
            if self._trainer is None:
                check_code(self.context.code)
                with quick_imports("torch"):
                    self._trainer = pickle.loads(self.context.trainer)
            self._reports = self._trainer(self._number, self._config)
        for report in self._reports:
            if report.score is not None:
                return self._result(report)
            goes_on = self._mail(report)
            self._before.append(report.line)
            if not goes_on:
                return self._result(None)
        raise RuntimeError("the training ended without saying how")

    def _mail(self, report: Report) -> bool:
        """Puts a pre-training epoch into the mailbox, and waits until it is there: what is trained next may be saved, and a checkpoint
        must not be ahead of the journal. False: the trial is to stop."""
        mailbox: Any = ray.get_actor(self.context.mailbox)
        mail = Mail(line=report.line, captured=self._captured.take(), key=uuid.uuid4().hex)
        goes_on: bool = ray.get(mailbox.put.remote(mail))
        return goes_on

    def _result(self, report: Report | None) -> TuneResult:
        """Of an epoch, or with None of a trial that was stopped in its pre-training."""
        before, self._before = self._before, []
        known: dict[str, Any] = {"trial": self._number, "node": ray.get_runtime_context().get_node_id(), "before": before}
        if report is None:
            return TuneResult(**known, ended="stopped")
        of_report: dict[str, Any] = {name: getattr(report, name) for name in ("line", "score", "ended", "reason", "trouble")}
        return TuneResult(**known, **of_report)

    def cleanup(self) -> None:
        self._reports = None


def trainable(context: SearchContext) -> type[TrialActor]:
    """The class that Tune runs. The dashboard, and `ps`, show its name."""
    return type(context.name, (TrialActor,), {"context": context})
