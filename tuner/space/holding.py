"""The key `holdout`: which part of the data no trial sees, so that the search reports on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.data.holdout import TEST, Holdout, size_of
from tuner.model import DataSpec, Model

from .located import Located, Problems

if TYPE_CHECKING:
    from .reading import Reading

LEAST, MOST = 0.01, 0.9


def read_holdout(reading: Reading, key: str) -> Holdout | None:
    """None: trials train on all samples, and are selected by all."""
    node = reading.nodes.get(key)
    if node is None or node.word == "none":
        return None
    if node.word == TEST:
        return TEST
    value = node.value
    if isinstance(value, int | float) and not isinstance(value, bool) and LEAST <= value <= MOST:
        return float(value)
    problem = f"'holdout' must be none, test (the published test split) or a share from {LEAST:g} to {MOST:g}, but got {node.shown}."
    reading.problems.at(node, problem)
    return None


def check_holdout(node: Located, holdout: Holdout, model: Model, data: DataSpec, problems: Problems) -> None:
    """What a held-out part asks of the model and the data."""
    if holdout == TEST and not data.n_test:
        problems.at(node, "the data have no published test split to hold out. Hold a share of the samples out, such as 0.2.")
    elif size_of(holdout, data.n_samples, data.n_test) < 2:
        problems.at(node, f"of {data.n_samples} samples that holds fewer than two out. Hold a larger share out.")
    if model.labels == "partial":
        problems.at(
            node, f"{model.name} keeps the published test split from training by itself: search by 'error', and report 'error_test'."
        )
    elif model.transductive:
        problems.at(node, f"{model.name} clusters no samples but those that it was trained on, so none can be held out.")
