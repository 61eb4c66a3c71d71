"""A search through Ray Tune. What tuner needs of Ray's private names stands in `patches` and `asha`.

Uses `search`, `machines` and Ray. Start with `run`, then `actor` and `callback`.
"""

import os

# Before a trial's process imports torch: the threads of a trial that has several sleep while they wait for each other. By default they
# spin, and on cores that others use, too, a training took thirty times as long. On cores that nobody else uses sleeping costs
# milliseconds a step (34 of aae_unsup): OMP_WAIT_POLICY=active in the environment of Ray's processes takes it back.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
