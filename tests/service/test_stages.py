"""A search without Ray: what is wired, in which order it hears, and what is closed however the search ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from kit.interrupted import a_killed_run

from tuner.clock import SYSTEM, Clock
from tuner.errors import UserError
from tuner.machines.cluster import Share
from tuner.runs import orders
from tuner.runs.events import Listener, Run
from tuner.runs.files import RunFiles
from tuner.runs.journal import read_lines
from tuner.runs.results import Results, read_run
from tuner.search.saved import spec_of
from tuner.service import driver, stages
from tuner.tune.executor import Letters, NoLetters, Parts

SHARE = Share(cpu=1, gpu=0, slots=1)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """One that ended with a trial complete and another interrupted; its driver begins again."""
    folder = a_killed_run(tmp_path)
    about = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(about | {"versions": {"tuner": "0"}}))
    return Run(name="run", folder=folder, spec=spec_of(folder, None, None), info=about)


@dataclass(frozen=True, kw_only=True)
class Here:
    """An executor that does what a test says."""

    fit: Callable[[Parts], None]
    clock: Clock = SYSTEM
    share: Share = SHARE
    letters: Letters = field(default_factory=NoLetters)

    def listeners(self) -> Sequence[Listener]:
        return ()

    @contextlib.contextmanager
    def session(self, run: Run, files: RunFiles) -> Iterator[Here]:
        yield self

    def run(self, run: Run, parts: Parts) -> None:
        self.fit(parts)


def driven(run: Run, fit: Callable[[Parts], None]) -> tuple[stages.Ended, Results]:
    """Drives the run with `fit` in Tune's place."""
    with driver.opened_files(run) as files:
        opened = stages.Opened(run=run, files=files, executor=Here(fit=fit), scheduler=None, listeners=())  # type: ignore[arg-type]
        ended = stages.drive(opened)
    return ended, read_run(run.folder)


def begin(parts: Parts) -> int:
    asked = parts.searcher.suggest("one")
    assert asked is not None
    parts.callbacks[0].on_trial_start(0, [], SimpleNamespace(config=asked))  # type: ignore[arg-type]
    return int(asked["trial"])


def test_what_is_open_at_the_end_is_stopped(run: Run) -> None:
    ended, results = driven(run, lambda parts: None if begin(parts) == 1 else pytest.fail("trial 1 goes on"))
    assert ended == stages.Ended(status="done") and results.status == "done"
    last = [line for line in read_lines(run.folder / "results.jsonl") if "state" in line][-1]
    assert (last["trial"], last["state"], last["reason"]) == (1, "stopped", "the search ended before it did")


def test_an_order_between_two_steps_ends_the_search(run: Run) -> None:
    def fit(parts: Parts) -> None:
        begin(parts)
        orders.keep(run.folder, orders.Order(do="enqueue", set=("lr=0.02",), kept=True))
        parts.callbacks[1].on_step_begin(0, [])
        parts.control.requests.search.set()

    ended, results = driven(run, fit)
    assert ended == stages.Ended(status="stopped") and results.status == "stopped"
    assert orders.waiting(run.folder) == []


@pytest.mark.parametrize("ours", [True, False])
def test_an_error_of_ours_is_raised_itself_and_the_run_has_failed(run: Run, ours: bool) -> None:
    def fit(parts: Parts) -> None:
        begin(parts)
        if ours:
            parts.callbacks[0].error = UserError("the orders cannot be read")
        raise RuntimeError("what Tune makes of it")

    with pytest.raises(UserError if ours else RuntimeError, match="the orders" if ours else "what Tune makes"):
        driven(run, fit)
    assert read_run(run.folder).status == "failed"
