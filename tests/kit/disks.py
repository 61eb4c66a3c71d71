"""Disks that are full, small or away."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.runs.files import RunFiles
from tuner.runs.paths import JOURNAL, SPEC, STUDY


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fallback folders lie."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tuner" / "spill"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return begun(tmp_path / "runs" / "s")


def begun(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / SPEC).write_text('{"name": "s"}')
    return folder


def opened(folder: Path) -> RunFiles:
    files = RunFiles(folder, "id")
    for name in (JOURNAL, STUDY):
        files.open(name)
    return files


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)
