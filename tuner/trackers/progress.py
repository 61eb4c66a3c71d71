"""What a search's own run in a tracker shows after each trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuner.runs.configurations import ranked
from tuner.runs.states import STATES

if TYPE_CHECKING:
    from tuner.runs.events import Past, TrialEnd
    from tuner.space.spec import Spec


def progress(ends: Sequence[TrialEnd], spec: Spec) -> dict[str, Any]:
    """Trials by state, and the best so far."""
    counts = Counter(end.state for end in ends)
    known: dict[str, Any] = {f"trials/{state}": counts[state] for state in STATES}
    best = next(iter(ranked(ends, spec.seeds, spec.metric, (spec.metrics or ())[1:])), None)
    if best is not None:
        known |= {"best_score": best.end.score, "best_trial": best.end.trial}
        known |= {"best_sd": best.sd["score"], "best_seeds": best.n} if best.sd else {}
    return known


def configurations(past: Past) -> dict[int, Mapping[str, Any]]:
    """The configurations of the trials of an earlier driver."""
    ended: dict[int, Mapping[str, Any]] = {end.trial: end.config for end in (*past.ends, *past.pruned)}
    return ended | {trial: known.config for trial, known in past.open.items()}
