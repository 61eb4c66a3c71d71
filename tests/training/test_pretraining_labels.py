"""Labels decide what pre-training comes to where the model is given some, and nowhere else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tuner.data.datasets import Data
from tuner.model import load_model
from tuner.testing import blobs, short
from tuner.training.loop import train
from tuner.training.pretraining import PretrainingCache

DATA = blobs()


@pytest.mark.parametrize(("name", "is_hit"), [("m1", False), ("dec", True)])
def test_other_labels_are_no_hit_for_a_model_that_is_given_some_and_one_for_others(name: str, is_hit: bool, tmp_path: Path) -> None:
    cache = PretrainingCache(folder=tmp_path / "pretrained")
    model = load_model(name)
    h = short(model)
    entry = cache.entry(model, h, DATA, seed=1, pretrain_seed=7)
    assert entry is not None
    epoch = next(epoch for epoch in train(model, h, DATA, seed=1, pretrain_seed=7) if entry.takes(epoch))
    entry.keep(epoch.phase, epoch.snapshot())

    def is_kept(data: Data) -> bool:
        entry = cache.entry(model, h, data, seed=2, pretrain_seed=7)
        return entry is not None and entry.start() is not None

    assert is_kept(DATA)
    for y_N in (DATA.y_N.flip(0), (DATA.y_N + 1) % 3):
        assert is_kept(dataclasses.replace(DATA, y_N=y_N)) == is_hit
