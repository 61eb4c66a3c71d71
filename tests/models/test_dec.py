"""DEC's formulas against independent statements."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tuner.models._autoencoder import place_centers
from tuner.models._self_taught import kl_to_target, renew_target, sharpened, student_t

from tuner.draws import Draws
from tuner.model import Batch, load_model
from tuner.testing import blobs
from tuner.training.engine import Settings, terms_on
from tuner.training.loop import train
from tuner.training.solo import Solo

MODEL = load_model("dec")
DATA = blobs(n_samples=24)
G = torch.Generator().manual_seed(0)
Z_BZ, CENTERS_KZ = torch.randn(9, 3, generator=G, dtype=torch.float64), torch.randn(4, 3, generator=G, dtype=torch.float64)


def q_of(z, m, alpha):
    """Equation 1, one pair at a time."""
    kernel = np.array([[(1 + np.sum((a - b) ** 2) / alpha) ** (-(alpha + 1) / 2) for b in m] for a in z])
    return kernel / kernel.sum(1, keepdims=True)


@pytest.mark.parametrize("alpha", [1.0, 2.5])
def test_q_is_students_t_kernel_normalised_over_the_centres(alpha):
    assert np.allclose(student_t(Z_BZ, CENTERS_KZ, alpha).exp().numpy(), q_of(Z_BZ.numpy(), CENTERS_KZ.numpy(), alpha), rtol=1e-12)


def test_p_is_q_squared_over_the_soft_size_of_the_cluster():
    q = q_of(Z_BZ.numpy(), CENTERS_KZ.numpy(), 1.0)
    f = q.sum(0)
    want = [[q[i, j] ** 2 / f[j] / sum(q[i, k] ** 2 / f[k] for k in range(4)) for j in range(4)] for i in range(9)]
    assert np.allclose(sharpened(torch.as_tensor(q)).numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("target", ["all", "batch"])
def test_boost_is_the_exponent_of_the_target(target):
    """DBC's target; 1 sharpens by the sizes of the clusters alone, 2 is DEC's."""
    q_NK = torch.as_tensor(q_of(Z_BZ.numpy(), CENTERS_KZ.numpy(), 1.0))
    f_K = q_NK.sum(0)
    for boost in (1.0, 3.5):
        want_NK = q_NK**boost / f_K
        assert torch.allclose(sharpened(q_NK, boost), want_NK / want_NK.sum(1, keepdim=True))
    assert torch.equal(sharpened(q_NK, 2.0), sharpened(q_NK))
    kl = [run_of(target, boost)[-1].metrics["loss/kl"] for boost in (2.0, 2.0, 4.0)]
    assert kl[0] == kl[1] != kl[2], "the target of the training, too"


def run_of(target, boost):
    h = MODEL.hyper(dict(MODEL.tiny) | {"target": target, "boost": boost})
    return list(train(MODEL, h, blobs(), seed=0))


def test_a_dead_centre_gives_no_nan():
    q_NK = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert torch.equal(sharpened(q_NK), q_NK)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_the_gradients_are_the_papers_equations_4_and_5(alpha):
    z, m = Z_BZ.clone().requires_grad_(), CENTERS_KZ.clone().requires_grad_()
    p = sharpened(student_t(Z_BZ, CENTERS_KZ, alpha).exp())
    loss = (p * (p.log() - student_t(z, m, alpha))).sum()
    by_z, by_m = torch.autograd.grad(loss, (z, m))
    q = student_t(Z_BZ, CENTERS_KZ, alpha).exp()
    gap_BKZ = Z_BZ[:, None] - CENTERS_KZ
    each = (alpha + 1) / alpha / (1 + gap_BKZ.square().sum(-1) / alpha) * (p - q)
    assert torch.allclose(by_z, (each[..., None] * gap_BKZ).sum(1))
    assert torch.allclose(by_m, -(each[..., None] * gap_BKZ).sum(0))


@pytest.mark.parametrize("target", ["all", "batch"])
def test_kl_sums_over_clusters_and_averages_over_the_batch(target):
    h = MODEL.hyper(dict(MODEL.tiny) | {"n_clusters": 4, "target": target})
    engine = Solo(MODEL, h, DATA.spec, DATA.x_ND, seed=0)
    values = Settings(MODEL, h, terms_on(MODEL, h), {}).values(DATA.x_ND)
    net = engine.views["training"]
    engine.put(0, place_centers(net, DATA, values, Draws(0, like=DATA.x_ND)))
    if target == "all":
        engine.put(0, renew_target(net, DATA, values, None))
    rows_B = torch.tensor([3, 17, 5])
    got = MODEL.sharpen(net, Batch(DATA.x_ND[rows_B], rows_B), values, None)["kl"]
    q = q_of(net.encoder(DATA.x_ND).detach().numpy(), net.centers_KZ.numpy(), 1.0)
    p = q**2 / (q if target == "all" else q[rows_B]).sum(0)
    p /= p.sum(1, keepdims=True)
    assert float(got) == pytest.approx(np.mean([np.sum(p[i] * np.log(p[i] / q[i])) for i in rows_B]), rel=1e-9)


def test_a_target_of_the_batch_keeps_nothing_of_the_data_set_and_has_no_gradient():
    h = MODEL.hyper(dict(MODEL.tiny) | {"target": "batch"})
    assert set(MODEL.tensors(h, DATA.spec)) == {"centers_KZ"}
    assert MODEL.phases(h)[1].before_epoch is None
    z = Z_BZ.clone().requires_grad_()
    net, values = SimpleNamespace(centers_KZ=CENTERS_KZ), SimpleNamespace(target="batch", alpha=1.0, boost=2.0)
    (grad,) = torch.autograd.grad(kl_to_target(net, z, None, values), z)
    p = sharpened(student_t(Z_BZ, CENTERS_KZ, 1.0).exp())
    (want,) = torch.autograd.grad((p * (p.log() - student_t(z, CENTERS_KZ, 1.0))).sum(1).mean(), z)
    assert torch.allclose(grad, want, rtol=1e-12)


def test_a_target_of_zero_costs_nothing_and_has_a_finite_gradient():
    p_BK = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    log_q_BK = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    loss = (torch.special.xlogy(p_BK, p_BK) - p_BK * log_q_BK).sum()
    (grad,) = torch.autograd.grad(loss, log_q_BK)
    assert torch.equal(grad, torch.tensor([[-1.0, 0.0]], dtype=torch.float64))


def test_pre_training_is_not_scored_and_clustering_counts_from_one():
    epochs = list(train(MODEL, MODEL.hyper(dict(MODEL.tiny) | {"pretrain_epochs": 2, "epochs": 3}), blobs(), seed=0))
    assert [(e.epoch, e.phase, e.cluster_epoch) for e in epochs] == [
        (1, "pretrain", None), (2, "pretrain", None), (3, "cluster", 1), (4, "cluster", 2), (5, "cluster", 3),
    ]  # fmt: skip
    assert all("acc" not in e.metrics for e in epochs[:2])
    assert all("acc" in e.metrics for e in epochs[2:])


def test_trials_with_the_same_pretrain_seed_share_their_pre_training():
    h = MODEL.hyper(dict(MODEL.tiny) | {"pretrain_epochs": 2, "epochs": 1})
    other = MODEL.hyper(h.flat() | {"lr": 0.05, "n_clusters": 4})

    def pretrained(h, seed):
        weights = [e.snapshot().weights() for e in train(MODEL, h, blobs(), seed=seed, pretrain_seed=7)][1]
        return {k: v for k, v in weights.items() if k.startswith(("encoder", "decoder"))}

    one, two = pretrained(h, 1), pretrained(other, 2)
    assert all(torch.equal(one[k], two[k]) for k in one)
