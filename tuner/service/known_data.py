"""The data of a run, which it goes on with alone."""

from __future__ import annotations

import logging
from pathlib import Path

from tuner.data.cache import load_once
from tuner.data.datasets import DatasetSpec
from tuner.data.fingerprint import Fingerprint
from tuner.data.raw import data_root
from tuner.runs.records import About
from tuner.search.same_data import check_data

logger = logging.getLogger("tuner")


def same_data(name: str, about: About, dataset: DatasetSpec, root: Path | None) -> Fingerprint:
    """The fingerprint of the data as they are now.

    Raises:
        UserError: the run was made with others.
    """
    before, now = Fingerprint.read(about.get("data")), load_once(dataset, data_root(root)).identity
    check_data(name, before, now, dataset)
    if before is None:
        logger.warning("%s was begun by a version that did not note its data. From now on it knows those of %s.", name, dataset.name)
    return now
