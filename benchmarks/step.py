"""Time of one training step: our solo engine against a hand-written PyTorch loop of the same adversarial auto-encoder.

    python benchmarks/step.py            # both scales, five alternating rounds each, one thread

The opponent is what a careful user writes: see `contenders.by_hand`. Both run in this process, in turn; the ratio is the median of
the paired ones. Data are random: a step's time does not depend on them.
"""

import argparse
import statistics

import torch
from contenders import B, by_engine, by_hand, resident

SCALES = {
    "digits": {"n_features": 64, "hidden": 200, "n_steps": 17, "stretches": 6},
    "mnist": {"n_features": 784, "hidden": 1000, "n_steps": 20, "stretches": 1},
}


def compare(scale, rounds, device):
    n_features, hidden, n_steps, stretches = SCALES[scale].values()
    x = torch.rand(n_steps * B, n_features, device=device)
    runs = by_hand(resident(x, n_steps), n_features, hidden, device), by_engine(x, hidden, n_steps)
    for run in runs:
        next(run)
    pairs = [[statistics.median(next(run) for _ in range(stretches)) for run in runs] for _ in range(rounds)]
    theirs, ours = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = [ours / theirs for theirs, ours in pairs]
    spread = f"rounds {min(ratios):.3f} to {max(ratios):.3f}"
    print(f"{scale}: by hand {theirs:.2f} ms, engine {ours:.2f} ms a step; ratio {statistics.median(ratios):.3f} ({spread})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.device}, {args.threads} thread(s), batch {B}, all losses on, {args.rounds} alternating rounds")
    for scale in SCALES:
        compare(scale, args.rounds, args.device)
