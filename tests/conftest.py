"""What holds for all tests: no account, no network, one thread."""

import os

# Before torch is imported. Small tensors on two threads are slower, and Ray's workers inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
# A test that forgets to say so must not reach for somebody's account, nor report to anybody.
os.environ.setdefault("WANDB_MODE", "offline")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
