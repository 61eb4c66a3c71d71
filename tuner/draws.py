"""Where every random number of a trial comes from: generators seeded by what the numbers are for, so no state needs saving."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

BLOCK = 8  # steps of noise drawn at once: part of the definition of a trial's random numbers


def seed_of(*key: object) -> int:
    """A 63-bit seed from a key of plain values: the same on every machine and in every process."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big") >> 1


class Draws:
    """`g`: random tensors on the data's device, in its precision, from a generator seeded by `key`.

    `lead`: leading axes that every draw carries; the loop sets it to the number of steps in a block of noise.
    """

    def __init__(self, *key: object, like: Tensor, lead: tuple[int, ...] = ()) -> None:
        self.lead = lead
        self.device, self.dtype = like.device, like.dtype
        self._generator = torch.Generator(like.device).manual_seed(seed_of(*key))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*self.lead, *shape, generator=self._generator, device=self.device, dtype=self.dtype)

    def uniform(self, *shape: int) -> Tensor:
        """In [0, 1)."""
        return torch.rand(*self.lead, *shape, generator=self._generator, device=self.device, dtype=self.dtype)

    def exponential(self, *shape: int) -> Tensor:
        """With rate 1."""
        return torch.empty(*self.lead, *shape, device=self.device, dtype=self.dtype).exponential_(generator=self._generator)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Whole numbers in [0, high)."""
        return torch.randint(high, (*self.lead, *shape), generator=self._generator, device=self.device)

    def permutation(self, n: int) -> Tensor:
        return torch.randperm(n, generator=self._generator, device=self.device)
