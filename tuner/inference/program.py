"""A trained model as one `torch.export` program: samples as they come in, scaling and flattening inside, probabilities and codes out.

Shapes: B samples of a call, any number from 1 on; D features, Z code, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from tuner.data.scaling import COUNTS_OF_A_ROW, Intake, Scaling
from tuner.errors import UserError, first_line
from tuner.model import Model, Net
from tuner.training.checkpoint import Snapshot
from tuner.training.restored import Restored, restored

from .assign import Assigner

OUTPUTS = ("probabilities", "code")
CHECKED = (1, 2, 7)  # samples in a call, when a program is compared with the model
_NEAR = 1e-4  # how far they may lie apart, beside the largest value: the same sums, rounded in another order

Compiled = Callable[[Tensor], tuple[Tensor, Tensor]]  # (B, *shape) -> probabilities (B, K), code (B, Z)


class Program(nn.Module):
    """`forward`: (B, *shape) float32, on the scale that the training data had -> probabilities (B, K), code (B, Z)."""

    def __init__(self, assigner: Assigner, parts: Restored) -> None:
        super().__init__()
        self._model, self._values, self._n_features = assigner.model, parts.values, assigner.intake.spec.n_features
        used = _used(assigner.model, parts, torch.zeros(2, self._n_features))
        self.scaling = _Scaled(assigner.intake.scaling)
        self.networks = nn.ModuleDict({name: network.eval() for name, network in parts.networks.items() if name in used})
        self.tensors = nn.Module()
        for name in used & set(parts.tensors):
            self.tensors.register_buffer(name, parts.tensors[name])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x_BD = self.scaling(x.reshape(-1, self._n_features))
        net = Net({**dict(self.networks.items()), **dict(self.tensors.named_buffers())})
        net.still = net.eval = net
        return self._model.assign(net, x_BD, self._values), self._model.embed(net, x_BD, self._values)


class _Scaled(nn.Module):
    """`Scaling.apply` in torch: the same operations in the same precisions."""

    start: Tensor
    width: Tensor
    varies: Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self._kind = scaling.kind
        if scaling.kind in ("standard", "robust"):
            start, width = np.array(scaling.mean_D), np.array(scaling.deviation_D)
        elif scaling.low_D:
            start, width = np.array(scaling.low_D), np.array(scaling.high_D) - np.array(scaling.low_D)
        elif scaling.kind in ("minmax", "minmax_all"):
            start, width = np.array(scaling.low), np.array(scaling.high - scaling.low)
        else:
            return
        self.register_buffer("start", torch.from_numpy(start))
        self.register_buffer("width", torch.from_numpy(np.where(width > 0, width, 1.0)))
        self.register_buffer("varies", torch.from_numpy(np.asarray(width > 0)))

    def forward(self, x_BD: Tensor) -> Tensor:
        if self._kind == "none":
            return x_BD
        x_BD = x_BD.double()
        if self._kind == "log1p":
            return x_BD.log1p().float()
        if self._kind == "lognorm":
            sums_B1 = x_BD.sum(1, keepdim=True)
            return (x_BD * (COUNTS_OF_A_ROW / torch.where(sums_B1 > 0, sums_B1, 1.0))).log1p().float()
        scaled_BD = torch.where(self.varies, (x_BD - self.start) / self.width, 0.0)
        return (scaled_BD.clamp(0, 1) if self._kind in ("minmax", "minmax_all") else scaled_BD).float()


class _Noted(Net):
    """A view that says which networks and tensors were asked for."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        super().__init__({"known": parts, "asked": set()})
        self.still = self.eval = self

    def __getattr__(self, name: str) -> Any:
        self.asked.add(name)
        return self.known[name] if name in self.known else super().__getattr__(name)


@torch.no_grad()
def _used(model: Model, parts: Restored, x_BD: Tensor) -> set[str]:
    """What of a model its clusters and codes need: a decoder or a critic has no place in the program."""
    net = _Noted({**{name: network.eval() for name, network in parts.networks.items()}, **parts.tensors})
    model.assign(net, x_BD, parts.values)
    model.embed(net, x_BD, parts.values)
    found: set[str] = net.asked
    return found


def program_of(assigner: Assigner, parts: Restored) -> ExportedProgram:
    """`parts`: of `assigner`'s model, on the CPU, for this program alone.

    Raises:
        UserError: the model's `assign` or `embed` does what no program can, such as asking a tensor for its values.
    """
    name, shape = assigner.model.name, assigner.intake.spec.shape
    try:
        sizes = {"x": {0: Dim("batch", min=1)}}
        found = torch.export.export(Program(assigner, parts), (torch.zeros(3, *shape),), dynamic_shapes=sizes, strict=False)
    except Exception as error:  # torch raises many kinds, none of them documented
        raise UserError(
            f"{name} cannot be exported: {_reason(error)}. Its clusters are to be had where tuner is: `tuner assign`."
        ) from error
    for node in found.graph.nodes:  # whose home folder the code lay in is nobody's business
        node.meta.pop("stack_trace", None)
    return found


def _reason(error: Exception) -> str:
    if "Constraints violated" in str(error):
        return "its `assign` or `embed` does not take any number of samples: it may branch on it, or say len(x) where x.shape[0] would do"
    return f"torch.export says of its `assign` or `embed`: {first_line(error)}"


def fresh_parts(assigner: Assigner, snapshot: Snapshot) -> Restored:
    """The trained networks once more, on the CPU."""
    return restored(assigner.model, assigner.h, assigner.intake.spec, snapshot, torch.empty(()))


# --- whether it does what the model does -------------------------------------------------------------------------------


def samples(intake: Intake, n: int) -> NDArray[np.float32]:
    """(n, *shape): numbers as the training data might have held them, always the same."""
    scaling, drawn = intake.scaling, np.random.default_rng(n)
    size = (n, intake.spec.n_features)
    if scaling.kind in ("standard", "robust"):
        x_ND = np.array(scaling.mean_D) + np.array(scaling.deviation_D) * drawn.standard_normal(size)
    elif np.isfinite([scaling.low, scaling.high]).all():
        x_ND = drawn.uniform(scaling.low, scaling.high, size)
    else:
        x_ND = drawn.uniform(0, 1, size)
    return x_ND.reshape(n, *intake.spec.shape).astype(np.float32)


def check(compiled: Compiled, assigner: Assigner, what: str) -> None:
    """Compares what was written with the model, in calls of several sizes.

    Raises:
        UserError: it gives something else.
    """
    for n in CHECKED:
        x = samples(assigner.intake, n)
        with torch.no_grad():
            p_BK, code_BZ = compiled(torch.from_numpy(x))
        expected = assigner.assign(x, code=True, check_range=False)
        assert expected.code_NZ is not None
        top_B, cluster_B = p_BK.max(-1)
        sure_B = expected.margin_N > _NEAR
        same = (cluster_B.numpy() == expected.cluster_N)[sure_B].all()
        if not same or not _near(top_B.numpy(), expected.confidence_N) or not _near(code_BZ.numpy(), expected.code_NZ):
            raise UserError(
                f"{assigner.model.name} cannot be exported: {what} gives other clusters or codes than the model itself, for {n} samples at "
                "a time. Nothing was written."
            )


def _near(found: NDArray[Any], expected: NDArray[np.float32]) -> bool:
    least = float(np.abs(expected).max(initial=1.0)) if np.isfinite(expected).all() else 1.0
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=_NEAR, atol=_NEAR * least, equal_nan=True))
