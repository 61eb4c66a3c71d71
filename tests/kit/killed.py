"""A search in a process of its own, begun or resumed, that is killed at an epoch of a trial, or of a training of its confirmation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_SEARCH = """
import sys
from pathlib import Path
from kit.resumed import Heard
from tuner.search import trainer
from tuner.service.driver import SearchOptions, search
from tuner.service.resume import ResumeOptions, resume
from tuner.space.reader import read_space
trainer.CHECKPOINT_EVERY_S = 0.0
space, out, address, trial, epoch, part = sys.argv[1:]
heard = {part: (Heard((int(trial), int(epoch)), 9),)}
if (Path(out) / "s").exists():
    resume(Path(out) / "s", ResumeOptions(**heard))
else:
    search(read_space(space), SearchOptions(out=Path(out), name="s", address=address, **heard))
"""


def killed(space: Path, out: Path, trial: int, epoch: int, *, confirming: bool = False) -> None:
    """`space`: of a search that begins, on the session's Ray. Its run is `s` in `out`. `confirming`: the trial is a training of its
    confirmation."""
    import ray

    words = [str(space), str(out), ray.get_runtime_context().gcs_address, str(trial), str(epoch)]
    run_until_killed(_SEARCH, [*words, "confirm_listeners" if confirming else "listeners"])


def run_until_killed(program: str, words: Sequence[str]) -> None:
    """Runs a program that SIGKILLs itself, in a process that finds `kit` and tuner as this one does."""
    tests = Path(__file__).parent.parent
    paths = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
