"""How long from the command to the first epoch of a search? `python benchmarks/start.py [--rounds 3] [--against CHECKOUT]`.

Seconds of wall time from `tuner search` (`aae_unsup` on digits, with a Ray of its own, as the shipped space has it) to the first line
of its journal, and to the command's end after two trials of three epochs. With `--against` another checkout takes turns with this one, and
the ratio of the medians is printed. Target: 7 seconds on two quiet cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SEARCH = [
    "-m",
    "tuner.cli",
    "search",
    "--space",
    "aae_unsup",
    "--trials=2",
    "--epochs=3",
    "--no-confirm",
    "--no-report",
    "--wandb=disabled",
]


def seconds(checkout: Path) -> tuple[float, float]:
    """To the first epoch, and to the end."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "runs" / "aae_unsup" / "results.jsonl"
        paths = os.pathsep.join(path for path in (str(checkout), os.environ.get("PYTHONPATH")) if path)
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *SEARCH, "--out", str(journal.parent.parent)],
            env={**os.environ, "PYTHONPATH": paths}, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            while process.poll() is None and not (journal.exists() and journal.stat().st_size):
                time.sleep(0.02)
            first = time.perf_counter() - began
            _, said = process.communicate()
        if process.returncode:
            sys.exit(f"The search ended with {process.returncode}:\n{said[-2000:]}")
        return first, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout of tuner")
    given = parser.parse_args()
    checkouts = {"this": HERE} | ({"against": given.against.resolve()} if given.against else {})
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
    for _ in range(given.rounds + 1):  # the first warms the disk, and is not counted
        for name, checkout in checkouts.items():
            took[name].append(seconds(checkout))
            print(f"{name}: first epoch after {took[name][-1][0]:.2f} s, end after {took[name][-1][1]:.2f} s", flush=True)
    for what, place in (("first epoch", 0), ("end", 1)):
        medians = {name: statistics.median(one[place] for one in took[name][1:]) for name in took}
        ratio = f", ratio {medians['this'] / medians['against']:.2f}" if "against" in medians else ""
        print(f"{what}, median of {given.rounds}: " + ", ".join(f"{name} {value:.2f} s" for name, value in medians.items()) + ratio)


if __name__ == "__main__":
    main()
