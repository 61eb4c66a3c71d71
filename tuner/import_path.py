"""The current folder is the user's: a `yaml.py` or `random.py` that lies there is no module of ours, nor of Ray's.

Imports nothing that is not loaded when Python starts: whatever it imported would be looked for in that folder, too.
"""

import os
import sys


def keep_out_current_folder() -> None:
    """Takes the current folder off the import path of this process, and of all that it starts.

    It gets there by `PYTHONPATH=.`, by `python -m`, and in helper processes of other libraries by `python -c`. A checkout of tuner stays:
    it is where tuner is imported from.
    """
    here = os.path.realpath(os.curdir)
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # no `python -c` or `python -m` of a child process puts its current folder in front
    if here == os.path.dirname(os.path.dirname(os.path.realpath(__file__))):  # noqa: PTH120 - pathlib is not loaded
        return
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or os.curdir) != here]
    given = os.environ.get("PYTHONPATH")
    if given is not None:
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in given.split(os.pathsep) if path and os.path.realpath(path) != here)
