"""The page as Markdown, for where no browser is: the same sentences and tables; figures are named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import words
from .compare import comparison
from .figure import Section, Table
from .sections import Part


def markdown(parts: Sequence[Part]) -> str:
    """The text of one run, or of several side by side."""
    return "\n".join(_lines(parts)) + "\n"


def markdown_page(title: str, lead: str, sections: Sequence[Section], page: str) -> str:
    """The text of a page that is of no run. `page`: the name of its file, where the figures are."""
    lines = [f"# {_plain(title)}", "", _plain(lead)]
    for section in sections:
        lines += _section(section, "##", page)
    return "\n".join([*lines, "", words.made()]) + "\n"


def _lines(parts: Sequence[Part]) -> Iterator[str]:
    runs = [part.run for part in parts]
    if len(runs) > 1:
        yield f"# {', '.join(_plain(run.results.name) for run in runs)}"
        yield from _section(comparison(runs), "##")
    for part in parts:
        run = part.run
        if len(runs) > 1:
            yield ""
        level = "#" * (1 + (len(runs) > 1))
        yield f"{level} {_plain(run.results.name)}"
        yield from ("", f"{level}# What was asked", "")
        yield from (f"- {name}: {_plain(value)}" for name, value in words.asked(run))
        yield from ("", f"{level}# Verdict", "", " ".join(map(_plain, words.verdict(run))))
        for section in part.sections:
            yield from _section(section, f"{level}#")
    yield from ("", words.made())


def _section(section: Section, level: str, page: str = "report.html") -> Iterator[str]:
    yield from ("", f"{level} {section.title}")
    for line in section.text:
        yield from ("", _plain(line))
    for table in section.tables:
        yield from _table(table)
    if section.figures:
        yield ""
        yield from (
            f"- In {page}: {_plain(figure.title)} ({figure.count}).{' ' * bool(figure.note)}{_plain(figure.note)}"
            for figure in section.figures
        )


def _table(table: Table) -> Iterator[str]:
    if table.caption:
        yield from ("", _plain(table.caption))
    sides = [" --- |" if i in (0, *table.words) else " ---: |" for i in range(len(table.head))]
    yield from ("", f"| {' | '.join(map(_cell, table.head))} |", f"|{''.join(sides)}")
    yield from (f"| {' | '.join(map(_cell, row))} |" for row in table.rows)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """One line, in which nothing is markup."""
    line = " ".join(str(text).split())
    for sign in ("\\", "`", "*", "_", "<", "["):
        line = line.replace(sign, f"\\{sign}")
    return line
