"""The dip test, and DipDECK's loss and merges, against independent statements."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from tuner.models._dip import dip, dip_p
from tuner.models.dipdeck import closest, dips, p_one_mode

from tuner.draws import Draws
from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("dipdeck")
DATA = blobs(n_samples=60)


# --- the dip ------------------------------------------------------------------------------------------------------------


def nearest_unimodal(x):
    """The dip by its definition: the least t such that a function with slopes that rise, then fall, is within t of every step."""
    x, n = np.sort(x), len(x)
    least = 1.0
    for peak in range(n - 1):
        rows, bounds = [], []
        for i in range(n):
            for step in (i / n, (i + 1) / n):
                for sign in (1, -1):  # sign * (G_i - step) <= t
                    row = np.zeros(n + 1)
                    row[i], row[n] = sign, -1
                    rows.append(row)
                    bounds.append(sign * step)
        for i in range(n - 2):  # slope i against slope i + 1
            sign = 1 if i + 1 <= peak else -1
            row = np.zeros(n + 1)
            for at, way in ((i, sign), (i + 1, -sign)):
                width = x[at + 1] - x[at]
                row[at + 1] += way / width
                row[at] -= way / width
            rows.append(row)
            bounds.append(0.0)
        least = min(least, linprog(np.eye(n + 1)[n], np.array(rows), bounds, bounds=(0, None)).fun)
    return least


@pytest.mark.parametrize("seed", range(6))
def test_the_dip_is_the_distance_to_the_nearest_unimodal_distribution(seed):
    r = np.random.default_rng(seed)
    x = np.concatenate([r.normal(size=4 + seed), r.normal(3, size=5)])
    assert dip(x) == pytest.approx(nearest_unimodal(x), abs=1e-9)


def test_the_dip_of_two_far_pairs_and_of_too_few():
    assert dip(np.array([0.0, 1e-6, 1.0, 1 + 1e-6])) == pytest.approx(0.25, abs=1e-4)
    assert dip(np.array([0.0, 1.0, 5.0])) == dip(np.ones(9)) == 0.0
    assert dip_p(0.2, 3) == 1.0


@pytest.mark.parametrize("n", [50, 400])
def test_p_values_of_uniform_samples_are_uniform(n):
    r = np.random.default_rng(0)
    p = np.array([dip_p(dip(r.uniform(size=n)), n) for _ in range(400)])
    for level in (0.1, 0.5, 0.9):
        assert np.mean(p < level) == pytest.approx(level, abs=0.07)  # three standard deviations of the share, at most


# --- pairs of clusters --------------------------------------------------------------------------------------------------


def test_halves_of_one_cloud_look_like_one_mode_and_two_clouds_do_not():
    r = np.random.default_rng(0)
    one, two = r.normal(size=(200, 3)), r.normal([6, 0, 0], 1, size=(100, 3))
    z, cluster = np.concatenate([one, two]), np.concatenate([(one[:, 0] > 0).astype(int), np.full(100, 2)])
    centers = np.stack([z[cluster == k].mean(0) for k in range(3)])
    p = dips(z, cluster, centers, np.ones(3), 2.0)
    assert p[0, 1] > 0.9
    assert p[0, 2] < 1e-3
    assert np.array_equal(p, p.T)
    assert not dips(z, cluster, centers, np.array([1, 0, 1]), 2.0)[1].any(), "a cluster that is gone has no pairs"


def test_of_unequal_clusters_the_smaller_p_value_counts():
    r = np.random.default_rng(1)
    small, large = r.normal([0, 0], 0.3, size=(40, 2)), r.normal([4, 0], 1.5, size=(400, 2))
    z, cluster = np.concatenate([large, small]), np.concatenate([np.zeros(400, int), np.ones(40, int)])
    centers = np.array([[4.0, 0.0], [0.0, 0.0]])
    axis = centers[1] - centers[0]
    whole = dip_p(dip(z @ axis), 440)
    next_to = large[np.argsort(np.linalg.norm(large - centers[1], axis=1))[:80]]
    cut = dip_p(dip(np.concatenate([small, next_to]) @ axis), 120)
    assert whole != cut
    assert p_one_mode(z, cluster, centers, (0, 1), 2.0) == pytest.approx(min(whole, cut), rel=1e-12)
    assert p_one_mode(z, cluster, centers, (0, 1), 20.0) == pytest.approx(whole, rel=1e-12)
    assert len(closest(large, centers[1], 80)) == 80


# --- the loss and the merges --------------------------------------------------------------------------------------------


def placed(**more):
    step = step_of(MODEL, DATA, **{"n_clusters": 6} | more)
    step.engine.put(0, MODEL.place(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    return step


@pytest.mark.parametrize("rested", [0.0, 2.0])
def test_codes_are_pulled_to_the_centres_that_look_alike(rested):
    step = placed()
    g = torch.Generator().manual_seed(0)
    p = torch.rand(6, 6, generator=g, dtype=torch.float64)
    alive = torch.tensor([1, 1, 0, 1, 1, 1]).double()
    p = (p + p.T) / 2 * alive * alive[:, None] * (1 - torch.eye(6))
    step.engine.put(0, {"dip_KK": p, "alive_K": alive, "rested": torch.tensor(rested)})
    step.engine.put(0, {"cluster_N": (step.net.cluster_N + 1) % 6})
    z, m = step.net.encoder(step.batch.x_BD).numpy(), step.net.encoder(step.net.centers_KD).numpy()
    living = [k for k in range(6) if k != 2]
    gaps = np.array([np.linalg.norm(m[i] - m[j]) for i in living for j in living if i != j])
    pulled = 0.0
    for b, row in enumerate(step.batch.rows_B):
        d = [np.sum((z[b] - m[k]) ** 2) for k in range(6)]
        c = int(step.net.cluster_N[row]) if rested == 0 else min(living, key=lambda k: d[k])
        w = [p[c, k].item() + float(k == c and k in living) for k in range(6)]
        pulled += sum(w[k] * d[k] for k in range(6)) / max(sum(w), 1.0) / len(z)
    got = MODEL.draw_together(step.net, step.batch, step.values, step.noise)
    assert float(got["dip"]) == pytest.approx(pulled * (1 + gaps.std(ddof=1)) / gaps.mean(), rel=1e-9)
    x = step.batch.x_BD.numpy()
    assert float(got["recon"]) == pytest.approx(np.mean(((step.net.decoder(torch.as_tensor(z)).numpy() - x) ** 2).sum(1)), rel=1e-9)


def test_two_centres_alone_have_no_spread():
    m_KZ = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]]).double()
    assert float(MODEL.closeness(m_KZ, torch.tensor([1, 1, 0]).double())) == pytest.approx(1 / 5)


def test_clusters_are_merged_down_to_the_least_number_while_p_is_large():
    step = placed(threshold=0.0, min_clusters=3)
    state = MODEL.merge(step.still, DATA, step.values, None)
    alive = state["alive_K"].nonzero()[:, 0]
    assert len(alive) == 3
    assert set(state["cluster_N"].tolist()) <= set(alive.tolist())
    assert float(state["rested"]) == 0.0
    z = step.still.encoder(DATA.x_ND).numpy()
    m = step.still.encoder(state["centers_KD"]).numpy()
    assert all((DATA.x_ND == state["centers_KD"][k]).all(1).any() for k in alive), "centres are samples"
    again = dips(z, state["cluster_N"].numpy(), m, state["alive_K"].numpy(), 2.0)
    assert np.allclose(state["dip_KK"].numpy(), again), "only the pairs of the new cluster were computed again"
    step.engine.put(0, state)
    assert MODEL.assign(step.still, DATA.x_ND, step.values).sum(0).count_nonzero() <= 3


def test_without_a_large_p_value_nothing_is_merged_and_it_comes_to_rest():
    step = placed(threshold=1.0, rest_epochs=1)
    before = step.net.alive_K.clone()
    assert not MODEL.at_rest(step.still, DATA, step.values, 1)
    state = MODEL.merge(step.still, DATA, step.values, None)
    assert torch.equal(state["alive_K"], before)
    step.engine.put(0, state)
    assert MODEL.at_rest(step.still, DATA, step.values, 2)
