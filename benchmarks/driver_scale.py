"""What the driver of a long search costs: `python benchmarks/driver_scale.py [--trials 1000] [--epochs 10] [--rounds 1] [--json FILE]`.

A search of stub trials, whose epochs take no time and measure a formula, beside plain Ray Tune with `OptunaSearch` and the same stub:
the same trials, epochs, metrics and sampler, as many at once, actors reused, nothing stopped early, no loggers in either, W&B off. Each
runs in a process of its own, in turns. Ours keeps a journal and a study on disk; the plain one keeps nothing.

per report   our code's own time in the driver for each report, by the clock and in CPU time, and the CPU time of the whole driver process,
             Tune's part included. What a proposal takes, nearly all of it Optuna's, is told apart. Target: our own 1 ms or less.
per proposal the time from asking for a trial to its configuration, its lines in the study and the journal included.
memory       growth of the driver's resident memory per trial, from the first tenth of the trials to the last. Target: 100 kB or less;
             and with four times the epochs, the growth for each further epoch of a trial, which should be nearly nothing.
ratio        wall time of ours over the plain one's, from the first report to the last; the median of the rounds. Target: 1.2 or less.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
PATHS = [str(ROOT), str(ROOT / "benchmarks")]
sys.path[:0] = PATHS
CORES = 2
TARGET_MS, TARGET_KB, TARGET_RATIO = 1.0, 100.0, 1.2
MORE_EPOCHS = 4  # times as many, to see what an epoch leaves behind
SPACE = """\
model: kmeans
dataset: digits
metric: {name: acc, goal: maximize}
trials: TRIALS
epochs: EPOCHS
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: off}
parameters:
  n_clusters: {min: 2, max: 256}
  n_init: {min: 1, max: 1000}
"""


def metrics(config: Mapping[str, Any], epoch: int) -> dict[str, float]:
    """What an epoch measures: as many figures as a model has, a score that a sampler can climb."""
    acc = math.exp(-(((config["n_clusters"] - 40) / 80) ** 2)) * (1 - 0.5**epoch)
    return {"acc": acc} | {f"figure_{i}": acc / (i + 2) for i in range(9)}


class Clock:
    """Notes the driver's wall time, CPU time and memory at every trial's end; the first note is of the first report."""

    def __init__(self) -> None:
        self.notes: list[tuple[float, float, float]] = []

    def note(self) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.notes.append((time.perf_counter(), time.process_time(), pages * os.sysconf("SC_PAGE_SIZE") / 1e3))

    def figures(self, trials: int, epochs: int) -> dict[str, float]:
        (began, cpu, _), tenth, (ended, cpu_end, kb) = self.notes[0], self.notes[max(1, trials // 10)], self.notes[-1]
        return {
            "wall_s": ended - began,
            "cpu_ms_per_report": 1e3 * (cpu_end - cpu) / (trials * epochs),
            "kb_per_trial": (kb - tenth[2]) / (trials - max(1, trials // 10)),
        }


# --- ours --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stub:
    """Stands in for `Trainer`."""

    folder: Path
    epochs: int
    fallback: Path | None = None

    def __call__(self, trial: int, config: Mapping[str, Any]) -> Iterator[Any]:
        from tuner.runs.paths import weights_file
        from tuner.search.trainer import Report

        for epoch in range(1, self.epochs + 1):
            known = metrics(config, epoch)
            line = {"trial": trial, "epoch": epoch, "phase": "stub", "cluster_epoch": epoch, "metrics": known}
            ended = "complete" if epoch == self.epochs else None
            if ended:
                weights_file(self.folder, trial).parent.mkdir(exist_ok=True)
                weights_file(self.folder, trial).touch()
            yield Report(line=line, score=known["acc"], ended=ended, reason=None)


class Listener(Clock):
    """A clock that hears of a search."""

    def epoch_ended(self, trial: int, line: object) -> None:
        if not self.notes:
            self.note()

    def trial_ended(self, end: object) -> None:
        self.note()

    def __getattr__(self, name: str) -> Any:
        return lambda *event: None


@dataclass(kw_only=True)
class Spent:
    """By the clock, and of a core."""

    seconds: float = 0.0
    cpu: float = 0.0


class Stopwatch:
    """Time in our own code, whichever of Tune's calls leads there: `proposals` in those that ask for a trial, `reports` in all others. A
    call inside another counts once."""

    def __init__(self) -> None:
        self.proposals, self.reports, self._inside = Spent(), Spent(), False

    def timed(self, call: Callable[..., Any], spent: Spent) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return call(*args, **kwargs)
            self._inside, began, cpu = True, time.perf_counter(), time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self._inside = False
                spent.seconds, spent.cpu = spent.seconds + time.perf_counter() - began, spent.cpu + time.thread_time() - cpu

        return wrapper

    @contextlib.contextmanager
    def on(self, *kinds: type) -> Iterator[None]:
        with contextlib.ExitStack() as patches:
            for kind in kinds:
                for name, call in vars(kind).items():
                    if callable(call) and (name.startswith("on_") or name in ("suggest", "stop_all", "__call__")):
                        spent = self.proposals if name == "suggest" else self.reports
                        patches.enter_context(mock.patch.object(kind, name, self.timed(call, spent)))
            yield


def ours(trials: int, epochs: int, folder: Path) -> dict[str, float]:
    from tuner.search import trainer
    from tuner.service.driver import SearchOptions, search
    from tuner.space.reader import read_space
    from tuner.tune.callback import TuneCallback
    from tuner.tune.searcher import StudySearch
    from tuner.tune.stopper import StopRequests

    (folder / "stub.yaml").write_text(SPACE.replace("TRIALS", str(trials)).replace("EPOCHS", str(epochs)))
    spec, clock, watch = read_space(str(folder / "stub.yaml")), Listener(), Stopwatch()
    stub = mock.patch.object(trainer, "Trainer", lambda **given: Stub(given["folder"], epochs))
    with stub, watch.on(StudySearch, TuneCallback, StopRequests):
        outcome = search(spec, SearchOptions(out=folder / "runs", listeners=(clock,)))
    assert outcome.results.counts()["complete"] == trials, outcome.results.counts()
    return clock.figures(trials, epochs) | {
        "own_ms_per_report": 1e3 * watch.reports.seconds / (trials * epochs),
        "own_cpu_ms_per_report": 1e3 * watch.reports.cpu / (trials * epochs),
        "ms_per_proposal": 1e3 * watch.proposals.seconds / trials,
        "cpu_ms_per_proposal": 1e3 * watch.proposals.cpu / trials,
    }


# --- plain Ray Tune ----------------------------------------------------------------------------------------------------


def space(trial: Any) -> None:
    trial.suggest_int("n_clusters", 2, 256)
    trial.suggest_int("n_init", 1, 1000)


def bare(folder: Path, heard: Any) -> Any:
    """Starts Ray, and gives how plain Tune runs there: `heard` is its only callback, and nothing of the stub is saved."""
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}
    import logging

    import ray
    from ray import tune

    ray.init(address="local", log_to_driver=False, logging_level=logging.ERROR, object_store_memory=200_000_000)
    return tune.RunConfig(
        storage_path=str(folder / "plain"),
        callbacks=[heard],
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        verbose=0,
    )


def plain(trials: int, epochs: int, folder: Path) -> dict[str, float]:
    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    clock = Clock()

    class Ends(tune.Callback):
        def on_trial_result(self, *event: Any, **info: Any) -> None:
            if not clock.notes:
                clock.note()

        def on_trial_complete(self, *event: Any, **info: Any) -> None:
            clock.note()

    class Trial(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.now, self.epoch = new_config, 0
            return True

        def step(self) -> dict[str, Any]:
            self.epoch += 1
            return metrics(self.now, self.epoch) | {"done": self.epoch == epochs}

    config = bare(folder, Ends())
    results = tune.Tuner(
        tune.with_resources(Trial, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(space, metric="acc", mode="max", sampler=optuna.samplers.TPESampler(seed=0)),
            num_samples=trials,
            max_concurrent_trials=int(ray.cluster_resources()["CPU"]),
            reuse_actors=True,
        ),
        run_config=config,
    ).fit()
    assert not results.errors, results.errors[0]
    ray.shutdown()
    return clock.figures(trials, epochs)


# --- both --------------------------------------------------------------------------------------------------------------

SIDES = {"ours": ours, "plain": plain}


def measured(script: str, side: str, **options: int) -> dict[str, float]:
    """A side of a script, in a process of its own. `options`: its others, by their names."""
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        command = [sys.executable, script, "--side", side, *words, "--json", f"{scratch}/json"]
        path = os.pathsep.join([*PATHS, os.environ.get("PYTHONPATH", "")])
        # Ours starts Ray's dashboard ten seconds behind Ray, in the middle of what is measured; the plain one has started it before.
        env = {**os.environ, "PYTHONPATH": path, "TUNER_NO_DASHBOARD": "1"}
        done = subprocess.run(command, env=env, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{side} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        found: dict[str, float] = json.loads(Path(scratch, "json").read_text())
    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items())
    print(f"{side:5}, {said}: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--side", choices=SIDES, help="one of the two, in this process")
    given = parser.parse_args()
    if given.side:
        with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
            given.json.write_text(json.dumps(SIDES[given.side](given.trials, given.epochs, Path(scratch))))
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    rounds = []
    for i in range(given.rounds):
        order = ("ours", "plain") if i % 2 == 0 else ("plain", "ours")
        rounds.append({side: measured(__file__, side, trials=given.trials, epochs=given.epochs) for side in order})
    longer = measured(__file__, "ours", trials=given.trials, epochs=MORE_EPOCHS * given.epochs)
    median = {name: statistics.median(each["ours"][name] for each in rounds) for name in rounds[0]["ours"]}
    figures = {
        **{name: round(value, 2) for name, value in median.items()},
        "kb_per_further_epoch": round((longer["kb_per_trial"] - median["kb_per_trial"]) / ((MORE_EPOCHS - 1) * given.epochs), 3),
        "ratio": round(statistics.median(each["ours"]["wall_s"] / each["plain"]["wall_s"] for each in rounds), 3),
        "rounds": rounds,
        "trials": given.trials,
        "epochs": given.epochs,
    }
    print(
        f"our own {figures['own_ms_per_report']} ms per report (target {TARGET_MS:g}), of it CPU {figures['own_cpu_ms_per_report']} ms, "
        f"and {figures['ms_per_proposal']} ms per proposal; the whole driver's CPU {figures['cpu_ms_per_report']} ms; "
        f"memory {figures['kb_per_trial']} kB per trial (target {TARGET_KB:g}), "
        f"{figures['kb_per_further_epoch']} kB for each further epoch; wall time over plain Ray Tune's {figures['ratio']} "
        f"(target {TARGET_RATIO:g})"
    )
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
