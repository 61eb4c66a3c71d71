"""Where in a model's file something stands: by an error's traceback, or by the words of its text."""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from tuner.model import Model
from tuner.own_import import is_own, source_of


@dataclass(frozen=True)
class Place:
    """A line of a model's file. `function`: empty at the file's top. `text`: what the line says."""

    file: str
    line: int
    function: str
    text: str

    def __str__(self) -> str:
        where = f", in {self.function}" if self.function else ""
        return f"{Path(self.file).name}:{self.line}{where}"


def is_models(module: str) -> bool:
    """Whether a module is a model, or a part of one."""
    return is_own(module) or module.startswith("tuner.models.")


def of_frame(frame: FrameType, line: int) -> Place:
    code = frame.f_code
    function = "" if code.co_name == "<module>" else code.co_name
    return Place(code.co_filename, line, function, linecache.getline(code.co_filename, line).strip())


def of_error(error: BaseException) -> tuple[Place, FrameType] | None:
    """The innermost line of a model's file that an error passed through, with its frame; None where it passed through none."""
    found = None
    tb = error.__traceback__
    while tb is not None:
        if is_models(tb.tb_frame.f_globals.get("__name__", "")):
            found = of_frame(tb.tb_frame, tb.tb_lineno), tb.tb_frame
        tb = tb.tb_next
    return found


# --- by words ----------------------------------------------------------------------------------------------------------


def of_class(model: Model) -> Place | None:
    """The line `class MyModel(Model):`."""
    return _first(model, lambda node: isinstance(node, ast.ClassDef) and node.name == type(model).__name__)


def of_key(model: Model, owner: str, key: str) -> Place | None:
    """The line of a text, such as a name in `terms` or in what `networks` returns. `owner`: the attribute or the method that it is in;
    where it has no such line, the owner's own."""
    at = _first(model, lambda node: _owns(node, owner))
    return _first(model, lambda node: isinstance(node, ast.Constant) and node.value == key, owner) or at or of_class(model)


def of_assigned(model: Model, name: str) -> Place | None:
    """The line that says `self.name = …`."""

    def assigns(node: ast.AST) -> bool:
        is_self = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
        return is_self and isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Store)

    return _first(model, assigns) or of_class(model)


def of_import(model: Model, name: str) -> Place | None:
    """The line that imports a module."""

    def imports(node: ast.AST) -> bool:
        if isinstance(node, ast.Import):
            return any(alias.name.split(".")[0] == name for alias in node.names)
        return isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == name

    return _first(model, imports)


def _owns(node: ast.AST, name: str) -> bool:
    """Whether a node defines an attribute or a method of this name."""
    if isinstance(node, ast.FunctionDef):
        return node.name == name
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _first(model: Model, wanted: Callable[[ast.AST], bool], owner: str | None = None) -> Place | None:
    """The first node of the model's file that is wanted, inside of `owner` where that is given."""
    module = inspect.getmodule(type(model))
    if module is None or not is_models(module.__name__):
        return None
    text = source_of(module)
    tree: ast.AST = ast.parse(text)
    roots = [node for node in ast.walk(tree) if _owns(node, owner)] if owner else [tree]
    nodes: Iterator[Any] = (node for root in roots for node in ast.walk(root) if wanted(node))
    node = min(nodes, key=lambda node: node.lineno, default=None)
    if node is None:
        return None
    return Place(str(module.__file__), node.lineno, "", text.splitlines()[node.lineno - 1].strip())


# --- what tensors a line has -------------------------------------------------------------------------------------------


def shapes(place: Place, frame: FrameType) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that a line names, `x_BD` or `batch.x_BD`, as they were when it failed."""
    try:
        tree = ast.parse(place.text.removeprefix("return ").rstrip(":"))
    except SyntaxError:  # a line of several
        tree = ast.parse("")
    names = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)]
    found = {}
    for name in dict.fromkeys(names):
        value = _value(name, frame)
        if isinstance(value, Tensor):
            found[name] = tuple(value.shape)
    if not found:  # those of the function, then
        found = {name: tuple(value.shape) for name, value in frame.f_locals.items() if isinstance(value, Tensor)}
    return found


def _value(name: str, frame: FrameType) -> Any:
    first, *rest = name.split(".")
    value = frame.f_locals.get(first)
    for part in rest:
        try:
            value = getattr(value, part, None)
        except Exception:  # a property of theirs
            return None
    return value
