"""A trial whose training starts from the kept weights of another one, and what its configuration says of that.

Its figures are those of a longer training: they are compared with no other trial's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# In a trial's configuration. No hyper-parameter can be called so: these are no Python names.
WARM, WARM_FILE, WARM_WEIGHTS = "warm-start", "warm-file", "warm-weights"

_DIGEST = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """`trial`: whose weights; `file`: where they lay in the run's folder; `weights`: the digest of those tensors, by which the run keeps
    them until it is done."""

    trial: int
    file: str
    weights: str

    def entries(self) -> dict[str, Any]:
        """What the configuration says."""
        return {WARM: self.trial, WARM_FILE: self.file, WARM_WEIGHTS: self.weights}

    @staticmethod
    def of(config: Mapping[str, Any]) -> WarmStart | None:
        """What a configuration says; None of a trial that starts cold.

        Raises:
            ValueError: it cannot be.
        """
        if WARM not in config:
            return None
        weights = config.get(WARM_WEIGHTS)
        if not isinstance(weights, str) or not _DIGEST.fullmatch(weights):
            raise ValueError(f"'{WARM_WEIGHTS}' is {weights!r}")
        return WarmStart(trial=int(config[WARM]), file=str(config.get(WARM_FILE)), weights=weights)
