"""A search that is simulated from start to end: sampler, scheduler, journal and study are those of a search, its trials a table's."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.schedulers import TrialScheduler

from tuner import __version__
from tuner.atomic import write_whole
from tuner.errors import UserError
from tuner.machines.versions import commit
from tuner.runs.configurations import Standings
from tuner.runs.events import Listener, Run, TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.journal import read_lines
from tuner.runs.lock import RunLock
from tuner.runs.new_run import check_place, open_run
from tuner.runs.paths import JOURNAL, SPEC
from tuner.runs.results import Results, read_run
from tuner.runs.winner import BEST, best_yaml
from tuner.search.earlier import warm_started
from tuner.search.saved import spec_of
from tuner.search.study import write_study
from tuner.simulation.nearest import Nearest
from tuner.simulation.table import Table
from tuner.simulation.virtual import Replay, Simulator, VirtualClock
from tuner.space.spec import Spec
from tuner.tune.asha import scheduler

from .driver import opened_files
from .going_on import goes_on
from .stages import Opened, drive


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """What is said of a simulation beside its space. `table`: a run's folder, or a file that one was recorded into. `lanes`: how many
    trials are trained at once. `earlier`: the folders of runs that the sampler is told of."""

    table: Path
    lanes: int = 1
    name: str | None = None
    out: Path = Path("runs")
    data_root: Path | None = None
    listeners: Sequence[Listener] = ()
    earlier: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """How it ended. `status`: done | stopped | failed; `replay`: where the trials' epochs came from; `seconds`: of this machine's clock."""

    status: str
    folder: Path
    results: Results
    replay: Replay
    seconds: float
    reason: str | None = None


class Named:
    """Writes `best.yaml` of the best configuration so far. There are no weights to keep."""

    def __init__(self, run: Run, files: RunFiles) -> None:
        self._run, self._files = run, files
        self._standings = Standings(run.spec.seeds, run.spec.metric, (run.spec.metrics or ())[1:])
        for end in run.past.ends if run.past else ():
            self._standings.add(end)

    def trial_ended(self, end: TrialEnd) -> None:
        self._standings.add(end)

    def finish(self) -> None:
        if self._standings.best is not None:
            self._files.write(BEST, best_yaml(self._run, self._standings.best, weights=False))


def simulate(spec: Spec, options: SimulateOptions) -> Simulated:
    """Simulates the whole search.

    Raises:
        UserError: it cannot start. Nothing has been written then.
    """
    check_place(options.name, options.out)
    spec = warm_started(spec, options.earlier)
    nearest = Nearest(Table.read(options.table), spec)
    began = float(int(time.time()))  # whole, so that two simulations round alike
    info: dict[str, Any] = {
        "simulated": {"table": str(options.table.expanduser().absolute()), "lanes": options.lanes, "began": began},
        "commit": commit(),
        "versions": {"tuner": __version__},
        "options": dict(spec.options),
        "dataset_at": spec.dataset.located(options.data_root).name,
        "data_root": options.data_root and str(options.data_root),
        "wandb": "disabled",
        "pack": 1,
        "id": secrets.token_hex(8),
    }
    run = open_run(spec, options.name, options.out, info, None)
    with RunLock(run.folder):
        simulator = Simulator(nearest=nearest, lanes=options.lanes, clock=VirtualClock(began))
        return _driven(run, simulator, scheduler(spec), options.listeners)


def resume_simulated(folder: Path, trials: str | None, listeners: Sequence[Listener] = (), hours: float | None = None) -> Simulated:
    """Goes on with a simulation that was interrupted, or adds trials to one that is finished. `hours`: of the virtual clock.

    Raises:
        UserError: its table is gone, or the run is damaged.
    """
    with RunLock(folder):
        about = read_run(folder).spec_json
        told: Any = about.get("simulated")
        if not told:
            raise UserError(f"{folder.name} was not simulated. To go on with it: tuner resume {folder.name}")
        root = about.get("data_root")
        place, name = Path(root) if root else None, str(about["name"])
        going = goes_on(folder, lambda asked: spec_of(folder, asked, place, None, hours), trials, new_hours=hours is not None)
        spec, left = going.spec, going.left
        nearest = Nearest(Table.read(Path(told["table"])), spec)
        run = Run(name=name, folder=folder, spec=spec, info={**about, **going.about()}, past=left.past)
        write_whole(folder / SPEC, json.dumps(run.info, indent=2, default=str) + "\n")
        write_study(folder, run, left.asked, left.scores)
        now = max((float(line["time"]) for line in read_lines(folder / JOURNAL)), default=float(told["began"]))
        simulator = Simulator(nearest=nearest, lanes=int(told["lanes"]), clock=VirtualClock(now))
        return _driven(run, simulator, left.scheduler, listeners)


def _driven(run: Run, simulator: Simulator, rungs: TrialScheduler, listeners: Sequence[Listener]) -> Simulated:
    began = time.monotonic()
    with opened_files(run) as files:
        ended = drive(Opened(run=run, files=files, executor=simulator, scheduler=rungs, listeners=listeners, keeper=Named))
    return Simulated(
        status=ended.status,
        reason=ended.reason,
        folder=run.folder,
        results=read_run(run.folder),
        replay=simulator.replay,
        seconds=time.monotonic() - began,
    )
