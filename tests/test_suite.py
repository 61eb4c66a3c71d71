"""What holds for the tests themselves: where they lie, what they may import, and that each of them is run by somebody."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression
from kit import tiers

from tuner import layout

ROOT = layout.ROOT
FILES = sorted(path for path in (ROOT / "tests").rglob("*.py") if "__pycache__" not in path.parts)
TESTS = [path for path in FILES if path.name.startswith("test_")]


def imported(path: Path) -> set[str]:
    """Every module that a file imports, in functions, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_no_test_module_imports_another() -> None:
    """What two of them use stands in tests/kit; so do benchmarks not import tests."""
    stems = {path.stem for path in TESTS} | {"conftest"}
    users = [*FILES, *(ROOT / "benchmarks").rglob("*.py")]
    wrong = {str(path.relative_to(ROOT)): names for path in users if (names := {n for n in imported(path) if stems & set(n.split("."))})}
    assert wrong == {}


def test_a_test_lies_in_the_folder_of_its_package_or_at_the_root() -> None:
    packages = {path.parent.name for path in (ROOT / "tuner").glob("*/__init__.py")} | {"models"}
    for path in TESTS:
        folder = path.parent.relative_to(ROOT / "tests")
        assert str(folder) == "." or str(folder) in packages, path
    assert len({path.stem for path in TESTS}) == len(TESTS), "pytest imports test files by their names alone"


def default() -> str:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]
    return str(options[options.index("-m") + 1])


def ci() -> str:
    (found,) = re.findall(r'pytest" -m "([^"]+)"', (ROOT / ".ci" / "run").read_text())
    return str(found)


@pytest.mark.parametrize("tier", tiers.TIERS)
@pytest.mark.parametrize("others", [set(), {"slow"}])
def test_each_test_is_run_once_by_ci_in_its_first_step_or_its_second(tier: str, others: set[str]) -> None:
    marks = {tier} | others
    runs = [Expression.compile(text).evaluate(lambda name, **more: name in marks) for text in (default(), ci())]
    assert sorted(runs) == [False, True]
