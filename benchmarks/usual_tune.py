"""A search with Ray Tune as most people write it: `python benchmarks/usual_tune.py [--trials 16] [--epochs 30] [--hidden 200]`.

A function that makes its data set and a shuffling DataLoader, trains the hand-written loop of `contenders.py`, and reports after every
epoch; Tune starts a process for each trial. One of the opponents of `whole_search.py`; prints the best trial.
"""

from __future__ import annotations

import torch
from contenders import B, by_hand
from plain_tune import accuracy, arguments, digits, tuned
from ray import tune
from torch.utils.data import DataLoader, TensorDataset


def training(config):
    x_ND, y_N = digits()
    loader = DataLoader(TensorDataset(x_ND), batch_size=B, shuffle=True, drop_last=True)

    def measure(encoder):
        encoder.eval()
        with torch.no_grad():
            clusters = torch.cat([encoder(x_BD)[0].argmax(-1) for (x_BD,) in DataLoader(TensorDataset(x_ND), batch_size=B)])
        encoder.train()
        tune.report({"acc": accuracy(clusters.numpy(), y_N)})

    stretches = ((x_BD for (x_BD,) in loader) for _ in range(config["epochs"]))
    for _ in by_hand(stretches, x_ND.shape[1], config["hidden"], "cpu", config["lr_ae"], config["seed"], after=measure):
        pass


if __name__ == "__main__":
    tuned(training, arguments(__doc__), reuse=False)
