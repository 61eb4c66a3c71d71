"""One training in pictures: what is to be kept while it runs, and where its page lies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.inference.assign import Assigner
from tuner.inference.clustered import Clustered, clustered
from tuner.runs.course import Moment
from tuner.search.completed import Setup, moment_of
from tuner.training.engine import best_device
from tuner.training.loop import Epoch

if TYPE_CHECKING:
    from tuner.data.examine import Findings
    from tuner.model import Hyper, Model
    from tuner.training.checkpoint import Snapshot


class Pictured:
    """Listens to a training: what it made of a fixed subsample after a few epochs, of which the maps by epoch are drawn."""

    def __init__(self, model: Model, hyper: Hyper, found: Findings) -> None:
        """`found`: of the data that it trains on."""
        self._model, self._hyper, self._found = model, hyper, found
        self.moments: list[Moment] = []

    def listen(self, epochs: Iterable[Epoch]) -> Iterator[Epoch]:
        """The epochs, as they come."""
        data = self._found.data.to(best_device())
        for epoch in epochs:
            moment = moment_of(Setup(self._model, self._hyper, data), epoch)
            if moment is not None:
                self.moments.append(moment)
            yield epoch

    def clustered(self, snapshot: Snapshot) -> Clustered:
        """What the training came to. `snapshot`: of its last epoch, which did not diverge."""
        assigner = Assigner(snapshot, device=best_device(), model=self._model)
        found = clustered(assigner, self._found.data, self.moments)
        return replace(found, epoch=snapshot.cluster_epoch, names_D=self._found.names_D, names_C=self._found.names_C)


def page_of(what: str, model: Model, data: str) -> Path:
    """Beside the file of a configuration, with its name; of a model by name in the current folder. `data`: the name of the data."""
    if what.endswith((".yaml", ".yml")):
        return Path(what).with_suffix(".html")
    short = Path(data.partition(":")[2]).stem if ":" in data else data
    return Path(re.sub(r"[^\w.-]+", "-", f"{model.name}-{short}") + ".html")
