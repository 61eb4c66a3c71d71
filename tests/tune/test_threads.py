"""How the threads of one trial wait for each other."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os, sys
import tuner.tune.actor, tuner.tune.pack_host
print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules)
"""


def test_a_trials_threads_sleep_while_they_wait_unless_the_user_says_otherwise() -> None:
    # OpenMP reads the environment when torch loads it, so this is settled before.
    for given, policy in ({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active"):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [policy, "False"]
