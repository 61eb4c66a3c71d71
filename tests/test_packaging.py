"""The wheel: built from the source distribution, installed beside no checkout, run from another folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODELS = sorted(path.stem for path in (ROOT / "models").glob("[!_]*.py"))
SPACES = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.yaml"))

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


def must(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From a copy: setuptools leaves a build/ behind, and would take files from there that are long deleted."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("tuner", "models", "search_spaces", "clusters"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    must(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, source)  # the wheel is made from the sdist
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs `tuner` and `python` as installed in an environment of its own, which sees this one's dependencies but not this tuner."""
    venv, elsewhere = tmp_path_factory.mktemp("second") / "venv", tmp_path_factory.mktemp("elsewhere")
    must(sys.executable, "-m", "venv", "--without-pip", venv)
    must(sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "--quiet", "--no-deps", "--no-index", wheel)
    (site,) = venv.glob("lib/python*/site-packages")
    # A .pth file of a folder that a .pth file names is not read: the editable install that is there stays out of sight.
    (site / "dependencies.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "TUNER_DATA"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden} | {"XDG_CACHE_HOME": str(elsewhere)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(venv / "bin" / words[0]), *words[1:]]
        return subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)

    found = run("python", "-c", "import tuner; print(tuner.__file__, tuner.__version__)")
    assert found.stdout.startswith(str(site)), found.stdout + found.stderr
    # From here on a checkout lies in the current folder, as where the README's first command is typed: no process may import that one.
    (elsewhere / "tuner").mkdir()
    (elsewhere / "tuner" / "__init__.py").write_text("raise RuntimeError('the one in the current folder')\n")
    return run


@pytest.fixture(scope="module")
def tuner(installed: Run) -> Run:
    return lambda *words: installed("tuner", *words)


def test_the_wheel_holds_every_model_and_space_inside_the_package_and_nothing_beside_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"tuner/models/{name}.py" for name in MODELS} <= names
    assert {f"tuner/search_spaces/{name}.yaml" for name in SPACES} <= names
    assert {str(path.relative_to(ROOT)) for pattern in ("*.py", "recipes/*.yaml") for path in (ROOT / "tuner").rglob(pattern)} <= names
    with zipfile.ZipFile(wheel) as zipped:  # what is checked of a space or a model here holds of the wheel's
        for kind, suffix, stems in (("models", "py", MODELS), ("search_spaces", "yaml", SPACES)):
            for stem in stems:
                assert zipped.read(f"tuner/{kind}/{stem}.{suffix}") == (ROOT / kind / f"{stem}.{suffix}").read_bytes()
    clusters = {f"tuner/clusters/{path.name}" for path in (ROOT / "clusters").iterdir() if path.is_file()}
    assert clusters <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"tuner"}


def test_the_installed_tuner_lists_every_model(tuner: Run) -> None:
    done = tuner("models")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in MODELS)


def test_the_installed_tuner_checks_a_shipped_space(tuner: Run) -> None:
    done = tuner("check", "aae_unsup", "--dataset", "digits")  # other images are not here
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_installed_tuner_trains(tuner: Run) -> None:
    done = tuner("train", "kmeans", "--dataset", "digits", "--epochs", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_workers_of_a_search_find_the_installed_models(tuner: Run, tmp_path: Path) -> None:
    pinned = ["--set", "batch_size=500", "--out", str(tmp_path), "--wandb", "disabled", "--no-confirm"]
    done = tuner("search", "--space", "aae_unsup", "--trials", "1", "--epochs", "1", "--limit", "500", *pinned)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "aae_unsup" / "best.safetensors").is_file()
