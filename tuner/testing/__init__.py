"""The conformance suite: what every model owes, yours too, as checks that your own tests call.

import pytest
from tuner.testing import CHECKS, load

@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_my_model(check):
    check(load("my_model.py"))
"""

from .checks import CHECKS, SLOW_CHECKS
from .data import blobs
from .found import Broken, Check, load
from .runs import apart, crowded, distance, packed, record, run_again, solo
from .steps import Step, step_of
from .tiny import choices, is_rounding, short, tiny, yardstick

__all__ = [
    "CHECKS",
    "SLOW_CHECKS",
    "Broken",
    "Check",
    "Step",
    "apart",
    "blobs",
    "choices",
    "crowded",
    "distance",
    "is_rounding",
    "load",
    "packed",
    "record",
    "run_again",
    "short",
    "solo",
    "step_of",
    "tiny",
    "yardstick",
]
