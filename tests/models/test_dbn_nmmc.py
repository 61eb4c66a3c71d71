"""The machines' gradient against contrastive divergence, the sampler's choices against their shares, its steps against the margin."""

import numpy as np
import pytest
import torch
from tuner.models.dbn_nmmc import RBM, passive_aggressive, rivals, sweep

from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("dbn_nmmc")


@pytest.mark.parametrize("level", [1, 2, 4])
def test_the_gradient_is_that_of_contrastive_divergence(level):
    step = step_of(MODEL, blobs(n_samples=48), phase=level - 1)
    rbm = step.networks[f"rbm_{level}"]
    parameters = [p.requires_grad_() for p in rbm.parameters()]
    loss = MODEL.contrast(step.net, step.batch, step.values, step.noise, level)[f"cd_{level}"]
    weight, hidden, visible = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        v = step.batch.x_BD
        for below in range(1, level):
            machine = step.networks[f"rbm_{below}"]
            v = torch.sigmoid(v @ machine.weight.T + machine.hidden)
        up = v @ rbm.weight.T + rbm.hidden
        drawn = up + step.noise.hidden_BH if level == 4 else (step.noise.hidden_BH < up.sigmoid()).double()
        again = torch.sigmoid(drawn @ rbm.weight + rbm.visible)
        h, h_again = (pre if level == 4 else pre.sigmoid() for pre in (up, again @ rbm.weight.T + rbm.hidden))
        n = len(v)
        assert torch.allclose(weight, (h_again.T @ again - h.T @ v) / n, atol=1e-12)
        assert torch.allclose(hidden, (h_again - h).mean(0), atol=1e-12)
        assert torch.allclose(visible, (again - v).mean(0), atol=1e-12)


def test_the_free_energy_is_the_logarithm_of_a_sum_over_all_hidden_states():
    rbm = RBM(4, 3, gaussian=False).double()
    with torch.no_grad():
        for p in rbm.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    v = torch.rand(5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    joint = v @ rbm.visible[:, None] + (v @ rbm.weight.T + rbm.hidden) @ states.T
    assert torch.allclose(rbm(v, "energy"), -joint.logsumexp(-1))


def test_a_rival_is_the_best_of_all_others():
    assert rivals(np.array([3.0, 1.0, 2.0])).tolist() == [2.0, 3.0, 3.0]
    assert rivals(np.array([3.0, -np.inf])).tolist() == [0.0, 3.0]  # a cluster alone


@pytest.mark.parametrize(("limit", "margin"), [(10.0, 1.0), (0.05, 0.5 - 1.0 + 2 * 0.05 * 0.5)])
def test_a_step_reaches_a_margin_of_1_or_its_limit_and_moves_two_vectors(limit, margin):
    w, code = np.array([[1.0, 0.0], [0.6, 1.4], [0.0, -1.0]]), np.array([0.5, 0.5])
    after = w.copy()
    passive_aggressive(after, w @ code, 0, code, limit)  # scores 0.5, 1, -0.5
    assert (after[0] - after[1]) @ code == pytest.approx(margin)
    assert after[2].tolist() == w[2].tolist()
    before = after.copy()
    passive_aggressive(after, np.array([3.0, 1.0, 2.0]), 0, code, limit)  # the margin is 1 already
    assert after.tolist() == before.tolist()


def test_a_sample_is_drawn_by_size_and_margin_and_may_found_a_cluster():
    """The shares of 4,000 draws of one sample, beside those of the formula."""
    g = np.random.default_rng(0)
    codes = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    w, cluster, alpha, sharpness = np.array([[0.9, 0.1], [-0.3, 1.2], [0.0, 0.0], [0.0, 0.0]]), np.array([0, 0, 1, 1, 1]), 0.7, 1.5
    drawn = np.zeros(3)
    eps = np.zeros_like(codes)
    eps[4] = (0.2, -0.1)
    for _ in range(4000):
        c, v = cluster.copy(), w.copy()
        sweep(codes, c, v, (np.array([4]), g.exponential(size=(5, 5)), eps), alpha, 0.0, sharpness)
        drawn[min(c[4], 2)] += 1
        assert c[:4].tolist() == [0, 0, 1, 1]
    code, new = codes[4], codes[4] + eps[4]
    own = w[:2] @ code
    p = np.array([*(2 * np.exp(sharpness * (own - own[::-1]))), alpha * np.exp(sharpness * (new @ code - own.max()))])
    assert np.allclose(drawn / 4000, p / p.sum(), atol=3 * np.sqrt(0.25 / 4000))


def test_the_terms_are_the_margin_and_the_way_back_sample_by_sample():
    step = step_of(MODEL, blobs(n_samples=48))
    net, cluster = step.net, step.batch.rows_B % 3
    w_KZ, mean_Z = torch.eye(3, 4, dtype=torch.float64), torch.tensor([0.1, -0.2, 0.0, 0.3], dtype=torch.float64)
    cluster_N = torch.zeros_like(net.cluster_N).index_put((step.batch.rows_B,), cluster)
    net.__dict__.update(w_KZ=w_KZ, mean_Z=mean_Z, cluster_N=cluster_N)
    got = {name: float(loss) for name, loss in MODEL.finetune(net, step.batch, step.values, step.noise).items()}
    machines, want = [step.networks[f"rbm_{level}"] for level in (1, 2, 3, 4)], dict.fromkeys(got, 0.0)
    for x, k in zip(step.batch.x_BD, cluster.tolist(), strict=True):
        h = x
        for machine in machines[:3]:
            h = torch.sigmoid(machine.weight @ h + machine.hidden)
        h = machines[3].weight @ h + machines[3].hidden
        score = w_KZ @ ((h - mean_Z) / (h - mean_Z).norm())
        want["margin"] += float(max(0, 1 - score[k] + max(score[j] for j in range(3) if j != k))) / 12
        for machine in reversed(machines):
            h = torch.sigmoid(machine.weight.T @ h + machine.visible)
        want["recon"] += float((h - x).square().sum()) / 12
    assert got == pytest.approx(want, rel=1e-10)


def test_a_cluster_without_samples_is_given_nobody():
    step = step_of(MODEL, blobs(n_samples=48))
    step.still.__dict__.update(w_KZ=torch.ones(3, 4, dtype=torch.float64), used_K=torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    assert MODEL.assign(step.still, step.batch.x_BD, step.values)[:, 1].tolist() == [1.0] * 12
