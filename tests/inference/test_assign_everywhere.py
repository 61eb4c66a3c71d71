"""Every model, trained alone and in a pack of three seeds: its kept weights give the clusters by which its last epoch was scored."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tuner.data.datasets import Data, DatasetSpec, load, read_raw, rows_of
from tuner.inference.assign import Assigner
from tuner.model import Model, load_model, model_names
from tuner.testing import short
from tuner.training import checkpoint, loop
from tuner.training.engine import PRECISIONS, set_precision
from tuner.training.loop import Epoch
from tuner.training.pool import Pool, Widths

DATASET = DatasetSpec(name="digits", limit=700, scale="minmax")  # 700: two slices of evaluation
QUICK = ("kmeans", "gmm", "dec", "vade")  # by k-means, by a mixture, by centres that move, by a prior
SEEDS = (3, 4, 5)
MODELS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in model_names()]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> dict[int, Tensor]:
    """By seed, the probabilities by which a trial was last scored."""
    found: dict[int, Tensor] = {}
    measure, evaluate = loop._scored, loop.evaluate

    def heard(engine, model, slot, trial, trained):
        def noted(p_NK, y_N):
            found[trial.seed] = p_NK.cpu()
            return evaluate(p_NK, y_N)

        monkeypatch.setattr(loop, "evaluate", noted)
        return measure(engine, model, slot, trial, trained)

    monkeypatch.setattr(loop, "_scored", heard)
    return found


def alone(model: Model, data: Data, device: str) -> Iterator[tuple[int, Epoch]]:
    for seed in SEEDS:
        for epoch in loop.train(model, hyper(model), data, seed=seed, device=device):
            yield seed, epoch


def packed(model: Model, data: Data, device: str) -> Iterator[tuple[int, Epoch]]:
    pool = Pool(model, data.to(device), Widths(most=len(SEEDS)))
    for seed in SEEDS:
        pool.join(seed, hyper(model), seed=seed)
    while pool.members:
        yield from pool.round()
    assert pool.slot_epochs > pool.pack_epochs, "they trained apart"


def hyper(model: Model):
    return short(model, **({"n_clusters": 10} if model.labels == "partial" else {}))  # cluster k is class k


def check(name: str, scored: dict[int, Tensor], path: Path, device: str = "cpu") -> None:
    model, data = load_model(name), load(DATASET)
    x_ND = read_raw(DATASET).values(rows_of(DATASET, 1797))
    for train in (alone, packed):
        scored.clear()
        last = {seed: epoch.snapshot() for seed, epoch in train(model, data, device) if epoch.ended in ("complete", "collapsed")}
        assert set(last) == set(SEEDS)
        for seed, snapshot in last.items():
            checkpoint.save(snapshot, path)
            found, p_NK = Assigner(checkpoint.load(path), device=device).assign(x_ND), scored[seed]
            assert np.array_equal(found.cluster_N, p_NK.argmax(-1).numpy()), (train.__name__, seed)
            assert np.array_equal(found.confidence_N, p_NK.max(-1).values.float().numpy()), (train.__name__, seed)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_alone_and_in_a_pack(name: str, scored: dict[int, Tensor], tmp_path: Path) -> None:
    check(name, scored, tmp_path / "best.safetensors")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: a CPU has no TF32")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", model_names())
def test_a_model_on_a_gpu_in_both_precisions(name: str, precision: str, scored: dict[int, Tensor], tmp_path: Path) -> None:
    set_precision(precision, "cuda")
    try:
        check(name, scored, tmp_path / "best.safetensors", "cuda")
    finally:
        set_precision(PRECISIONS[0], "cuda")
