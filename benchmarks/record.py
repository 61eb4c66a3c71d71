"""Records tables of trials, for `tuner simulate`: `python benchmarks/record.py [SPACE ...]`.

For each space random configurations are trained to their end, none stopped early, and every epoch's metrics and seconds are written to
benchmarks/tables/SPACE.jsonl.gz. A tenth of the configurations is trained on ten seeds, so that the table knows what they are worth and
not only what one seed made of them.

    python benchmarks/record.py aae_unsup                     # 450 configurations on one seed, 50 on ten
    python benchmarks/record.py idec --single 90 --repeated 10

Each part is a search, runs/table-SPACE-single and runs/table-SPACE-repeated. One that was interrupted goes on where it was, one that is
finished is not run again, and the table is written anew after each.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tuner
    from tuner.simulation.table import RecordedTrial

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
TABLES = ROOT / "benchmarks" / "tables"

SPACES = ("aae_unsup", "idec", "gumbel_vae")  # one with conditions, one with pre-training
SEEDS = 10  # of a repeated configuration
SEARCH_SEEDS = {"single": 1000, "repeated": 1001}  # no seed of a search that is simulated on the table
OUT = ROOT / "runs"


def content(space: str, part: str, configurations: int) -> dict[str, Any]:
    """The shipped space, searched at random to the end."""
    import yaml

    found: dict[str, Any] = yaml.safe_load((ROOT / "search_spaces" / f"{space}.yaml").read_text())
    found.pop("confirm", None)
    seed: Any = SEARCH_SEEDS[part]
    if part == "repeated":
        seed = {"value": seed, "repeat": SEEDS}
    return {**found, "name": f"table-{space}-{part}", "method": "random", "early_terminate": "none", "seed": seed, "trials": configurations}


def searched(space: str, part: str, configurations: int) -> tuner.Run:
    """The part's run, finished."""
    import tuner

    told = content(space, part, configurations)
    folder = OUT / told["name"]
    if not folder.exists():
        return tuner.search(told, out=OUT, wandb="disabled", no_report=True)
    run = tuner.load(folder)
    assert isinstance(run, tuner.Run)
    return run if run.status == "done" else run.resume()


def write(space: str, runs: list[tuner.Run]) -> None:
    """The table of the runs' trials."""
    from tuner.simulation.table import Table

    tables = [Table.read(run.folder) for run in runs]
    path = TABLES / f"{space}.jsonl.gz"
    TABLES.mkdir(exist_ok=True)
    trials = [rounded(trial) for table in tables for trial in table.trials]
    replace(tables[0], trials=trials).write(path)
    print(f"{path.relative_to(ROOT)}: {len(trials)} trials, {path.stat().st_size / 2**20:.1f} MiB", flush=True)


def rounded(trial: RecordedTrial) -> RecordedTrial:
    """With metrics of seven digits, as many as float32 has: the other ten are half of the file."""
    return replace(
        trial,
        epochs=[replace(epoch, metrics={name: float(f"{value:.7g}") for name, value in epoch.metrics.items()}) for epoch in trial.epochs],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spaces", nargs="*", default=list(SPACES), metavar="SPACE", help=f"shipped spaces; {', '.join(SPACES)} if left out")
    parser.add_argument("--single", type=int, default=450, help="configurations on one seed")
    parser.add_argument("--repeated", type=int, default=50, help=f"configurations on {SEEDS} seeds")
    given = parser.parse_args()
    for space in given.spaces:
        runs: list[tuner.Run] = []
        for part, configurations in (("single", given.single), ("repeated", given.repeated)):
            if configurations:
                runs.append(searched(space, part, configurations))
                if runs[-1].status != "done":
                    sys.exit(f"{runs[-1].name} is {runs[-1].status}. The same command goes on with it.")
                write(space, runs)


if __name__ == "__main__":
    main()
