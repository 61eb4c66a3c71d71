"""By what W&B knows a search: its project, its sweep, and the ids of its runs."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import UserError

PROJECT = "tuner"  # unless WANDB_PROJECT names another
SWEEP = "sweep.json"  # in the run's `wandb`


def project() -> str:
    return os.environ.get("WANDB_PROJECT") or PROJECT


def run_id(name: str, sweep: str, part: str) -> str:
    """Of a search's run; `part`: a trial's number, or `search`. W&B's ids may not hold `/ \\ # ? % :`, and no more than 128 characters."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:80]}-{sweep}-{part}"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A search that W&B was told of. `registered`: with W&B's cloud, rather than in files for later."""

    folder: Path
    name: str
    sweep: str
    registered: bool

    @staticmethod
    def of(folder: Path, name: str) -> Recorded:
        """The search in `folder`.

        Raises:
            UserError: W&B was not told of it.
        """
        try:
            known = json.loads((folder / "wandb" / SWEEP).read_text())
            return Recorded(folder=folder, name=name, sweep=str(known["id"]), registered=bool(known["registered"]))
        except FileNotFoundError:
            raise UserError(
                f"W&B was not told of {name}, so it has no trials there for a report: tuner search --wandb offline, or online, tells it. "
                f"tuner report {name} writes the page without W&B."
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder / 'wandb' / SWEEP} is damaged, so W&B's runs of {name} cannot be found.") from error

    @property
    def search_id(self) -> str:
        """Of the search's own run."""
        return run_id(self.name, self.sweep, "search")
