"""Searches that tests run, and how they are compared."""

import math
from pathlib import Path
from typing import Any

from tuner.space.reader import Options, read_space
from tuner.space.spec import Spec
from tuner.tune.searcher import StudySearch

SPACE = """
model: kmeans
dataset: digits
metric: {name: acc, goal: maximize}
trials: 9
epochs: 9
early_terminate: {type: asha, grace: 3, reduction: 3}
parameters:
  n_clusters: {min: 2, max: 200}
"""


def space(folder: Path, text: str = SPACE, **options: Any) -> Spec:
    path = folder / "space.yaml"
    path.write_text(text)
    return read_space(str(path), options=Options(**options))


CONDITIONAL = """
model: aae_unsup
dataset: digits
metric: {name: acc, goal: maximize}
epochs: 2
early_terminate: none
trials: 100
parameters:
  latent_dim: {values: [2, 5, 10]}
  lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
  use_cyclic: {values: [true, false]}
  weights.cyclic: {distribution: log_uniform_values, min: 1e-2, max: 1e1, when: {use_cyclic: true}}
"""


def play(searcher: StudySearch, trials: int, first: int = 0) -> list[dict[str, Any]]:
    """Asks and tells, one trial at a time; how well a trial does follows from its configuration."""
    asked = []
    for i in range(first, first + trials):
        found = searcher.suggest(f"t{i}")
        assert found is not None
        if found == searcher.FINISHED:
            break
        asked.append(found["config"])
        score = 1 / (1 + abs(math.log10(found["config"].get("lr_ae", 0.1)) + 3) + found["config"].get("weights.cyclic", 0))
        report = {"score": score, "cluster_epoch": 1, "ended": None}
        searcher.on_trial_result(f"t{i}", report)
        end = {"complete": "complete", "pruned": None, "collapsed": "collapsed"}[["complete", "complete", "pruned", "collapsed"][i % 4]]
        searcher.on_trial_complete(f"t{i}", report | {"cluster_epoch": 2, "ended": end})
    return asked
