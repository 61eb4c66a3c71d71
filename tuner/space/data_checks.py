"""What can be wrong between a search and its data: their range, their number of samples, their labels."""

from __future__ import annotations

from pathlib import Path

from tuner.data.datasets import describe
from tuner.data.examine import examine
from tuner.data.holdout import size_of
from tuner.errors import UserError
from tuner.model import DataSpec

from .checked import Checked
from .holding import check_holdout
from .located import Located


def check_data(search: Checked, root: Path | None, notes: list[str]) -> DataSpec | None:
    """The data that the search names, or None where it names none that can be used. `root`: where data files live. `notes`: doubts about
    a file of the user's own are added."""
    node = search.keys.get("dataset")
    if node is None or not search.spec.dataset.name:
        return None
    said = node.value if isinstance(node.value, dict) else {"name": node}
    try:
        data = _described(search, root, notes)
    except UserError as error:
        key = next((key for key in ("limit", "scale") if key in said and str(error).startswith(f"'{key}'")), "name")
        search.problems.at(said[key], str(error))
        return None
    if search.model.rebuilds_pixels and not data.unit_range:
        why = f"values of {search.spec.dataset.name} lie outside [0, 1], and {search.model.name} rebuilds pixels"
        if search.spec.dataset.scale == "standard":
            why = f"'scale: standard' puts values outside [0, 1], and {search.model.name} rebuilds pixels"
        search.problems.at(said.get("scale", said["name"]), f"{why}: say 'scale: minmax'.")
    partial, n_samples = search.model.labels == "partial", data.n_samples
    samples = f"{n_samples} samples"
    holdout = search.spec.key("holdout")
    if holdout is not None:
        check_holdout(search.keys["holdout"], holdout, search.model, data, search.problems)
        n_samples -= size_of(holdout, n_samples, data.n_test)
        samples = f"{n_samples} samples that are not held out"
    if partial:  # the test split is kept for the error on it
        n_samples -= data.n_test
        samples = f"{n_samples} samples before its test split" if data.n_test else samples
    for name, what in (("batch_size", "a batch"), ("n_clusters", "the clusters")):
        number = search.reach(name)
        if number.high > n_samples:
            rule = f"{what} cannot be more than the data's {samples}."
            search.problems.at(search.entries.get(name, node), f"'{name}' {number.said_high}, but {rule}")
    if partial:
        _labels(search, data, said["name"], samples)
    return data


def _described(search: Checked, root: Path | None, notes: list[str]) -> DataSpec:
    if ":" not in search.spec.dataset.name:
        return describe(search.spec.dataset, root)
    found = examine(search.spec.dataset, root)
    notes += [f"{search.spec.dataset.name}: {line}." for line in found.lines(int(search.reach("n_clusters").high))]
    return found.data.spec


def _labels(search: Checked, data: DataSpec, name: Located, samples: str) -> None:
    """What a model that learns from some labels asks of the data."""
    if data.n_classes is None:
        search.problems.at(name, f"{search.model.name} learns from some labels, and {search.spec.dataset.name} has none.")
        return
    clusters = search.reach("n_clusters")
    if not clusters.low == clusters.high == data.n_classes:
        rule = f"cluster k is class k: give it one value, {data.n_classes}, the classes of {search.spec.dataset.name}."
        search.problems.at(search.entries.get("n_clusters", name), f"'n_clusters' {clusters.said_high}, but {rule}")
    labels = search.reach("n_labels")
    if labels.low < data.n_classes:
        rule = f"every one of the {data.n_classes} classes of {search.spec.dataset.name} needs a label."
        search.problems.at(search.entries.get("n_labels", name), f"'n_labels' may be {labels.low}, but {rule}")
    elif labels.high >= data.n_samples - data.n_test - (0 if data.n_test else data.n_unknown):
        rule = f"fewer must be labelled than the data's {samples}."
        search.problems.at(search.entries.get("n_labels", name), f"'n_labels' {labels.said_high}, but {rule}")
