"""No garbage is looked for while a process imports its libraries, and all is as before afterwards."""

import subprocess
import sys

PROGRAM = """
import gc
from tuner.quick_imports import quick_imports

gc.collect()
with quick_imports("wave"):
    assert not gc.isenabled()
    with quick_imports("wave"):
        pass
    assert not gc.isenabled(), "the outer one is not over"
    import wave
frozen = gc.get_freeze_count()
assert gc.isenabled() and frozen > 1000
with quick_imports("wave"):
    assert gc.isenabled(), "it is there already"
assert gc.get_freeze_count() == frozen
try:
    with quick_imports("no_such_module"):
        import no_such_module
except ImportError:
    assert gc.isenabled()
gc.disable()
with quick_imports("no_such_module"):
    pass
assert not gc.isenabled(), "it was somebody's choice"
"""


def test_garbage_is_looked_for_again_once_the_module_is_there() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
