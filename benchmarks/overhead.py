"""What a search costs beside its training: `python benchmarks/overhead.py [--rounds 3] [--epochs 10] [--dashboard] [--json FILE]`.

Two figures, on two CPU cores and on digits:

ratio       wall time of a search of 16 trials of equal length, nothing stopped early, over the wall time of the same trainings
            (configurations and seeds) in two bare processes. Both are counted from the first reported epoch, so start-up is left
            out; with it Ray's dashboard, which starts behind the first epochs and takes four seconds of a core once, unless
            `--dashboard` counts it. The median of the rounds; in each the search comes first, for it says what is trained.
            Target: 1.25 or less.
start-up    from `tuner search --space aae_unsup` to the first reported epoch. Target: 15 s or less.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in all processes below

TRIALS, CORES = 16, 2
TARGET_RATIO, TARGET_START_S = 1.25, 15.0
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join(path for path in (str(ROOT), os.environ.get("PYTHONPATH")) if path)  # for Ray's workers


class Clock:
    """A listener that knows when the first epoch was reported and when the search ended."""

    def __init__(self) -> None:
        self.first = self.end = 0.0

    def search_started(self, run: Any) -> None: ...

    def trial_started(self, trial: int, config: dict[str, Any]) -> None: ...

    def epoch_ended(self, trial: int, line: dict[str, Any]) -> None:
        self.first = self.first or time.perf_counter()

    def trial_ended(self, end: Any) -> None:
        self.end = time.perf_counter()

    def search_ended(self, status: str) -> None: ...


def the_search(epochs: int, out: Path, wandb: str) -> tuple[float, list[Mapping[str, Any]]]:
    """Seconds from the first reported epoch to the last trial's end, and the configurations."""
    from tuner.service.driver import SearchOptions, search
    from tuner.space.reader import Options, read_space
    from tuner.trackers.wandb import WandbRuns

    spec = read_space("aae_unsup", options=Options(trials=TRIALS, epochs=epochs, confirm=False))
    clock = Clock()
    outcome = search(replace(spec, early_terminate=None, method="random"), SearchOptions(out=out, listeners=(clock, WandbRuns(wandb))))
    states = {trial.state for trial in outcome.results.trials}
    assert states <= {"complete", "collapsed"}, states
    return clock.end - clock.first, [trial.config for trial in outcome.results.trials]


def bare(tasks: Any, reports: Any) -> None:
    """One process that trains what is left to train, and reports every epoch as the clock's time."""
    os.setsid()  # as Ray's workers: where others use the machine, the kernel shares it out by session
    import torch

    from tuner.data.datasets import DatasetSpec, load
    from tuner.model import load_model
    from tuner.training.loop import train

    torch.set_num_threads(1)
    model, data = load_model("aae_unsup"), load(DatasetSpec(name="digits"))
    known = model.parameters()
    while (config := tasks.get()) is not None:
        h = model.hyper({name: value for name, value in config.items() if name in known})
        for epoch in train(model, h, data, seed=config["seed"], pretrain_seed=0):
            reports.put((time.perf_counter(), epoch.metrics["acc"]))
    reports.put(None)


def the_same_trainings(configs: list[Mapping[str, Any]]) -> float:
    """Seconds from the first reported epoch to the last one, in bare processes."""
    spawn = multiprocessing.get_context("spawn")
    tasks, reports = spawn.Queue(), spawn.Queue()
    for config in [*configs, *[None] * CORES]:
        tasks.put(config)
    processes = [spawn.Process(target=bare, args=(tasks, reports)) for _ in range(CORES)]
    for process in processes:
        process.start()
    times, alive = [], CORES
    while alive:
        report = reports.get()
        if report is None:
            alive -= 1
        else:
            times.append(report[0])
    for process in processes:
        process.join()
    return max(times) - min(times)


def start_up(out: Path) -> tuple[float, float]:
    """Seconds from the command to the first line in the journal, and from Ctrl-C to its end."""
    command = [sys.executable, "-m", "tuner.cli", "search", "--space", "aae_unsup", "--wandb", "disabled", "--out", str(out)]
    env = {name: value for name, value in os.environ.items() if name != "TUNER_NO_DASHBOARD"}  # as a user's
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    journal = out / "aae_unsup" / "results.jsonl"
    while not (journal.exists() and journal.stat().st_size):
        if process.poll() is not None:
            assert process.stderr is not None
            sys.exit(f"the search ended before its first epoch:\n{process.stderr.read()}")
        time.sleep(0.02)
    first = time.perf_counter() - began
    process.send_signal(signal.SIGINT)
    began = time.perf_counter()
    process.communicate()
    return first, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--wandb", choices=["disabled", "offline"], default="disabled", help="what else listens to the search")
    parser.add_argument("--dashboard", action="store_true", help="count the start of Ray's dashboard, too")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    if not given.dashboard:
        os.environ["TUNER_NO_DASHBOARD"] = "1"
    rounds, starts = [], []
    with tempfile.TemporaryDirectory(prefix="overhead-") as scratch:
        for i in range(given.rounds):
            starts.append(start_up(Path(scratch) / f"start{i}"))
            print(f"round {i + 1}: first epoch after {starts[-1][0]:.1f} s, ended {starts[-1][1]:.1f} s after Ctrl-C", flush=True)
            searched, configs = the_search(given.epochs, Path(scratch) / f"search{i}", given.wandb)
            trained = the_same_trainings(configs)
            rounds.append((searched, trained))
            print(f"round {i + 1}: search {searched:.1f} s, bare processes {trained:.1f} s, ratio {searched / trained:.3f}", flush=True)
    figures = {
        "ratio": round(statistics.median(searched / trained for searched, trained in rounds), 3),
        "start_s": round(statistics.median(start for start, _ in starts), 2),
        "stop_s": round(statistics.median(stop for _, stop in starts), 2),
        "rounds": [{"search_s": round(searched, 2), "bare_s": round(trained, 2)} for searched, trained in rounds],
        "trials": TRIALS,
        "epochs": given.epochs,
        "cores": CORES,
        "wandb": given.wandb,
        "dashboard": given.dashboard,
    }
    print(f"ratio {figures['ratio']} (target {TARGET_RATIO}); first epoch after {figures['start_s']} s (target {TARGET_START_S:g} s)")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
