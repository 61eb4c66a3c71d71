"""Nothing that tuner opens runs code: files of weights are safetensors, YAML and JSON are data, and no other way in is in its sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from kit.interrupted import a_killed_run
from safetensors import safe_open

from tuner import layout

ROOT = Path(__file__).parent.parent
SOURCES = [*ROOT.glob("tuner/**/*.py"), *layout.folder("models").glob("*.py"), *layout.folder("clusters").glob("*.py")]
RUN_CODE = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen"),
    *("torch.load", "torch.save", "torch.jit.load", "joblib.load"),
    *("pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads", "ray.cloudpickle.loads"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"),
}
# What this program has written itself a moment before, within one Ray.
OURS = {("actor.py", "pickle.loads"), ("failures.py", "ray.cloudpickle.loads")}
# A model of the user's own, which the command line, the environment, Python or an installed package names: never a file that was opened.
BROUGHT = {("own_import.py", "compile"), ("own_import.py", "exec")}


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_called_that_runs_what_a_file_says(path: Path) -> None:
    assert {(path.name, name) for name, _ in calls(path) if name in RUN_CODE} <= OURS | BROUGHT
    for _, call in calls(path):
        said = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert said.get("shell", "False") == "False", "a name could be a command"
        assert said.get("allow_pickle", "False") == "False", "which is numpy's default"


def test_a_run_holds_safetensors_and_text_and_nothing_else(tmp_path: Path) -> None:
    files = [path for path in a_killed_run(tmp_path).parent.rglob("*") if path.is_file()]
    weights = {path for path in files if path.suffix == ".safetensors"}
    assert {path.name for path in weights} >= {"best.safetensors", "001.resume.safetensors"}
    for path in weights:
        with safe_open(path, framework="pt") as file:
            assert list(file.keys())
    for path in set(files) - weights:
        assert "\0" not in path.read_text(encoding="utf-8"), path
