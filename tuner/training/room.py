"""The memory that a training takes, estimated before it starts, and the memory that this machine has."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from tuner.clustering import WHOLE
from tuner.errors import UserError
from tuner.model import DataSpec, Hyper, Model

_IMPORTS = 600_000_000  # of a process that trains: torch, scikit-learn
_NUMBER = 4  # bytes
_COPIES = 4  # of what is trained: itself, its gradient, two moments
_DOUBLES = 6  # copies of the codes, of eight bytes each, that fitting a mixture or reading a file holds at once, in numbers of four bytes
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def needed(model: Model, h: Hyper, data: DataSpec) -> int:
    """Bytes, about: the process, the data, the networks, and what clusterings of all codes hold: the draws of k-means' starts, the samples'
    distances to their centres, copies in float64, and the probabilities of every cluster."""
    with torch.device("meta"):
        networks = model.networks(h, data)
    trained = sum(t.numel() for network in networks.values() for t in network.parameters())
    rows, width = data.n_samples, min(data.n_features, int(getattr(h, "latent_dim", data.n_features)))
    clusters, starts = int(getattr(h, "n_clusters", 1)), int(getattr(h, "n_init", 0))
    met = rows * starts * clusters
    clustering = max(met + 2 * min(met, WHOLE) + 6 * rows * starts, rows * width * _DOUBLES)
    return _IMPORTS + _NUMBER * (rows * data.n_features + rows * width + 4 * rows * clusters + _COPIES * trained + clustering)


def of_machine() -> int:
    """Bytes of memory here, or in the container that this runs in."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _LIMITS:
        try:
            found = min(found, int(limit.read_text()))
        except (OSError, ValueError):  # no container, or `max`
            continue
    return found


def check_room(model: Model, h: Hyper, data: DataSpec) -> None:
    """
    Raises:
        UserError: this machine has less memory than the training takes.
    """
    need, has = needed(model, h, data), of_machine()
    if need > has:
        sizes = f"{data.n_samples:,} samples of {data.n_features:,} features"
        starts = f", {h.n_init} starts of {getattr(h, 'n_clusters', 1)} clusters" if hasattr(h, "n_init") else ""
        smaller = "a smaller 'n_init', or " if starts else ""
        raise UserError(
            f"{model.name} would need about {need / 1e9:.3g} GB of memory ({sizes}{starts}), and this machine has {has / 1e9:.3g} GB. "
            f"Say 'limit' for fewer samples, {smaller}use a machine that has more."
        )
