"""No file and no function of the service is larger than what one head holds, and no parameter is a tuple whose parts have no names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tuner import layout

FILES = sorted((layout.ROOT / "tuner").rglob("*.py"))
FILE, BODY = 300, 40  # lines; a body is what stands behind the docstring

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, Function))


def body(function: Function) -> int:
    rest = function.body[1:] if ast.get_docstring(function) else function.body
    return rest[-1].end_lineno - rest[0].lineno + 1 if rest else 0


def unnamed(function: Function) -> list[str]:
    """Parameters of a fixed number of parts."""
    given = function.args
    all_of_them = {
        each.arg: ast.unparse(each.annotation) for each in (*given.posonlyargs, *given.args, *given.kwonlyargs) if each.annotation
    }
    return [name for name, kind in all_of_them.items() if kind.startswith("tuple[") and "..." not in kind]


def faults(path: Path) -> Iterator[str]:
    if (n := len(path.read_text().splitlines())) > FILE:
        yield f"{n} lines"
    for function in functions(path):
        if (n := body(function)) > BODY:
            yield f"{function.name}: {n} lines"
        yield from (f"{function.name}: {name} is a tuple" for name in unnamed(function))


def test_files_and_functions_are_of_a_size_to_be_read() -> None:
    assert {str(path.relative_to(layout.ROOT)): found for path in FILES if (found := list(faults(path)))} == {}


def test_what_is_too_large_is_found(tmp_path: Path) -> None:
    lines = ["def f(a: tuple[int, str], b: tuple[int, ...]) -> None:", '    """Says something."""', *["    f()"] * 41, *["a = 1"] * 300]
    (tmp_path / "large.py").write_text("\n".join(lines))
    assert list(faults(tmp_path / "large.py")) == ["343 lines", "f: 41 lines", "f: a is a tuple"]
