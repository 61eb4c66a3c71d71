"""YAML in which every value knows its line, read as data only: no tag, no alias trick and no size of file can do harm.

PyYAML composes the nodes; what a plain scalar means is decided here. YAML 1.1 would read `1e-4` as a word, `010` as eight and
`off` as false. Here a number is the number it looks like, and `off` keeps its text for those who expect a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tuner.errors import UserError
from tuner.plain_json import load_json

from .located import Located, Problems, scalar

_MOST_BYTES = 1000000
_MOST_VALUES = 10000
_CORE = "tag:yaml.org,2002:"
_TAGGED = {"int": (int,), "float": (int, float), "bool": (bool,)}  # W&B's documentation tells to write `!!float 1e-5`
_DEEPEST = 50  # counted, because a stack that runs out may do so in anybody's hook, which writes to stderr


class _TooMuch(Exception):
    pass


class _TooDeep(Exception):
    pass


class _Composer(yaml.SafeLoader):
    """Resolves nothing: see `scalar`."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _TooDeep
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


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


def parse(text: str, problems: Problems) -> dict[str, Located]:
    """The file's keys. What cannot be read at all is raised at once, together with what was found before.

    Raises:
        UserError: not YAML, not a mapping, tagged, or beyond all measure.
    """
    try:
        if len(text) > _MOST_BYTES:
            problems.at(None, f"the file has {len(text):,} characters; {problems.what} has fewer than {_MOST_BYTES:,}.")
        else:
            root = yaml.compose(_without_tabs(text), Loader=_Composer)
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
        problems.at(Located(value=None, place=f"{problems.file}:{line}", line=line), f"this is not YAML: {said}.")
    except yaml.reader.ReaderError as error:
        problems.at(None, f"this is not a text file: {error.reason} at character {error.position}.")
    except _TooDeep:
        problems.at(None, "the file is nested too deeply, or contains itself.")
    except _TooMuch:
        problems.at(None, f"the file has more than {_MOST_VALUES:,} values once its aliases are written out.")
    problems.raise_if_any()
    raise AssertionError("a file without keys is a problem")


def _without_tabs(text: str) -> str:
    """JSON may be indented by tabs, which YAML has no use for. Inside a string JSON has none."""
    if "\t" not in text or not text.lstrip().startswith("{"):
        return text
    try:
        load_json(text)
    except ValueError:
        return text
    return text.replace("\t", " ")


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.count = self.depth = 0

    def read(self, node: yaml.Node, file: str, line: int) -> Located:
        """`line`: of the key that `node` belongs to, which is where a reader looks for it."""
        self.depth += 1
        if self.depth > _DEEPEST:  # an alias of what it stands in: there is no end to it
            raise _TooDeep
        found = self._read(node, file, line)
        self.depth -= 1
        return found

    def _read(self, node: yaml.Node, file: str, line: int) -> Located:
        self.count += 1
        if self.count > _MOST_VALUES:
            raise _TooMuch
        place = f"{file}:{line}"
        kind = node.tag.removeprefix(_CORE)
        if kind not in ("str", "seq", "map", *_TAGGED):
            self.problems.at(
                Located(value=None, place=place, line=line), f"{self.problems.what} is plain data; the tag '{node.tag}' is not read."
            )
        if isinstance(node, yaml.ScalarNode):
            value = scalar(node.value) if node.style is None or kind in _TAGGED else node.value
            found = Located(value=value, place=place, line=line, text=node.value)
            if kind in _TAGGED and type(value) not in _TAGGED[kind]:
                self.problems.at(found, f"'{node.value}' is no {kind}, as its tag `!!{kind}` has it.")
            return found
        if isinstance(node, yaml.SequenceNode):
            items = [self.read(child, file, child.start_mark.line + 1) for child in node.value]
            return Located(value=items, place=place, line=line)
        return Located(value=self._mapping(node.value, file), place=place, line=line)

    def _mapping(self, pairs: Iterable[tuple[yaml.Node, yaml.Node]], file: str) -> dict[str, Located]:
        entries: dict[str, Located] = {}
        merged: dict[str, Located] = {}  # `<<: *other`: what this mapping says itself comes before it, and the first before later ones
        for key, child in pairs:
            line = key.start_mark.line + 1
            entry = self.read(child, file, line)
            if isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.style is None:
                others = entry.value if isinstance(entry.value, list) else [entry]
                if not all(isinstance(other.value, dict) for other in others):
                    self.problems.at(entry, "`<<` merges a mapping, or a list of mappings, by their aliases: `<<: *other`.")
                    continue
                for other in others:
                    merged = other.value | merged
                continue
            if not isinstance(key, yaml.ScalarNode):
                self.problems.at(entry, "a key must be one word.")
            elif key.value in entries:
                self.problems.at(entry, f"'{key.value}' stands here a second time; the first is in line {entries[key.value].line}.")
            else:
                entries[key.value] = entry
        return merged | entries
