"""YAML in which every value knows its line, read as data only: no tag, no alias trick and no size of file can do harm.

PyYAML composes the nodes; what a plain scalar means is decided here. YAML 1.1 would read `1e-4` as a word, `010` as eight and
`off` as false. Here a number is the number it looks like, and `off` keeps its text for those who expect a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError

_INT = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
_FLOAT = re.compile(r"[-+]?(?=\.?[0-9])[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_ODD_FLOATS = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_MOST_BYTES, _MOST_VALUES, _MOST_DIGITS = 1_000_000, 10_000, 18  # a space has some hundred values; 18 digits fit 64 bits


@dataclass(frozen=True, kw_only=True)
class Lined:
    """A value and where it stands: a scalar, a `list[Lined]` or a `dict[str, Lined]`."""

    value: Any
    place: str  # `bad.yaml:6`, `--set hidden=3`
    line: int  # 0 for what is not from a file
    text: str = ""  # of a scalar: as it was written, without quotes

    @property
    def is_scalar(self) -> bool:
        return not isinstance(self.value, list | dict)

    @property
    def word(self) -> str | None:
        """The text of a scalar that is not empty: `off` where `value` is False."""
        return self.text if self.is_scalar and self.value is not None else None

    @property
    def shown(self) -> str:
        """For a message: `'abc'`, `0`, `off`, `a list`, `nothing`."""
        if self.value is None or self.value in ([], {}):
            return "nothing"
        if self.is_scalar:
            return repr(self.text) if isinstance(self.value, str) else self.text
        return "a list" if isinstance(self.value, list) else "a mapping"

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        return [child.plain() for child in self.value] if isinstance(self.value, list) else self.value


@dataclass(kw_only=True)
class Problems:
    """All that is wrong with one file, to be said at once."""

    title: str  # the path as the user knows it
    file: str  # the name in front of a line's number
    what: str = "a search space"  # that the file should be
    found: list[tuple[int, str]] = field(default_factory=list)

    def at(self, where: Lined | None, message: str) -> None:
        """`where`: the value that is wrong; None where something is missing from the file."""
        line, place = (0, self.file) if where is None else (where.line or 10**9, where.place)
        entry = (line, f"{place}: {message}")
        if entry not in self.found:
            self.found.append(entry)

    def raise_if_any(self) -> None:
        """In the order of the lines, what is missing first and options last.

        Raises:
            UserError: something was found.
        """
        if self.found:
            lines = [message for _, message in sorted(self.found, key=lambda entry: entry[0])]
            raise UserError("\n  ".join([f"{self.title} cannot be used:", *lines]))


def scalar(text: str) -> Any:
    """What a plain scalar means: None, a bool, an int, a float, or the text itself."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text.lower() in _BOOLS and text in (text.lower(), text.upper(), text.capitalize()):
        return _BOOLS[text.lower()]
    if _INT.fullmatch(text):
        digits = text.replace("_", "")
        # Longer ones overflow a float or a database column somewhere later: as a float they are refused by every legal range.
        return int(digits) if len(digits.lstrip("+-")) <= _MOST_DIGITS else float(digits)
    if _FLOAT.fullmatch(text):
        return float(text)
    return _ODD_FLOATS.get(text.lower(), text)


def given(option: str, value: object) -> Lined:
    """What the command line says, as if it stood in the file: `given("--trials", 3)`."""
    return Lined(value=value, place=f"{option} {value}", line=0, text=str(value))


class _Composer(yaml.SafeLoader):
    """Resolves nothing: see `scalar`."""


_Composer.yaml_implicit_resolvers = {}


def read_text(path: Path, source: str) -> str:
    """A file's text. `source`: as the user knows it.

    Raises:
        UserError: there is none, or it is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"There is no file {source}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{source} cannot be used: it is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except (OSError, ValueError) as error:  # a name with a zero byte in it is a ValueError
        raise UserError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def parse(text: str, problems: Problems) -> dict[str, Lined]:
    """The file's keys. What cannot be read at all is raised at once, together with what was found before.

    Raises:
        UserError: not YAML, not a mapping, tagged, or beyond all measure.
    """
    try:
        if len(text) > _MOST_BYTES:
            problems.at(None, f"the file has {len(text):,} characters; {problems.what} has fewer than {_MOST_BYTES:,}.")
        else:
            root = yaml.compose(text, Loader=_Composer)
            if root is None:
                problems.at(None, f"the file is empty: {problems.what} is a mapping of keys such as `model:`.")
            else:
                found = _Reader(problems).read(root, problems.file, 1)
                if isinstance(found.value, dict):
                    return found.value
                problems.at(found, f"{problems.what} is a mapping of keys such as `model:`, but this is {found.shown}.")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        said = " ".join(part for part in (error.context, error.problem) if part)
        problems.at(Lined(value=None, place=f"{problems.file}:{line}", line=line), f"this is not YAML: {said}.")
    except yaml.reader.ReaderError as error:
        problems.at(None, f"this is not a text file: {error.reason} at character {error.position}.")
    except RecursionError:
        problems.at(None, "the file is nested too deeply, or contains itself.")
    except _TooMuch:
        problems.at(None, f"the file has more than {_MOST_VALUES:,} values once its aliases are written out.")
    problems.raise_if_any()
    raise AssertionError("a file without keys is a problem")


class _TooMuch(Exception):
    pass


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.count = 0

    def read(self, node: yaml.Node, file: str, line: int) -> Lined:
        """`line`: of the key that `node` belongs to, which is where a reader looks for it."""
        self.count += 1
        if self.count > _MOST_VALUES:
            raise _TooMuch
        place = f"{file}:{line}"
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rpartition(":")[2] not in ("str", "seq", "map"):
            self.problems.at(
                Lined(value=None, place=place, line=line), f"{self.problems.what} is plain data; the tag '{node.tag}' is not read."
            )
        if isinstance(node, yaml.ScalarNode):
            value = scalar(node.value) if node.style is None else node.value
            return Lined(value=value, place=place, line=line, text=node.value)
        if isinstance(node, yaml.SequenceNode):
            items = [self.read(child, file, child.start_mark.line + 1) for child in node.value]
            return Lined(value=items, place=place, line=line)
        return Lined(value=self._mapping(node.value, file), place=place, line=line)

    def _mapping(self, pairs: Iterable[tuple[yaml.Node, yaml.Node]], file: str) -> dict[str, Lined]:
        entries: dict[str, Lined] = {}
        for key, child in pairs:
            line = key.start_mark.line + 1
            entry = self.read(child, file, line)
            if not isinstance(key, yaml.ScalarNode):
                self.problems.at(entry, "a key must be one word.")
            elif key.value in entries:
                self.problems.at(entry, f"'{key.value}' stands here a second time; the first is in line {entries[key.value].line}.")
            else:
                entries[key.value] = entry
        return entries
