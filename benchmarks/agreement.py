"""Whether all that a search leaves behind agrees: its journal, its study, its W&B runs as recorded offline, and its best.yaml."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from kit.wandb_files import OfflineRun, read_run  # noqa: E402

from tuner.runs.journal import read_lines  # noqa: E402
from tuner.runs.paths import JOURNAL, STUDY  # noqa: E402
from tuner.runs.results import read_run as read_run_folder  # noqa: E402
from tuner.search.study import open_storage  # noqa: E402
from tuner.training import checkpoint  # noqa: E402

IN_STUDY = {"complete": "COMPLETE", "pruned": "PRUNED", "collapsed": "COMPLETE", "diverged": "COMPLETE", "failed": "FAIL"}


class Left:
    """What a finished search left in `folder`. Every method names what is wrong, one entry for each fault; none where all is well.

    `trials`: how many it was to have. Trials that took over a pre-training from the cache begin behind it: no such search here.
    """

    def __init__(self, folder: Path, trials: int) -> None:
        self.folder, self.trials = folder, trials
        self.results = read_run_folder(folder)
        self.lines = list(read_lines(folder / JOURNAL))
        self.epochs: dict[int, list[int]] = {}
        for line in self.lines:
            if "state" not in line:
                self.epochs.setdefault(line["trial"], []).append(line["epoch"])
        self.ends = Counter(line["trial"] for line in self.lines if line.get("state", "stopped") != "stopped")

    def lost(self) -> list[str]:
        """Trials that never ended, and those that ended otherwise than by themselves or by the scheduler."""
        gone = [f"trial {trial} has no end" for trial in range(self.trials) if not self.ends[trial]]
        return gone + [f"trial {t.trial} {t.state}: {t.reason}" for t in self.results.trials if t.state not in ("complete", "pruned")]

    def twice(self) -> list[str]:
        more = [f"trial {trial} ended {n} times" for trial, n in self.ends.items() if n > 1]
        return more + [f"trial {trial} was not asked for" for trial in self.ends if trial >= self.trials]

    def gaps(self) -> list[str]:
        return [f"trial {t}: no epoch {e}" for t, known in self.epochs.items() for e in range(1, max(known)) if e not in known]

    def repeats(self) -> list[str]:
        return [f"trial {t}: epoch {e} {n} times" for t, known in self.epochs.items() for e, n in Counter(known).items() if n > 1]

    def study(self) -> list[str]:
        """The same trials with the same configurations and ends, and the same scores at the same clustering epochs."""
        study = optuna.load_study(study_name=self.results.name, storage=open_storage(self.folder / STUDY))
        ours = {t.trial: t for t in self.results.trials}
        wrong = [f"trial {number} is in one of the two only" for number in ours.keys() ^ {t.number for t in study.trials}]
        for theirs in study.trials:
            trial = ours.get(theirs.number)
            if trial is None:
                continue
            if theirs.user_attrs.get("state") != trial.state or theirs.state.name != IN_STUDY[trial.state]:
                wrong.append(f"trial {trial.trial} is {trial.state}, in the study {theirs.state.name}")
            if trial.state == "complete" and theirs.value != trial.score:
                wrong.append(f"trial {trial.trial} has score {trial.score}, in the study {theirs.value}")
            wrong += [
                f"trial {trial.trial}: {k} is {trial.config[k]}, in the study {v}" for k, v in theirs.params.items() if trial.config[k] != v
            ]
            clustering = [line["cluster_epoch"] for line in self.lines if line["trial"] == trial.trial and line.get("cluster_epoch")]
            if list(theirs.intermediate_values) != clustering:
                wrong.append(f"trial {trial.trial} has clustering epochs {clustering}, in the study {list(theirs.intermediate_values)}")
        return wrong

    def wandb(self) -> list[str]:
        """One run for each trial and one for the search; over all pieces of a run each epoch once and in order, with the same figures."""
        pieces: dict[str, list[OfflineRun]] = {}
        for path in sorted(self.folder.glob("wandb/offline-run-*/run-*.wandb")):
            piece = read_run(path)
            pieces.setdefault(piece.id.rpartition("-")[2], []).append(piece)
        wrong = [
            f"run '{part}' is in one of the two only" for part in pieces.keys() ^ {"search", *(str(t.trial) for t in self.results.trials)}
        ]
        if len({piece.id for known in pieces.values() for piece in known}) != len(pieces):
            wrong.append("runs have several ids")
        for trial in self.results.trials:
            known = pieces.get(str(trial.trial), [])
            steps = [line["_step"] for piece in known for line in piece.history]
            if steps != self.epochs.get(trial.trial, []):
                wrong.append(f"trial {trial.trial} has epochs {self.epochs.get(trial.trial)}, in W&B {steps}")
            elif known and any(piece_line[name] != value for piece_line, name, value in self._figures(trial.trial, known)):
                wrong.append(f"trial {trial.trial} has other figures in W&B")
            if known and known[-1].summary.get("state") != trial.state:
                wrong.append(f"trial {trial.trial} is {trial.state}, in W&B {known[-1].summary.get('state')}")
        search = pieces.get("search", [])
        steps = [line["_step"] for piece in search for line in piece.history]
        if steps != sorted(set(steps)):
            wrong.append(f"the search's own run has steps {steps}")
        if search and search[-1].summary.get("status") != self.results.status:
            wrong.append(f"the search is {self.results.status}, in W&B {search[-1].summary.get('status')}")
        return wrong

    def _figures(self, trial: int, pieces: list[OfflineRun]) -> list[tuple[dict[str, Any], str, float]]:
        """W&B's line of each epoch, and what the journal has there."""
        theirs = [line for piece in pieces for line in piece.history]
        ours = [line["metrics"] for line in self.lines if line["trial"] == trial and "state" not in line]
        return [(line, name, value) for line, metrics in zip(theirs, ours, strict=True) for name, value in metrics.items()]

    def best(self) -> list[str]:
        """best.yaml is of the best complete trial, and so are its weights."""
        best, said = self.results.best(), yaml.safe_load((self.folder / "best.yaml").read_text())
        assert best is not None
        weights = checkpoint.load(self.folder / "best.safetensors")
        facts = {
            "trial": (said["trial"], best.trial),
            "score": (said["score"]["value"], best.score),
            "metrics": (said["metrics"], dict(best.metrics)),
            "seed of the weights": (weights.seed, best.config["seed"]),
        }
        wrong = [f"best.yaml: {name} is {theirs}, should be {ours}" for name, (theirs, ours) in facts.items() if theirs != ours]
        left = sorted(path.name for path in self.folder.glob("checkpoints/*"))
        return wrong + [f"files of trials that are over: {', '.join(left)}"] * bool(left)
