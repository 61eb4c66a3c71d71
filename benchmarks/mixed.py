"""What would packs gain whose trials differ in their shapes? `python benchmarks/mixed.py [--rounds 15]`, one thread on a CPU, or a GPU.

A search over 7, 10 and 14 clusters and three sizes of the code has nine shapes, whose trials share no pack. To pad each to the largest
shape would let them, at that shape's cost at least: masks come on top. For the adversarial auto-encoder at digits scale, one step of a
trial, in turns:

alone      the mean over the shapes
thin       in a pack of its own shape, of `--thin` trials: the mean over the shapes, as a search has it today
padded     in a pack of `--width` trials of the largest shape: the least that padding would cost
equal      in a pack of `--width` trials of the shape in the middle: were all shapes one

"today" is the better of alone and thin, which is what `pack: auto` takes. Padding pays where padded / today lies well below 1.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from tuner.data.datasets import Data
from tuner.model import Hyper, load_model
from tuner.training.widths import stretches

SHAPES = list(itertools.product((7, 10, 14), (5, 10, 15)))  # n_clusters, latent_dim
MIDDLE, LARGEST = (10, 10), (14, 15)
HIDDEN = (32, 100, 200, 500)


def means(data: Data, hidden: int, rounds: int, width: int, thin: int) -> dict[str, float]:
    """Seconds for a step of a trial: the medians over the rounds of each way's mean over its shapes."""
    model = load_model("aae_unsup")

    def of(shape: tuple[int, int]) -> Hyper:
        n_clusters, latent_dim = shape
        return model.hyper({"hidden": hidden, "batch_size": 100, "n_clusters": n_clusters, "latent_dim": latent_dim})

    def steps(shapes: list[tuple[int, int]], width: int) -> list[Iterator[float]]:
        return [stretches(model, of(shape), data, width) for shape in shapes]

    ways = {
        "alone": steps(SHAPES, 1),
        "thin": steps(SHAPES, thin),
        "padded": steps([LARGEST], width),
        "equal": steps([MIDDLE], width),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(rounds + 1):
        for way, runs in ways.items():
            took = statistics.mean(next(run) for run in runs)
            if round_:  # the first warms up
                seconds[way].append(took)
    return {way: statistics.median(each) for way, each in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--width", type=int, default=8, help="of a pack that all shapes share")
    parser.add_argument("--thin", type=int, default=2, help="of a pack of one shape")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = Data(name="random", x_ND=torch.rand(1700, 64, device=device), y_N=None, shape=(64,))
    print(f"{device}, torch {torch.__version__}; milliseconds for a step of a trial")
    print("| hidden | alone | thin | padded | equal | padded / today | equal / padded |\n|---|---|---|---|---|---|---|")
    for hidden in HIDDEN:
        took = means(data, hidden, given.rounds, given.width, given.thin)
        today = min(took["alone"], took["thin"])
        columns = " | ".join(f"{1e3 * each:.2f}" for each in took.values())
        print(f"| {hidden} | {columns} | {took['padded'] / today:.2f} | {took['equal'] / took['padded']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
