"""What a model is: named networks, named loss terms, and phases of updates.

Shapes, here and in every model: B batch, N data set, D features, Z code, K clusters, H hidden units.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar

from torch import Tensor, nn

from . import layout
from .draws import Draws
from .errors import UserError, did_you_mean
from .hyper import Clusters, Hyper, Parameter, PartlyLabelled, declared, hp, weighed_term, weight_of  # noqa: F401 - models import some of them from here

# --- loss terms and updates --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """A loss term. `weight` is the paper's, the default of `weights.<term>`; None where the term stands alone in its step and a
    weight could not change anything. `doc` says what it measures, as a formula."""

    weight: float | None
    doc: str


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Fields are numbers, or names of hyper-parameters, here and below. `weight_decay`: torch.optim's, which is added to the gradient."""

    beta1: float | str = 0.9
    beta2: float | str = 0.999
    eps: float | str = 1e-8
    weight_decay: float | str = 0.0

    @property
    def scale_invariant(self) -> bool:
        """Multiplying the loss changes nothing, but for `eps`. Beside a decay the loss has a scale."""
        return self.weight_decay == 0


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    alpha: float | str = 0.99
    eps: float | str = 1e-8
    scale_invariant: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class SGD:
    momentum: float | str = 0.0
    weight_decay: float | str = 0.0
    nesterov: bool | str = (
        False  # looks ahead along the momentum (Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html)
    )
    scale_invariant: ClassVar[bool] = False


Optimizer = Adam | SGD | RMSprop


@dataclass(frozen=True)
class Descend:
    """One gradient step on the weighted sum of the terms that `losses` returns: unweighted, named, scalar.

    `trains`: the networks or tensors that move, and nothing else does; a mapping gives each the name of its own rate.
    `lr`: the hyper-parameter that is the rate of all the others. `clip`: the one that limits the gradient's norm, if any.
    `name`: by default that of the function `losses`. Two updates that one function serves, as a `partial` of it, need one each.
    """

    losses: Callable[..., dict[str, Tensor]]
    trains: tuple[str, ...] | Mapping[str, str]
    lr: str = "lr"
    optimizer: Optimizer = Adam()
    clip: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or function_of(self.losses).__name__)  # frozen, but not yet seen by anybody

    def rates(self) -> dict[str, str]:
        """The name of its rate for each network or tensor that moves."""
        return dict(self.trains) if isinstance(self.trains, Mapping) else dict.fromkeys(self.trains, self.lr)


@dataclass(frozen=True)
class Replace:
    """A step without a gradient: what `values` returns overwrites the state. `name`: as `Descend`'s."""

    values: Callable[..., dict[str, Any]]
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or function_of(self.values).__name__)


def function_of(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind a `partial`, which has neither a name nor a module."""
    while isinstance(f, partial):
        f = f.func
    return f


@dataclass(frozen=True)
class Phase:
    """A stretch of training; a trial goes through its model's phases in order.

    Every function that a model's author writes takes its arguments in one order: the networks, what they see, the hyper-parameters,
    and last what is random. Updates are `(net, batch, h, noise)`, hooks `(net, data, h, g)`; where there is no network yet, `h` is the
    first: `noise(h, data, B, g)`, `schedule(h, epoch)`, `Model.networks(h, data)`.

    `epochs`: the hyper-parameter that holds the length; a phase of length 0 is skipped, `start` included.
    `updates`: run in order on every batch; pure tensor code. Empty: no batch loop.
    `noise(h, data, B, g)`: everything random that the updates of one step use, as a dict of tensors.
    `clusters`: False for pre-training, whose epochs are journalled but not scored.
    `start`, `before_epoch`, `after_epoch`: hooks, which see the whole data set and return what they replace: tensors declared in
    `tensors`, networks as state dicts. `start` runs once, before the first epoch; `after_epoch` after an epoch's updates, before it is
    evaluated. `every_batches`: the hyper-parameter that says after how many batches `before_epoch` runs again, in place of once an epoch.
    `until(net, data, h, epoch)`: asked after every epoch, behind `after_epoch`; True ends the phase before its length, which stays an
    upper bound. It sees what hooks see, and its answer must follow from that alone: a trial is resumed between any two epochs.
    `schedule(h, epoch)`: values in force in an epoch, counted from 1 within the phase; `weights.<term>` included.
    `depends`: all hyper-parameters that the phase's outcome depends on; if given, trials may share the outcome.
    """

    name: str
    epochs: str
    updates: tuple[Descend | Replace, ...] = ()
    noise: Callable[[Any, DataSpec, int, Draws], dict[str, Tensor]] | None = None
    clusters: bool = True
    start: Callable[..., dict[str, Any]] | None = None
    before_epoch: Callable[..., dict[str, Any]] | None = None
    every_batches: str | None = None
    after_epoch: Callable[..., dict[str, Any]] | None = None
    until: Callable[..., bool] | None = None
    schedule: Callable[[Any, int], dict[str, float]] | None = None
    depends: tuple[str, ...] = ()


# --- what a model is given ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataSpec:
    """What a model may know of a data set before it sees it. `shape` is one sample's; `unit_range`: all values in [0, 1];
    `n_test`: samples in the published test split."""

    n_samples: int
    shape: tuple[int, ...]
    n_classes: int | None = None
    unit_range: bool = True
    n_test: int = 0

    @property
    def n_features(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Batch:
    """`x_BD`, and `rows_B`: where its samples stand in the data set, for targets kept per sample.

    `labelled`: `(x_LD, y_L)` where the model has `labels = "partial"`, else empty: labelled samples, equally many of each class.
    """

    x_BD: Tensor
    rows_B: Tensor
    labelled: tuple[Tensor, ...] = ()


class Values:
    """`h` in tensor code: static values as they are, the others 0-d tensors; `uses` says which terms are on."""

    def __init__(self, static: Mapping[str, Any], dynamic: Mapping[str, Tensor], on: frozenset[str]) -> None:
        self.__dict__.update(static)
        self.__dict__.update(dynamic)
        self._on = on

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the model's Hyper has no field {name!r}")

    def uses(self, *terms: str) -> bool:
        """Whether any of these terms has a weight other than 0 in some epoch. A plain bool: it guards optional terms."""
        return any(term in self._on for term in terms)


class Net:
    """A view of one trial's state: `net.f(x)` calls network `f` in training mode, `net.still.f(x)` normalises by the batch and
    leaves running statistics alone, `net.eval.f(x)` uses the running statistics, `net.centers_KZ` reads a tensor."""

    still: Net
    eval: Net

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self.__dict__.update(parts)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the model declares no network, tensor or draw {name!r}")


class Model(ABC):
    """One clustering method. Subclasses are final, live one to a file in `models/`, and hold no state: methods are pure."""

    paper: ClassVar[str]
    Hyper: ClassVar[type[Hyper]]
    terms: ClassVar[Mapping[str, Term]] = {}
    labels: ClassVar[str] = "none"  # "partial": trains on labelled samples, too, and cluster k is class k; Hyper is `PartlyLabelled`
    rebuilds_pixels: ClassVar[bool] = False  # needs inputs in [0, 1]
    transductive: ClassVar[bool] = False  # `assign` means nothing for samples that it was not trained on; then `assign_rows` does
    eval_rows: ClassVar[int | None] = None  # how many samples it sees at a time in evaluation; None: as many as suit an ordinary network
    tiny: ClassVar[Mapping[str, object]]  # hyper-parameters with which it trains in a second, for tests

    @abstractmethod
    def networks(self, h: Any, data: DataSpec) -> dict[str, nn.Module]: ...

    def tensors(self, h: Any, data: DataSpec) -> dict[str, Tensor]:
        """State that is no network: centres, counts, mixture weights. Only those with a floating point type can be trained."""
        return {}

    @abstractmethod
    def phases(self, h: Any) -> tuple[Phase, ...]:
        """Reads static hyper-parameters only."""

    @abstractmethod
    def assign(self, net: Any, x_BD: Tensor, h: Any) -> Tensor:
        """(B, K) probabilities, one-hot where the method is hard; argmax is the cluster."""

    def assign_rows(self, net: Any, x_BD: Tensor, rows_B: Tensor, h: Any) -> Tensor:
        """As `assign`, for samples of the data set that the trial trains on. `rows_B`: where they stand in it. A transductive method,
        which knows the clusters of these samples better than of others, overrides it; by it the trial is evaluated."""
        return self.assign(net, x_BD, h)

    def distances(self, net: Any, x_BD: Tensor, h: Any) -> Tensor | None:
        """(B, K), to the clusters' centres, where the method has centres; else None."""
        return None

    @abstractmethod
    def embed(self, net: Any, x_BD: Tensor, h: Any) -> Tensor:
        """(B, Z): the latent that plots and neighbourhood measures look at."""

    @property
    def name(self) -> str:
        """The file's name: the one that users type."""
        return type(self).__module__.rpartition(".")[2]

    def parameters(self) -> dict[str, Parameter]:
        """All names that may be set, hyper-parameters first, then `weights.<term>`."""
        weights = [weight_of(term, t.weight, t.doc) for term, t in self.terms.items() if t.weight is not None]
        return declared(self.Hyper) | {p.name: p for p in weights}

    def hyper(self, values: Mapping[str, Any] | None = None) -> Any:
        """The defaults with `values` put over them, by dotted name.

        Raises:
            UserError: for every name that does not exist and every value outside its legal range, all in one message.
        """
        values, known = values or {}, self.parameters()
        wrong = [self.unknown(name) if name not in known else known[name].wrong(value) for name, value in values.items()]
        if any(wrong):
            raise UserError(" ".join(w for w in wrong if w))
        full = {name: p.kind(values.get(name, p.default)) for name, p in known.items()}
        weights = {p.term: full.pop(name) for name, p in known.items() if p.term is not None}
        return self.Hyper(**full, weights=weights)

    def unknown(self, name: str) -> str:
        """The message for a name that this model does not have."""
        term = self.terms.get(weighed_term(name) or "")
        if term is not None:
            return f"'{name}' would change nothing: the term stands alone in its step. Search the step's rate instead."
        return f"{self.name} has no '{name}'.{did_you_mean(name, self.parameters())}"


# --- the registry is the folder ----------------------------------------------------------------------------------------


def model_names() -> list[str]:
    """Every file of `models/`, by name."""
    return sorted(path.stem for path in layout.folder("models").glob("*.py") if not path.stem.startswith("_"))


@cache
def load_model(name: str) -> Model:
    """The model in `models/<name>.py`.

    Raises:
        UserError: there is no such file.
    """
    if name not in model_names():
        raise UserError(f"There is no model '{name}'.{did_you_mean(name, model_names())} `tuner models` lists them.")
    module = importlib.import_module(f"tuner.models.{name}")
    (found,) = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Model) and c.__module__ == module.__name__]
    model: Model = found()
    return model
