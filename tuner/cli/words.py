"""What `tuner clean` did, in words."""

from __future__ import annotations

from collections.abc import Iterator

from tuner.runs.clean import Cleaned
from tuner.text import counted, size


def in_words(one: Cleaned, *, dry_run: bool) -> Iterator[str]:
    """What was removed, one line for each reason, and the sum."""
    if not one.found:
        yield f"{one.folder.name}: nothing to remove."
        return
    yield f"{one.folder.name}: {size(sum(n for _, _, n in one.found))} {'could be removed' if dry_run else 'removed'}"
    for why in dict.fromkeys(why for why, _, _ in one.found):
        alike = [(path, n) for reason, path, n in one.found if reason == why]
        yield f"  {counted(len(alike), 'file')}, {size(sum(n for _, n in alike))}: {why}"
