"""Ray is started in a thread, and imported outside of it."""

import subprocess
import sys

PROGRAM = """
import sys
from tuner.errors import UserError
from tuner.machines import cluster

def enough():
    raise UserError("no Ray is needed here")

cluster.check_loopback = enough
cluster.start_ray_early()
assert "ray" in sys.modules
try:
    cluster.join(None)
except UserError as error:
    print(error)
assert "ray.tune" not in sys.modules
"""


def test_ray_is_imported_before_the_thread_begins_and_ray_tune_not_in_it() -> None:
    """Ray's packages import each other in circles: two threads that imported them at once have waited for each other."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no Ray is needed here\n", "")
