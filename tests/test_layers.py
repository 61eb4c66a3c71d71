"""Who may import whom, where it stands: in a function and under TYPE_CHECKING, too. And that no model is known by name."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tuner import layout
from tuner.model import Hyper, load_model, model_names

# A file imports its own package and those of lower layers. "": the files at the root of tuner/, the kit of whoever writes a model.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("",),
    ("data",),
    ("training",),
    ("testing",),
    ("space",),
    ("runs",),
    ("stores", "trackers", "search"),
    ("evidence",),
    ("inference",),
    ("report",),
    ("reproduce",),
    ("machines",),
    ("tune",),
    ("simulation",),
    ("service",),
    ("api",),
    ("cli",),
)
# The packages, or files, that may import a library. What is not named here may be imported everywhere.
LIBRARIES: Mapping[str, set[str]] = {
    "torch": {"", "data", "training", "testing", "search", "evidence/baselines", "inference", "api/train"},
    "torchvision": {"data/published", "data/pictures"},
    "optuna": {"search", "space/request", "tune", "service", "api/run", "report/importance"},
    "plotly": {"report/page", "report/exhibits", "api/figures", "api/reported", "api/train"},
    "ray": {"machines", "tune", "simulation/virtual", "trackers/prometheus", "service"},
    "mlflow": {"trackers/mlflow", "trackers/mlflow_store"},
    "wandb": {"trackers/wandb", "trackers/wandb_login", "trackers/wandb_media", "trackers/wandb_opening", "trackers/wandb_report"},
    "pyarrow": {"stores", "inference", "data/arrow", "data/csv_files", "data/tables"},
    "h5py": {"data/hdf5"},
    "typer": {"cli"},
    "rich": {"cli"},
    "yaml": {"api/tuned", "space", "runs/winner", "evidence/kept", "stores", "machines", "trackers"},
}
ENGINE = ("", "data", "training")  # what trains a model with torch, numpy, scipy and scikit-learn alone
KIT = {"model", "nn", "losses", "clustering", "agreement", "metrics", "draws", "errors"}  # what models import

Sources = Mapping[str, str]  # "runs/journal" -> its text


def sources() -> dict[str, str]:
    root = Path(layout.__file__).parent
    return {
        str(path.relative_to(root).with_suffix("")): path.read_text()
        for path in sorted(root.rglob("*.py"))
        if "__pycache__" not in str(path)
    }


SOURCES = sources()


def package(name: str) -> str:
    return name.rpartition("/")[0]


@functools.cache
def imported(text: str) -> Sequence[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]


def ours(name: str, files: Sources) -> set[str]:
    """The files of tuner/ that the file `name` imports, by their names."""
    found = set()
    for node in imported(files[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("tuner.").replace(".", "/") for alias in node.names if alias.name.startswith("tuner.")}
            continue
        module = node.module or ""
        if node.level:
            at = [*package(name).split("/")[: 1 if node.level == 1 else 0], *module.split(".")]
        elif module == "tuner" or module.startswith("tuner."):
            at = module.split(".")[1:]
        else:
            continue
        base = "/".join(filter(None, at))
        below = {f"{base}/{alias.name}".lstrip("/") for alias in node.names}
        found |= (below & set(files)) or ({base} & set(files))
    return found


def libraries(text: str) -> set[str]:
    out = set()
    for node in imported(text):
        if isinstance(node, ast.Import):
            out |= {alias.name.split(".")[0] for alias in node.names}
        elif not node.level:
            out.add(str(node.module).split(".")[0])
    return out


def upward(files: Sources) -> list[str]:
    """Every import that runs to a higher layer, or sideways into another package of the same one."""
    level = {name: i for i, names in enumerate(LAYERS) for name in names}
    wrong = []
    for name in files:
        for other in ours(name, files):
            mine, theirs = package(name), package(other)
            if mine != theirs and level[theirs] >= level[mine]:
                wrong.append(f"{name} imports {other}")
    return wrong


def circles(files: Sources) -> list[str]:
    """Every file that imports itself by way of others."""
    edges = {name: ours(name, files) - {name} for name in files}
    wrong = []
    for name in files:
        seen: set[str] = set()
        ahead = list(edges[name])
        while ahead:
            other = ahead.pop()
            if other not in seen:
                seen.add(other)
                ahead += edges.get(other, ())
        if name in seen:
            wrong.append(name)
    return wrong


def out_of_place(files: Sources) -> list[str]:
    """Every import of a library by a file that is not made for it."""
    return [
        f"{name} imports {library}"
        for name, text in files.items()
        for library in libraries(text) & set(LIBRARIES)
        if not {package(name), name} & LIBRARIES[library]
    ]


def test_every_import_runs_down() -> None:
    assert upward(SOURCES) == []


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert circles(SOURCES) == []


def test_only_the_packages_made_for_a_library_import_it() -> None:
    assert out_of_place(SOURCES) == []


@pytest.mark.parametrize(
    ("name", "line", "found"),
    [
        ("runs/journal", "def f():\n    from tuner.cli.app import main", "runs/journal imports cli/app"),
        ("training/loop", "if TYPE_CHECKING:\n    from tuner.space.spec import Spec", "training/loop imports space/spec"),
        ("stores/store", "import tuner.search.study", "stores/store imports search/study"),
        ("losses", "from .data.raw import Raw", "losses imports data/raw"),
    ],
)
def test_a_planted_import_that_runs_up_is_found(name: str, line: str, found: str) -> None:
    assert upward({**SOURCES, name: f"{SOURCES[name]}\n{line}\n"}) == [found]


def test_a_planted_circle_is_found() -> None:
    planted = {**SOURCES, "runs/paths": SOURCES["runs/paths"] + "\ndef f():\n    from .journal import Journal\n"}
    assert "runs/paths" in circles(planted) and "runs/journal" in circles(planted)


def test_a_planted_library_is_found() -> None:
    assert out_of_place({**SOURCES, "runs/journal": SOURCES["runs/journal"] + "\ndef f():\n    import ray.tune\n"}) == [
        "runs/journal imports ray"
    ]


@pytest.mark.parametrize("path", sorted(layout.folder("models").glob("*.py")), ids=lambda path: path.stem)
def test_a_model_imports_the_kit_and_the_shared_parts_only(path: Path) -> None:
    """What models share stands in files whose names begin with `_`: no model is a library for others."""
    known = {"torch", "numpy", "scipy", "sklearn", *sys.stdlib_module_names}
    parts = {other.stem for other in path.parent.glob("_*.py")}
    for node in imported(path.read_text()):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= known
        elif node.level:
            assert node.module in parts
        else:
            first, _, rest = str(node.module).partition(".")
            assert first in known or (first == "tuner" and rest in KIT), node.module


@pytest.mark.parametrize("name", model_names())
def test_hyper_parameters_are_parts_side_by_side(name: str) -> None:
    """Every part that a model's `Hyper` is made of stands by itself, so that its fields are read in one place."""
    (first, *rest) = load_model(name).Hyper.__mro__
    assert first.__qualname__.endswith(".Hyper")
    assert Hyper in rest
    assert all(part.__bases__ == (Hyper,) for part in rest if part not in (Hyper, object)), rest


@pytest.mark.parametrize("name", SOURCES)
def test_no_model_is_known_by_name(name: str) -> None:
    """A string that is a model's name may stand in a help text, not where the code decides."""
    models = set(model_names())
    for node in ast.walk(ast.parse(SOURCES[name])):
        deciding: list[ast.AST] = []
        if isinstance(node, ast.ImportFrom):
            assert not ((node.module or "").startswith("tuner.models") and {alias.name for alias in node.names} & models)
        elif isinstance(node, ast.Compare):
            deciding = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            deciding = [node.value]
        elif isinstance(node, ast.Dict):
            deciding = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Subscript):
            deciding = [node.slice]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("startswith", "endswith", "get"):
            deciding = list(node.args)
        words = {leaf.value for part in deciding for leaf in ast.walk(part) if isinstance(leaf, ast.Constant)}
        assert not words & models, f"{name}.py:{getattr(node, 'lineno', '?')}"


def test_every_model_trains_on_a_machine_without_the_libraries_on_top() -> None:
    """Ray, Optuna, W&B and the rest are made impossible to import, and one epoch of every model trained."""
    engine = [name.replace("/", ".").removesuffix(".__init__") for name in SOURCES if package(name) in ENGINE and name != "__init__"]
    without = sorted(set(LIBRARIES) - {"torch", "torchvision"})
    program = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({without!r}))  # None: an import raises ModuleNotFoundError
for name in {engine!r}:
    importlib.import_module("tuner." + name)
from tuner.data.datasets import DatasetSpec, load
from tuner.model import load_model, model_names
from tuner.training.loop import train
for name in model_names():
    model = load_model(name)
    h = model.hyper(dict(model.tiny) | ({{"n_clusters": 10}} if model.labels == "partial" else {{}}))  # cluster k is class k
    assert next(train(model, h, load(DatasetSpec(name="digits", limit=100)), seed=0)).metrics
    print(name)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=layout.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == model_names()
