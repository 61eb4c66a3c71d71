"""The page about a run, from Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Place, path_or_none

if TYPE_CHECKING:
    import plotly.graph_objects


class Reported:
    """What a run's folder shows of itself."""

    folder: Path

    def report(self, *others: Reported, output: Place | None = None, data_root: Place | None = None, wandb: bool = False) -> Path:
        """Writes one page about the run, or about several side by side, and the same text as Markdown beside it: as `tuner report`.
        `wandb`: a report in W&B, too, which is kept for later where W&B does not answer. Gives the page's file.

        Raises:
            UserError: it cannot be written, or W&B was not told of the search.
        """
        from tuner.report.write import write_report

        written = write_report([run.folder for run in (self, *others)], path_or_none(output), data_root=path_or_none(data_root))
        if wandb:
            from tuner.report.sent import send_to_wandb

            for part in written.parts:
                send_to_wandb(part)
        return written.page

    @property
    def figures(self) -> dict[str, plotly.graph_objects.Figure]:
        """The figures of its report by name, as plotly's, so that a notebook shows them."""
        from .figures import figures

        return figures(self.folder)

    def watch(self, *, host: str = "127.0.0.1", port: int = 8800) -> None:
        """Serves the page to a browser of this machine, until Ctrl-C: `tuner watch`."""
        from tuner.report.watch import serve

        serve(self.folder, host, port, print)
