"""How far a run has come, from its folder alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lock import LOCK, Holder, holder_of
from .orders import waiting
from .paths import CONFIRM, SPEC
from .results import Results, read_run

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How a run stands. `holder`: who drives it; None where nobody does. `waiting`: orders that no driver has taken up. `confirming`:
    the trainings of its confirmation, where those are what runs."""

    results: Results
    holder: Holder | None
    waiting: int
    confirming: Results | None = None

    @property
    def planned(self) -> int:
        """How many trials there can be."""
        return int(self.results.spec_json.get("trials", len(self.results.trials))) * self.results.seeds.most

    @property
    def over(self) -> int:
        """How many trials have ended for good."""
        return over_of(self.results)

    def summary(self) -> dict[str, Any]:
        """What `--json` prints: that of `tuner show --json`, and who drives it."""
        driver = None if self.holder is None else asdict(self.holder)
        running = [trial.trial for trial in self.results.trials if trial.state == "running"]
        found = {**self.results.summary(), "planned": self.planned, "running": running, "waiting": self.waiting, "driver": driver}
        one = self.confirming
        return found if one is None else {**found, "confirming": {"over": over_of(one), "planned": one.spec_json.get("trials")}}


def over_of(results: Results) -> int:
    """How many trials have ended for good."""
    return sum(trial.is_over for trial in results.trials)


def progress_of(folder: Path) -> Progress:
    results, holder, trained = read_run(folder), holder_of(folder), None
    if holder is not None and results.status != "running" and (folder / CONFIRM / SPEC).is_file():
        trained = read_run(folder / CONFIRM)
        trained = trained if trained.status == "running" else None
    return Progress(results=results, holder=holder, waiting=len(waiting(folder)), confirming=trained)


def running_in(out: Path) -> list[Progress]:
    """The searches of a folder of runs that somebody drives, the newest first."""
    held = [path.parent for path in out.expanduser().glob(f"*/{LOCK}") if holder_of(path.parent) is not None]
    found = [progress_of(folder) for folder in held]
    return sorted(found, key=lambda one: -one.holder.since if one.holder else 0.0)
