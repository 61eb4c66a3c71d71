"""What a tracker is sent about a search that is over: its pictures and tables, and the winner's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table: a row holds a value for each column."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Exhibits:
    """All by name. `images`: PNG files' contents. `figures`: of `plotly.graph_objects`. `winner`: files of the run's folder, and `about`
    what is known of it."""

    images: Mapping[str, bytes] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Sheet] = field(default_factory=dict)
    winner: Sequence[Path] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
