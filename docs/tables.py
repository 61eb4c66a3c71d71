"""The tables in docs/ that come from the code: `python docs/tables.py` writes them, and tests/test_docs.py fails where one is stale.

They stand in the pages as text, not as a Sphinx directive, so that they can be read on GitHub, too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))  # a plain checkout

from tuner.evidence.selection import CRITERIA  # noqa: E402
from tuner.metrics import METRICS  # noqa: E402
from tuner.space.keys import KEYS, METHODS  # noqa: E402
from tuner.space.scores import SCORES  # noqa: E402

_BLOCK = re.compile(r"(<!-- docs/tables\.py, (\w+): begin -->\n).*?(<!-- docs/tables\.py, \2: end -->\n)", re.DOTALL)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def keys() -> str:
    return _table(("key", "default", "meaning"), ((f"`{key.name}`", key.default, key.doc) for key in KEYS.values()))


def scores() -> str:
    return _table(("score", "a trial's score is the metric of"), ((f"`{name}`", score.doc) for name, score in SCORES.items()))


def methods() -> str:
    return _table(("method", "what it does"), ((f"`{name}`", doc) for name, doc in METHODS.items()))


def metrics() -> str:
    rows = ((f"`{name}`", found.goal, "yes" if found.uses_labels else "no", found.doc, found.cost) for name, found in METRICS.items())
    return _table(("metric", "goal", "uses labels", "what it measures", "cost of an epoch"), rows)


def criteria() -> str:
    rows = ((f"`{name}`", str(found.seeds), found.doc, found.cost) for name, found in CRITERIA.items())
    return _table(("criterion", "seeds", "what it measures; more is better", "cost"), rows)


TABLES: dict[str, Callable[[], str]] = {"keys": keys, "scores": scores, "methods": methods, "metrics": metrics, "criteria": criteria}


def renewed(text: str) -> str:
    """A page's text with its tables as the code has them now."""
    return _BLOCK.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def main() -> None:
    for page in sorted(DOCS.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        if (after := renewed(before)) != before:
            page.write_text(after, encoding="utf-8")
            print(f"wrote {page.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
