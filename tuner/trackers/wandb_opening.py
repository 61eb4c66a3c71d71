"""How a W&B run of a search is opened: what all of them have in common stands here alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .wandb_recorded import project

INIT_S = 30  # for opening one run
FINISH_S = 20  # for the last lines of one run


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A W&B run that is new, or that goes on. `folder`, `search`: the search's, which is the group of its runs. `tags`, `config`: None
    leaves them as they are."""

    folder: Path
    search: str
    id: str
    name: str
    job_type: str
    tags: list[str] | None = None
    config: dict[str, Any] | None = None

    def open(self, mode: str, **settings: Any) -> Any:
        """The open run. `settings`: of `wandb.Settings`, beside or instead of those of every run.

        Raises:
            wandb.Error: W&B does not open it.
        """
        import wandb

        # The driver's machine is not the trial's: its load and its packages say nothing about the trial.
        common: dict[str, Any] = {"silent": True, "console": "off", "x_disable_stats": True, "x_save_requirements": False}
        common |= {"init_timeout": INIT_S, "finish_timeout": FINISH_S}
        return wandb.init(
            mode=mode,  # type: ignore[arg-type]  # one of its words
            project=project(),
            id=self.id,
            name=self.name,
            group=self.search,
            job_type=self.job_type,
            tags=self.tags,
            config=self.config,
            dir=str(self.folder),
            reinit="create_new",
            resume="allow",
            settings=wandb.Settings(**{**common, **settings}),
        )
