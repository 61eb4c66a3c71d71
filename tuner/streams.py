"""Standard streams that whoever started this process has closed, as `>&- 2>&-` does.

Imports nothing that is not loaded when Python starts.
"""

import os
import sys


def open_closed_streams() -> None:
    """Opens /dev/null in the place of each. Else the next file or socket to be opened would get its number, and what is printed would be
    written there, by this process or by one that it starts."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the least number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115 - as long as Python
