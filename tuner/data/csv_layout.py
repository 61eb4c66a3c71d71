"""How a text file of numbers is laid out: its separator, decimal mark, comments and header, found out from its first lines."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

from .classes import is_number
from .text_files import opened, start_of

SEPARATORS = (",", ";", "\t", "|")
BLANKS = " "  # any number of blanks and tabs
NAMED = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", BLANKS: "blanks"}
_LINES = 200
_FOREIGN = {
    "%%matrixmarket": "a matrix of Matrix Market: scipy.sparse.save_npz(path, scipy.io.mmread(...)) writes what is read",
    "@relation": "an ARFF file: read it with scipy.io.arff, and write a csv",
}
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_FRACTION = re.compile(r"[+-]?\d*[.,]\d*[1-9]\d*([eE][+-]?\d+)?|[+-]?[\d.,]+[eE]-\d+")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """`names`: the header; empty where there is none. `skip`: lines up to the header's end; 0 without one. `line`: of the first row.
    `width`: cells in a row; 0 in an empty file. `words`: the columns of a file without a header that hold words."""

    separator: str = ","
    decimal: str = "."
    comment: str = ""
    names: tuple[str, ...] = ()
    skip: int = 0
    line: int = 1
    width: int = 0
    words: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def rows(self, text: str | Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Every row of cells with the number of its line, comments and blank lines left out. `text`: whole, or as its lines come."""
        comment, lines = self.comment, io.StringIO(text, newline="") if isinstance(text, str) else text
        kept = ("\n" if comment and line.lstrip().startswith(comment) else line for line in lines)
        if self.separator == BLANKS:
            yield from ((i, _by_blanks(line)) for i, line in enumerate(kept, 1) if line.split())
            return
        reader = csv.reader(kept, delimiter=self.separator)
        for cells in reader:
            if cells:
                yield reader.line_num, cells

    def number(self, cell: str) -> str:
        """A cell as Python writes numbers."""
        return cell.replace(",", ".") if self.decimal == "," else cell


def layout_of(path: Path, header: bool | None, preferred: str = ",") -> Layout:
    """As `find_out`, of what `opened` gives. Raises as both."""
    with opened(path) as text:
        return find_out(start_of(text, "\n"), header, preferred)


def find_out(text: str, header: bool | None, preferred: str = ",") -> Layout:
    """The layout of a file that begins with these lines. `header`: whether its first row is one; None: it is found out.

    Raises:
        csv.Error: they are no table.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    for sign, what in _FOREIGN.items():
        if lines[0].lower().startswith(sign):
            raise csv.Error(f"it is {what}")
    comment = next((sign for sign in ("#", "%", "//", "sep=") if lines[0].lstrip().startswith(sign)), "")
    if not comment and any(line.startswith("#") for line in lines):
        comment = "#"
    data = [line for line in lines if line.strip() and not (comment and line.lstrip().startswith(comment))][:_LINES]
    separator = _separator(data, preferred)
    found = Layout(separator=separator, comment=comment)
    rows = list(islice(found.rows(text), _LINES))
    if not rows:
        return found
    notes = [] if separator == "," else [f"separated by {NAMED[separator]}"]
    cells = [cell.strip() for _, row in rows for cell in row]
    decimal = "."
    if any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells) and not any(_DECIMAL_POINT.fullmatch(cell) for cell in cells):
        decimal = ","
        notes.append("with decimal commas")
    found = Layout(separator=separator, decimal=decimal, comment=comment)
    found = _with_header(found, rows, _commented_header(found, lines, len(rows[0][1])), header, notes)
    marked = [cell for cell in cells if decimal == "," and "," in cell and is_number(cell.replace(",", "."))]
    if marked and all(re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", cell) for cell in marked):
        said = f"'{marked[0]}' is read as a decimal comma. If it separates thousands, write numbers without it"
        return replace(found, doubts=(*found.doubts, said))
    return found


def _by_blanks(line: str) -> list[str]:
    return [cell.strip('"') for cell in re.findall(r'"[^"]*"|\S+', line)] if '"' in line else line.split()


def _separator(lines: Sequence[str], preferred: str) -> str:
    """The one that gives every line the same number of cells, most of them numbers."""
    best, most = preferred, (0.0, 0.0, 0.0, 0)
    for separator in dict.fromkeys((preferred, *SEPARATORS)):
        try:
            rows = list(csv.reader(lines, delimiter=separator))
        except csv.Error:
            continue
        width = len(rows[0]) if rows else 0
        if width < 2 and not (rows and Counter(map(len, rows)).most_common(1)[0][0] > 1):
            continue
        same = sum(len(row) == width for row in rows) / len(rows)
        cells = [cell.strip() for row in rows[1:] or rows for cell in row]
        numbers = sum(is_number(cell.replace(",", ".") if separator != "," else cell) for cell in cells) / max(1, len(cells))
        score = (float(numbers > 0.5), same, numbers, width)
        if score > most:
            best, most = separator, score
    by_blanks = [_by_blanks(line) for line in lines]
    widths = {len(row) for row in by_blanks[1:]}
    same = len(widths) == 1 and len(by_blanks[0]) > 1 and len(by_blanks[0]) in (max(widths), max(widths) - 1)  # R names its rows
    if not most[3] and same and all(2 * sum(map(is_number, row)) >= len(row) for row in by_blanks[1:]):
        return BLANKS
    return best


def _commented_header(found: Layout, lines: Sequence[str], width: int) -> tuple[str, ...]:
    """The names in the last comment above the data, where numpy.savetxt writes them."""
    last: tuple[str, ...] = ()
    for line in lines:
        if not line.strip():
            continue
        if not found.comment or not line.lstrip().startswith(found.comment):
            break
        said = line.lstrip().lstrip(found.comment).strip()
        ((_, cells),) = list(Layout(separator=found.separator).rows(said))[:1] or ((0, []),)
        last = tuple(cell.strip() for cell in cells)
    return last if len(last) == width and all(last) and not any(is_number(name) for name in last) else ()


def _with_header(
    found: Layout, rows: Sequence[tuple[int, list[str]]], commented: tuple[str, ...], header: bool | None, notes: list[str]
) -> Layout:
    (line, first), body = rows[0], [row for _, row in rows[1:]]
    numeric = [is_number(found.number(cell)) for cell in first]
    doubts: list[str] = []
    if header is None:
        header, said = _is_header(found, first, body, numeric)
        doubts += [said] if said else []
    names = tuple(cell.strip() for cell in first) if header else ()
    words: tuple[int, ...] = ()
    if not header and commented and all(numeric):
        names = commented
        notes.append("the header is a comment")
    elif not header:
        words = tuple(i for i, is_one in enumerate(numeric) if not is_one)
        notes += ["without a header"] if words else []
    return Layout(
        separator=found.separator, decimal=found.decimal, comment=found.comment, names=names, skip=line if header else 0, line=line,
        width=len(first), words=words, notes=tuple(notes), doubts=tuple(doubts),
    )  # fmt: skip


def _is_header(found: Layout, first: Sequence[str], body: Sequence[Sequence[str]], numeric: Sequence[bool]) -> tuple[bool, str]:
    """Whether the first row is a header, and what is doubtful about it."""
    cells = [cell.strip() for cell in first]
    start = ", ".join(cells[:2])
    looks = f"the first row, {start}, …, looks like a header: it is taken as a sample. Say header: true if it is one"
    digits = [int(cell) for cell in cells if re.fullmatch(r"0|[1-9]\d{0,8}", cell)]
    counts = len(digits) >= 2 and digits in (list(range(len(digits))), list(range(1, len(digits) + 1)))
    if not all(numeric):
        if not any(numeric) or not body or counts or any(cell.lower() in ("label", "y", "class", "target", "labels") for cell in cells):
            return True, ""
        alike = all([is_number(found.number(cell)) for cell in row] == list(numeric) for row in body)
        if alike:
            new = [i for i, is_one in enumerate(numeric) if not is_one and cells[i] not in {row[i].strip() for row in body}]
            rises = len(digits) == sum(numeric) > 1 and all(a < b for a, b in pairwise(digits))
            return False, looks if new and rises else ""
        likely = any(_FRACTION.fullmatch(cell) for cell in cells) or 2 * sum(numeric) > len(cells)
        said = f"the first row, {cells[0]}, {cells[1]}, …, is taken as a header, but holds numbers. Say header: false if it is a sample"
        return True, said if likely else ""
    fractions = body and all(any(_FRACTION.fullmatch(row[i].strip()) for row in body if i < len(row)) for i in range(len(cells)))
    if len(digits) < len(cells) or len(cells) < 2 or not body:
        return False, looks if len(cells) > 2 and len(body) >= 10 and _alone_rises(found, [first, *body]) else ""
    if counts and fractions:
        return True, f"the first row counts {cells[0]}, {cells[1]}, …: it is taken as a header. Say header: false if it is a sample"
    rises = all(a < b for a, b in pairwise(digits))
    if counts or (rises and fractions and len(cells) > 2):
        return False, looks
    return False, ""


def _alone_rises(found: Layout, rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row of numbers rises from left to right, as wavelengths do, and no other."""
    numbers = [[float(found.number(cell)) for cell in row if is_number(found.number(cell))] for row in rows]
    rises = [all(a < b for a, b in pairwise(row)) for row in numbers]
    return rises[0] and not any(rises[1:])
