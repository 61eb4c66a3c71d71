"""The table in docs/python.md: every command of `tuner` and every option of one for a run, each beside a call that there is."""

from __future__ import annotations

import ast
import importlib
import inspect
import keyword
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import tuner
from tuner.cli.app import app
from tuner.inference.assign import Assignment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
GIVEN = {"tuner.load": tuner.Run, "tuner.search": tuner.Run}  # what a call gives back
OTHERWISE = {"json", "help", "list"}  # Python gives objects
# Commands that are about machines, or about a model's file: they have a function, whose arguments are its own.
NOT_OF_A_RUN = {"verify", "submit", "doctor", "cluster up", "cluster down", "cluster status", "cluster copy"}


def rows() -> list[tuple[list[str], list[str]]]:
    """The words of each command, and the code beside it."""
    table = PAGE.read_text().partition("## The command line, side by side")[2]
    found = []
    for line in re.findall(r"^\| `tuner .*$", table, re.MULTILINE):
        command, python = line.strip("| ").split(" | ", 1)
        found.append((shlex.split(command.strip("`"))[1:], re.findall(r"`([^`]+)`", python)))
    return found


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, one in getattr(command, "commands", {}).items():
        yield from leaves(one, (*path, name)) if hasattr(one, "commands") else iter([(" ".join((*path, name)), one)])


COMMANDS = dict(leaves(get_command(app)))


def split(words: list[str]) -> tuple[str, list[str]]:
    """The command's name, and what follows it."""
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    return name, words[len(name.split()) :]


def calls(code: str) -> Iterator[tuple[Any, ast.Call]]:
    """Every call in it, with what is called. Raises AttributeError where there is none of that name."""
    for node in ast.walk(ast.parse(code, mode="eval")):
        if isinstance(node, ast.Call):
            yield named(node.func), node


def named(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return {"tuner": tuner}[node.id]
    if isinstance(node, ast.Call):
        return GIVEN[ast.unparse(node.func)]
    assert isinstance(node, ast.Attribute), ast.unparse(node)
    owner = named(node.value)
    if inspect.ismodule(owner) and not hasattr(owner, node.attr):
        return importlib.import_module(f"{owner.__name__}.{node.attr}")
    return getattr(owner, node.attr)


@pytest.mark.parametrize(("words", "python"), rows(), ids=lambda part: " ".join(part)[:40])
def test_each_command_and_its_call_are_there(words: list[str], python: list[str]) -> None:
    name, rest = split(words)
    numbers = [{"HOW": "none"}.get(word, word) for word in rest]
    COMMANDS[name].make_context(name, numbers)
    for function, call in calls(python[0]):
        given = [None] * len(call.args) if not is_method(function) else [None] * (len(call.args) + 1)
        inspect.signature(function).bind(*given, **{str(word.arg): None for word in call.keywords})


def is_method(function: Any) -> bool:
    return inspect.isfunction(function) and "." in function.__qualname__


def test_no_command_is_left_out() -> None:
    assert set(COMMANDS) - {split(words)[0] for words, _ in rows()} == set()


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - NOT_OF_A_RUN))
def test_every_option_is_an_argument_of_its_name(name: str) -> None:
    taken = set()
    for words, python in rows():
        if split(words)[0] == name:
            taken |= {str(word.arg) for _, call in calls(python[0]) for word in call.keywords}
    options = {flag(option) for option in COMMANDS[name].params if option.param_type_name == "option"}
    assert options - taken - OTHERWISE == set()


def flag(option: Any) -> str:
    """`--data-root` as an argument is called; `--from`, a word of Python's, as `from_`."""
    name = str(next(text for text in option.opts if text.startswith("--"))[2:].replace("-", "_"))
    return f"{name}_" if keyword.iskeyword(name) else name


def test_the_parts_of_a_run_named_beside_show_are_there() -> None:
    (python,) = [python for words, python in rows() if words == ["show", "RUN", "--out", "FOLDER"]]
    assert all(hasattr(tuner.Run, name) for name in python[1:]) and len(python) > 4


def test_what_assign_gives_has_the_names_in_the_docs() -> None:
    named = set(re.findall(r"\.assign\([^)]*\)\.(\w+)", PAGE.read_text()))
    assert named and named <= set(Assignment.__annotations__)
