"""How far a trial in a pack drifts from the same trial alone: `python benchmarks/drift.py [--trials 8] [--epochs 20] [--hidden 100]`.

Both compute the same sums in another order, in float32, and these trainings are chaotic: the first epoch agrees to rounding, later
ones only statistically. Beside it stands the yardstick: the trial alone on data that were moved by one rounding.
"""

import argparse
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from tuner.data.datasets import DatasetSpec, load
from tuner.model import load_model
from tuner.training.loop import train
from tuner.training.pool import Pool, Widths

SHOWN = ("loss/recon", "acc")


def in_a_pack(model, h, data, n_trials):
    pool, metrics = Pool(model, data, Widths(most=n_trials)), [[] for _ in range(n_trials)]
    for seed in range(n_trials):
        pool.join(seed, h, seed=seed)
    while pool.members:
        for seed, epoch in pool.round():
            metrics[seed].append(epoch.metrics)
    return metrics


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, data = load_model("aae_unsup"), load(DatasetSpec(name="digits"))
    h = model.hyper({"hidden": given.hidden, "epochs": given.epochs})
    moved = replace(data, x_ND=data.x_ND * (1 - torch.finfo(torch.float32).eps))
    alone, nudged = ([[e.metrics for e in train(model, h, d, seed=seed)] for seed in range(given.trials)] for d in (data, moved))
    packed = in_a_pack(model, h, data, given.trials)
    print("median over the trials of the difference from the trial alone: in a pack | alone, data moved by one rounding")
    for i in sorted({0, 1, 2, 4, 9, given.epochs - 1}):
        cells = []
        for name in SHOWN:
            both = [
                statistics.median(abs(a[i][name] - b[i][name]) for a, b in zip(alone, other, strict=True)) for other in (packed, nudged)
            ]
            cells.append(f"{name} {both[0]:.1e} | {both[1]:.1e}")
        print(f"epoch {i + 1:3d}   {'   '.join(cells)}", flush=True)
    means = [statistics.mean(run[-1]["acc"] for run in runs) for runs in (alone, packed, nudged)]
    print(f"mean acc of the last epoch: alone {means[0]:.3f}, in a pack {means[1]:.3f}, moved {means[2]:.3f}")


if __name__ == "__main__":
    main()
