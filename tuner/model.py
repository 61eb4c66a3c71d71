"""What a model is: named networks, named loss terms, and phases of updates.

Shapes, here and in every model: B batch, N data set, D features, Z code, K clusters, H hidden units.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, cat, nn

from .draws import Draws
from .errors import UserError, did_you_mean
from .given import Batch, DataSpec, Net, Values  # noqa: F401 - models import some of them from here
from .hyper import Clusters, Hyper, Parameter, PartlyLabelled, declared, hp, weighed_term, weight_of  # noqa: F401 - models import some of them from here
from .own_models import NONE, OwnModels, Source, installed, is_shipped, shipped_names

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
    # Looks ahead along the momentum (Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html).
    nesterov: bool | str = False
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


# --- a model ------------------------------------------------------------------------------------------------------------


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
    known_as: ClassVar[str | None] = None  # set where the model is one of a package's, by another name than its file's

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

    def encode(self, net: Any, x_BD: Tensor, h: Any) -> Tensor:
        """(B, E): all that `decode` needs of a sample; by default the latent. This and what follows is for pictures; None: it has none."""
        return self.embed(net, x_BD, h)

    def decode(self, net: Any, e_BE: Tensor, h: Any) -> Tensor | None:
        """(B, D): the samples that `encode` gave these numbers for, rebuilt, as values of the data."""
        return None

    def n_styles(self, h: Any) -> int:
        """S: how many numbers beside the cluster `generate` makes a sample of."""
        return 0

    def generate(self, net: Any, y_BK: Tensor, eps_BS: Tensor, h: Any) -> Tensor | None:
        """(B, D): a sample of each cluster. `y_BK`: one-hot; `eps_BS`: its style, standard normal, 0 for the mode: by default `decode`d."""
        return self.decode(net, cat([y_BK, eps_BS], -1), h) if self.n_styles(h) else None

    @property
    def name(self) -> str:
        """The file's name: the one that users type."""
        return self.known_as or type(self).__module__.rpartition(".")[2]

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
        if weighed_term(name) in self.terms:
            return f"'{name}' would change nothing: the term stands alone in its step. Search the step's rate instead."
        return f"{self.name} has no '{name}'.{did_you_mean(name, self.parameters())}"


# --- the registry: the folder, and what is brought ----------------------------------------------------------------------


def model_names(own: OwnModels = NONE) -> list[str]:
    """Every file of `models/`, by name, and your own."""
    return sorted({*shipped_names(), *own.sources})


def load_model(name: str, own: OwnModels = NONE) -> Model:
    """The model in `models/<name>.py`, or your own of that name: one of `own`, or of an installed package.

    Raises:
        UserError: there is no such model, or it cannot be imported.
    """
    if is_shipped(name):
        return _in_module(f"tuner.models.{name}", None)
    source = own.get(name) or next((one for one in installed() if one.name == name), None)
    if source is not None:
        return load_source(source)
    here = f" {name}.py lies here: bring it with --models {name}.py." if name.isidentifier() and Path(f"{name}.py").is_file() else ""
    raise UserError(f"There is no model '{name}'.{here or did_you_mean(name, model_names(own))} `tuner models` lists them.")


def load_source(source: Source) -> Model:
    """Your own model.

    Raises:
        UserError: it cannot be imported, or is no model; with the line.
    """
    module = source.imported()
    model = _in_module(module.__name__, source.attribute, source.name)
    kind: Any = getattr(model, "Hyper", None)
    if not (isinstance(kind, type) and issubclass(kind, Hyper)):
        wrong = "has no class 'Hyper' inside it that is made of tuner.model.Hyper"
    else:
        wrong = "".join([f"has a Hyper without '{name}'" for name in ("n_clusters", "epochs") if name not in declared(kind)][:1])
    if wrong:
        refused = f"{source.shown} cannot be used: its class {type(model).__name__} {wrong}."
        raise UserError(f"{refused} `tuner new-model` writes one that has all.")
    return model


@cache
def _in_module(module: str, attribute: str | None, name: str | None = None) -> Model:
    """The one model that a module defines, or the named one."""
    imported = importlib.import_module(module)
    where = name and f"{Path(imported.__file__ or module).name}"
    own = [c for c in vars(imported).values() if isinstance(c, type) and issubclass(c, Model) and c.__module__ == module]
    found = own if attribute is None else [vars(imported)[attribute]] if attribute in vars(imported) else []
    if name is not None and len(found) != 1:
        classes = ", ".join(c.__name__ for c in found) or "none"
        raise UserError(f"{where} must define one class that is a Model (from tuner.model import Model), but has {classes}.")
    (kind,) = found
    try:
        model: Model = kind()
    except TypeError as error:
        if name is None:
            raise
        lacks = ", ".join(sorted(getattr(kind, "__abstractmethods__", ())))
        raise UserError(f"{where}: the class {kind.__name__} cannot be made: {f'it lacks {lacks}' if lacks else error}.") from error
    if name is not None:
        kind.known_as = name
    return model
