"""A data set that is read once per machine."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from tuner.data import cache
from tuner.data.cache import load_once
from tuner.data.datasets import Data, DatasetSpec, load
from tuner.errors import UserError

READ = """
import sys
from pathlib import Path
from tuner.data import cache
from tuner.data.datasets import DatasetSpec, load
read = []
cache.load = lambda *what: read.append(what) or load(*what)
data = cache.load_once(DatasetSpec(name=sys.argv[1]), Path())
print(len(read), data.fingerprint)
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def npz(path: Path, **more: object) -> DatasetSpec:
    rng = np.random.RandomState(0)
    np.savez(path, x=rng.rand(40, 3, 2), **({"y": rng.randint(0, 3, 40)} | more))  # type: ignore[arg-type]
    return DatasetSpec(name=f"npz:{path}", limit=30, scale="minmax")


def same(one: Data, other: Data) -> None:
    for field in fields(Data):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs, field.name
    assert one.spec == other.spec and one.fingerprint == other.fingerprint


def test_it_is_what_reading_it_gives_also_the_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = npz(tmp_path / "my.npz")
    before = load(dataset, tmp_path)
    same(load_once(dataset, tmp_path), before)
    monkeypatch.setattr(cache, "load", lambda *what: pytest.fail("read again"))
    again = load_once(dataset, tmp_path)
    same(again, before)
    again.x_ND.zero_()  # its own pages
    same(load_once(dataset, tmp_path), before)


@pytest.mark.parametrize("change", ["file", "limit", "scale"])
def test_another_file_or_another_wish_is_read_anew(tmp_path: Path, change: str) -> None:
    dataset = npz(tmp_path / "my.npz")
    load_once(dataset, tmp_path)
    if change == "file":
        np.savez(tmp_path / "my.npz", x=np.ones((40, 2)))
    else:
        dataset = DatasetSpec(**vars(dataset) | {"limit": {"limit": 10, "scale": 30}[change], "scale": None})
    same(load_once(dataset, tmp_path), load(dataset, tmp_path))


def test_a_file_of_the_same_size_and_time_with_other_content_is_read_anew(tmp_path: Path) -> None:
    dataset, path = npz(tmp_path / "my.npz"), tmp_path / "my.npz"
    load_once(dataset, tmp_path)
    size, times = path.stat().st_size, (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    np.savez(path, x=np.random.RandomState(1).rand(40, 3, 2), y=np.random.RandomState(0).randint(0, 3, 40))
    os.utime(path, ns=times)
    assert path.stat().st_size == size and path.stat().st_mtime_ns == times[1]
    same(load_once(dataset, tmp_path), load(dataset, tmp_path))


def test_processes_that_begin_at_once_read_it_once(tmp_path: Path) -> None:
    path = tmp_path / "my.npz"
    npz(path)
    command = [sys.executable, "-c", READ, f"npz:{path}"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate()[0].split() for process in processes]
    assert sorted(times for times, _ in answers) == ["0", "0", "1"] and len({found for _, found in answers}) == 1


def test_no_more_than_a_few_are_kept(tmp_path: Path) -> None:
    for n in range(cache.KEPT + 2):
        load_once(DatasetSpec(name="digits", limit=10 + n), tmp_path)
    assert len(list(cache._own_folder().glob("*/about.json"))) == cache.KEPT


def test_a_folder_that_others_may_write_to_is_not_read_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = npz(tmp_path / "my.npz")
    cache._own_folder().chmod(0o777)
    same(load_once(dataset, tmp_path), load(dataset, tmp_path))
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("The data cannot be shared among this machine's processes: ")


def test_what_cannot_be_read_is_said_as_ever_and_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        load_once(DatasetSpec(name=f"npz:{tmp_path}/none.npz"), tmp_path)
    assert [path.name for path in cache._own_folder().iterdir()] == ["lock"]
