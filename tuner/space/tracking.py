"""The key `mlflow`: whether MLflow hears of a search, and where."""

from __future__ import annotations

from dataclasses import dataclass

from .reading import Reading

EXPERIMENT = "tuner"
EXAMPLE = "{uri: http://127.0.0.1:5000, experiment: digits}"
_SCHEMES = ("sqlite:", "http:", "https:", "postgresql", "mysql", "mssql", "databricks")


@dataclass(frozen=True, kw_only=True)
class Mlflow:
    """An MLflow store. `uri`: None, the one that MLFLOW_TRACKING_URI names, or a file beside the runs."""

    uri: str | None = None
    experiment: str = EXPERIMENT

    @property
    def words(self) -> str:
        return f"experiment {self.experiment}{f' at {self.uri}' if self.uri else ''}"


def read_mlflow(reading: Reading, key: str) -> Mlflow | None:
    """None: MLflow hears of nothing."""
    node = reading.nodes.get(key)
    if node is None or node.word == "none" or node.value is False:
        return None
    if node.value is True:
        return Mlflow()
    if not isinstance(node.value, dict):
        reading.problems.at(node, f"'mlflow' must be true, none or a mapping such as {EXAMPLE}, but got {node.shown}.")
        return None
    reading.only("'mlflow'", node.value, ("uri", "experiment"))
    found = {}
    for name in node.value.keys() & {"uri", "experiment"}:
        part = node.value[name]
        if not isinstance(part.value, str) or not part.value.strip():
            reading.problems.at(part, f"'mlflow.{name}' must be text, but got {part.shown}.")
        elif name == "uri" and not part.value.startswith(_SCHEMES):
            known = "sqlite:///PATH, http://HOST:PORT or https://HOST"
            reading.problems.at(part, f"'mlflow.uri' must be {known}, but is {part.shown}: MLflow keeps nothing in plain folders any more.")
        else:
            found[name] = part.value
    return Mlflow(**found)
