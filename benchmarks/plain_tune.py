"""A search with Ray Tune alone, written with care: `python benchmarks/plain_tune.py [--trials 16] [--epochs 30] [--hidden 200]`.

The hand-written loop of `contenders.py` on digits, its data resident, in processes that Tune uses again (`reuse_actors`); the accuracy is
reported after every epoch, nothing is stopped. One of the opponents of `whole_search.py`; prints the best trial.
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
import ray
import torch
from contenders import B, by_hand, resident
from ray import tune
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits


def accuracy(clusters_N, classes_N) -> float:
    """With the best matching of clusters and classes."""
    table = np.zeros((10, 10), dtype=int)
    np.add.at(table, (clusters_N, classes_N), 1)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / len(classes_N))


def digits():
    """Samples in [0, 1] and their classes."""
    x_ND, y_N = load_digits(return_X_y=True)
    return torch.tensor(x_ND / 16, dtype=torch.float32), y_N


class Training(tune.Trainable):
    def setup(self, config):
        torch.set_num_threads(1)
        self.x_ND, self.y_N = digits()
        self.reset_config(config)

    def reset_config(self, new_config):
        stretches = resident(self.x_ND, len(self.x_ND) // B)
        known = {"lr_ae": new_config["lr_ae"], "seed": new_config["seed"]}
        self.training = by_hand(stretches, self.x_ND.shape[1], new_config["hidden"], "cpu", **known, after=self.measure)
        return True

    def measure(self, encoder):
        encoder.eval()
        with torch.no_grad():
            self.acc = accuracy(encoder(self.x_ND)[0].argmax(-1).numpy(), self.y_N)
        encoder.train()

    def step(self):
        next(self.training)
        return {"acc": self.acc}


def tuned(trainable, given, *, reuse: bool) -> None:
    """Searches with so many trials and epochs, and prints the best."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    space = {"lr_ae": tune.loguniform(1e-4, 5e-3), "hidden": given.hidden, "epochs": given.epochs, "seed": tune.randint(0, 2**31)}
    with tempfile.TemporaryDirectory(prefix="whole-search-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(num_samples=given.trials, metric="acc", mode="max", reuse_actors=reuse),
            run_config=tune.RunConfig(
                storage_path=folder,
                stop={"training_iteration": given.epochs},
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # nobody goes on from it
                verbose=0,
            ),
        )
        results = tuner.fit()
        assert len(results) == given.trials and not results.errors, results.errors
        epochs = {result.metrics["training_iteration"] for result in results}
        assert epochs == {given.epochs}, epochs
        print(f"best acc {results.get_best_result().metrics['acc']:.4f}")
    ray.shutdown()


def arguments(doc: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    for name, default in (("trials", 16), ("epochs", 30), ("hidden", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    tuned(Training, arguments(__doc__), reuse=True)
