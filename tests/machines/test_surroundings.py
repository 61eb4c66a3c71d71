"""What Ray needs of a machine: short paths for its sockets and a loopback; where they are absent it is said, and soon."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from kit.commands import SPACE
from ray._private.utils import validate_socket_filepath

from tuner import layout
from tuner.errors import UserError
from tuner.machines import surroundings
from tuner.machines.cluster import join
from tuner.machines.surroundings import short_folder, short_temporary
from tuner.runs.results import read_run

SOCKET = "ray/session_2026-11-29_15-18-05_123456_4194304/sockets/plasma_store"


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_where_batch_systems_put_temporary_files_is_no_place_for_sockets(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    assert short_folder() is None
    for length in range(10, 110, 3):
        place = "/" + "x" * (length - 1)
        monkeypatch.setenv(variable, place)
        folder = short_folder()
        validate_socket_filepath(f"{folder or place}/{SOCKET}")
    assert folder is not None and Path(folder).stat().st_uid == os.getuid()


def test_ray_s_processes_alone_get_a_shorter_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for length in range(60, 110):
        place = "/" + "x" * (length - 1)
        monkeypatch.setenv("TMPDIR", place)
        with short_temporary() as kept:
            validate_socket_filepath(f"{os.environ['TMPDIR']}/pymp-abcdefgh/listener-abcdefgh")
            assert kept == (None if os.environ["TMPDIR"] == place else place)
        assert os.environ["TMPDIR"] == place
    assert kept == place


def test_without_a_short_folder_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/scratch/" + "job_" * 20)
    (tmp_path / f"tuner-{os.getuid()}").write_text("no folder")
    monkeypatch.setattr(surroundings, "_SHORT", tmp_path)
    with pytest.raises(UserError, match=r"RAY_TMPDIR is /scratch/job_.* Set RAY_TMPDIR to a short path that can be written\."):
        short_folder()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare makes a network without a loopback")
def test_without_a_loopback_it_is_said_at_once() -> None:
    program = "from tuner.machines.surroundings import check_loopback; check_loopback()"
    words = [sys.executable, "-c", program]
    assert subprocess.run(words, cwd=layout.ROOT, capture_output=True, check=False).returncode == 0
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no network namespaces")
    done = subprocess.run(["unshare", "-rn", *words], cwd=layout.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "This machine has no loopback interface (127.0.0.1: " in done.stderr


def test_where_ray_does_not_start_in_time_the_machine_is_called_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    (said,) = re.findall(r'"(The current node timed out during startup\.) ', inspect.getsource(ray._private.node))

    def init(**settings: object) -> None:
        raise Exception(said)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError, match=r"^Ray did not start within 30 seconds: this machine is too busy .* --address "):
        join(None)


@pytest.mark.process
def test_a_search_with_closed_streams_in_a_batch_system_s_temporary_folder(tmp_path: Path) -> None:
    """As a job that a scheduler starts: nobody reads what it says, and TMPDIR is too long for Ray's sockets."""
    (tmp_path / "space.yaml").write_text(SPACE)
    place = tmp_path / ("scratch_slurm_job_" * 6) / "tmp"
    place.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": str(layout.ROOT), "TMPDIR": str(place), "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    environment.pop("RAY_TMPDIR", None)
    words = [sys.executable, "-m", "tuner.cli", "search", "--space=space.yaml", "--name=s", "--wandb=disabled"]
    done = subprocess.run(["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", *words], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    assert read_run(tmp_path / "runs" / "s").counts()["complete"] == 3
    assert any(path.name.startswith("tuner-data-") for path in place.iterdir())  # the trials have the folder that was asked for
