"""A cluster for every sample: a trained model on a piece of the samples at a time, scaled as in training.

Shapes: N samples, B those of one piece, D features, Z code, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.data.datasets import Data
from tuner.data.scaling import Intake
from tuner.errors import UserError
from tuner.model import Hyper, Model, Net, Values, load_model
from tuner.nn import by_slices, slice_of
from tuner.training.checkpoint import Snapshot
from tuner.training.restored import restored

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
        self.parts = restored(self.model, self.h, known.spec, snapshot, torch.empty((), device=device))
        self._net, self._values = self.parts.evaluating(), self.parts.values
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

    # --- what the model can show; None of each where it cannot ---

    def encoded(self, x_BD: NDArray[Any]) -> NDArray[np.float32]:
        """(B, E): what `decoded` takes, of samples that are scaled already."""
        return _numpy(self._shown(lambda x: self.model.encode(self._net, x, self._values), x_BD))

    def decoded(self, e_BE: NDArray[Any]) -> NDArray[np.float32] | None:
        """(B, D), scaled: the samples that these stand for."""
        return _numpy_or_none(self._shown(lambda e: self.model.decode(self._net, e, self._values), e_BE))

    @property
    def n_styles(self) -> int:
        """S: how many numbers a style has."""
        return self.model.n_styles(self._values)

    def generated(self, cluster_B: NDArray[np.int64], eps_BS: NDArray[Any]) -> NDArray[np.float32] | None:
        """(B, D), scaled: samples of clusters with styles, which are standard normal numbers."""
        K = int(getattr(self.h, "n_clusters", 1))
        y_BK = torch.eye(K, device=self.device)[torch.from_numpy(cluster_B).to(self.device)]
        return _numpy_or_none(self._shown(lambda eps: self.model.generate(self._net, y_BK, eps, self._values), eps_BS))

    @torch.no_grad()
    def _shown(self, f: Callable[[Tensor], Any], given: NDArray[Any]) -> Any:
        return f(torch.as_tensor(given, dtype=torch.float32, device=self.device))


def _numpy_or_none(t: Tensor | None) -> NDArray[np.float32] | None:
    return None if t is None else _numpy(t)


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
