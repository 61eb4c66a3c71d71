"""Text files as people have them become UTF-8: pressed by gzip, bzip2 or xz, in UTF-16, UTF-32 or Windows-1252, lines ended by any sign."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, AnyStr, TextIO, cast

from tuner.errors import UserError, first_line

_START = 1 << 18  # bytes of which a file's layout is found out, at least,
_LINES = 20  # and lines: a row of thirty thousand columns is longer
_AT_A_TIME = 1 << 22
_PRESSED: dict[bytes, tuple[str, Callable[..., object]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ": ("xz", lzma.open),
}
# In this order: the mark of UTF-32 begins as that of UTF-16 does.
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SAID = {"utf-32": "in UTF-32", "utf-16": "in UTF-16", "utf-16-le": "in UTF-16", "utf-16-be": "in UTF-16"}
_SAID |= {"cp1252": "not in UTF-8: read as Windows-1252", "latin-1": "not in UTF-8: read as Latin-1"}
DAMAGED = (EOFError, lzma.LZMAError)  # beside OSError


def start_of(file: IO[AnyStr], line: AnyStr) -> AnyStr:
    """Whole lines from where a file stands, enough to find out its layout; all of a short one. `line`: what ends a line."""
    start = file.read(_START)
    while start.count(line) < _LINES and (more := file.read(max(1, len(start)))):
        start += more
    return start if not file.read(1) or line not in start else start[: start.rindex(line) + 1]


def plain_start(path: Path) -> bytes | None:
    """The first lines of a file that is UTF-8 as it lies, as far as they show; None where something must be undone.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = start_of(file, b"\n")
    ends_early = b"\r" in start and b"\n" not in start  # as old Macs end lines
    if ends_early or any(start.startswith(magic) for magic in (*_PRESSED, *_MARKS)) or not _is_utf8(io.BytesIO(start)) or b"\0" in start:
        return None
    return start


def read_bytes(path: Path) -> tuple[bytes, list[str]]:
    """The file's bytes as UTF-8 with lines that end in a line feed, and what was undone for that.

    Raises:
        OSError: it cannot be read. UserError: it is damaged, or no text.
    """
    try:
        with _unpressed(path) as (file, pressed):
            content = file.read()
    except (OSError, ValueError, *DAMAGED) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise UserError(f"{path} cannot be read, or is damaged: {first_line(error)}.") from error
    notes = [f"compressed by {pressed}"] if pressed else []
    encoding = _encoding(content[:_START], io.BytesIO(content))
    if encoding in _SAID:
        notes.append(_SAID[encoding])
        try:
            content = content.decode(encoding).encode()
        except UnicodeError as error:
            raise UserError(f"{path} is not UTF-8 text: {first_line(error)}.") from error
    content = content.removeprefix(codecs.BOM_UTF8)  # spreadsheets write it
    if b"\r" in content[:_START] and b"\n" not in content[:_START]:
        content = content.replace(b"\r", b"\n")
    return content, notes


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """The file's text as it comes, in whatever `read_bytes` reads: never the whole of it at once.

    Raises:
        OSError: it cannot be read. UnicodeDecodeError: it is no text. EOFError, lzma.LZMAError: it is damaged.
    """
    with _unpressed(path) as (file, _):
        encoding = _encoding(file.read(_START), file)
    with _unpressed(path) as (file, _), io.TextIOWrapper(file, encoding=encoding, newline="") as text:
        yield text


@contextmanager
def _unpressed(path: Path) -> Iterator[tuple[IO[bytes], str]]:
    """The file's bytes, and by what they were compressed."""
    with path.open("rb") as file:
        start = file.read(6)
    name, opener = next((found for magic, found in _PRESSED.items() if start.startswith(magic)), ("", open))
    with cast(IO[bytes], opener(path, "rb")) as file:
        yield file, name


def _encoding(start: bytes, file: IO[bytes]) -> str:
    """Of a text with these first bytes; `file` is the whole. What is not UTF-8 is what most spreadsheets write, each byte a letter of
    its own, so that words that differ still do."""
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    halves = [start[i::2].count(0) / max(1, len(start[i::2])) for i in (0, 1)]
    if max(halves) > 0.4 and min(halves) < 0.1:  # UTF-16 without a mark: of most letters one byte is 0
        return "utf-16-be" if halves[0] > halves[1] else "utf-16-le"
    file.seek(0)
    if b"\0" in start or _is_utf8(file):
        return "utf-8-sig"
    file.seek(0)
    undefined = bytes((0x81, 0x8D, 0x8F, 0x90, 0x9D))
    while part := file.read(_AT_A_TIME):
        if len(part.translate(None, undefined)) < len(part):
            return "latin-1"
    return "cp1252"


def _is_utf8(file: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while part := file.read(_AT_A_TIME):
            decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
