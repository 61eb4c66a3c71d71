"""Models of your own: files that the command line, the environment, Python or an installed package brings. A YAML alone brings none.

A file's text is what trains, wherever the file lies: it is kept in the run's folder, goes to every worker with the trainer, and is
imported from memory under a private name. So no folder is added to a path, a worker needs no file, and two versions of one file can be
used side by side. Parts that your models share stand beside them in files whose names begin with `_`: `from ._parts import encoder`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from . import layout
from .errors import UserError
from .own_import import importable, in_own_words, is_own, quoted, texts_of

MODELS = "models"  # in a run's folder
GROUP = "tuner.models"  # the entry points of packages that bring models


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model of yours comes from. `files`: the texts by file name, the model's own and those of the parts that it imports;
    `folder`: where they were read. `attribute`: the class, where the file may have several. Of an installed package: `package` is its
    name and version, `module` what is imported, and there are no files."""

    name: str
    files: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    attribute: str | None = None
    package: str | None = None
    module: str | None = None

    @cached_property
    def code(self) -> str:
        """A hash of all that the source says, by which a run knows it."""
        texts = self.files or ({} if self.module is None else {self.module: _text_of(self.module)})
        digest = hashlib.sha256()
        for name, text in sorted(texts.items()):
            digest.update(f"{name}\0{len(text.encode())}\0".encode() + text.encode())
        return digest.hexdigest()[:16]

    @property
    def shown(self) -> str:
        """As a message names it."""
        return f"the package {self.package}" if self.package else str(Path(self.folder) / f"{self.name}.py")

    def imported(self) -> ModuleType:
        """The module, imported in this process at the first call.

        Raises:
            UserError: it cannot be imported; with the line of the file where it went wrong.
        """
        name = self.module or importable(self.code, self.name, self.files, self.folder)
        try:
            return importlib.import_module(name)
        except SyntaxError as error:
            line = f"{Path(error.filename or self.name).name}:{error.lineno}: {error.msg}"
            raise UserError(f"{self.shown} cannot be read as Python: {line}{quoted(error.text)}") from error
        except (Exception, SystemExit) as error:
            raise UserError(f"{self.shown} cannot be imported: {in_own_words(error)}{_advice(error, self)}") from error

    def written(self) -> dict[str, Any]:
        """For a run's `spec.json`."""
        return {"name": self.name, "code": self.code, "from": self.shown, "files": sorted(self.files), "package": self.package}


@dataclass(frozen=True)
class OwnModels:
    """The models that are known beside those that come with tuner, by name."""

    sources: Mapping[str, Source] = field(default_factory=dict)

    def get(self, name: str) -> Source | None:
        return self.sources.get(name)


NONE = OwnModels()


# --- finding them ------------------------------------------------------------------------------------------------------


def read_own(given: Iterable[str | Path | type | Source] = ()) -> OwnModels:
    """The models in these files and folders, those given as classes, and those of installed packages.

    Raises:
        UserError: there is no such file, it is no model's, or two models have one name.
    """
    found: dict[str, Source] = {}
    for source in [*(source for one in given for source in _sources(one)), *installed()]:
        other = found.get(source.name)
        if is_shipped(source.name):
            raise UserError(f"'{source.name}' is a model that comes with tuner, and {source.shown} is named so, too. Rename the file.")
        if other is not None and other.code != source.code:
            raise UserError(f"Two models are named '{source.name}': {other.shown} and {source.shown}. Rename one of the files.")
        found[source.name] = source
    return OwnModels(found)


def shipped_names() -> list[str]:
    """The models that come with tuner: every file of `models/`."""
    return sorted(path.stem for path in layout.folder("models").glob("*.py") if not path.stem.startswith("_"))


def is_shipped(name: str) -> bool:
    """Whether a model of this name comes with tuner."""
    return name.isidentifier() and not name.startswith("_") and (layout.folder("models") / f"{name}.py").is_file()


def installed() -> list[Source]:
    """The models of installed packages, by their entry points `my_model = my_package.my_model:MyModel`."""
    return list(_installed_in(tuple((path, Path(path).stat().st_mtime_ns) for path in sys.path if Path(path).is_dir())))


@lru_cache(maxsize=1)
def _installed_in(folders: tuple[tuple[str, int], ...]) -> tuple[Source, ...]:
    """`folders`: where packages are looked for, and when something was installed there last. To read them all takes 25 ms."""
    return tuple(_of_package(point) for point in entry_points(group=GROUP))


def _of_package(point: EntryPoint) -> Source:
    package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.module
    return Source(name=point.name, package=package, module=point.module, attribute=point.attr or None)


def named_like_a_model(path: Path) -> None:
    """Raises UserError where a file's name is none for a model."""
    if path.suffix != ".py" or not path.stem.isidentifier() or path.stem.startswith("_"):
        rule = "a model's file is named NAME.py, with letters, digits and _ in NAME, the first no digit and no _"
        raise UserError(f"{path} cannot be a model's file: {rule}.")


def read_source(path: Path) -> Source:
    """The model in a file, with the parts that it imports.

    Raises:
        UserError: there is no such file, or its name is none for a model.
    """
    named_like_a_model(path)
    files: dict[str, str] = {}
    ahead = [path.name]
    while ahead:
        name = ahead.pop()
        files[name] = _read(path.parent / name)
        ahead += [part for part in _parts(files[name], path.parent) if part not in files]
    return Source(name=path.stem, files=files, folder=str(path.parent))


def _sources(given: str | Path | type | Source) -> list[Source]:
    if isinstance(given, Source):
        return [given]
    if isinstance(given, type):
        return [of_class(given)]
    path = Path(given).expanduser()
    if not path.is_dir():
        return [read_source(path)]
    found = [read_source(file) for file in sorted(path.glob("*.py")) if not file.stem.startswith("_")]
    if not found:
        raise UserError(
            f"--models {given}: there is no file NAME.py in this folder, and so no model. Start one: tuner new-model my_model.py"
        )
    return found


def of_class(kind: type) -> Source:
    """A class that was handed over in Python: it is its file that is kept and shipped."""
    if is_own(kind.__module__):
        name, kept = kind.__module__.rpartition(".")[2], texts_of(kind.__module__)
        return Source(name=name, files=kept.files, folder=kept.folder, attribute=kind.__qualname__)
    try:
        file = None if kind.__module__ == "__main__" else inspect.getsourcefile(kind)
    except TypeError:  # of a built-in class
        file = None
    if file is None or not Path(file).is_file():
        raise UserError(
            f"The class {kind.__qualname__} stands in no file of its own, which the run could keep and its workers be sent. Write it to a "
            f"file (in a notebook: %%writefile my_model.py) and hand over its path: models=['my_model.py']."
        )
    source = read_source(Path(file))
    return Source(name=source.name, files=source.files, folder=source.folder, attribute=kind.__qualname__)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read: it is no text in UTF-8.") from error
    except OSError as error:
        raise UserError(f"--models {path} cannot be read: {error.strerror or error}.") from error


def _parts(text: str, folder: Path) -> Iterator[str]:
    """The files beside a model's that it imports by `from ._parts import …` or `from . import _parts`."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return  # importing says it better
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]
            yield from (f"{name}.py" for name in names if (folder / f"{name}.py").is_file())


def _text_of(module: str) -> str:
    """An installed module's text; empty where it has none."""
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        return ""
    return Path(found.origin).read_text(encoding="utf-8") if found and found.origin and Path(found.origin).is_file() else ""


# --- kept in a run's folder ---------------------------------------------------------------------------------------------


def keep(source: Source, folder: Path) -> None:
    """Writes the source into a run's folder."""
    for name, text in source.files.items():
        (folder / MODELS).mkdir(exist_ok=True)
        (folder / MODELS / name).write_bytes(text.encode())


def kept_source(folder: Path, name: str, code: str) -> Source | None:
    """What `keep` wrote; None where it is not there. `code`: its hash.

    Raises:
        UserError: it is not what was written.
    """
    path = folder / MODELS / f"{name}.py"
    if not path.is_file():
        return None
    kept = read_source(path)
    if kept.code != code:
        files = " and ".join(str(path.parent / one) for one in kept.files)
        raise UserError(
            f"{files} is not the code that the search ran: it was changed since. Bring it back from a copy; to try the changed model, "
            f"start a new search with --models {path}."
        )
    return kept


# --- what went wrong ----------------------------------------------------------------------------------------------------


def _advice(error: BaseException, source: Source) -> str:
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    if source.package is not None and source.module is not None and source.module.split(".")[0] == error.name:
        return f"\nThe package is to be installed on every machine that trains: {source.package}."
    name = error.name.rpartition(".")[2]
    if Path(source.folder, f"{name}.py").is_file():
        return f"\n{name}.py lies beside it: name it _{name}.py and write `from ._{name} import …`, and it goes wherever the model goes."
    return f"\nInstall it, on every machine that trains. A file of your own goes beside the model as _{name}.py: `from ._{name} import …`."
