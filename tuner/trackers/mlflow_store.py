"""Where MLflow keeps the runs of a search: it is asked what it has, so that nothing is recorded twice."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.space.tracking import Mlflow

SEARCH = "tuner.search"  # the tag by which the runs of a search are found: its id
PART = "tuner.part"  # `search`, or a trial's number
FILE, ARTIFACTS = "mlflow.db", "mlflow.artifacts"  # beside the runs, where nothing else was said
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # else MLflow tells its makers of the search
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # else two lines among ours for each trial that ends
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",  # half a minute; with MLflow's own 7 the end of a search waits four for a server that is gone
}
_PARAMS, _METRICS = 100, 1000  # that MLflow takes at once
_LONGEST = 5000  # characters of a value


@dataclass(frozen=True, kw_only=True)
class Store:
    """The runs of one search. `search`: its id. `client`: MLflow's; `experiment`: its number there."""

    search: str
    client: Any
    experiment: str

    @staticmethod
    def of(asked: Mlflow, folder: Path, search: str) -> Store:
        """That of the run in `folder`; makes the experiment where there is none.

        Raises:
            mlflow.exceptions.MlflowException: there is no such store, or it does not answer.
        """
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)  # a new file's tables are no news
        uri = tracking_uri(asked, folder)
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(asked.experiment)
        if found is not None:
            return Store(search=search, client=client, experiment=found.experiment_id)
        try:
            made = client.create_experiment(asked.experiment, artifact_location=_artifacts(uri))
        except MlflowException:
            found = client.get_experiment_by_name(asked.experiment)  # another search was faster
            if found is None:
                raise
            made = found.experiment_id
        return Store(search=search, client=client, experiment=made)

    def runs(self) -> dict[str, Any]:
        """What the store has of the search, by part."""
        found: dict[str, Any] = {}
        page = None
        while True:
            runs = self.client.search_runs([self.experiment], filter_string=f"tags.`{SEARCH}` = '{self.search}'", page_token=page)
            found |= {run.data.tags[PART]: run for run in runs if PART in run.data.tags}
            page = runs.token
            if not page:
                return found

    def begin(self, part: str, name: str, tags: Mapping[str, Any]) -> Any:
        """A new run."""
        known = {key: str(value)[:_LONGEST] for key, value in {**tags, SEARCH: self.search, PART: part}.items() if value is not None}
        return self.client.create_run(self.experiment, run_name=name, tags=known)

    def log(self, run: str, *, params: Mapping[str, Any] = {}, metrics: Iterable[Any] = (), tags: Mapping[str, Any] = {}) -> None:
        """Any number of them. `metrics`: MLflow's entities."""
        from mlflow.entities import Param, RunTag

        given = [Param(key, str(value)[:_LONGEST]) for key, value in params.items()]
        for few in _in_pieces(given, _PARAMS):
            self.client.log_batch(run, params=few)
        for some in _in_pieces(list(metrics), _METRICS):
            self.client.log_batch(run, metrics=some)
        said = [RunTag(key, str(value)[:_LONGEST]) for key, value in tags.items() if value is not None]
        if said:
            self.client.log_batch(run, tags=said)

    def last_step(self, run: Any) -> int:
        """The last step that a run has a metric of."""
        histories = (self.client.get_metric_history(run.info.run_id, name) for name in run.data.metrics)
        return max((metric.step for history in histories for metric in history), default=0)


def tracking_uri(asked: Mlflow, folder: Path) -> str:
    """The store's address for MLflow; `folder`: the run's."""
    return asked.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute().parent / FILE}"


def _artifacts(uri: str) -> str | None:
    """Beside a store that is a file; a server knows its own place."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).absolute().parent / ARTIFACTS).as_uri()


def _in_pieces(whole: list[Any], size: int) -> Iterator[list[Any]]:
    for first in range(0, len(whole), size):
        yield whole[first : first + size]
