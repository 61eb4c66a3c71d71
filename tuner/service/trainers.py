"""What trains the trials of a search, as its space and its share of the machines say."""

from __future__ import annotations

from pathlib import Path

from tuner.data.fingerprint import Fingerprint
from tuner.data.raw import data_root
from tuner.machines.cluster import Share
from tuner.search import trainer
from tuner.search.trainer import Trainer
from tuner.space.spec import Spec


def new_trainer(spec: Spec, share: Share, root: Path | None, identity: Fingerprint | None = None) -> Trainer:
    """What trains the trials of a search, before it has a folder. `identity`: of the data, which it then trains on alone."""
    return trainer.Trainer(
        spec=spec,
        folder=Path(),
        dataset=spec.dataset.located(root),
        data_root=data_root(root),
        device="cuda" if share.gpu else "cpu",
        threads=share.threads,
        checkpoint_every=trainer.CHECKPOINT_EVERY_S,
        identity=identity,
    )
