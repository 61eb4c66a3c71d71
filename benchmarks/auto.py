"""Whether `pack: auto` chooses well here: `python benchmarks/auto.py [--rounds 5] [--threads 1] [--json FILE]`.

For the adversarial auto-encoder at digits scale (hidden 32 to 400) and at MNIST scale (hidden 1000): in each round `auto` chooses a
width as a search's host does, and one step of a trial is timed alone and in packs, in turns. The figure is the chosen width's time over
the better one's; its median over the rounds should not pass 1.10.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tuner.data.datasets import Data  # noqa: E402
from tuner.model import load_model  # noqa: E402
from tuner.training.widths import ON_CPU, ON_GPU, best_width, stretches  # noqa: E402

SCALES = (("digits", 64, 32), ("digits", 64, 100), ("digits", 64, 200), ("digits", 64, 400), ("mnist", 784, 1000))
TURNS = 4  # of each width in a round; the fastest counts, as everything else that runs here only adds


def measure(n_features: int, hidden: int, rounds: int, device: str) -> tuple[list[int], list[float]]:
    """The width chosen in each round, and its time over the better one's."""
    model, widths = load_model("aae_unsup"), (1, *(ON_GPU if device == "cuda" else ON_CPU))
    data = Data(name="random", x_ND=torch.rand(1700, n_features, device=device), y_N=None, shape=(n_features,))
    h = model.hyper({"hidden": hidden, "batch_size": 100, "n_clusters": 10, "latent_dim": 10})
    chosen, ratios = [], []
    for _ in range(rounds):
        chosen.append(best_width(model, h, data))
        runs = {width: stretches(model, h, data, width) for width in widths}
        for run in runs.values():
            next(run)  # warms up
        turns = [{width: next(run) for width, run in runs.items()} for _ in range(TURNS)]
        fastest = {width: min(turn[width] for turn in turns) for width in widths}
        ratios.append(fastest[chosen[-1]] / min(fastest.values()))
    return chosen, ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    figures = []
    for name, n_features, hidden in SCALES:
        chosen, ratios = measure(n_features, hidden, given.rounds, device)
        median = statistics.median(ratios)
        figures.append(
            {"scale": name, "hidden": hidden, "chosen": chosen, "ratios": [round(r, 3) for r in ratios], "median": round(median, 3)}
        )
        print(
            f"{name}, hidden {hidden}: chose {chosen}, over the better {median:.3f} (rounds {min(ratios):.3f} to {max(ratios):.3f})",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps({"device": device, "torch": torch.__version__, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
