"""On how many seeds a configuration is tried: the key `seed`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reading import Reading

MOST_SEED = 2**32 - 1  # numpy's
MOST_SEEDS = 100  # of one configuration
REDUCTION = 3  # of a race without early_terminate


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """`repeat`: how many seeds each configuration gets. `race`: how many it may get, beginning with one; None: it is no race.
    `reduction`: of a race, the best 1/`reduction` go on."""

    repeat: int = 1
    race: int | None = None
    reduction: int = REDUCTION

    @property
    def single(self) -> bool:
        """Whether a trial is a configuration."""
        return self.most == 1

    @property
    def most(self) -> int:
        """The most seeds of a configuration."""
        return self.repeat if self.race is None else self.race

    @property
    def levels(self) -> tuple[int, ...]:
        """After how many seeds a configuration must deserve more, and the most: 1, 3, 5 for a race of 5 with a reduction of 3."""
        if self.race is None:
            return (self.repeat,)
        found = [1]
        while found[-1] < self.race:
            found.append(min(found[-1] * self.reduction, self.race))
        return tuple(found)

    def plain(self) -> dict[str, int]:
        """For spec.json."""
        return {"repeat": self.repeat} if self.race is None else {"race": self.race, "reduction": self.reduction}

    @staticmethod
    def of(plain: Mapping[str, Any] | None) -> Seeds:
        """From spec.json."""
        return Seeds(**{name: int(value) for name, value in (plain or {}).items() if name in ("repeat", "race", "reduction")})


def read_seed(reading: Reading, key: str) -> int:
    """The search's seed. Puts `seeds` beside it, which needs `early_terminate`'s reduction later: see `Spec.seeds`."""
    node = reading.nodes.get(key)
    reading.values["seeds"] = Seeds()
    if node is None or not isinstance(node.value, dict):
        return reading.whole(key, 0, MOST_SEED, 0)
    parts = node.value
    reading.only("'seed'", parts, ("value", "repeat", "race"))
    if "repeat" in parts and "race" in parts:
        reading.problems.at(
            parts["race"], "'seed' has 'repeat' and 'race': each configuration on as many seeds, or good ones on more. Keep one."
        )
    elif "repeat" not in parts and "race" not in parts:
        reading.problems.at(node, "'seed' must be a whole number, {repeat: 3} or {race: 5}; the search's own seed is its 'value'.")
    repeat = reading.whole_from(parts, "seed.repeat", 2, MOST_SEEDS) if "repeat" in parts else 1
    race = reading.whole_from(parts, "seed.race", 2, MOST_SEEDS) if "race" in parts else None
    reading.values["seeds"] = Seeds(repeat=repeat, race=race, reduction=_reduction(reading))
    if "value" not in parts:
        return int(reading.default("seed.value", 0))
    return reading.whole_from(parts, "seed.value", 0, MOST_SEED)


def _reduction(reading: Reading) -> int:
    """ASHA's, where the file says it; what is wrong with it is found by its own reader."""
    node = reading.nodes.get("early_terminate")
    said = node.value.get("reduction") if node is not None and isinstance(node.value, dict) else None
    return said.value if said is not None and isinstance(said.value, int) and said.value >= 2 else REDUCTION
