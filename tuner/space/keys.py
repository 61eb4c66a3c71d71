"""A space's keys, one by one: what each may hold, and what it is where nobody says."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal

from tuner.data.datasets import SCALES, DatasetSpec
from tuner.errors import UserError, did_you_mean
from tuner.metrics import ERRORS, GOALS
from tuner.model import Model, load_model
from tuner.names import NAME, NAME_RULE
from tuner.training.engine import PRECISIONS

from .located import Located, Problems
from .metric import Metric
from .spec import Asha, Resources

KEYS = (
    *("name", "model", "dataset", "metric", "score", "method", "trials", "epochs", "seed", "pretrain_seed", "precision"),
    *("early_terminate", "resources", "retries", "checkpoint_gb", "parameters"),
)
METHODS = {
    "tpe": "Optuna's TPESampler: prefers what good trials have in common",
    "random": "every trial by itself",
    "grid": "every combination of `values` and whole numbers, once",
    "gp": "Optuna's GPSampler: a Gaussian process of the metric",
    "cmaes": "Optuna's CmaEsSampler, for numbers; needs the package cmaes",
    "qmc": "Optuna's QMCSampler: random, but evenly spread",
}
SCORES = {
    "last": "the last epoch",
    "max": "the best epoch",
    "mean_last_5": "the mean of the last five epochs",
}
_IN_SWEEPS = {
    "run_cap": "Here it is called 'trials'.",
    "program": "tuner trains the model itself: leave it out.",
    "command": "tuner trains the model itself: leave it out.",
    "project": "W&B reads it from WANDB_PROJECT: leave it out.",
    "entity": "W&B reads it from WANDB_ENTITY: leave it out.",
    "description": "Write it as a comment.",
}
_MOST_SEED = 2**32 - 1  # numpy's
_MOST = 10**18 - 1  # fits 64 bits
MOST_LANES = 1024
_NO_METRIC = Metric(name="", goal="maximize")


class Keys:
    """The keys of a file. What is wrong is noted and replaced by something harmless, so that the rest can be checked, too."""

    def __init__(self, said: dict[str, Located], stem: str, problems: Problems) -> None:
        self.said, self.stem, self.problems = said, stem, problems
        self.filled: dict[str, Any] = {}
        self.notes: list[str] = []
        for key, node in said.items():
            if key in _IN_SWEEPS:
                problems.at(node, f"a search space has no key '{key}'. {_IN_SWEEPS[key]}")
        self._only("a search space", {key: node for key, node in said.items() if key not in _IN_SWEEPS}, KEYS)

    def default(self, key: str, value: Any) -> Any:
        """`value`, which nobody said."""
        self.filled[key] = value
        return value

    def whole(self, key: str, low: int, high: int | None, default: int) -> int:
        """A whole number under a key of the file."""
        node = self.said.get(key)
        return int(self.default(key, default)) if node is None else self._whole(node, key, (low, high), default)

    # --- one method for each key ---

    def name(self) -> str:
        node = self.said.get("name")
        if node is None:
            return str(self.default("name", re.sub(r"[^A-Za-z0-9_.-]+", "-", self.stem).lstrip("-._")[:100] or "search"))
        if node.word is None or not NAME.fullmatch(node.word):
            self.problems.at(node, f"'name' cannot be {node.shown}: {NAME_RULE}.")
        return node.word or "search"

    def model(self) -> Model | None:
        node = self.said.get("model")
        if node is None:
            return None
        if node.word is None:
            self.problems.at(node, f"'model' must be a name, but got {node.shown}. `tuner models` lists them.")
            return None
        try:
            return load_model(node.word)
        except UserError as error:
            self.problems.at(node, str(error))
            return None

    def score(self) -> str:
        return self._word("score", SCORES, "last")

    def method(self) -> str:
        node = self.said.get("method")
        if node is not None and node.word == "bayes":
            self.problems.at(node, "what W&B calls 'bayes' is tpe or gp here.")
            return "tpe"
        return self._word("method", METHODS, "tpe")

    def seed(self) -> int:
        return self.whole("seed", 0, _MOST_SEED, 0)

    def pretrain_seed(self, seed: int) -> int:
        """Of what trials may share; by default the search's, `seed`."""
        return self.whole("pretrain_seed", 0, _MOST_SEED, seed)

    def precision(self) -> str:
        return self._word("precision", PRECISIONS, "fp32")

    def retries(self) -> int:
        return self.whole("retries", 0, None, 2)

    def checkpoint_gb(self) -> float | None:
        """None: as much as it takes."""
        node = self.said.get("checkpoint_gb")
        if node is None:
            return None
        if not _is_number(node.value) or not 0 < node.value < math.inf:
            self.problems.at(node, f"'checkpoint_gb' must be a number above 0, the gigabytes of all checkpoints, but got {node.shown}.")
            return None
        return float(node.value)

    def dataset(self) -> DatasetSpec:
        node = self.said.get("dataset")
        if node is None:
            return DatasetSpec(name="")
        said = node.value if isinstance(node.value, dict) else {"name": node}
        self._only("'dataset'", said, ("name", "limit", "scale"))
        name, scale = said.get("name"), said.get("scale")
        if name is None or name.word is None:
            shown = "no name" if isinstance(node.value, dict) and name is None else (name or node).shown
            self.problems.at(name or node, f"'dataset' must be a name or {{name: ..., limit: ..., scale: ...}}, but got {shown}.")
        if scale is not None and scale.word not in SCALES:
            nearest = did_you_mean(scale.word, SCALES)
            self.problems.at(scale, f"'scale' must be one of {' | '.join(SCALES)}, but got {scale.shown}.{nearest}")
            scale = None
        limit = self._whole(said["limit"], "limit", (2, None), 0) or None if "limit" in said else None
        return DatasetSpec(name=(name.word or "") if name else "", limit=limit, scale=scale.word if scale else None)

    def metric(self, model: Model | None) -> Metric:
        node = self.said.get("metric")
        if node is None:
            return _NO_METRIC
        name = node.value.get("name") if isinstance(node.value, dict) else None
        if name is None or name.word is None:
            example = f"{{name: {node.word or 'acc'}, goal: maximize}}"
            got = "no name" if isinstance(node.value, dict) and name is None else (name or node).shown
            self.problems.at(name or node, f"'metric' must name a metric and its goal, such as {example}, but got {got}.")
            return _NO_METRIC
        self._only("'metric'", node.value, ("name", "goal"))
        best, goal = self._goal_of(name, model), node.value.get("goal")
        if best is None:
            return _NO_METRIC
        if goal is None:
            return Metric(name=name.text, goal=self.default("metric.goal", best))
        if goal.word not in ("maximize", "minimize"):
            nearest = did_you_mean(goal.word, ("maximize", "minimize"))
            self.problems.at(goal, f"'goal' must be maximize or minimize, but got {goal.shown}.{nearest}")
        elif goal.word != best:
            self.problems.at(goal, f"'{name.text}' is better the {'higher' if best == 'maximize' else 'lower'}: its goal is {best}.")
        return Metric(name=name.text, goal=best)

    def early_terminate(self, epochs: int) -> Asha | None:
        """`epochs`: the most that a trial has; 0 where that is not known."""
        node = self.said.get("early_terminate")
        if node is not None and node.word == "none":
            return None
        said: Mapping[str, Located] = {}
        if node is not None:
            kind = node.value.get("type") if isinstance(node.value, dict) else None
            if not isinstance(node.value, dict) or kind is None or kind.word != "asha":
                got = f"type {kind.shown}" if kind is not None else node.shown
                self.problems.at(node, f"'early_terminate' must be none or {{type: asha, grace: 5, reduction: 3}}, but got {got}.")
                return None
            said = node.value
        self._only("'early_terminate'", said, ("type", "grace", "reduction"))
        values = {
            key: self._whole(said[key], key, (low, None), usual) if key in said else self.default(f"early_terminate.{key}", usual)
            for key, low, usual in (("grace", 1, 5), ("reduction", 2, 3))
        }
        if 0 < epochs <= values["grace"]:
            self.notes.append(f"Nothing is stopped early: {epochs} epochs are no longer than early_terminate's grace, {values['grace']}.")
            return None
        return Asha(**values)

    def resources(self) -> Resources:
        node = self.said.get("resources")
        said: Mapping[str, Located] = {}
        if node is not None and not isinstance(node.value, dict):
            self.problems.at(node, f"'resources' must be a mapping such as {{cpu: 1, gpu: auto}}, but got {node.shown}.")
        elif node is not None:
            said = node.value
        self._only("'resources'", said, ("cpu", "gpu", "pack"))
        cpu = said["cpu"].value if "cpu" in said else self.default("resources.cpu", 1)
        gpu = said["gpu"].value if "gpu" in said else self.default("resources.gpu", "auto")
        if not _is_number(cpu) or not 0 < cpu < math.inf:
            self.problems.at(said["cpu"], f"'cpu' must be a number above 0, the cores of one trial, but got {said['cpu'].shown}.")
            cpu = 1
        # Ray hands out shares of one GPU, or whole ones.
        if gpu != "auto" and (not _is_number(gpu) or not 0 <= gpu < math.inf or (gpu > 1 and gpu != int(gpu))):
            rule = "auto, 0, a share below 1 or a whole number of GPUs"
            self.problems.at(said["gpu"], f"'gpu' must be {rule}, but got {said['gpu'].shown}.")
            gpu = "auto"
        return Resources(cpu=cpu, gpu=gpu, pack=self._pack(said.get("pack")))

    def _pack(self, node: Located | None) -> int | Literal["auto"]:
        if node is None or node.word in ("auto", "off"):
            word = self.default("resources.pack", "auto") if node is None else node.word
            return "auto" if word == "auto" else 1
        width = node.value
        if isinstance(width, int) and not isinstance(width, bool) and 1 <= width <= MOST_LANES:
            return width
        rule = f"auto, off or a whole number from 1 to {MOST_LANES}"
        self.problems.at(node, f"'pack' must be {rule}, but got {node.shown}.")
        return 1

    # --- what they share ---

    def _only(self, what: str, said: Mapping[str, Located], known: Collection[str]) -> None:
        for key, node in said.items():
            if key not in known:
                self.problems.at(node, f"{what} has no key '{key}'.{did_you_mean(key, known)} Known are {', '.join(known)}.")

    def _word(self, key: str, known: Collection[str], default: str) -> str:
        node = self.said.get(key)
        if node is None:
            return str(self.default(key, default))
        if node.word in known:
            return str(node.word)
        self.problems.at(node, f"'{key}' must be one of {' | '.join(known)}, but got {node.shown}.{did_you_mean(node.word, known)}")
        return default

    def _whole(self, node: Located, key: str, bounds: tuple[int, int | None], default: int) -> int:
        (low, high), value = bounds, node.value
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= (_MOST if high is None else high):
            return value
        within = f"of {low} or more" if high is None else f"from {low} to {high}"
        if high is None and re.fullmatch(r"[0-9]{19,}", node.text):
            within = "of at most 18 digits"
        self.problems.at(node, f"'{key}' must be a whole number {within}, but got {node.shown}.")
        return default

    def _goal_of(self, name: Located, model: Model | None) -> Literal["maximize", "minimize"] | None:
        """What a metric's goal must be; None where there is no such metric."""
        if name.text in GOALS:
            return GOALS[name.text]
        losses = [] if model is None else [f"loss/{term}" for term in model.terms]
        if name.text in losses or (model is None and name.text.startswith("loss/")):
            return "minimize"
        if name.text == "samples_per_s":
            self.problems.at(name, "'samples_per_s' tells how fast a trial runs, not how well it clusters: a search cannot choose by it.")
        else:
            partial = model is not None and model.labels == "partial"
            known = [*(goal for goal in GOALS if partial or goal not in ERRORS), *losses]
            self.problems.at(name, f"there is no metric {name.shown}.{did_you_mean(name.text, known)} Known are {', '.join(known)}.")
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
