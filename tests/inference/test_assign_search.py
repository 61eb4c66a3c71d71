"""A search's winner assigns its own samples as the journal says, also where trials trained in packs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tuner.data.datasets import load
from tuner.inference.clusters import Request, assign_to_file
from tuner.inference.load import load_trained, training_data
from tuner.machines.cluster import Cluster
from tuner.metrics import evaluate
from tuner.service.driver import SearchOptions, search
from tuner.space.reader import read_space

SPACE = """
model: idec
dataset: {name: NAME, scale: minmax}
metric: {name: acc, goal: maximize}
score: SCORE
method: random
trials: 4
epochs: 3
early_terminate: none
resources: {pack: PACK}
parameters:
  hidden: {value: 24}
  batch_size: {value: 50}
  pretrain_epochs: {value: 2}
  lr: {distribution: log_uniform_values, min: 1e-4, max: 5e-3}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("pack", "score"), [("3", "max"), ("off", "last")])
def test_a_winner_gives_the_clusters_that_its_score_is_of(pack: str, score: str, tmp_path: Path, cluster: Cluster) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    np.savez(tmp_path / "own.npz", x=digits.images[:600], y=digits.target[:600])
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.replace("NAME", f"npz:{tmp_path}/own.npz").replace("SCORE", score).replace("PACK", pack))
    outcome = search(read_space(str(space)), SearchOptions(out=tmp_path / "runs"))
    (tmp_path / "own.npz").rename(tmp_path / "runs" / "own.npz")  # near the run it is found again
    trained = load_trained(outcome.folder, device="cpu")
    done = assign_to_file(trained, Request(), tmp_path / "out.npz")
    best = outcome.results.best()
    assert best is not None and done.rows == 600
    cluster_N = torch.from_numpy(np.load(tmp_path / "out.npz")["cluster"])
    found = evaluate(torch.nn.functional.one_hot(cluster_N, int(best.config.get("n_clusters", 10))).float(), training_data(trained).y_N)
    for name in ("acc", "nmi", "ari", "n_used"):
        assert float(found[name]) == pytest.approx(best.metrics[name], abs=1e-12), name
    assert done.confidence == pytest.approx(best.metrics["confidence"], rel=1e-5)
    assert trained.snapshot.intake == load(trained.dataset).intake
