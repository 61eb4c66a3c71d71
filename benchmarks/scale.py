"""How many trials at once does the driver of a search carry? `python benchmarks/scale.py [--at-once 50 100 200] [--epochs 50]`.

As many stub trials as are asked for, each in a process of its own, wait until all are there; then each reports an epoch every tenth of a
second, as long as the driver takes its reports. Ours and plain Ray Tune, the same stub, in turns, each in a process of its own; no
loggers, W&B off. One that takes the reports as they come needs a tenth of a second for each epoch behind the first.

of ideal      that time over the one that it took, from the first report to the last
reports/s     that reached the driver, and with ours the journal
lost          epochs that the journal lacks, has twice or out of order (the plain one keeps none)
CPU           of the driver for a report
memory        of the driver, with its growth for each report; and of a trial's process (the mean; what processes share counts in parts)
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from driver_scale import bare, measured, metrics

SECONDS = 0.1  # an epoch
PATIENCE_S = 900.0  # until all are there
SPACE = """\
model: kmeans
dataset: digits
metric: {name: acc, goal: maximize}
method: random
trials: TRIALS
epochs: EPOCHS
early_terminate: none
resources: {cpu: CPU, gpu: 0, pack: off}
parameters:
  n_clusters: {min: 2, max: 256}
  n_init: {min: 1, max: 1000}
"""


def wait_for_all(folder: Path, trial: object, at_once: int) -> None:
    """Returns when all trials have come here."""
    (folder / f"here {trial}").touch()
    began = time.monotonic()
    while len(list(folder.glob("here *"))) < at_once:
        if time.monotonic() - began > PATIENCE_S:
            raise RuntimeError(f"{len(list(folder.glob('here *')))} of {at_once} trials have begun after {PATIENCE_S:.0f} s")
        time.sleep(0.5)


class Course:
    """When the first report came and the last one, and what the driver's process was then."""

    def __init__(self) -> None:
        self.reports, self.notes, self.processes_kb = 0, [self._note()], 0.0

    def _note(self) -> tuple[float, float, float]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return time.perf_counter(), time.process_time(), pages * os.sysconf("SC_PAGE_SIZE") / 1e3

    def report(self) -> None:
        self.reports += 1
        if self.reports == 1:
            self.notes.append(self._note())
            threading.Thread(target=self._weigh).start()
        self.notes[2:] = [self._note()]

    def _weigh(self) -> None:
        """The trials' processes, while they train."""
        sizes = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if re.match("ray::(?!IDLE)", (path / "cmdline").read_text()):
                    lines = (path / "smaps_rollup").read_text().splitlines()
                    sizes.append(next(float(line.split()[1]) for line in lines if line.startswith("Pss:")))
            except (OSError, StopIteration):  # it ended meanwhile
                continue
        self.processes_kb = sum(sizes) / max(1, len(sizes))

    def figures(self, at_once: int, epochs: int) -> dict[str, float]:
        before, first, last = self.notes
        assert self.reports == at_once * epochs, self.reports
        return {
            "of_ideal": (epochs - 1) * SECONDS / (last[0] - first[0]),
            "reports_per_s": self.reports / (last[0] - first[0]),
            "cpu_ms_per_report": 1e3 * (last[1] - first[1]) / self.reports,
            "driver_mb": last[2] / 1e3,
            "kb_per_report": (last[2] - first[2]) / self.reports,
            "mb_per_process": self.processes_kb / 1e3,
            "start_s": first[0] - before[0],
        }


# --- ours --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sleeping:
    """Stands in for `Trainer`."""

    folder: Path
    at_once: int
    epochs: int
    fallback: Path | None = None

    def __call__(self, trial: int, config: Mapping[str, Any]) -> Iterator[Any]:
        from tuner.runs.paths import weights_file
        from tuner.search.trainer import Report

        wait_for_all(self.folder.parent, trial, self.at_once)
        for epoch in range(1, self.epochs + 1):
            time.sleep(SECONDS)
            known = metrics(config, epoch)
            line = {"trial": trial, "epoch": epoch, "phase": "stub", "cluster_epoch": epoch, "metrics": known}
            ended = "complete" if epoch == self.epochs else None
            if ended:
                weights_file(self.folder, trial).parent.mkdir(exist_ok=True)
                weights_file(self.folder, trial).touch()
            yield Report(line=line, score=known["acc"], ended=ended, reason=None)


class Listener(Course):
    """Hears of a search."""

    def epoch_ended(self, trial: int, line: object) -> None:
        self.report()

    def __getattr__(self, name: str) -> Any:
        return lambda *event: None


def ours(at_once: int, epochs: int, folder: Path) -> dict[str, float]:
    from tuner.runs.journal import read_lines
    from tuner.runs.paths import JOURNAL
    from tuner.search import trainer
    from tuner.service.driver import SearchOptions, search
    from tuner.space.reader import read_space

    cpu = round((os.cpu_count() or 1) / at_once - 5e-5, 4)
    (folder / "scale.yaml").write_text(SPACE.replace("TRIALS", str(at_once)).replace("EPOCHS", str(epochs)).replace("CPU", f"{cpu:.4f}"))
    spec, course = read_space(str(folder / "scale.yaml")), Listener()
    with mock.patch.object(trainer, "Trainer", lambda **given: Sleeping(given["folder"], at_once, epochs)):
        outcome = search(spec, SearchOptions(out=folder / "runs", listeners=(course,)))
    assert outcome.results.counts()["complete"] == at_once, outcome.results.counts()
    seen: dict[int, list[int]] = {}
    for line in read_lines(outcome.folder / JOURNAL):
        if "state" not in line:
            seen.setdefault(line["trial"], []).append(line["epoch"])
    lost = sum(found != list(range(1, epochs + 1)) for found in seen.values()) + at_once - len(seen)
    return course.figures(at_once, epochs) | {"lost": lost}


# --- plain Ray Tune ----------------------------------------------------------------------------------------------------


def plain(at_once: int, epochs: int, folder: Path) -> dict[str, float]:
    import ray
    from ray import tune

    course = Course()

    class Reports(tune.Callback):
        def on_trial_result(self, *event: Any, **info: Any) -> None:
            course.report()

    class Trial(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.now, self.epoch = config, 0

        def step(self) -> dict[str, Any]:
            if not self.epoch:
                wait_for_all(folder, self.trial_id, at_once)
            time.sleep(SECONDS)
            self.epoch += 1
            return metrics(self.now, self.epoch) | {"done": self.epoch == epochs}

    config = bare(folder, Reports())
    results = tune.Tuner(
        tune.with_resources(Trial, {"cpu": round(ray.cluster_resources()["CPU"] / at_once - 5e-5, 4)}),
        param_space={"n_clusters": tune.randint(2, 257), "n_init": tune.randint(1, 1001)},
        tune_config=tune.TuneConfig(num_samples=at_once, metric="acc", mode="max"),
        run_config=config,
    ).fit()
    assert not results.errors, results.errors[0]
    ray.shutdown()
    return course.figures(at_once, epochs)


# --- both --------------------------------------------------------------------------------------------------------------

SIDES = {"ours": ours, "plain": plain}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--side", choices=SIDES, help="one of the two, in this process")
    given = parser.parse_args()
    if given.side:
        with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
            given.json.write_text(json.dumps(SIDES[given.side](given.at_once[0], given.epochs, Path(scratch))))
        return
    rows = [
        {"at_once": n, "side": side, **measured(__file__, side, at_once=n, epochs=given.epochs)} for n in given.at_once for side in SIDES
    ]
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
