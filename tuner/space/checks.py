"""What can be wrong with a search whose every line is right by itself: metric, data, method and model do not fit together."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from tuner.metrics import METRICS, label_free, uses_labels
from tuner.model import DataSpec

from .checked import Checked
from .data_checks import check_data
from .located import Located, Problems
from .renewals import notes_of_renewals
from .spec import Spec
from .structure_checks import check_structure


def check(spec: Spec, keys: Mapping[str, Located], pins: Mapping[str, Located], problems: Problems, root: Path | None) -> list[str]:
    """Adds what is wrong to `problems` and returns notes on what is legal but may surprise. `root`: where data files live."""
    section = keys.get("parameters")
    entries = section.value if section is not None and isinstance(section.value, dict) else {}
    search = Checked(spec=spec, model=spec.loaded(), keys=keys, entries={**entries, **pins}, problems=problems)
    of_data: list[str] = []
    data = check_data(search, root, of_data)
    for name, at in search.deciding.items():
        _check_metric(search, data, name, at)
    _check_select(search, search.deciding)
    if "metrics" in keys:
        _check_several(search)
    return [*of_data, *_notes(search), *_check_method(search), *check_structure(search), *notes_of_renewals(search, data)]


def _check_several(search: Checked) -> None:
    """What does not go together with several metrics."""
    spec, keys = search.spec, search.keys
    if spec.metrics is None:
        return
    if spec.score != "last":
        rule = "each by itself would take another epoch, or smooth its own values; say score: last"
        search.problems.at(keys["score"], f"'score' cannot be {spec.score} where several metrics decide: {rule}.")
    if spec.method == "cmaes":
        search.problems.at(keys["method"], "method 'cmaes' goes by one metric. For several use tpe, gp, random, qmc or grid.")
    if not spec.seeds.single:
        search.problems.at(
            keys["seed"], "'seed' must be a number where several metrics decide: their means over seeds are not compared yet."
        )


def _check_metric(search: Checked, data: DataSpec | None, name: str, at: Located) -> None:
    measure = METRICS.get(name)
    if measure is not None and measure.needs == "labels" and data is not None and data.n_classes is None:
        others = ", ".join([*label_free(), *(f"loss/{term}" for term in search.model.terms)])
        search.problems.at(at, f"'{name}' needs labels, and {search.spec.dataset.name} has none. Without labels there are {others}.")
    if measure is not None and measure.needs == "some labels" and search.model.labels != "partial":
        search.problems.at(at, f"'{name}' needs a model that is given some labels, and {search.model.name} is given none. Use acc.")
    elif name == "error_test" and data is not None and not data.n_test:
        why = f"the published test split, and {search.spec.dataset.name} has none"
        search.problems.at(at, f"'error_test' is of {why}. Use error, which is of the samples whose labels the model is not given.")
    n_clusters = search.spec.ranges.get("n_clusters")
    if measure is not None and measure.with_k and n_clusters is not None and n_clusters.searched:
        no_labels = search.spec.key("select").labels == "never" or (data is not None and data.n_classes is None)
        *free, last = (other for other in label_free() if not METRICS[other].with_k)
        instead = f"Give it one value, or decide by {', '.join(free)} or {last}." if no_labels else "Use acc, nmi or ari."
        search.problems.at(at, f"'n_clusters' cannot be searched by '{name}': {measure.with_k}. {instead}")


def _check_select(search: Checked, metrics: Mapping[str, Located]) -> None:
    """With `labels: never` nothing that looks at labels may decide. `metrics`: those that decide, and where each is named."""
    if search.spec.key("select").labels != "never":
        return
    if search.model.labels == "partial":
        rule = "a model that is given labels has looked at them in everything that it measures"
        search.problems.at(search.keys["model"], f"'{search.model.name}' cannot be searched with select: {{labels: never}}: {rule}.")
        return
    free = ", ".join([*label_free(), *(f"loss/{term}" for term in search.model.terms)])
    for name, at in metrics.items():
        if uses_labels(name):
            search.problems.at(
                at, f"'{name}' looks at the labels, and select: {{labels: never}} forbids that it decides. Use one of {free}."
            )


def _notes(search: Checked) -> Iterator[str]:
    """Notes on what the lines of the file mean."""
    if "error_test" in search.spec.objectives:
        yield "'error_test' chooses on the test split, and looks better than it is. Choose by error, and report error_test."
    if "silhouette" in search.spec.objectives:
        yield "'silhouette' is of the codes, which training shapes: drawn to their centres they score high, rightly or wrongly."
    if search.spec.score == "max" and uses_labels(search.spec.metric.name):
        yield f"With score: max the labels choose each trial's best epoch, too: '{search.spec.metric.name}' looks better than it is."
    for found in search.spec.searched():
        p = search.spec.known.get(found.name)
        if p is not None and p.kind is float and found.kind == "int_uniform" and "distribution" not in search.entries[found.name].value:
            rule = f"since {found.min} and {found.max} have no point (W&B's rule)"
            yield f"'{found.name}' takes whole numbers only, {rule}. Write {found.min}.0 and {found.max}.0 for a continuous range."


def _check_method(search: Checked) -> list[str]:
    """Refuses what a method cannot do with this space; notes on what it does badly."""
    spec, node = search.spec, search.keys.get("method")
    priors = [found.name for found in spec.searched() if found.prior is not None]
    if spec.method == "grid" and priors:
        rule = "a grid tries everything, so that no guess is needed"
        search.problems.at(search.entries[priors[0]], f"'{priors[0]}': {rule}. Leave `prior` out.")
    if spec.method == "grid":
        for found in spec.searched():
            if found.options is None:
                said = f"'{found.name}' is {found.kind} over fractions: a grid needs `values` or whole numbers."
                search.problems.at(search.entries[found.name], said)
    if spec.method == "cmaes" and node is not None and importlib.util.find_spec("cmaes") is None:
        search.problems.at(node, "method 'cmaes' needs the package cmaes: pip install cmaes.")
    alone = {
        "cmaes": [found.name for found in spec.searched() if found.kind == "values" or found.when],
        "qmc": [found.name for found in spec.searched() if found.kind == "values" or found.when],
        "gp": [found.name for found in spec.searched() if found.when],
    }.get(spec.method)
    return [f"Method {spec.method} leaves {', '.join(alone)} to chance: it is for numbers without conditions."] if alone else []
