"""Every metric against an independent statement of it."""

import subprocess
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

from docs import tables
from tuner import agreement, layout, metrics
from tuner.errors import UserError
from tuner.metrics import METRICS, Measure, contingency, errors, evaluate
from tuner.space.reader import read_space

SIZES = [(2, 2), (3, 3), (6, 6), (5, 2), (6, 3), (2, 5), (3, 6), (1, 4), (4, 1)]  # K, C


def draw(n_clusters: int, n_classes: int, n_samples: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Clusters and classes that agree for about half of the samples; every class occurs."""
    g = torch.Generator().manual_seed(100 * n_clusters + n_classes)
    y_N = torch.cat([torch.arange(n_classes), torch.randint(n_classes, (n_samples - n_classes,), generator=g)])
    c_N = torch.where(torch.rand(n_samples, generator=g) < 0.5, y_N % n_clusters, torch.randint(n_clusters, (n_samples,), generator=g))
    return c_N, y_N


def table(c_N: torch.Tensor, y_N: torch.Tensor, n_clusters: int, n_classes: int) -> np.ndarray:
    return contingency(c_N, y_N, n_clusters, n_classes).numpy()


def best_map_by_trying_all(c_N: torch.Tensor, y_N: torch.Tensor, n_clusters: int, n_classes: int) -> float:
    c, y, size = c_N.numpy(), y_N.numpy(), max(n_clusters, n_classes)
    return max(float(np.mean(np.array(names)[c] == y)) for names in permutations(range(size)))


@pytest.mark.parametrize(("n_clusters", "n_classes"), SIZES)
def test_the_table_counts_every_pair(n_clusters: int, n_classes: int) -> None:
    c_N, y_N = draw(n_clusters, n_classes)
    n_KC = table(c_N, y_N, n_clusters, n_classes)
    for k in range(n_clusters):
        for c in range(n_classes):
            assert n_KC[k, c] == int(((c_N == k) & (y_N == c)).sum())


@pytest.mark.parametrize(("n_clusters", "n_classes"), SIZES)
def test_acc_is_the_best_of_all_one_to_one_maps(n_clusters: int, n_classes: int) -> None:
    c_N, y_N = draw(n_clusters, n_classes)
    assert agreement.acc(table(c_N, y_N, n_clusters, n_classes)) == pytest.approx(best_map_by_trying_all(c_N, y_N, n_clusters, n_classes))


@pytest.mark.parametrize(("n_clusters", "n_classes"), SIZES)
def test_acc_vote_gives_every_cluster_its_most_frequent_class(n_clusters: int, n_classes: int) -> None:
    c_N, y_N = draw(n_clusters, n_classes)
    right = sum(int(y_N[c_N == k].bincount().max()) for k in range(n_clusters) if bool((c_N == k).any()))
    assert agreement.acc_vote(table(c_N, y_N, n_clusters, n_classes)) == pytest.approx(right / len(y_N))


@pytest.mark.parametrize(("n_clusters", "n_classes"), SIZES)
def test_nmi_is_scikit_learns_with_the_arithmetic_mean(n_clusters: int, n_classes: int) -> None:
    c_N, y_N = draw(n_clusters, n_classes)
    expected = normalized_mutual_info_score(y_N, c_N, average_method="arithmetic")
    assert agreement.nmi(table(c_N, y_N, n_clusters, n_classes)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n_clusters", "n_classes"), SIZES)
def test_ari_is_scikit_learns(n_clusters: int, n_classes: int) -> None:
    c_N, y_N = draw(n_clusters, n_classes)
    assert agreement.ari(table(c_N, y_N, n_clusters, n_classes)) == pytest.approx(adjusted_rand_score(y_N, c_N), abs=1e-12)


@pytest.mark.parametrize(("n_clusters", "n_classes"), SIZES)
def test_ami_is_scikit_learns_with_the_arithmetic_mean(n_clusters: int, n_classes: int) -> None:
    c_N, y_N = draw(n_clusters, n_classes)
    expected = adjusted_mutual_info_score(y_N, c_N, average_method="arithmetic")
    assert agreement.ami(table(c_N, y_N, n_clusters, n_classes)) == pytest.approx(expected, abs=1e-9)


def test_ami_takes_off_the_mean_of_the_information_over_all_orders_of_the_labels() -> None:
    c, y = [0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1]

    def information(y: tuple[int, ...] | list[int]) -> float:
        n_KC = table(torch.tensor(c), torch.tensor(y), 3, 2) / 6
        outer_KC = n_KC.sum(1, keepdims=True) * n_KC.sum(0, keepdims=True)
        return float((n_KC[n_KC > 0] * np.log(n_KC[n_KC > 0] / outer_KC[n_KC > 0])).sum())

    by_chance = np.mean([information(order) for order in permutations(y)])
    most = (np.log(3) + np.log(2)) / 2
    assert agreement.ami(table(torch.tensor(c), torch.tensor(y), 3, 2)) == pytest.approx((information(y) - by_chance) / (most - by_chance))


def test_ami_does_not_rise_with_the_number_of_clusters_as_nmi_does() -> None:
    g = torch.Generator().manual_seed(0)
    y_N = torch.arange(1000) % 10
    few, many = (table(torch.randint(n, (1000,), generator=g), y_N, n, 10) for n in (10, 200))
    assert agreement.nmi(many) > agreement.nmi(few) + 0.1
    assert abs(agreement.ami(many)) < 0.02
    assert agreement.ami(np.eye(6, dtype=np.int64)) == 1.0  # a group for every sample, on both sides


def test_acc_aae_gives_every_cluster_the_class_of_its_likeliest_sample() -> None:
    rng = np.random.default_rng(0)
    p_NK, y_N = rng.dirichlet(np.ones(4), 60), rng.integers(0, 3, 60)
    named = [y_N[max(range(60), key=lambda i, k=k: p_NK[i, k])] for k in range(4)]
    right = sum(y == named[c] for y, c in zip(y_N, p_NK.argmax(1), strict=True))
    found = evaluate(torch.from_numpy(p_NK), torch.from_numpy(y_N))
    assert found["acc_aae"] == pytest.approx(right / 60)
    assert found["acc_aae"] < found["acc_vote"], "the likeliest sample need not be of the commonest class"
    known_N = np.arange(60) != p_NK[:, 0].argmax()
    part = evaluate(torch.from_numpy(p_NK[known_N]), torch.from_numpy(y_N[known_N]))
    assert evaluate(torch.from_numpy(p_NK), torch.from_numpy(np.where(known_N, y_N, -1)))["acc_aae"] == part["acc_aae"]


@pytest.mark.parametrize(("n_clusters", "n_classes"), SIZES)
def test_acc_never_exceeds_acc_vote(n_clusters: int, n_classes: int) -> None:
    n_KC = table(*draw(n_clusters, n_classes), n_clusters, n_classes)
    assert agreement.acc(n_KC) <= agreement.acc_vote(n_KC) + 1e-12


@pytest.mark.parametrize(("n_clusters", "n_classes"), SIZES)
def test_renaming_the_clusters_changes_nothing(n_clusters: int, n_classes: int) -> None:
    n_KC = table(*draw(n_clusters, n_classes), n_clusters, n_classes)
    renamed_KC = n_KC[np.random.default_rng(0).permutation(n_clusters)]
    for metric in (agreement.acc, agreement.acc_vote, agreement.nmi, agreement.ari, agreement.ami):
        assert metric(renamed_KC) == pytest.approx(metric(n_KC), abs=1e-12)


@pytest.mark.parametrize(("n_clusters", "n_classes"), SIZES)
def test_an_empty_cluster_changes_nothing(n_clusters: int, n_classes: int) -> None:
    n_KC = table(*draw(n_clusters, n_classes), n_clusters, n_classes)
    wider_KC = np.vstack([n_KC, np.zeros((1, n_classes), dtype=np.int64)])
    for metric in (agreement.acc, agreement.acc_vote, agreement.nmi, agreement.ari, agreement.ami):
        assert metric(wider_KC) == pytest.approx(metric(n_KC), abs=1e-12)


def test_a_perfect_clustering_scores_one_under_any_names() -> None:
    n_KC = np.array([[0, 7, 0], [0, 0, 9], [4, 0, 0]])
    assert [m(n_KC) for m in (agreement.acc, agreement.acc_vote, agreement.nmi, agreement.ari, agreement.ami)] == pytest.approx([1] * 5)


def test_clusters_left_over_are_errors_to_acc_but_not_to_acc_vote() -> None:
    n_KC = np.array([[30, 0], [20, 0], [0, 50]])  # class 0 is split over two clusters
    assert agreement.acc(n_KC) == pytest.approx(0.8)
    assert agreement.acc_vote(n_KC) == pytest.approx(1.0)


def test_classes_left_over_are_errors_to_both() -> None:
    n_KC = np.array([[30, 20, 0], [0, 0, 50]])
    assert agreement.acc(n_KC) == pytest.approx(0.8)
    assert agreement.acc_vote(n_KC) == pytest.approx(0.8)


def test_one_cluster_for_all_scores_the_largest_class_and_no_information() -> None:
    sizes_C = np.array([6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958])  # MNIST, all 70,000
    n_KC = np.zeros((10, 10), dtype=np.int64)
    n_KC[3] = sizes_C
    assert agreement.acc(n_KC) == pytest.approx(7877 / 70_000)
    assert agreement.acc(np.repeat(n_KC, 10_000, axis=1)[:, :50_000]) <= agreement.acc_vote(n_KC)  # a square of so many classes has 20 GB
    assert agreement.acc_vote(n_KC) == pytest.approx(7877 / 70_000)
    assert agreement.nmi(n_KC) == 0.0
    assert agreement.ari(n_KC) == 0.0
    assert agreement.ami(n_KC) == 0.0


def test_nmi_is_zero_for_one_cluster_of_one_class() -> None:
    assert agreement.nmi(np.array([[5]])) == 0.0
    assert agreement.ari(np.array([[5]])) == 1.0


def test_a_cluster_for_every_sample_shows_why_acc_vote_is_not_searched_over_k() -> None:
    n_KC = np.zeros((40, 4), dtype=np.int64)
    n_KC[np.arange(40), np.arange(40) % 4] = 1
    assert agreement.acc_vote(n_KC) == 1.0
    assert agreement.acc(n_KC) == pytest.approx(4 / 40)
    assert agreement.ari(n_KC) == pytest.approx(0.0)


def test_a_random_assignment_scores_about_chance() -> None:
    g = torch.Generator().manual_seed(0)
    c_N, y_N = torch.randint(10, (10_000,), generator=g), torch.arange(10_000) % 10
    n_KC = table(c_N, y_N, 10, 10)
    assert 0.10 <= agreement.acc(n_KC) <= 0.13
    assert agreement.nmi(n_KC) < 0.01
    assert abs(agreement.ari(n_KC)) < 0.01


def test_ari_goes_below_zero_but_not_below_its_worst() -> None:
    n_KC = np.array([[1, 1], [1, 1]])
    assert agreement.ari(n_KC) == pytest.approx(-0.5)


def test_pair_counts_do_not_overflow_on_a_million_samples() -> None:
    n_KC = np.diag([400_000, 600_000])
    assert agreement.ari(n_KC) == pytest.approx(1.0)
    assert agreement.ari(np.array([[200_000, 300_000], [200_000, 300_000]])) == pytest.approx(0.0, abs=1e-5)


def test_evaluate_gives_every_metric_as_a_plain_float() -> None:
    p_NK = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0], [0.7, 0.3, 0.0]])
    found = evaluate(p_NK, torch.tensor([0, 1, 0, 1]))
    assert found == pytest.approx(
        {"acc": 0.75, "acc_vote": 0.75, "acc_aae": 0.75, "nmi": 0.3437110184854, "ari": 0.0, "ami": 0.0}
        | {"n_used": 2, "largest_share": 0.75, "confidence": 0.75, "balance": entropy([0.75, 0.25]) / np.log(3)}
    )
    assert all(type(value) is float for value in found.values())
    assert list(found) == [name for name, measure in METRICS.items() if measure.of]


def test_without_labels_the_labelled_metrics_are_absent_not_zero() -> None:
    found = evaluate(torch.eye(3), None)
    assert found == {"n_used": 3.0, "largest_share": pytest.approx(1 / 3), "balance": pytest.approx(1.0), "confidence": 1.0}


def test_equal_probabilities_put_every_sample_into_the_first_cluster() -> None:
    found = evaluate(torch.full((8, 4), 0.25), torch.arange(8) % 4)
    assert (found["n_used"], found["largest_share"], found["confidence"], found["nmi"]) == (1.0, 1.0, 0.25, 0.0)


@pytest.mark.parametrize("sizes", [[5, 5, 5], [1, 0, 9], [400, 30, 2, 0, 7], [12, 0]])
def test_balance_is_the_entropy_of_the_shares_over_its_most(sizes: list[int]) -> None:
    assert agreement.balance(np.array(sizes)) == pytest.approx(entropy(sizes) / np.log(len(sizes)))
    assert 0.0 <= agreement.balance(np.array(sizes)) <= 1.0


def test_balance_of_one_cluster_is_the_worst() -> None:
    assert agreement.balance(np.array([7])) == 0.0 == METRICS["balance"].worst


def test_the_metrics_without_labels_are_named_in_the_tables_order() -> None:
    free = ("n_used", "largest_share", "balance", "confidence", "silhouette", "davies_bouldin", "calinski_harabasz", "description_length")
    assert metrics.label_free() == free
    assert set(evaluate(torch.eye(3), None)) <= set(free)


def test_every_metric_has_a_goal_and_a_worst_value_that_is_no_better_than_what_it_can_be() -> None:
    p_NK, y_N = torch.full((8, 4), 0.25), torch.arange(8) % 4
    for name, value in evaluate(p_NK, y_N).items():
        assert METRICS[name].worst <= value if METRICS[name].goal == "maximize" else METRICS[name].worst >= value


def test_a_metric_is_an_entry_of_the_table_and_its_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tidy = Measure(
        goal="minimize", worst=9.0, of=lambda clusters: float(clusters.sizes_K.max()), doc="samples in the largest", with_k="it falls"
    )
    monkeypatch.setitem(METRICS, "tidy", tidy)
    assert evaluate(torch.eye(3), None)["tidy"] == 1.0
    text = "model: kmeans\ndataset: digits\nmetric: {name: tidy}\nparameters: {n_clusters: {value: 7}, n_init: {values: [1, 2]}}\n"
    (tmp_path / "space.yaml").write_text(text)
    spec = read_space(str(tmp_path / "space.yaml"))
    assert (spec.metric.goal, spec.metric.worst) == ("minimize", 9.0)
    assert "| `tidy` | minimize | no | samples in the largest | a table of K × C counts |" in tables.metrics().splitlines()
    (tmp_path / "space.yaml").write_text(text.replace("value: 7", "values: [7, 8]"))
    with pytest.raises(UserError, match="'n_clusters' cannot be searched by 'tidy': it falls"):
        read_space(str(tmp_path / "space.yaml"))


def test_the_table_of_metrics_needs_no_torch() -> None:
    program = "import sys, tuner.metrics; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=layout.ROOT)


def test_errors_count_the_rows_whose_labels_the_model_was_not_given_and_the_test_split_apart() -> None:
    p_NK = torch.eye(3)[torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])]
    y_N = torch.tensor([1, 1, 2, 0, 0, 1, 0, 2])  # wrong: rows 0, 4, 5, 7
    known = torch.tensor([0, 1])
    assert errors(p_NK, y_N, known, None) == {"error": 3 / 6}
    assert errors(p_NK, y_N, known, slice(5, 8)) == {"error": pytest.approx(1 / 3), "error_test": pytest.approx(2 / 3)}
    assert errors(p_NK, y_N, known, slice(8, 8)) == {"error": 3 / 6}


@pytest.mark.gpu
def test_a_gpu_gives_the_same_figures() -> None:
    g = torch.Generator().manual_seed(0)
    p_NK, y_N = torch.rand(500, 7, generator=g).softmax(dim=1), torch.randint(5, (500,), generator=g)
    assert evaluate(p_NK.cuda(), y_N) == pytest.approx(evaluate(p_NK, y_N), abs=1e-6)
