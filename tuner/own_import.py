"""Imports models of yours from memory, under a private name, and says in the lines of their files what went wrong there."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import inspect
import linecache
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import first_line

_ROOT = "tuner_own_models"  # what the modules are called in this process: `tuner_own_models.s<hash>.<name>`


# --- importing from memory ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Texts:
    """What a model and its parts say, by file name, and the folder that they were read from."""

    files: Mapping[str, str]
    folder: str


class _Memory(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the modules below `tuner_own_models` from texts. Pickle, tracebacks and `inspect` see ordinary modules."""

    def __init__(self) -> None:
        self.packages: dict[str, Texts] = {}

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        package = self.is_package(fullname)
        if not package and self._file(fullname) is None:
            return None
        found = importlib.machinery.ModuleSpec(fullname, self, is_package=package)
        if not package:
            found.origin, found.has_location = self._path(fullname), True
        return found

    def is_package(self, fullname: str) -> bool:
        return fullname == _ROOT or fullname in self.packages

    def get_source(self, fullname: str) -> str:
        return self._file(fullname) or ""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        if self.is_package(name):
            return
        text, path = self.get_source(name), self._path(name)
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)  # as it was read: the file may change
        exec(compile(text, path, "exec", dont_inherit=True), module.__dict__)

    def _file(self, fullname: str) -> str | None:
        package, _, name = fullname.rpartition(".")
        return self.packages[package].files.get(f"{name}.py") if package in self.packages else None

    def _path(self, fullname: str) -> str:
        package, _, name = fullname.rpartition(".")
        return str(Path(self.packages[package].folder) / f"{name}.py")


_MEMORY = _Memory()


def importable(code: str, name: str, files: Mapping[str, str], folder: str) -> str:
    """The name of a module that can be imported from now on in this process. `code`: a hash of the files."""
    package = f"{_ROOT}.s{code}"
    _MEMORY.packages.setdefault(package, Texts(files, folder))
    if _MEMORY not in sys.meta_path:
        sys.meta_path.append(_MEMORY)
    return f"{package}.{name}"


def texts_of(module: str) -> Texts:
    """What a module that was imported here was read from."""
    return _MEMORY.packages[module.rpartition(".")[0]]


def source_of(module: ModuleType) -> str:
    """The text that a module was made of. Of yours not what its file says by now."""
    return _MEMORY.get_source(module.__name__) if is_own(module.__name__) else inspect.getsource(module)


def is_own(module: str) -> bool:
    """Whether a module is a model of yours, or a part of one."""
    return module.startswith(f"{_ROOT}.")


# --- errors in their lines ---------------------------------------------------------------------------------------------


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Where an error passed through files of yours, the innermost last."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if is_own(frame.f_globals.get("__name__", ""))]
    return [traceback.FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_name, lookup_line=True) for frame, line in frames]


def in_own_words(error: BaseException) -> str:
    """`my_model.py:31, in sharpen: ValueError: …`, with the line itself below; without a place where it passed through no file of yours."""
    what = f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__
    frames = own_frames(error)
    if not frames:
        return f"{what}."
    frame = frames[-1]
    where = "" if frame.name == "<module>" else f", in {frame.name}"
    return f"{Path(frame.filename).name}:{frame.lineno}{where}: {what}.{quoted(frame.line)}"


def quoted(line: str | None) -> str:
    return f"\n    {line.strip()}" if line and line.strip() else ""
