"""A whole search against two scripts with Ray Tune alone: `python benchmarks/whole_search.py [--rounds 3] [--trials 16] [--epochs 30]`.

Wall time from the command to its end, start-up included, on two cores: `tuner search` on digits (aae_unsup, hidden 200, all losses on,
nothing stopped, no confirmation, no page), `plain_tune.py` with `reuse_actors`, and `usual_tune.py`, the script as most people write it.
All train as many trials for as many epochs and measure the accuracy after each of them. They take turns; the ratio is the median over the
rounds of ours over theirs. Targets: 0.75 of the first, 0.45 of the second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CORES = 2
TARGETS = {"plain": 0.75, "usual": 0.45}
HERE = Path(__file__).resolve().parent
SPACE = """
model: aae_unsup
dataset: digits
metric: {{name: acc, goal: maximize}}
method: random
trials: {trials}
epochs: {epochs}
early_terminate: none
resources: {{cpu: 1, gpu: 0}}
parameters:
  hidden: {{value: {hidden}}}
  batch_size: {{value: 100}}
  n_clusters: {{value: 10}}
  latent_dim: {{value: 5}}
  lr_ae: {{distribution: log_uniform_values, min: 1e-4, max: 5e-3}}
"""


def commands(given: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """Of the three contenders; ours writes its run into `folder`."""
    space = folder / "space.yaml"
    space.write_text(SPACE.format(trials=given.trials, epochs=given.epochs, hidden=given.hidden))
    ours = ["-m", "tuner.cli", "search", "--space", str(space), "--out", str(folder / "runs"), "--wandb", "disabled"]
    sizes = [f"--{name}={getattr(given, name)}" for name in ("trials", "epochs", "hidden")]
    found = {"ours": [*ours, "--no-confirm", "--no-report"]}
    found |= {name: [str(HERE / f"{name}_tune.py"), *sizes] for name in TARGETS}
    return {name: [sys.executable, *command] for name, command in found.items()}


def seconds(command: list[str]) -> float:
    """From its start to its end."""
    paths = os.pathsep.join(path for path in (str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH")) if path)
    began = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("rounds", 3), ("trials", 16), ("epochs", 30), ("hidden", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    rounds: list[dict[str, float]] = []
    for i in range(given.rounds):
        with tempfile.TemporaryDirectory(prefix="whole-search-") as folder:
            known = commands(given, Path(folder))
            order = list(known)[i % 3 :] + list(known)[: i % 3]
            rounds.append({name: seconds(known[name]) for name in order})
        print(f"round {i + 1}: " + ", ".join(f"{name} {took:.1f} s" for name, took in rounds[-1].items()), flush=True)
    ratios = {name: statistics.median(one["ours"] / one[name] for one in rounds) for name in TARGETS}
    for name, target in TARGETS.items():
        each = ", ".join(f"{one['ours'] / one[name]:.2f}" for one in rounds)
        print(f"tuner search / {name}_tune.py: {ratios[name]:.3f} ({each}); target {target}")
    if given.json:
        given.json.write_text(
            json.dumps({"ratios": ratios, "rounds": rounds, "trials": given.trials, "epochs": given.epochs}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
