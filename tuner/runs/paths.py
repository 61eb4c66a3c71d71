"""The names of the files in a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


JOURNAL, STUDY, STATUS, SPEC, SPACE = "results.jsonl", "study.journal", "status.json", "spec.json", "space.yaml"
LOGS = "logs"  # the folder of files that are appended to seldom
CHECKPOINTS = "checkpoints"  # in the run's folder
CONFIRM = "confirm"  # in the run's folder: its configurations trained again, a folder like a run's
PRETRAINED = ".pretrained"  # beside the runs' folders
BEST_WEIGHTS = "best.safetensors"  # the winner's, in the run's folder


def pretrained_folder(folder: Path) -> Path:
    """Where pre-trainings are kept that the trials of the run in `folder`, or of its confirmation, share with others."""
    run = folder.parent if folder.name == CONFIRM and (folder.parent / SPEC).is_file() else folder
    return run.parent / PRETRAINED


def weights_file(folder: Path, trial: int) -> Path:
    """Where the weights lie that a complete trial's score is of; with `score: max`, before that, the best ones up to its checkpoint."""
    return folder / CHECKPOINTS / f"{trial:03d}.safetensors"


def checkpoint_file(folder: Path, trial: int) -> Path:
    """Where the state lies that a trial goes on from when it, or the search, was interrupted."""
    return folder / CHECKPOINTS / f"{trial:03d}.resume.safetensors"


def warm_file(folder: Path, weights: str) -> Path:
    """Where the weights lie that warm-started trials begin with, by their digest, until the run is done."""
    return folder / CHECKPOINTS / f"warm-{weights}.safetensors"


def begun_file(folder: Path, trial: int) -> Path:
    """There while a trial pre-trains, or has pre-trained, by itself: if it is tried again it does so again, and its epochs have no gap."""
    return folder / CHECKPOINTS / f"{trial:03d}.begun"


def remove_torn(folder: Path) -> None:
    """Removes files in which a process was writing a checkpoint when it was killed: ours, and those that safetensors writes first."""
    for part in (folder / CHECKPOINTS).glob(".*"):
        part.unlink(missing_ok=True)


PACKS = "packs.json"
