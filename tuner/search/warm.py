"""Which weights a warm-started trial begins with: found and kept when it is asked for, taken when it begins."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import UserError
from tuner.runs.events import Run, TrialEnd
from tuner.runs.paths import BEST_WEIGHTS, checkpoint_file, warm_file, weights_file
from tuner.runs.results import Results, read_run
from tuner.runs.winner import BEST, read_best
from tuner.space.request import Wanted
from tuner.space.warm import WarmStart

if TYPE_CHECKING:
    from tuner.training.checkpoint import Snapshot

    from .completed import Setup

logger = logging.getLogger("tuner")

# --- when it is asked for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Found:
    """A trial's weights: their file, what it holds, and in words what another trial can take of it."""

    file: Path
    snapshot: Snapshot
    said: str
    whole: bool  # all of it can be taken


def weights_for(run: Run, wanted: Wanted, trial: int) -> Found:
    """The weights of a trial of the run, for a configuration that is to start from them.

    Raises:
        UserError: there are none, or the configuration can take nothing of them.
    """
    from tuner.data.datasets import describe
    from tuner.training import checkpoint
    from tuner.training.warm import fitting

    file, spec, at = kept_weights(read_run(run.folder), trial), wanted.spec, run.info.get("data_root")
    root = Path(at) if at else None
    snapshot, h = checkpoint.load(file), spec.hyper(spec.config(wanted.chosen))
    taken = fitting(spec.loaded(), h, describe(spec.dataset.located(root), root), snapshot.weights())
    if not taken.names:
        raise UserError(
            f"This configuration can take nothing of trial {trial}'s weights: {taken.in_words()}. Leave out --warm, or what changes the "
            "shapes of all networks."
        )
    said = f"It starts from trial {trial}'s weights ({file.relative_to(run.folder)}): {taken.in_words()}."
    return Found(file=file, snapshot=snapshot, said=said, whole=not taken.left)


def kept_weights(results: Results, trial: int) -> Path:
    """The file in a run's folder that has a trial's weights: those that its score is of, or else those of its last checkpoint.

    Raises:
        UserError: there is none; what can be done instead is said.
    """
    for path in (weights_file(results.folder, trial), results.folder / BEST_WEIGHTS, checkpoint_file(results.folder, trial)):
        if path.exists() and (path.name != BEST_WEIGHTS or _named(results.folder) == trial):
            return path
    raise UserError(f"Trial {trial} of {results.name} has no weights to start from: {_why_not(results, trial)} Or leave out --warm.")


def _named(folder: Path) -> int | None:
    """The trial whose weights `best.safetensors` has; None where they are of a training of the confirmation."""
    content = read_best(folder / BEST)
    ours = content.get("weights") is not None and (content.get("confirmed") or {}).get("training") is None
    return content.get("trial") if ours else None


def _why_not(results: Results, trial: int) -> str:
    found = next((end for end in results.trials if end.trial == trial), None)
    if results.spec_json.get("simulated"):
        return "nothing was trained, for the run was simulated. Ask it of a run that trains."
    if found is None or not found.is_over:
        return "it has written no checkpoint yet; one that trains writes its first after a minute. Ask again then."
    known = [end.trial for end in results.trials if _has_weights(results, end)]
    others = f"Say --like {' or '.join(map(str, known))}." if known else "No other trial has any, either."
    return f"of trials that have ended a run keeps those of its best, and of warm-started ones. {others}"


def _has_weights(results: Results, end: TrialEnd) -> bool:
    try:
        return bool(kept_weights(results, end.trial)) if end.trial == _named(results.folder) or end.warm is not None else False
    except UserError:
        return False


def keep(folder: Path, trial: int, file: Path, snapshot: Snapshot) -> WarmStart:
    """Keeps the weights as they are now, without what optimisers remember: the file that they come from may be overwritten.

    Raises:
        UserError: they cannot be written.
    """
    from tuner.data.fingerprint import digest
    from tuner.training import checkpoint

    weights = snapshot.weights()
    found = WarmStart(trial=trial, file=str(file.relative_to(folder)), weights=digest(weights)[:16])
    path = warm_file(folder, found.weights)
    try:
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            checkpoint.save(replace(snapshot, tensors=weights), path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
    return found


# --- when it begins ----------------------------------------------------------------------------------------------------


def begun_warm(folder: Path, given: WarmStart, setup: Setup, *, seed: int, pretrain_seed: int) -> Snapshot:
    """Where the trial begins. What was not taken is logged.

    Raises:
        UserError: the weights are gone, or damaged.
    """
    from tuner.training import checkpoint
    from tuner.training.warm import warm

    found = warm(*setup, checkpoint.load(warm_file(folder, given.weights)).tensors, seed=seed, pretrain_seed=pretrain_seed)
    say = logger.warning if found.taken.left else logger.info
    say("starts from the weights of trial %d (%s): %s", given.trial, given.file, found.taken.in_words())
    return found.start
