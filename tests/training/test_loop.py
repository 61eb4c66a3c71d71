"""How trials end, and what the loop promises around them."""

import dataclasses
import math

import pytest
import torch

from tuner.data.labels import labelled_of
from tuner.errors import UserError
from tuner.model import load_model
from tuner.testing import blobs
from tuner.training.loop import train
from tuner.training.solo import Trace
from tuner.training.trial import planned_epochs

DATA = blobs()


def run(model, data=DATA, **more):
    return list(train(model, model.hyper(dict(model.tiny) | more), data, seed=0))


def variant(name, model, **methods):
    return type(name, (type(model),), methods | {"__module__": type(model).__module__})()


def one_cluster(self, net, x_BD, h):
    p_BK = torch.zeros(len(x_BD), h.n_clusters, dtype=x_BD.dtype)
    p_BK[:, 0] = 1
    return p_BK


def test_a_trial_ends_complete_in_its_last_epoch():
    assert [e.ended for e in run(load_model("kmeans"), epochs=3)] == [None, None, "complete"]


def test_one_cluster_in_three_epochs_in_a_row_is_a_collapse():
    model = variant("Collapsing", load_model("kmeans"), assign=one_cluster)
    epochs = run(model, epochs=9)
    assert [e.ended for e in epochs] == [None, None, "collapsed"]
    assert epochs[-1].reason == "all samples lie in one cluster since clustering epoch 1"
    assert epochs[-1].metrics["n_used"] == 1


def test_one_cluster_in_the_last_epoch_is_a_collapse():
    model = variant("CollapsingLate", load_model("kmeans"), assign=one_cluster)
    assert [e.ended for e in run(model, epochs=1)] == ["collapsed"]


def test_a_loss_that_is_not_finite_ends_the_trial_before_it_is_scored():
    epochs = run(load_model("aae_unsup"), **{"weights.l2_z": 1e308, "lr_gen": 1.0})
    last = epochs[-1]
    assert last.ended == "diverged"
    assert "is not finite after epoch" in last.reason
    assert "acc" not in last.metrics
    assert all(math.isfinite(value) for value in last.metrics.values())


def test_divergence_outranks_collapse():
    model = variant("Both", load_model("aae_unsup"), assign=one_cluster)
    assert run(model, **{"weights.l2_z": 1e308, "lr_gen": 1.0})[-1].ended == "diverged"


def test_data_without_labels_has_no_labelled_metrics():
    metrics = run(load_model("kmeans"), dataclasses.replace(DATA, y_N=None))[-1].metrics
    assert not {"acc", "acc_vote", "nmi", "ari"} & set(metrics)
    assert {"n_used", "largest_share", "confidence", "samples_per_s"} <= set(metrics)


@pytest.mark.parametrize("name", ["dec", "m2"])
def test_hooks_are_handed_labels_only_where_a_model_trains_on_some(name):
    """Of all hooks that the shipped models have: `start`, `before_epoch`, `after_epoch` and `until`."""
    seen = []

    def hook(net, data, h, g):
        seen.append((data.y_N is None, data.spec.n_classes))
        return False if isinstance(g, int) else {}

    hooks = {"start": hook, "before_epoch": hook, "after_epoch": hook, "until": hook}

    def phases(self, h):
        return tuple(dataclasses.replace(phase, **hooks) for phase in type(load_model(name)).phases(self, h))

    run(variant("Peeks", load_model(name), phases=phases), epochs=1)
    assert set(seen) == {(True, None)} if name == "dec" else {(False, DATA.spec.n_classes)}


def test_what_the_model_was_given_counts_in_no_comparison_with_the_classes():
    model = load_model("m2")
    rows_M = labelled_of(DATA, model.hyper(model.tiny)).rows_M

    def knows(self, net, x_BD, rows_B, h):
        """Right in what it was given, and in nothing else."""
        given_B, right_B = torch.isin(rows_B, rows_M), DATA.y_N[rows_B]
        return torch.nn.functional.one_hot(torch.where(given_B, right_B, (right_B + 1) % DATA.spec.n_classes)).double()

    metrics = run(variant("Knows", model, assign_rows=knows), epochs=1)[-1].metrics
    assert (metrics["acc_vote"], metrics["error"]) == (1.0, 1.0)
    assert metrics["nmi"] == pytest.approx(1.0), "the rows that are left are one class to a cluster"


@pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
def test_losses_are_kept_in_few_pieces_and_their_mean_is_to_the_last_bit_that_of_all(n):
    """A tensor kept after every step would tear the heap to pieces: an epoch of 4,000 steps then needs 2 GB and more."""
    losses, trace = list(torch.rand(n, generator=torch.Generator().manual_seed(n))), Trace()
    for loss in losses:
        trace.append(loss)
    assert torch.equal(trace.mean(), torch.stack(losses).mean())
    assert len(trace.pieces) + len(trace.last) <= n // Trace.PIECE + Trace.PIECE - 1


def test_planned_epochs_count_all_and_the_clustering_ones():
    model = load_model("dec")
    assert planned_epochs(model, model.hyper({"pretrain_epochs": 7, "epochs": 5})) == (12, 5)


def test_a_phase_of_length_0_is_skipped():
    assert [e.phase for e in run(load_model("dec"), pretrain_epochs=0, epochs=2)] == ["cluster", "cluster"]


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match=r"'batch_size' is 151, but blobs has 150 samples\. Set batch_size=150 or less\."):
        run(load_model("aae_unsup"), batch_size=151)


def test_pixels_outside_the_unit_range_are_refused_where_they_are_rebuilt():
    data = dataclasses.replace(DATA, x_ND=DATA.x_ND * 2)
    with pytest.raises(UserError, match=r"aae_unsup rebuilds its input as pixels in \[0, 1\], but blobs has other values"):
        run(load_model("aae_unsup"), data)


def test_refresh_every_counts_batches_from_the_start_of_the_phase():
    model = load_model("dec")
    seen = []

    def phases(self, h):
        pretrain, cluster = type(model).phases(self, h)

        def refresh(*inputs):
            seen.append(1)
            return cluster.before_epoch(*inputs)

        return pretrain, dataclasses.replace(cluster, before_epoch=refresh)

    run(variant("Counting", model, phases=phases), pretrain_epochs=0, epochs=3, batch_size=50, refresh_every=4)
    assert len(seen) == 3  # 9 batches: before the 1st, 5th and 9th
