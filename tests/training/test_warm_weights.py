"""A trial that starts from another's weights: what it takes, where it begins, and that it is one training alone, in a pack and resumed."""

import dataclasses

import pytest
import torch

from tuner.model import load_model
from tuner.testing import apart, blobs, is_rounding, record, short, solo
from tuner.training import checkpoint
from tuner.training.loop import train
from tuner.training.pool import Pool, Widths
from tuner.training.warm import fitting, warm

DATA = blobs()
DEC = load_model("dec")
H = short(DEC, epochs=2, pretrain_epochs=1)


@pytest.fixture(scope="module")
def weights():
    *_, last = train(DEC, H, DATA, seed=1)
    return last.snapshot().weights()


def begun(h, weights, seed=2):
    return warm(DEC, h, DATA, weights, seed=seed, pretrain_seed=7)


def test_what_fits_is_taken_and_the_first_epoch_begins_with_it_centres_included(weights):
    found = begun(H, weights)
    assert found.taken.names == weights.keys() and found.taken.in_words() == f"all {len(weights)} tensors taken"
    assert (found.start.phase, found.start.epoch, found.start.cluster_epoch) == (1, 1, 0), "its pre-training is in the weights"
    still = dataclasses.replace(H, lr=0.0)
    first = next(train(DEC, still, DATA, seed=2, pretrain_seed=7, start=begun(still, weights).start))
    assert (first.epoch, first.phase, first.cluster_epoch) == (2, "cluster", 1)
    after = first.snapshot().tensors
    moved = [name for name, t in weights.items() if name.partition(".")[0] in ("encoder", "centers_KZ") and not torch.equal(after[name], t)]
    assert [name for name in moved if "running" not in name and "tracked" not in name] == []
    cold = next(train(DEC, still, DATA, seed=2, pretrain_seed=7)).snapshot().tensors
    assert not torch.equal(cold["centers_KZ"], weights["centers_KZ"])


def test_of_another_number_of_clusters_the_centres_are_placed_anew(weights):
    h = dataclasses.replace(H, n_clusters=H.n_clusters + 1, lr=0.0)
    found = begun(h, weights)
    k, z = weights["centers_KZ"].shape
    assert f"centers_KZ is {k}×{z} there, {k + 1}×{z} here" in found.taken.in_words() and found.start.phase == 1
    after = next(train(DEC, h, DATA, seed=2, pretrain_seed=7, start=found.start)).snapshot().tensors["centers_KZ"]
    assert after.shape == (k + 1, z) and not torch.equal(after, found.start.tensors["centers_KZ"]), "k-means has placed them"


def test_networks_of_another_size_are_trained_from_their_beginning(weights):
    h = dataclasses.replace(H, hidden=H.hidden + 1)
    found = begun(h, weights)
    assert (found.start.phase, found.start.epoch) == (0, 0) and 0 < len(found.taken.names) < len(weights)
    first = next(train(DEC, h, DATA, seed=2, pretrain_seed=7, start=found.start))
    assert (first.epoch, first.cluster_epoch) == (1, None)
    assert not fitting(DEC, h, DATA.spec, {}).names


def test_what_is_not_finite_is_not_taken(weights):
    name = next(iter(weights))
    found = begun(H, {**weights, name: torch.full_like(weights[name], torch.nan)})
    assert name not in found.taken.names and found.start.tensors[name].isfinite().all()


def test_it_is_the_same_training_in_a_pack_and_when_it_goes_on_from_a_checkpoint(weights, tmp_path):
    start = begun(H, weights).start
    whole = solo(DEC, H, DATA, 2, pretrain_seed=7, start=start)
    pool = Pool(DEC, DATA, Widths(most=2, least=1))
    pool.join("warm", H, seed=2, pretrain_seed=7, start=start)
    pool.join("cold", H, seed=3, pretrain_seed=7)
    runs = {"warm": [], "cold": []}
    while pool.members:
        for who, epoch in pool.round():
            runs[who].append(record(epoch))
    assert is_rounding(apart(whole, runs["warm"]), DEC, H, DATA, 2)
    checkpoint.save(next(train(DEC, H, DATA, seed=2, pretrain_seed=7, start=start)).snapshot(), tmp_path / "one")
    kept = checkpoint.load(tmp_path / "one")
    assert apart(whole[1:], solo(DEC, H, DATA, 2, pretrain_seed=7, start=kept)) == 0
