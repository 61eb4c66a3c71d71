"""A search as a report in W&B: what its own run is given, the report's specification, and what W&B's cloud sees of both."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from kit.journals import write_run
from kit.wandb_cloud import Cloud, answering
from kit.wandb_files import artifacts, read_run
from kit.winners import with_winner
from PIL import Image

from tuner import train
from tuner.errors import UserError
from tuner.report import at_end, sent
from tuner.report.at_end import wandb_at_end
from tuner.report.exhibits import exhibits_of
from tuner.report.material import read_material
from tuner.report.sections import Part
from tuner.report.sent import send_to_wandb
from tuner.trackers.wandb_media import NotTakenError
from tuner.trackers.wandb_opening import Opening
from tuner.trackers.wandb_recorded import Recorded
from tuner.trackers.wandb_report import Specification, built

needs_workspaces = pytest.mark.skipif(
    importlib.util.find_spec("wandb_workspaces") is None, reason="wandb-workspaces, the extra wandb-report, is not installed"
)


@pytest.fixture(autouse=True)
def nobodys_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No login, no settings of whoever runs the tests, and an address at which nobody listens."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    wandb.teardown()  # it reads its environment once in a process
    yield
    wandb.teardown()


@pytest.fixture(scope="module")
def training() -> Any:
    return train("idec", limit=300, seed=1, set={"hidden": 16, "latent_dim": 5, "pretrain_epochs": 1, "epochs": 1})


def a_search(folder: Path, training: Any, *, registered: bool) -> Part:
    dataset = {"name": "digits", "limit": 300}
    write_run(folder, 12, 3, model="idec", dataset={"scale": None, **dataset})
    with_winner(folder, training, dataset)
    (folder / "wandb").mkdir()
    (folder / "wandb" / "sweep.json").write_text(json.dumps({"id": "sw33p1d0", "registered": registered}))
    (folder / "wandb" / "told.jsonl").write_text(json.dumps({"step": 12, "ends": 12, "piece": "run-0"}) + "\n")
    return Part.of(read_material(folder))


def test_offline_the_media_are_recorded_and_the_specification_is_kept_for_later(tmp_path: Path, training: Any) -> None:
    folder, said = tmp_path / "one", []
    part = a_search(folder, training, registered=False)
    kept = send_to_wandb(part, said.append)
    wandb.teardown()
    assert Specification.read(folder) == kept and kept.curves == ("acc", "nmi") and kept.url is None
    assert [line.partition(" (")[0].partition(":\n")[0] for line in said] == [
        "W&B: pictures and tables recorded offline. To send them",
        "W&B: no report yet",
    ]
    assert said[1].endswith(f"tuner report {folder} --wandb") and "no login on this machine" in said[1]

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    run = read_run(path)
    assert (run.id, run.group, run.job_type) == ("one-sw33p1d0-search", "one", "search")
    (logged,) = run.history
    exhibits = exhibits_of(part)
    kinds = {name.removesuffix("/_type"): value for name, value in logged.items() if name.endswith("/_type")}
    expected = {"image-file": exhibits.images, "plotly-file": exhibits.figures, "table-file": exhibits.tables}
    assert kinds == {f"report/{name}": kind for kind, names in expected.items() for name in names}
    assert set(kept.media) | set(kept.tables) == {*kinds, "trials"} and "report/nearest-samples" in kept.media
    media = {name.removeprefix("report/"): path.parent / "files" / logged[f"{name}/path"] for name in kinds}
    for name, content in exhibits.images.items():
        assert Image.open(media[name]).tobytes() == Image.open(_file(tmp_path, content)).tobytes()
    for name, figure in exhibits.figures.items():
        drawn = json.loads(media[name].read_text())
        assert [trace["type"] for trace in drawn["data"]] == [trace.type for trace in figure.data]
    table = json.loads(media["top-configurations"].read_text())
    assert table["columns"] == list(exhibits.tables["top-configurations"].columns)
    assert table["data"] == [list(row) for row in exhibits.tables["top-configurations"].rows]
    (artifact,) = (one for one in artifacts(path) if one.type == "model")  # W&B keeps each table as one, too
    assert artifact.name == "one-sw33p1d0-search-winner"
    files = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    assert set(files) == {"best.yaml", "best.safetensors"}
    for name, copy in files.items():
        assert folder in copy.parents and copy.read_bytes() == (folder / name).read_bytes()

    send_to_wandb(part, said.append)
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1 and len(said) == 3, "it has them"


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "image.png"
    path.write_bytes(content)
    return path


def test_a_search_that_wandb_was_not_told_of_or_that_still_runs_is_refused(tmp_path: Path, training: Any, tuner: Any) -> None:
    write_run(tmp_path / "run", 2, 2)
    code, _, said = tuner("report", str(tmp_path / "run"), "--wandb")
    assert code == 2 and "W&B was not told of run" in said
    part, here = a_search(tmp_path / "open", training, registered=False), {"host": socket.gethostname(), "pid": os.getpid()}
    (tmp_path / "open" / "status.json").write_text(json.dumps({"status": "running", "started": 0.0, "seconds": 9.0, **here}))
    with pytest.raises(UserError, match="open has not ended"):
        send_to_wandb(Part(run=read_material(tmp_path / "open"), sections=part.sections))
    (tmp_path / "open" / "wandb" / "report.json").write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        Specification.read(tmp_path / "open")


def test_what_wandb_refuses_halfway_is_one_message_and_is_given_again(
    tmp_path: Path, training: Any, tuner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, log = tmp_path / "run", wandb.Run.log_artifact
    a_search(folder, training, registered=False)

    def full(run: wandb.Run, artifact: wandb.Artifact, *given: Any, **named: Any) -> Any:
        if artifact.type == "model":  # the last of them; a table is one, too
            raise wandb.Error("the storage is full")
        return log(run, artifact, *given, **named)

    with monkeypatch.context() as broken:
        broken.setattr(wandb.Run, "log_artifact", full)
        code, _, said = tuner("report", str(folder), "--wandb")
    assert code == 2 and "pictures and tables of run: the storage is full." in said and "Traceback" not in said
    kept = Specification.read(folder)
    assert kept is not None and str(folder / "wandb" / "report.json") in said and said.rstrip().endswith(f"tuner report {folder} --wandb")

    assert tuner("report", str(folder), "--wandb")[0] == 0
    wandb.teardown()
    pieces = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    assert [line["_step"] for path in pieces for line in read_run(path).history] == [13, 14], "W&B drops what comes at a step again"
    assert any(one.type == "model" for one in artifacts(pieces[-1])) and Specification.read(folder) != kept


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    yield from answering(monkeypatch)


def test_a_cloud_that_refuses_the_run_is_one_message(tmp_path: Path, training: Any, cloud: Cloud) -> None:
    cloud.refuses_runs = True
    with pytest.raises(UserError, match=r"W&B did not take .* of run: .*permission denied"):
        send_to_wandb(a_search(tmp_path / "run", training, registered=True))
    assert Specification.read(tmp_path / "run") is not None


@pytest.mark.slow
def test_an_artifact_that_the_cloud_refuses_behind_its_files_is_one_message_and_is_given_again(
    tmp_path: Path, training: Any, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B takes an artifact and sends it later: only whoever waits for it hears of that."""
    monkeypatch.setattr(sent, "create", lambda made: (made, "no report in this test"))
    folder, said = tmp_path / "run", []
    part = a_search(folder, training, registered=True)
    cloud.refuses_artifacts = True
    with pytest.raises(UserError, match=rf"W&B did not take .* of run: .*the storage is full.*{folder} --wandb$"):
        send_to_wandb(part, said.append)
    kept = Specification.read(folder)
    assert kept is not None and kept.winner == "", "it is still to be given"
    cloud.refuses_artifacts = False
    made = send_to_wandb(part, said.append)
    assert made.winner and [line["_step"] for line in cloud.history(kept.search)] == [13, 14]


def test_a_run_whose_opening_failed_before_is_opened_at_the_end_and_not_in_use(
    tmp_path: Path, training: Any, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under load, where the cloud took too long for the search's own run: W&B's process goes on to hold its id."""
    monkeypatch.setattr(sent, "create", lambda made: (made, "no report in this test"))
    part = a_search(tmp_path / "run", training, registered=True)
    search = Recorded.of(tmp_path / "run", "run")
    opening = Opening(folder=search.folder, search=search.name, id=search.search_id, name=search.name, job_type="search")
    cloud.refuses_runs = True
    with pytest.raises(wandb.Error):
        opening.open("online")
    cloud.refuses_runs = False
    with pytest.raises(Exception, match="is in use"):
        opening.open("online")
    assert send_to_wandb(part, lambda line: None).winner
    assert "report/nearest-samples" in cloud.history(search.search_id)[-1]


@needs_workspaces
@pytest.mark.slow
def test_online_the_cloud_sees_the_report_the_media_and_the_artifact(tmp_path: Path, training: Any, cloud: Cloud) -> None:
    import wandb_workspaces.reports.v2 as wr

    folder = tmp_path / "run"
    part = a_search(folder, training, registered=True)
    said = wandb_at_end(part, "online")
    wandb.teardown()
    kept = Specification.read(folder)
    assert kept is not None and said == [f"W&B: {kept.url}"] and kept.entity == "me"
    (view,) = cloud.views.values()
    assert kept.id == view["id"] and view["displayName"] == "run"
    (logged,) = cloud.history(kept.search)
    assert {"report/nearest-samples", "report/confusion"} <= logged.keys() and logged["report/nearest-samples"]["_type"] == "image-file"
    assert any(name.startswith("media/images/report/nearest-samples") for name in cloud.uploaded)
    assert any(name.startswith("media/table/report/top-configurations") for name in cloud.uploaded)
    assert set(cloud.artifacts["run-sw33p1d0-search-winner"]) == {"best.yaml", "best.safetensors"}

    loaded, made = wr.Report.from_url(kept.url), built(kept)
    assert [_said(block) for block in loaded.blocks] == [_said(block) for block in made.blocks]
    loaded.save()
    assert repr(wr.Report.from_url(kept.url)) == repr(loaded)

    again = send_to_wandb(part, said.append)
    assert again == kept and len(cloud.views) == 1, "it is the same report"
    assert len(cloud.history(kept.search)) == 1, "and the run has its media"


def test_offline_a_search_ends_with_the_specification_alone(tmp_path: Path, training: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    part = a_search(folder, training, registered=False)
    monkeypatch.setattr(at_end, "can_be_made", lambda: True)
    before = sorted(folder.rglob("*"))
    for mode in ("offline", "online"):
        assert wandb_at_end(part, mode) == [f"W&B: the report is kept. To make it later: tuner report {folder} --wandb"]
    kept = Specification.read(folder)
    assert kept is not None and kept.curves == ("acc", "nmi") and kept.winner == "", "the media are still to be given"
    assert sorted(folder.rglob("*")) == sorted([*before, folder / "wandb" / "report.json"])
    assert wandb_at_end(part, "disabled") == [] and wandb_at_end(part, None) == []


def test_without_the_package_a_search_ends_with_how_to_get_it(tmp_path: Path, training: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    part = a_search(tmp_path / "run", training, registered=True)
    monkeypatch.setattr(at_end, "can_be_made", lambda: False)
    (said,) = wandb_at_end(part, "online")
    assert "pip install 'tuner[wandb-report]'" in said and said.endswith(f"tuner report {tmp_path / 'run'} --wandb")
    assert wandb_at_end(part, "offline") == [], "who is offline has not asked for a report there"
    assert wandb_at_end(a_search(tmp_path / "unknown", training, registered=False), "online") == []


def test_a_search_is_done_whatever_its_report_in_wandb_does(tmp_path: Path, training: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    part = a_search(tmp_path / "run", training, registered=True)
    monkeypatch.setattr(at_end, "can_be_made", lambda: True)
    monkeypatch.setattr(sent, "why_offline", lambda: None)
    for error in (NotTakenError("the storage is full"), OSError("no space left"), KeyboardInterrupt()):

        def fail(*_: Any, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(sent, "log_exhibits", fail)
        (said,) = wandb_at_end(part, "online")
        assert "no report yet" in said and (str(error) or "interrupted") in said and f"tuner report {tmp_path / 'run'} --wandb" in said
    notes = tmp_path / "run" / "wandb" / "told.jsonl"
    notes.write_text(json.dumps({"step": 3, "ends": 3, "piece": "run-1"}) + "\n")
    assert "has not arrived" in wandb_at_end(part, "online")[0], "the search's own run lacks trials"
    notes.write_text(json.dumps({"step": 12, "ends": 12, "piece": "run-1"}) + "\n" + json.dumps({"opened": True}) + "\n")
    assert "has not arrived" in wandb_at_end(part, "online")[0], "a later driver opened it again, and still sends"


def _said(block: Any) -> Any:
    """What a block says: as W&B reads it back, a name is written otherwise, and the places of some panels are missing."""
    if not hasattr(block, "panels"):
        return repr(block)
    runsets = [(one.name, one.entity, one.project, one.filters.replace('"', "'")) for one in block.runsets]
    fields = ("title", "columns", "with_respect_to", "x", "y", "media_keys", "table_name")
    panels = [(type(panel), [_names(getattr(panel, field, None)) for field in fields]) for panel in block.panels]
    return runsets, panels


def _names(value: Any) -> Any:
    return [_names(one) for one in value] if isinstance(value, list) else getattr(value, "name", repr(value).strip("'"))
