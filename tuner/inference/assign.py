"""A cluster for every sample: a trained model on a piece of the samples at a time, scaled as in training.

Shapes: N samples, B those of one piece, D features, Z code, K clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tuner.data.datasets import Data
from tuner.data.scaling import Intake
from tuner.errors import UserError
from tuner.model import Hyper, Model, Net, Values, load_model
from tuner.nn import Modes, by_slices, slice_of
from tuner.training.checkpoint import Snapshot
from tuner.training.engine import Settings, build, state_of, terms_on, views

from .intake import RangeCheck, flat

# How much is worked on at once: so many bytes of samples, and so many samples; or `rows_at_once` of them, if that is more.
_PIECE, _PIECE_ROWS = 2**24, 2**16


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment:
    """What a model says of N samples.

    `cluster_N`: int64. `confidence_N`: the probability of that cluster, 1 where the method knows no probabilities; `margin_N`: what it is
    ahead of the next. `distance_N`, `next_distance_N`: to the nearest two centres, where the method has centres, else None.
    `code_NZ`: the latent, where it was asked for. All but the first are float32.
    """

    cluster_N: NDArray[np.int64]
    confidence_N: NDArray[np.float32]
    margin_N: NDArray[np.float32]
    distance_N: NDArray[np.float32] | None = None
    next_distance_N: NDArray[np.float32] | None = None
    code_NZ: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.cluster_N)


class Assigner:
    """A trained model that assigns samples to its clusters.

    `intake`: what it takes. `rows_at_once`: how many samples a network sees at a time, the same as in training's evaluation: pieces that
    are multiples of it give training's own clusters to the last bit. `piece`: how many samples are in memory at a time. `model`: None is
    the one of the snapshot's name.

    Raises:
        UserError: the weights are not the model's, or say nothing of their data and `intake` does not either.
    """

    def __init__(self, snapshot: Snapshot, *, intake: Intake | None = None, device: str = "cpu", model: Model | None = None) -> None:
        known = snapshot.intake or intake
        if known is None:
            raise UserError(f"The weights of {snapshot.model} do not say how their data were scaled: an older tuner wrote them.")
        self.intake, self.model, self.device = known, model or load_model(snapshot.model), device
        self.h: Hyper = self.model.hyper(snapshot.config)
        self.parts = restored(self.model, self.h, known, snapshot, torch.empty((), device=device))
        modes = {name: Modes(network) for name, network in self.parts.networks.items()}
        networks = self.parts.networks
        self._net: Net = views(lambda name, mode: modes[name].wrap(mode, networks[name]), list(networks), self.parts.tensors)["eval"]
        self._values = self.parts.values
        self.rows_at_once = self.model.eval_rows or slice_of(torch.empty((), device=device))
        rows = min(_PIECE_ROWS, _PIECE // (4 * known.spec.n_features))
        self.piece = max(1, rows // self.rows_at_once) * self.rows_at_once

    def assign(self, x: NDArray[Any], *, code: bool = False, check_range: bool = True) -> Assignment:
        """`x`: (N, D) or (N, *shape), numbers on the scale that the training data had before they were scaled. `code`: with the latent.
        `check_range`: refuse what is far from the training data's values.

        Raises:
            UserError: samples of another width or range, values that are not finite, or a model that assigns no new samples.
        """
        pieces = (x[i : i + self.piece] for i in range(0, len(x), self.piece)) if np.ndim(x) else iter((x,))
        return joined(self.pieces(pieces, code=code, check_range=check_range), self, code=code)

    def pieces(self, pieces: Iterable[NDArray[Any]], *, code: bool = False, check_range: bool = True) -> Iterator[Assignment]:
        """As `assign`, for samples that come in pieces and are forgotten."""
        if self.model.transductive:
            raise UserError(
                f"{self.model.name} is transductive: it knows the clusters of the samples that it was trained on, and cannot assign new "
                "ones. `tuner assign` without --input writes those that it knows."
            )
        check = RangeCheck(self.intake, self.model) if check_range else None
        at = 0
        for x in pieces:
            x_BD = flat(x, self.intake, self.model.name, at)
            if check is not None:
                check.see(x_BD)
            at += len(x_BD)
            yield self._of(torch.from_numpy(self.intake.scaling.apply(x_BD)), None, code=code)

    def known(self, data: Data, *, code: bool = False) -> Iterator[Assignment]:
        """Of the very samples that the model was trained on, in their order: a transductive model, too. `data`: scaled already."""
        for i in range(0, data.n_samples, self.piece):
            rows_B = torch.arange(i, min(i + self.piece, data.n_samples))
            yield self._of(data.batch(rows_B), rows_B, code=code)

    @torch.no_grad()
    def _of(self, x_BD: Tensor, rows_B: Tensor | None, *, code: bool) -> Assignment:
        """`rows_B`: where the samples stand in the training data, if they are known."""
        model, net, values, n = self.model, self._net, self._values, len(x_BD)
        x_BD = x_BD.to(self.device)
        known_B = None if rows_B is None else rows_B.to(self.device)

        def assign(part: slice) -> Tensor:
            if known_B is None:
                return model.assign(net, x_BD[part], values)
            return model.assign_rows(net, x_BD[part], known_B[part], values)

        p_BK = by_slices(assign, n, self.rows_at_once)
        cluster_B, top_B2 = p_BK.argmax(dim=-1), p_BK.topk(2, dim=-1).values
        near_B2 = None
        if model.distances(net, x_BD[:1], values) is not None:
            near_B2 = by_slices(lambda part: _nearest_two(model, net, x_BD[part], values), n, self.rows_at_once)
        return Assignment(
            cluster_N=cluster_B.cpu().numpy(),
            confidence_N=_numpy(top_B2[:, 0]),
            margin_N=_numpy(top_B2[:, 0] - top_B2[:, 1]),
            distance_N=None if near_B2 is None else _numpy(near_B2[:, 0]),
            next_distance_N=None if near_B2 is None else _numpy(near_B2[:, 1]),
            code_NZ=_numpy(by_slices(lambda part: model.embed(net, x_BD[part], values), n, self.rows_at_once)) if code else None,
        )


def _nearest_two(model: Model, net: Net, x_BD: Tensor, values: Values) -> Tensor:
    distance_BK = model.distances(net, x_BD, values)
    assert distance_BK is not None
    return distance_BK.topk(2, dim=-1, largest=False).values


def _numpy(t: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = t.float().cpu().numpy()
    return found


def joined(parts: Iterable[Assignment], assigner: Assigner, *, code: bool) -> Assignment:
    """One assignment of many; of none, an empty one."""
    found = list(parts) or [assigner._of(torch.empty(0, assigner.intake.spec.n_features), None, code=code)]

    def column(name: str) -> Any:
        pieces = [getattr(part, name) for part in found]
        return None if pieces[0] is None else np.concatenate(pieces)

    return Assignment(**{f.name: column(f.name) for f in fields(Assignment)})


# --- a trained model ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Restored:
    """A model's trained networks and tensors by name, and the values that were in force when they were evaluated."""

    networks: dict[str, nn.Module]
    tensors: dict[str, Tensor]
    values: Values


@torch.no_grad()
def restored(model: Model, h: Hyper, intake: Intake, snapshot: Snapshot, like: Tensor) -> Restored:
    """What a snapshot holds, in the device and precision of `like`.

    Raises:
        UserError: the tensors are not those of the model.
    """
    networks, tensors = build(model, h, intake.spec, like, seed=0)
    for name, t in state_of(networks, tensors).items():
        if name not in snapshot.tensors or snapshot.tensors[name].shape != t.shape:
            theirs = tuple(snapshot.tensors[name].shape) if name in snapshot.tensors else "absent"
            raise UserError(f"The weights are of another version of {model.name}: '{name}' should be {tuple(t.shape)}, but is {theirs}.")
        t.copy_(snapshot.tensors[name])
    for network in networks.values():
        network.requires_grad_(False)
    settings = Settings(model, h, terms_on(model, h), _scheduled(model, h, snapshot))
    return Restored(networks=networks, tensors=tensors, values=settings.values(like))


def _scheduled(model: Model, h: Hyper, snapshot: Snapshot) -> dict[str, float]:
    """The values that the schedule had in the snapshot's last epoch: they hold in `assign`, too."""
    phases = [(phase, int(getattr(h, phase.epochs))) for phase in model.phases(h)]
    phase, epoch = snapshot.phase, snapshot.phase_epoch
    while epoch == 0 and phase > 0:  # a phase that a condition ended: its trial stands before the next one
        phase -= 1
        epoch = min(phases[phase][1], snapshot.epoch - sum(length for _, length in phases[:phase])) if phases[phase][1] else 0
    schedule = phases[min(phase, len(phases) - 1)][0].schedule
    return schedule(h, max(1, epoch)) if schedule else {}
