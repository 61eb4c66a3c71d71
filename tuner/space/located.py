"""A value of a YAML file with the line that it stands on, and the problems that are found in a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tuner.errors import UserError

_INT = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
_FLOAT = re.compile(r"[-+]?(?=\.?[0-9])[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_ODD_FLOATS = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_MOST_DIGITS = 18


@dataclass(frozen=True, kw_only=True)
class Located:
    """A value and where it stands: a scalar, a `list[Located]` or a `dict[str, Located]`."""

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

    def at(self, where: Located | None, message: str) -> None:
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


def given(option: str, value: object) -> Located:
    """What the command line says, as if it stood in the file: `given("--trials", 3)`."""
    return Located(value=value, place=f"{option} {value}", line=0, text=str(value))
