"""What several benchmarks do with their rows: read them again, and write tables between the marks of a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def rows_of(path: Path) -> list[dict[str, Any]]:
    """One for each line of a file; none where there is no file yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_between(page: Path, begin: str, end: str, tables: str) -> bool:
    """Replaces what stands between the marks. False: the page has none."""
    text = page.read_text()
    if begin not in text:
        return False
    page.write_text(text[: text.index(begin) + len(begin)] + "\n" + tables + "\n" + text[text.index(end) :])
    return True
