"""Runs that are sent to a store, without Ray: what is there after each pass, who may send, and how they come back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from kit.stores import Server, journal

from tuner.errors import UserError
from tuner.runs.lock import LOCK
from tuner.stores import lock, uploads
from tuner.stores.downloads import bring, bring_all
from tuner.stores.store import Store, local_place
from tuner.stores.uploads import Uploads, place_of_runs


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(uploads, "EVERY_S", 3600.0)  # passes are made by hand
    monkeypatch.setattr(lock, "SETTLE_S", 0.0)
    monkeypatch.setattr(lock, "BEAT_S", 0.0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def a_run(uri: str, name: str = "r") -> tuple[Path, Store]:
    """A run's folder on this machine, and its place."""
    folder, store = local_place(uri) / name, Store(uri).at(name)
    (folder / "checkpoints").mkdir(parents=True)
    about = {"name": name, "uri": store.uri, "metric": {"name": "acc", "goal": "maximize"}}
    (folder / "spec.json").write_text(json.dumps(about))
    (folder / "status.json").write_text('{"status": "running", "host": "elsewhere", "pid": 1}')
    (folder / "results.jsonl").write_text(lines(0, 3))
    return folder, store


def lines(begin: int, end: int) -> str:
    return "".join(json.dumps({"trial": 0, "epoch": n, "metrics": {}, "time": 1.0}) + "\n" for n in range(begin + 1, end + 1))


def append(folder: Path, text: str) -> None:
    with (folder / "results.jsonl").open("a") as file:
        file.write(text)


# --- sending -----------------------------------------------------------------------------------------------------------


def test_what_is_in_the_folder_is_in_the_store_and_a_torn_line_is_not(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "SEGMENT", 200)
    folder, store = a_run(uri)
    for name in ("best.yaml", "checkpoints/000.safetensors", "checkpoints/.000.part", "study.journal.lock", "spec.json.tmp", "driver.lock"):
        (folder / name).write_text(name)
    with Uploads(folder, store) as sending:
        sending._attempt(last=False)
        assert journal(store).decode() == lines(0, 3)
        assert set(sending.sent().missing) == set()
        append(folder, lines(3, 20) + '{"torn')
        (folder / "best.yaml").write_text("another")
        (folder / "checkpoints" / "000.safetensors").unlink()
        assert set(sending.sent().missing) == {"results.jsonl", "best.yaml"}
        finished = [key for _, key in uploads.segments(store.files())][:-1]
        before = {key: store.read(key) for key in finished}
        sending._attempt(last=False)
        assert journal(store).decode() == lines(0, 20)
        assert {key: store.read(key) for key in finished} == before
        sizes = [size for key, size in store.files().items() if key.startswith("results/")]
        assert len(sizes) > 5 and max(sizes) <= 200
        plain = {key: store.read(key).decode() for key in store.files() if not key.startswith("results/") and key != LOCK}
        assert plain == {name: (folder / name).read_text() for name in ("best.yaml", "spec.json", "status.json")}
        assert store.read(LOCK)
    assert LOCK not in store.files()


def test_an_order_of_sending_in_which_no_trial_of_the_journal_is_unknown_to_the_study(tmp_path: Path) -> None:
    folder, store = a_run(f"file://{tmp_path}/store")
    (folder / "study.journal").write_text("before")
    with Uploads(folder, store) as sending:
        write = Store.write

        def meanwhile(self: Store, key: str, content: bytes) -> None:
            if key == "study.journal":  # the driver asks for a trial and journals its first epoch
                append(folder, lines(3, 4))
            write(self, key, content)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Store, "write", meanwhile)
            sending._attempt(last=False)
        assert journal(store).decode() == lines(0, 3)


@pytest.mark.slow
def test_a_store_that_is_away_is_told_once_and_caught_up_with(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, store = a_run(server.uri(f"bucket/{tmp_path.name}/runs"))
    with Uploads(folder, store) as sending:
        server.stop()
        try:
            sending._attempt(last=False)
            append(folder, lines(3, 5))
            sending._attempt(last=False)
            assert sending.sent().missing == ("results.jsonl", "spec.json", "status.json")
        finally:
            server.start()
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith(f"{store.place} cannot be reached: AWS Error NETWORK_CONNECTION")
        assert caplog.messages[0].endswith(f"The search goes on in {folder}; what is missing there is sent when it answers again.")
        sending._attempt(last=False)
        assert caplog.messages[1:] == [f"{store.place} answers again: all that was missing is there."]
        assert journal(store).decode() == lines(0, 5) and sending.sent().missing == ()


def test_a_folder_that_vanishes_takes_nothing_with_it(uri: str) -> None:
    folder, store = a_run(uri)
    with Uploads(folder, store) as sending:
        sending._attempt(last=False)
        there = store.files()
        folder.rename(folder.with_name("away"))
        sending._attempt(last=True)
        assert store.files() == there and sending.sent().missing == ("results.jsonl",)
        folder.with_name("away").rename(folder)


def test_what_is_left_over_is_sent_at_the_end_but_not_what_a_refusal_found(uri: str) -> None:
    folder, store = a_run(uri)
    with pytest.raises(UserError), Uploads(folder, store):
        raise UserError("the study is damaged")
    assert store.files() == {}
    with Uploads(folder, store) as sending:
        pass
    assert sending.sent().missing == () and journal(store).decode() == lines(0, 3)


# --- one driver --------------------------------------------------------------------------------------------------------


def elsewhere(store: Store) -> None:
    store.write(LOCK, json.dumps({"host": "elsewhere", "boot": "b", "pid": 1, "process_started": "1"}).encode())


def test_a_second_driver_is_refused_and_a_dead_ones_lock_is_taken_over(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, store = a_run(uri)
    with Uploads(folder, store), pytest.raises(UserError, match=rf"r has a driver already, process {os.getpid()} on "):
        Uploads(folder, store).__enter__()
    elsewhere(store)
    with pytest.raises(UserError, match=r"process 1 on elsewhere: .* given up 180 s after its last sign of life, which was \d s ago\."):
        Uploads(folder, store).__enter__()
    monkeypatch.setattr(lock, "DEAD_AFTER_S", -1.0)
    with Uploads(folder, store):
        assert json.loads(store.read(LOCK))["pid"] == os.getpid()


def test_of_two_that_begin_at_once_the_second_to_write_is_let_in(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, store = a_run(uri)
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: elsewhere(store))
    with pytest.raises(UserError, match="process 1 on elsewhere"):
        Uploads(folder, store).__enter__()


def test_a_driver_that_was_taken_for_dead_sends_nothing_more(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    folder, store = a_run(uri)
    with Uploads(folder, store) as sending:
        elsewhere(store)
        sending._attempt(last=False)
    assert caplog.messages == [f"{store.place} was taken over by a driver on elsewhere: nothing more is sent there from here."]
    assert set(store.files()) == {LOCK} and sending.sent().missing == ("results.jsonl", "spec.json", "status.json")


# --- bringing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sent(uri: str) -> tuple[Path, Store]:
    """A run in the store, from a machine whose folder is left out of the way: `home` is another's from then on."""
    folder, store = a_run(uri)
    (folder / "checkpoints" / "000.resume.safetensors").write_text("state")
    with Uploads(folder, store):
        pass
    away = folder.parent.with_name("away")
    folder.parent.rename(away)
    return away / "r", store


def test_a_run_is_brought_to_be_looked_at_and_whole_to_go_on(sent: tuple[Path, Store]) -> None:
    origin, store = sent
    folder = bring(store.uri, whole=False)
    assert {path.name for path in folder.iterdir()} == {"spec.json", "status.json", "results.jsonl", ".copy"}
    assert bring(store.uri, whole=True) == folder
    assert (folder / "checkpoints" / "000.resume.safetensors").read_text() == "state"
    store.write("status.json", b'{"status": "done"}')
    bring(store.uri, whole=False)
    assert json.loads((folder / "status.json").read_text())["status"] == "done"
    assert (folder / "results.jsonl").read_bytes() == (origin / "results.jsonl").read_bytes()


def test_what_a_driver_here_came_to_is_not_overwritten_and_what_came_elsewhere_is_fetched(sent: tuple[Path, Store]) -> None:
    _, store = sent
    folder = bring(store.uri, whole=True)
    with Uploads(folder, store):
        append(folder, lines(3, 5))
    append(folder, lines(5, 6))
    bring(store.uri, whole=False)
    assert (folder / "results.jsonl").read_text() == lines(0, 6)
    store.write(uploads.segment_key(0), lines(0, 9).encode())
    bring(store.uri, whole=False)
    assert (folder / "results.jsonl").read_text() == lines(0, 9)


def test_a_run_of_which_nothing_has_reached_the_store_goes_on_where_it_began(uri: str) -> None:
    """Its driver was killed, or the store was away from the beginning."""
    folder, store = a_run(uri)
    append(folder, lines(0, 3))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    store.write("driver.lock", b"{}")
    for whole in (False, True):
        assert bring(store.uri, whole=whole) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    (folder / ".copy").touch()  # but a copy of what is gone from the store is nobody's work
    with pytest.raises(UserError, match="There is no run"):
        bring(store.uri, whole=False)


def test_a_run_that_has_gone_on_in_two_ways_is_refused(sent: tuple[Path, Store]) -> None:
    _, store = sent
    folder = bring(store.uri, whole=True)
    with Uploads(folder, store):
        pass
    append(folder, lines(7, 8))
    store.write(uploads.segment_key(0), lines(0, 4).encode())
    for attempt in (lambda: bring(store.uri, whole=True), lambda: Uploads(folder, store).__enter__()):
        with pytest.raises(UserError, match=rf"has gone on elsewhere, without what lies in {folder}"):
            attempt()
    assert (folder / "results.jsonl").read_text() == lines(0, 3) + lines(7, 8)


def test_a_winners_older_weights_are_not_taken_for_its_last(uri: str) -> None:
    folder, store = a_run(uri)
    with Uploads(folder, store):
        pass
    store.write("best.yaml", b"trial: 7\n")
    for trial in (7, 8):
        store.write(f"checkpoints/{trial:03d}.safetensors", b"older")
    (folder / ".copy").touch()
    assert [path.name for path in (bring(store.uri, whole=True) / "checkpoints").iterdir()] == ["008.safetensors"]


def test_runs_are_listed_and_those_that_are_gone_are_forgotten(uri: str) -> None:
    for name in ("one", "two"):
        with Uploads(*a_run(uri, name)):
            pass
        (local_place(uri) / name / ".copy").touch()
    for key in Store(uri).at("one").files():
        Store(uri).at("one").remove(key)
    assert [path.name for path in bring_all(uri).iterdir()] == ["two"]


def test_a_key_that_leads_out_of_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, store = a_run(f"file://{tmp_path}/store")
    with Uploads(folder, store):
        pass
    (folder / ".copy").touch()
    files = Store.files
    monkeypatch.setattr(Store, "files", lambda self: files(self) | {"../../escaped": 1})
    monkeypatch.setattr(Store, "read", lambda self, key: (folder / "spec.json").read_bytes())
    with pytest.raises(UserError, match=r"a file '\.\./\.\./escaped', which would lie outside"):
        bring(store.uri, whole=True)
    assert (folder / "results.jsonl").read_text() == lines(0, 3)


# --- what is refused ---------------------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_is_refused_with_what_to_do(server: Server) -> None:
    said = {
        "s4://bucket/x": "'s4://bucket/x' is no place for runs: a URI may begin with s3://, gs://, file://; ",
        "s3://": "'s3://' names no bucket: write s3://BUCKET/PATH.",
        "s3://me:secret@bucket/x": "--out must not hold a key: ",
        "file:///proc/x": "file:///proc/x cannot be used: No such file or directory: '/proc/x'. Give a folder that can be written",
        "s3://bucket/x?colour=red": "s3://bucket/x cannot be used: Unexpected query parameter in S3 URI: 'colour'. ",
        server.uri("no-bucket/x"): "s3://no-bucket/x cannot be used: AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation: "
        "The specified bucket does not exist. The bucket must be there, and this machine must have a key to it: AWS_ACCESS_KEY_ID",
        "s3://bucket/x?endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1": "s3://bucket/x cannot be used: AWS Error "
        "NETWORK_CONNECTION during CreateMultipartUpload operation: curlCode: 7, Could not connect to server. The bucket must",
    }
    for uri, beginning in said.items():
        with pytest.raises(UserError) as error:
            place_of_runs(uri, None)
        assert str(error.value).startswith(beginning)


def test_a_name_that_is_taken_there_is_refused(uri: str) -> None:
    with Uploads(*a_run(uri)):
        pass
    assert place_of_runs(uri, "other") == Store(uri)
    with pytest.raises(UserError, match=rf"There is a run 'r' in {Store(uri).place} already"):
        place_of_runs(uri, "r")


def test_a_run_that_is_not_there_is_said(uri: str) -> None:
    with pytest.raises(UserError, match=rf"There is no run '{Store(uri).place}/none'\. `tuner ls --out {Store(uri).place}` lists"):
        bring(Store(uri).at("none").uri, whole=False)
    assert list(bring_all(uri).glob("*")) == []


def test_a_journal_with_a_segment_missing_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "SEGMENT", 100)
    folder, store = a_run(uri)
    with Uploads(folder, store):
        pass
    store.remove(uploads.segments(store.files())[1][1])
    with pytest.raises(UserError, match="The journal in the store is damaged: results/"):
        bring(store.uri, whole=False)
