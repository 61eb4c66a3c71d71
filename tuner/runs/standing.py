"""How far a run has come, from its folder alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lock import LOCK, Holder, holder_of
from .orders import waiting
from .results import Results, read_run

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How a run stands. `holder`: who drives it; None where nobody does. `waiting`: orders that no driver has taken up."""

    results: Results
    holder: Holder | None
    waiting: int

    @property
    def planned(self) -> int:
        return int(self.results.spec_json.get("trials", len(self.results.trials)))

    @property
    def over(self) -> int:
        """How many trials have ended for good."""
        return sum(trial.is_over for trial in self.results.trials)

    def summary(self) -> dict[str, Any]:
        """What `--json` prints: that of `tuner show --json`, and who drives it."""
        driver = None if self.holder is None else asdict(self.holder)
        running = [trial.trial for trial in self.results.trials if trial.state == "running"]
        return {**self.results.summary(), "planned": self.planned, "running": running, "waiting": self.waiting, "driver": driver}


def progress_of(folder: Path) -> Progress:
    return Progress(results=read_run(folder), holder=holder_of(folder), waiting=len(waiting(folder)))


def running_in(out: Path) -> list[Progress]:
    """The searches of a folder of runs that somebody drives, the newest first."""
    held = [path.parent for path in out.expanduser().glob(f"*/{LOCK}") if holder_of(path.parent) is not None]
    found = [progress_of(folder) for folder in held]
    return sorted(found, key=lambda one: -one.holder.since if one.holder else 0.0)
