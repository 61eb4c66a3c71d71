"""The command line in a test's own process, and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuner import layout

Tuner = Callable[..., tuple[int, str, str]]  # words in; exit code, stdout and stderr out: the fixture `tuner`

SPACE = """\
model: kmeans
dataset: digits
metric: {name: acc, goal: maximize}
trials: 3
epochs: 6
early_terminate: none
parameters:
  n_clusters: {values: [5, 10, 15]}
  n_init: {value: 2}
"""


def tuner_process(*words: str, **more: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(layout.ROOT), "RAY_AUTH_TOKEN_PATH": str(Path("token").absolute())}
    command = [sys.executable, "-m", "tuner.cli", *words]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
