"""Who may import whom, and that no model is known by name."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner import layout
from tuner.model import model_names

TUNER = Path(layout.__file__).parent
FILES = {path.stem: path for path in sorted(TUNER.glob("*.py"))}

# The engine: what a bare machine with torch, numpy, scipy and scikit-learn can train a model with.
ENGINE = {
    *("model", "nn", "losses", "cluster", "metrics", "draws", "engine", "pack", "loop", "dryrun", "checkpoint"),
    *("data", "data_cache", "data_files", "data_published", "data_raw", "data_rcv1"),
    *("optimizers", "errors", "labelled", "layout", "neighbours", "plain_json", "pool", "pretraining_cache", "said", "__init__"),
}
# Who may import what the engine does without.
MAY = {
    "ray": {
        "distant",
        "doctor",
        "driver",
        "jobs",
        "packed",
        "provenance",
        "quarantine",
        "ray_cluster",
        "ray_metrics",
        "same_code",
        "scheduler",
        "searcher",
        "trial",
        "tune_callback",
    },
    "optuna": {"driver", "resume", "searcher", "steering", "study_file", "wanted"},
    "pyarrow": {"store"},
    "wandb": {"wandb_runs"},
    "typer": {"cli", "cli_cluster", "cli_options", "cli_steering"},
    "rich": {"cli", "cli_options", "display", "status", "tables"},
    "yaml": set(FILES) - ENGINE,
    "torchvision": {"data_published"},
}


def imported(path: Path) -> Iterator[str]:
    """The names of all modules that a file imports, wherever in it; those of its own package as `.name`."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level and not node.module:
            yield from (f".{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * min(node.level, 1) + str(node.module)


@pytest.mark.parametrize("library", MAY)
def test_only_the_modules_made_for_a_library_import_it(library: str) -> None:
    importers = {name for name, path in FILES.items() if library in {module.split(".")[0] for module in imported(path)}}
    assert importers <= MAY[library]


@pytest.mark.parametrize("name", sorted(ENGINE & set(FILES)))
def test_the_engine_imports_nothing_that_sits_on_top(name: str) -> None:
    ours = {module.split(".")[1] for module in imported(FILES[name]) if module.startswith(".")}
    assert ours & set(FILES) <= ENGINE


@pytest.mark.parametrize("name", model_names())
def test_a_model_imports_the_engine_and_its_siblings_only(name: str) -> None:
    known = {"torch", "numpy", "scipy", "sklearn", *sys.stdlib_module_names}
    for module in imported(layout.folder("models") / f"{name}.py"):
        first, _, rest = module.partition(".")
        assert first in known or (not first and rest in model_names()) or (first == "tuner" and rest.split(".")[0] in ENGINE), module


@pytest.mark.parametrize("name", FILES)
def test_no_model_is_known_by_name(name: str) -> None:
    """A string that is a model's name may stand in a help text, not where the code decides."""
    models = set(model_names())
    assert not {module.rpartition(".")[2] for module in imported(FILES[name]) if "models" in module} & models
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        deciding: list[ast.AST] = []
        if isinstance(node, ast.Compare):
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
    program = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({sorted(MAY)!r}))  # None: an import raises ModuleNotFoundError
for name in {sorted((ENGINE - {"__init__"}) & set(FILES))!r}:
    importlib.import_module("tuner." + name)
from tuner.data import DatasetSpec, load
from tuner.loop import train
from tuner.model import load_model, model_names
for name in model_names():
    model = load_model(name)
    h = model.hyper(dict(model.tiny) | ({{"n_clusters": 10}} if model.labels == "partial" else {{}}))  # cluster k is class k
    assert next(train(model, h, load(DatasetSpec(name="digits", limit=100)), seed=0)).index == 1
    print(name)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=TUNER.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == model_names()
