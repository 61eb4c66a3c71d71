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

from .located import Located, Problems, scalar

_MOST_BYTES = 1000000
_MOST_VALUES = 10000
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
        problems.at(Located(value=None, place=f"{problems.file}:{line}", line=line), f"this is not YAML: {said}.")
    except yaml.reader.ReaderError as error:
        problems.at(None, f"this is not a text file: {error.reason} at character {error.position}.")
    except _TooDeep:
        problems.at(None, "the file is nested too deeply, or contains itself.")
    except _TooMuch:
        problems.at(None, f"the file has more than {_MOST_VALUES:,} values once its aliases are written out.")
    problems.raise_if_any()
    raise AssertionError("a file without keys is a problem")


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
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rpartition(":")[2] not in ("str", "seq", "map"):
            self.problems.at(
                Located(value=None, place=place, line=line), f"{self.problems.what} is plain data; the tag '{node.tag}' is not read."
            )
        if isinstance(node, yaml.ScalarNode):
            value = scalar(node.value) if node.style is None else node.value
            return Located(value=value, place=place, line=line, text=node.value)
        if isinstance(node, yaml.SequenceNode):
            items = [self.read(child, file, child.start_mark.line + 1) for child in node.value]
            return Located(value=items, place=place, line=line)
        return Located(value=self._mapping(node.value, file), place=place, line=line)

    def _mapping(self, pairs: Iterable[tuple[yaml.Node, yaml.Node]], file: str) -> dict[str, Located]:
        entries: dict[str, Located] = {}
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
