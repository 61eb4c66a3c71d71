"""What lies in the user's folder is the user's: no file there is imported, by us or by Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit.commands import SPACE

from tuner import layout
from tuner.import_path import keep_out_current_folder
from tuner.machines.cluster import job_config
from tuner.runs.results import read_run

THEIRS = "import sys; sys.exit('a file of the user was imported: ' + __file__)\n"


def command(folder: Path) -> list[str]:
    """As the installed `tuner` begins."""
    script = folder / "bin" / "tuner"
    script.parent.mkdir()
    script.write_text("import sys\nfrom tuner.cli.app import main\nsys.exit(main())\n")
    return [sys.executable, str(script)]


def test_the_current_folder_leaves_the_path_and_nothing_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = str(tmp_path / "other")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), other, "/usr/lib"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".", other, str(tmp_path), ""]))
    keep_out_current_folder()
    assert sys.path == [other, "/usr/lib"] and os.environ["PYTHONPATH"] == other


def test_a_checkout_stays_where_it_is_imported_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(layout.ROOT)
    monkeypatch.setattr(sys, "path", ["", "/usr/lib"])
    keep_out_current_folder()
    assert sys.path == ["", "/usr/lib"]


@pytest.mark.parametrize("name", ["yaml", "random", "typer", "numpy", "models"])
def test_a_command_imports_no_module_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text(THEIRS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", str(layout.ROOT)])}
    done = subprocess.run([*command(tmp_path), "models"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "aae_unsup" in done.stdout, done.stderr


@pytest.mark.parametrize("installed", [True, False])
def test_ray_s_processes_are_given_no_current_folder(installed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / ("site-packages" if installed else "checkout")
    monkeypatch.setattr(layout, "ROOT", root)
    job = job_config()
    job._py_driver_sys_path.extend([str(tmp_path / "bin"), str(Path.cwd())])  # as Ray does it
    assert job._py_driver_sys_path == [*([] if installed else [str(root)]), str(tmp_path / "bin")]


@pytest.mark.process
def test_a_search_imports_no_module_of_the_folder_in_any_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's dashboard, its agents and every trial's process start other processes, in the user's folder."""
    for name in ("tuner", "models", "yaml", "random", "torch"):
        (tmp_path / f"{name}.py").write_text(THEIRS)
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.delenv("TUNER_NO_DASHBOARD")
    environment = {**os.environ, "PYTHONPATH": str(layout.ROOT), "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    words = ["search", "--space=space.yaml", "--name=s", "--wandb=disabled"]
    done = subprocess.run([*command(tmp_path), *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert read_run(tmp_path / "runs" / "s").counts()["complete"] == 3
