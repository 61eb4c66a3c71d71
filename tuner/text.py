"""Numbers, times, places and settings in words, alike in tables, messages and logs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


def size(n: float) -> str:
    """`12.3 MB`"""
    for unit in ("bytes", "kB", "MB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} GB"


# --- words and numbers -------------------------------------------------------------------------------------------------


def number(value: float | None, metric: str = "") -> str:
    """A metric: four decimals where they say something, none for counts."""
    if value is None or not math.isfinite(value):
        return "–"
    if metric == "n_used":
        return f"{value:.0f}"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 100 else f"{value:.4g}"


def setting(value: Any) -> str:
    """A hyper-parameter's value, as short as it can be read and typed again."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def settings(config: Mapping[str, Any], names: Iterable[str]) -> str:
    """`lr_ae=0.0012 latent_dim=5`"""
    return " ".join(f"{name}={setting(config[name])}" for name in names if config.get(name) is not None)


def duration(seconds: float) -> str:
    """`0:42`, `12:03`, `1:02:03`"""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + "s" * (n != 1)


def near(path: Path) -> str:
    """The path as one would type it here."""
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return os.path.relpath(path) if inside else str(path)


def megabytes(size: float) -> str:
    return f"{size / 1e6:.3g} MB" if size < 1e9 else f"{size / 1e9:.3g} GB"
