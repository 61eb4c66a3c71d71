"""With how many trials and hours a run goes on, and from where on its rules count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tuner.runs.results import read_run
from tuner.search.stopping import Renewed, StopRules
from tuner.space.spec import Spec

from .left_off import LeftOff, left_off


@dataclass(frozen=True, kw_only=True)
class GoesOn:
    """`spec`: with the trials and hours that the run is to have. `because`: what ends it all the same."""

    spec: Spec
    left: LeftOff
    renewed: Renewed
    because: str | None

    def about(self) -> dict[str, Any]:
        """What `spec.json` says of it."""
        said = {"trials": self.spec.trials, "options": dict(self.spec.options), "stop": self.spec.stop.plain()}
        return said if self.renewed == Renewed() else said | {"renewed": asdict(self.renewed)}


def goes_on(folder: Path, read: Callable[[str | None], Spec], trials: str | None, *, new_hours: bool) -> GoesOn:
    """`read`: the run's space, for a number of trials. `trials`: `80`, or `+50` for 50 more: than were begun, where a rule ended the
    search. `new_hours`: they were given, and count from now on.

    Raises:
        UserError: study or journal is damaged, or the run has more trials already.
    """
    before = read_run(folder)
    name = str(before.spec_json["name"])  # the folder may have been moved
    spec, renewed = read(trials), Renewed.of(before.spec_json)
    if not spec.stop.ever:
        return GoesOn(spec=spec, left=left_off(folder, spec, name), renewed=renewed, because=None)
    was = read(None)
    left = left_off(folder, was, name)
    ends = (*left.past.ends, *left.past.pruned)
    if trials is not None and StopRules(was, renewed, ends).because is not None:
        renewed = replace(renewed, ends=len(ends))
        if trials.startswith("+"):
            spec = read(str(left.plan.configurations + spec.trials - was.trials))
    spent, hours = left.past.seconds - renewed.seconds, spec.stop.hours
    if hours is not None and (new_hours or before.because is not None or spent >= hours * 3600):
        renewed = replace(renewed, seconds=left.past.seconds)
    left = left if spec == was else left_off(folder, spec, name)
    return GoesOn(spec=spec, left=left, renewed=renewed, because=StopRules(spec, renewed, ends).because)
