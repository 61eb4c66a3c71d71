"""Davies-Bouldin and Calinski-Harabasz against scikit-learn, the description length written out; at the edges, and of which samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score

from tuner.metrics import METRICS
from tuner.training import neighbours
from tuner.training.neighbours import SEPARATION, neighbourhoods
from tuner.training.separation import EXACT, calinski_harabasz, davies_bouldin, description_length


def codes(seed: int, n: int = 300, n_clusters: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of clusters that overlap, one of them with two samples only."""
    g = torch.Generator().manual_seed(seed)
    c_N = torch.randint(n_clusters - 1, (n,), generator=g)
    c_N[:2] = n_clusters - 1
    return torch.randn(n, 3, generator=g) + 2 * torch.randn(n_clusters, 3, generator=g)[c_N], c_N


@pytest.mark.parametrize("seed", range(5))
def test_both_are_scikit_learns(seed: int) -> None:
    z_NZ, c_N = codes(seed, n_clusters=3 + seed)
    assert davies_bouldin(z_NZ, c_N) == pytest.approx(davies_bouldin_score(z_NZ.double().numpy(), c_N.numpy()), rel=1e-12)
    assert calinski_harabasz(z_NZ, c_N) == pytest.approx(calinski_harabasz_score(z_NZ.double().numpy(), c_N.numpy()), rel=1e-12)


def test_a_cluster_without_samples_changes_nothing() -> None:
    z_NZ, c_N = codes(0)
    for index in SEPARATION.values():
        assert index(z_NZ, c_N) == index(z_NZ, c_N * 7)


@pytest.mark.parametrize("c_N", [torch.full((20,), 3), torch.arange(20)])
def test_where_there_is_nothing_to_compare_they_are_as_bad_as_can_be(c_N: torch.Tensor) -> None:
    z_NZ, _ = codes(0, 20)
    assert [index(z_NZ, c_N) for index in SEPARATION.values()] == [METRICS[name].worst for name in SEPARATION]


def test_codes_that_are_not_finite_are_as_bad_as_can_be() -> None:
    z_NZ, c_N = codes(0)
    z_NZ[7, 1] = torch.nan
    assert [index(z_NZ, c_N) for index in SEPARATION.values()] == [METRICS[name].worst for name in SEPARATION]


def test_means_that_coincide_are_the_worst_and_clusters_that_are_points_are_apart() -> None:
    z_NZ, c_N = torch.tensor([[-1.0], [1.0], [-2.0], [2.0]]), torch.tensor([0, 0, 1, 1])
    assert davies_bouldin(z_NZ, c_N) == METRICS["davies_bouldin"].worst
    assert calinski_harabasz(z_NZ, c_N) == 0.0
    points_NZ = torch.tensor([[0.0], [0.0], [5.0], [5.0]])
    assert davies_bouldin(points_NZ, c_N) == 0.0
    assert calinski_harabasz(points_NZ, c_N) == 1.0 == calinski_harabasz_score(points_NZ.numpy(), c_N.numpy())


def test_their_samples_are_bounded_and_the_same_in_all_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "SEPARATED", 50)
    z_NZ, c_N = codes(0)
    data = neighbours.Data(name="codes", x_ND=z_NZ, y_N=None, shape=(3,))
    asked: list[list[int]] = []

    def embed(rows_R: torch.Tensor) -> torch.Tensor:
        asked.append(rows_R.tolist())
        return z_NZ[rows_R]

    found = [neighbourhoods(embed, data, c_N, tuple(SEPARATION)) for _ in range(2)]
    assert found[0] == found[1] and asked[0] == asked[1] and len(set(asked[0])) == 50, "both indices are of one pass over the codes"
    assert found[0]["davies_bouldin"] == pytest.approx(davies_bouldin_score(z_NZ[asked[0]], c_N[asked[0]]))


@pytest.mark.parametrize("name", SEPARATION)
def test_clusters_that_lie_further_apart_are_better(name: str) -> None:
    rng = np.random.default_rng(0)
    c_N = torch.arange(90) % 3
    noise_NZ = torch.from_numpy(rng.standard_normal((90, 2)))
    centers_KZ = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    near, far = (SEPARATION[name](noise_NZ + scale * centers_KZ[c_N], c_N) for scale in (1.0, 10.0))
    assert (far > near) == (METRICS[name].goal == "maximize")


@pytest.mark.parametrize("seed", range(3))
def test_a_description_length_is_that_of_two_codes_written_out(seed: int) -> None:
    """One sample at a time, in the numbers' own scale: -log p of the cluster and of each number, to 0.01 of its spread, and 0.5 log S for
    each parameter."""
    z_NZ, c_N = codes(seed)
    x, c = z_NZ.double().numpy() * [1.0, 100.0, 0.01], c_N.numpy()
    n, exact = len(c), EXACT * x.std(axis=0)

    def nats(rows: np.ndarray) -> float:
        """Of a group of samples by a Gaussian with its own mean and variance, without what both descriptions share."""
        return float(sum(0.5 * np.log(2 * np.pi * np.e * (rows[:, j].var() + exact[j] ** 2)) for j in range(3) for _ in rows))

    clusters = [x[c == k] for k in np.unique(c)]
    several = sum(nats(rows) - len(rows) * np.log(len(rows) / n) for rows in clusters) + 0.5 * np.log(n) * (
        len(clusters) * 6 + len(clusters) - 1
    )
    single = nats(x) + 0.5 * np.log(n) * 6
    assert description_length(torch.from_numpy(x), c_N) == pytest.approx((several - single) / n / 3, rel=1e-9)


def test_clusters_that_are_chance_do_not_pay_and_neither_do_more_than_there_are() -> None:
    g = torch.Generator().manual_seed(0)
    y_N = torch.arange(400) % 4
    z_NZ = 8 * torch.eye(4)[y_N] + torch.randn(400, 4, generator=g)
    by_chance_N = torch.randint(4, (400,), generator=g)
    halves_N = y_N + 4 * torch.randint(2, (400,), generator=g)
    right = description_length(z_NZ, y_N)
    assert right < 0 < description_length(z_NZ, by_chance_N)
    assert right < description_length(z_NZ, halves_N) and right < description_length(z_NZ, y_N // 2), "K too large, and too small"
    points_NZ = torch.eye(4)[y_N]
    assert -10 < description_length(points_NZ, y_N) < right, "clusters that are points cost something"
    assert description_length(torch.ones(400, 3), y_N) == METRICS["description_length"].worst
