"""What MLflow is given, as MLflow's own client reads it back: a real store in a file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from kit.journals import write_run
from kit.waiting import until

pytest.importorskip("mlflow", reason="mlflow-skinny, the extra mlflow, is not installed")


from tuner.errors import UserError
from tuner.report.at_end import mlflow_at_end
from tuner.report.exhibits import exhibits_of
from tuner.report.write import write_report
from tuner.runs.events import OpenTrial, Past, Run, TrialEnd
from tuner.service import trackers
from tuner.space.reader import Options, read_space
from tuner.space.tracking import Mlflow
from tuner.trackers.mlflow import MlflowRuns
from tuner.trackers.mlflow_store import Store, tracking_uri

ENDS = {0: "complete", 1: "pruned", 2: "collapsed", 3: "failed", 4: "stopped"}
SPACE = "model: kmeans\ndataset: digits\nmetric: {name: acc}\nparameters: {n_clusters: {values: [7, 10]}}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: all tests share its store, whose tables take seconds to make."""
    return tmp_path_factory.mktemp("runs")


def a_run(place: Path, name: str) -> Run:
    (place / name).mkdir(exist_ok=True)
    spec = read_space("aae_unsup", options=Options(trials=6))
    return Run(name=name, folder=place / name, spec=spec, info={"id": name.encode().hex()[:16].ljust(16, "0"), "commit": "0123abc"})


def config_of(trial: int) -> dict[str, Any]:
    return {"lr_ae": 1e-3 * (trial + 1), "weights.cyclic": 0.44, "updates": "joint", "use_cyclic": True, "seed": 1000 + trial}


def line_of(trial: int, epoch: int) -> Any:
    metrics = {"acc": 0.1 * trial + 0.01 * epoch, "loss/recon": 1 / epoch}
    phase = {"phase": "pretrain", "cluster_epoch": None} if epoch == 1 else {"phase": "train", "cluster_epoch": epoch - 1}
    return {"trial": trial, "epoch": epoch, **phase, "metrics": metrics, "time": 100.0 + epoch}


def end_of(trial: int, state: str, epochs: int = 3) -> TrialEnd:
    score = 0.5 + 0.1 * trial if state == "complete" else None
    return TrialEnd(trial=trial, state=state, config=config_of(trial), score=score, epochs=epochs, seconds=1.5)


def begun(listener: MlflowRuns, run: Run, trials: Iterable[int], epochs: Iterable[int]) -> None:
    listener.search_started(run)
    for trial in trials:
        listener.trial_started(trial, config_of(trial))
        for epoch in epochs:
            listener.epoch_ended(trial, line_of(trial, epoch))


class Kept:
    """What the store has of a search."""

    def __init__(self, place: Path, run: Run) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=tracking_uri(Mlflow(), run.folder))
        experiment = self.client.get_experiment_by_name("tuner")
        found = self.client.search_runs([experiment.experiment_id], f"tags.`tuner.search` = '{run.info['id']}'")
        self.runs = {one.data.tags["tuner.part"]: one for one in found}
        assert len(found) == len(self.runs), "no run is there twice"

    def steps(self, part: str, metric: str = "acc") -> list[tuple[int, float]]:
        history = self.client.get_metric_history(self.runs[part].info.run_id, metric)
        return sorted((one.step, one.value) for one in history)


def test_every_trial_is_a_run_with_parameters_every_epochs_metrics_and_how_it_ended(place: Path) -> None:
    run, said = a_run(place, "whole"), []
    listener = MlflowRuns(Mlflow(), say=said.append)
    begun(listener, run, ENDS, (1, 2, 3))
    for trial, state in ENDS.items():
        listener.trial_ended(end_of(trial, state))
    listener.search_ended("done")
    kept = Kept(place, run)
    assert said == [] and set(kept.runs) == {"search", *map(str, ENDS)}
    one = kept.runs["1"]
    assert one.data.params == {name: str(value) for name, value in config_of(1).items()}
    assert kept.steps("1") == [(epoch, line_of(1, epoch)["metrics"]["acc"]) for epoch in (1, 2, 3)]
    assert kept.steps("1", "cluster_epoch") == [(2, 1.0), (3, 2.0)], "pre-training has none"
    assert kept.client.get_metric_history(one.info.run_id, "acc")[0].timestamp == 101_000
    expected = {
        "state": "pruned",
        "seed": "1001",
        "commit": "0123abc",
        "model": "aae_unsup",
        "mlflow.parentRunId": kept.runs["search"].info.run_id,
    }
    assert expected.items() <= one.data.tags.items() and one.info.run_name == "whole #1"
    assert {trial: kept.runs[str(trial)].info.status for trial in ENDS} == {
        0: "FINISHED", 1: "FINISHED", 2: "FINISHED", 3: "FAILED", 4: "KILLED",
    }  # fmt: skip
    search = kept.runs["search"]
    assert search.data.metrics.items() >= {"trials/complete": 1.0, "trials/failed": 1.0, "best_score": 0.5, "best_trial": 0.0}.items()
    assert (search.info.status, search.data.tags["status"]) == ("FINISHED", "done")
    assert kept.runs["0"].data.metrics["score"] == 0.5 and "score" not in one.data.metrics


def test_a_killed_and_resumed_search_goes_on_in_the_same_runs_and_lacks_nothing(place: Path) -> None:
    """The first driver dies with two trials open. Its journal has an epoch and an end that MLflow was not sent."""
    run, said = a_run(place, "killed"), []
    first = MlflowRuns(Mlflow(), say=said.append)
    begun(first, run, (0, 1), (1, 2))
    first._events.put(None)  # it is gone: no end is sent
    until(lambda: first._thread is not None and not first._thread.is_alive())
    lines = [line_of(trial, epoch) for trial in (0, 1) for epoch in (1, 2)]
    lines += [line_of(0, 3), line_of(1, 3), end_of(0, "complete").line(0.0), end_of(1, "stopped").line(0.0)]
    (run.folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    metrics = [line_of(1, epoch)["metrics"] for epoch in (1, 2, 3)]
    goes_on = OpenTrial(config=config_of(1), metrics=metrics, score=None, shown=metrics[-1], seconds=1.0)
    past = Past(ends=(end_of(0, "complete"),), pruned=(), open={1: goes_on}, seconds=2.0)
    second = MlflowRuns(Mlflow(), say=said.append)
    begun(second, replace(run, past=past), (1,), (3, 4))  # it trains epoch 3 again: the checkpoint was older
    second.trial_ended(end_of(1, "complete", 4))
    second.search_ended("done")
    kept = Kept(place, run)
    assert said == [] and set(kept.runs) == {"search", "0", "1"}
    assert [[step for step, _ in kept.steps(part)] for part in ("0", "1")] == [[1, 2, 3], [1, 2, 3, 4]]
    assert [kept.runs[part].data.tags["state"] for part in ("0", "1")] == ["complete", "complete"]
    assert [kept.runs[part].info.status for part in ("0", "1", "search")] == ["FINISHED"] * 3
    assert kept.steps("search", "trials/complete") == [(1, 1.0), (2, 2.0)]


def test_the_search_waits_for_nothing_and_a_store_that_cannot_be_is_said_once(tmp_path: Path) -> None:
    run, said = a_run(tmp_path, "none"), []
    (tmp_path / "file").write_text("not a folder")
    listener = MlflowRuns(Mlflow(uri=f"sqlite:///{tmp_path}/file/mlflow.db"), say=said.append)
    begun(listener, run, (0, 1), (1, 2))
    listener.search_ended("done")
    assert len(said) == 1 and said[0].startswith("MLflow: not recorded: ")


def test_a_search_ends_with_its_page_pictures_tables_and_winner_as_artifacts(place: Path) -> None:
    run = a_run(place, "shown")
    listener = MlflowRuns(Mlflow(), say=print)
    begun(listener, run, (0,), (1,))
    listener.search_ended("done")
    run.folder.rmdir()
    folder = write_run(run.folder, 12, 3, id=run.info["id"], mlflow={"uri": None, "experiment": "tuner"})
    (folder / "best.yaml").write_text("lr: 0.1\n")
    written = write_report([folder])
    (part,) = written.parts
    for _ in range(2):  # again, as after a confirmation
        assert mlflow_at_end(part, written.page) == []
    kept = Kept(place, run)
    number = kept.runs["search"].info.run_id
    found = {entry.path for top in kept.client.list_artifacts(number) for entry in [top, *kept.client.list_artifacts(number, top.path)]}
    exhibits = exhibits_of(part)
    files = {f"figures/{name}.json" for name in exhibits.figures} | {f"tables/{name}.json" for name in exhibits.tables}
    assert {"report.html", "winner/best.yaml"} | files <= found
    here = Path(kept.client.download_artifacts(number, "tables/top-configurations.json"))
    sheet = exhibits.tables["top-configurations"]
    assert json.loads(here.read_text()) == {"columns": list(sheet.columns), "data": [list(row) for row in sheet.rows]}
    assert kept.runs["search"].data.tags["winner.trial"] == str(part.run.best.trial)

    stranger = write_run(place / "stranger", 3, 2, id="0" * 16, mlflow={"uri": None, "experiment": "tuner"})
    written = write_report([stranger])
    (said,) = mlflow_at_end(written.parts[0], written.page)
    assert "MLflow was not told of the search" in said


def test_the_key_says_where_and_a_missing_package_is_said_before_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = tmp_path / "space.yaml"

    def read(key: str) -> Any:
        space.write_text(SPACE + key)
        return read_space(str(space))

    assert read("").key("mlflow") is None and read("mlflow: none\n").key("mlflow") is None
    assert read("mlflow: true\n").key("mlflow") == Mlflow()
    spec = read("mlflow: {uri: 'http://127.0.0.1:5000', experiment: digits}\n")
    assert spec.key("mlflow") == Mlflow(uri="http://127.0.0.1:5000", experiment="digits")
    for wrong, rule in (("runs", "true, none or a mapping"), ("{uri: ./mlruns}", "plain folders"), ("{url: x}", "no key 'url'")):
        with pytest.raises(UserError, match=rule):
            read(f"mlflow: {wrong}\n")
    (listener,) = trackers.asked_for(spec)
    assert isinstance(listener, MlflowRuns) and trackers.asked_for(read("")) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'tuner\[mlflow\]'"):
        trackers.asked_for(spec)


class Answers(BaseHTTPRequestHandler):
    """A server that has one experiment and one run."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        info = {"run_id": "r", "run_name": "one", "experiment_id": "1", "status": "FINISHED", "artifact_uri": "mlflow-artifacts:/1"}
        known = {"run_info": info, "run": {"info": info, "data": {}}, "experiment": {"experiment_id": "1", "name": "tuner"}}
        body = json.dumps(known).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


def test_a_run_that_ends_on_a_server_prints_nothing_among_our_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        store = Store.of(Mlflow(uri=f"http://127.0.0.1:{server.server_port}"), tmp_path / "run", "s")
        store.client.set_terminated("r", "FINISHED")
    finally:
        server.shutdown()
        server.server_close()
    assert store.experiment == "1" and capfd.readouterr().out == ""
