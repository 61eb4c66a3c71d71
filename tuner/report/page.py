"""The page in HTML: one file that opens without a network, with plotly's script inside."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import words
from .compare import comparison
from .figure import COLOURS, Figure, Section, Table
from .sections import Part

HERE = Path(__file__).parent
# Nothing is fetched, whatever a journal's texts hold. plotly compiles what draws parallel coordinates, which is 'unsafe-eval'.
POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; img-src data: blob:"
_FROM_ITS_SERVER = "; connect-src 'self'"


def page(parts: Sequence[Part], *, served: str | None = None) -> str:
    """The page of one run, or of several side by side. `served`: the version of one that a server has; a browser asks for newer ones."""
    runs = [part.run for part in parts]
    title = runs[0].results.name if len(runs) == 1 else ", ".join(run.results.name for run in runs)
    figures: list[dict[str, Any]] = []
    if len(runs) == 1:
        body = _one(parts[0], figures, top=True)
    else:
        body = f"<h1>{_text(title)}</h1>{_section(comparison(runs), figures)}"
        for part in parts:
            run = part.run
            line = f"{run.results.name}: {words.in_one_line(run)}"
            body += f"<details><summary>{_text(line)}</summary>{_one(part, figures, top=False)}</details>"
    return _document(title, body, figures, served)


def pictures_page(title: str, lead: str, sections: Iterable[Section]) -> str:
    """The page of one trained model. `lead`: below the title."""
    figures: list[dict[str, Any]] = []
    body = "".join(_section(section, figures) for section in sections if section)
    return _document(title, f"<h1>{_text(title)}</h1><p class=lead>{_text(lead)}</p>{body}", figures)


def _document(title: str, body: str, figures: Sequence[dict[str, Any]], served: str | None = None) -> str:
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}{_FROM_ITS_SERVER if served else ""}">',
            '<meta name="color-scheme" content="light dark">',
            f'<title>{_text(title)}</title><link rel="icon" href="data:,"><style>{_own("page.css")}</style></head><body><main>',
            body,
            f"<footer>{_text(words.made())} Figures can be saved as PNG, SVG and CSV.</footer></main>",
            f"<script>{_plotly()}</script>",
            f'<script type="application/json" id="figures">{_json(figures)}</script>',
            f'<script type="application/json" id="colours">{_json(COLOURS)}</script>',
            f"<script>{_own('page.js')}</script>",
            "" if served is None else _newer(served),
            "</body></html>\n",
        )
    )


def waiting_page(text: str, version: str) -> str:
    """What a server has before the first page is made. `text`: in HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}{_FROM_ITS_SERVER}"><title>tuner</title>'
        f'<link rel="icon" href="data:,"><style>{_own("page.css")}</style></head>'
        f"<body><main><p class=lead>{text}</p></main>{_newer(version)}</body></html>\n"
    )


def _newer(version: str) -> str:
    """The script that looks for a newer page: not while somebody uses this one, and where it is hidden."""
    return f'<script>const version = "{version}";\n{_own("watch.js")}</script>'


def _one(part: Part, figures: list[dict[str, Any]], *, top: bool) -> str:
    """A run: its heading, the verdict, what was asked, and its sections."""
    run = part.run
    figure, what = words.headline(run)
    data = run.about.get("dataset", {}).get("name", "")
    head = f"<h1>{_text(run.results.name)}</h1><p class=lead>{_text(run.about.get('model', ''))} on {_text(data)}</p>" if top else ""
    asked = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in words.asked(run))
    # What was asked comes first, as a reader needs it; the long list of versions and the like is folded.
    first, rest = asked.split("<dt>run</dt>")
    said = " ".join(f"<span>{_text(line)}</span>" for line in words.verdict(run)[1:])
    return (
        f"{head}<section class=asked><h2>What was asked</h2><dl>{first}</dl><details class=more><summary>Machine and versions</summary>"
        f"<dl><dt>run</dt>{rest}</dl></details></section>"
        f"<section class=verdict><h2>Verdict</h2><p class=figure>{_text(figure)}</p><p class=what>{_text(what)}</p><p>{said}</p></section>"
        + "".join(_section(section, figures) for section in part.sections)
    )


def _section(section: Section, figures: list[dict[str, Any]]) -> str:
    text = "".join(f"<p>{_text(line)}</p>" for line in section.text)
    tables = "".join(_table(table) for table in section.tables)
    small = any(figure.small for figure in section.figures)
    grid = "grid filled" if all(figure.stretches for figure in section.figures) else "grid"
    drawn = "".join(_figure(figure, figures) for figure in section.figures)
    if small:
        drawn = f'<div class="{grid}">{drawn}</div>'
    return f"<section><h2>{_text(section.title)}</h2>{text}{tables}{drawn}</section>"


def _table(table: Table) -> str:
    looks = [" class=words" if i in table.words else "" for i in range(len(table.head))]
    head = "".join(f"<th scope=col{look}>{_text(name)}</th>" for name, look in zip(table.head, looks, strict=True))
    lines = ("".join(f"<td{look}>{_text(value)}</td>" for value, look in zip(row, looks, strict=True)) for row in table.rows)
    rows = "".join(f"<tr>{line}</tr>" for line in lines)
    caption = f"<p class=caption>{_text(table.caption)}</p>" if table.caption else ""
    return f"{caption}<div class=scroll tabindex=0><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _figure(figure: Figure, figures: list[dict[str, Any]]) -> str:
    number = len(figures)
    figures.append(figure.plain())
    note = f"<p class=note>{_text(figure.note)}</p>" if figure.note else ""
    wide = f' style="min-width:{figure.width}px;height:{figure.height}px"' if figure.width else f' style="height:{figure.height}px"'
    buttons = "".join(
        f"<button type=button data-figure={number} data-as={kind} "
        f'aria-label="Save {_text(figure.title)} as {kind.upper()}">{kind.upper()}</button>'
        for kind in ("png", "svg", "csv")
    )
    return (
        f"<figure><h3>{_text(figure.title)}</h3><div class=scroll><div class=plot id=figure-{number}{wide}></div></div>"
        f"<figcaption>{note}<div class=bar><span>{_text(figure.count)}</span><span>{buttons}</span></div></figcaption></figure>"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _json(value: object) -> str:
    """For a script's content: nothing in it ends the script, and no NaN, which is no JSON."""
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")  # ASCII otherwise


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, Iterable) and not isinstance(value, str) else value


def _own(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """plotly's script, as its package brings it."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")
