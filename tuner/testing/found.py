"""A check, what it finds, and what is said of that: the line, what it means, and the remedy."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import UserError, first_line
from tuner.model import Model, load_model, load_source
from tuner.own_models import read_source

from .places import Place, of_error, shapes


class Broken(AssertionError):
    """What is wrong with a model. `what`: in one sentence; `place`: the line of its file; `means`: why it matters; `remedy`: what to do.
    `stops`: the model raised an error, which other checks would run into, too."""

    stops = False

    def __init__(self, what: str, *, place: Place | None = None, means: str = "", remedy: str = "") -> None:
        self.what, self.place, self.means, self.remedy = what, place, means, remedy
        where = [str(place), textwrap.indent(place.text, "    ")] if place else []
        super().__init__("\n".join([*where, *filter(None, (what, means, remedy))]))


@dataclass(frozen=True)
class Check:
    """One thing that every model owes. `name`: the sentence that is true where it holds; `means`: what follows where it does not;
    `remedy`: where to look. A call raises `Broken`."""

    name: str
    run: Callable[[Model], None]
    means: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    def __call__(self, model: Model) -> None:
        """Raises Broken where it does not hold."""
        try:
            self.run(model)
        except Broken as broken:
            found = Broken(broken.what, place=broken.place, means=broken.means or self.means, remedy=broken.remedy or self.remedy)
            raise found from broken.__cause__
        except Exception as error:
            found = explained(error)
            found.stops = True
            raise found from error


def load(what: str | Path) -> Model:
    """The model in a file, or one of that name.

    Raises:
        UserError: there is none, or it cannot be imported; with the line.
    """
    if str(what).endswith(".py"):
        return load_source(read_source(Path(what).expanduser()))
    return load_model(str(what))


# --- errors in plain words ----------------------------------------------------------------------------------------------

_NUMBER = (
    "A tensor is asked for its value here, by .item(), float(), int(), bool(), .tolist(), .numpy(), or an `if` about it. Many trials train "
    "in one step, so there is no single value then; and what has become a number has lost its gradient.",
    "Leave it a tensor: take .item() and the like away, and write torch.where in place of `if`. In a hook (start, before_epoch, "
    "after_epoch) it is allowed.",
)
_CHOSEN = (
    "How large a tensor is hangs on values here: rows are chosen by a condition. Many trials train in one step, in tensors of one shape.",
    "Keep all rows, and write torch.where in place of x[mask], or a mask that a mean is weighted with. In a hook (start, before_epoch, "
    "after_epoch) it is allowed.",
)
_SHAPE = (
    "The shapes of these tensors do not go together.",
    "End each name in its shape (x_BD, z_BZ, logits_BK), and take sizes from h and data: D is data.n_features, K is h.n_clusters. The "
    "checks use other data than yours: 16 features in 3 clusters, so that a size that is typed as a number is found.",
)
_DEVICE = (
    "A tensor is made in an update, on the CPU, while the others may lie on a GPU.",
    "Make it like another one: x_BD.new_zeros(3). What is random comes from the phase's `noise`.",
)
RANDOM = (
    "It draws from the global generator. The same seed then gives other results on another day or machine, and a trial that was resumed, "
    "or shares a pack, is another one.",
    "Draw in a function noise(h, data, B, g) of the phase, such as {'e_BZ': g.normal(B, h.latent_dim)}, and read noise.e_BZ in the update; "
    "in a hook draw from g. In place of nn.Dropout: a mask that is drawn so.",
)
_MISSING_MODULE = (
    "A module is imported that is not there.",
    "Install it, on every machine that trains. A file of your own goes beside the model as _NAME.py: `from ._NAME import …`.",
)
_PLAIN: tuple[tuple[str, tuple[str, str]], ...] = (
    (r"called random operation", RANDOM),
    (r"item\(\)|out of meta tensor|meta device type tensor to numpy|converted to an index|data-dependent|is_nonzero", _NUMBER),
    (r"data-independent implementation|dynamic shape", _CHOSEN),
    (r"is not on the expected device|Expected all tensors to be on the same device", _DEVICE),
    (r"No module named", _MISSING_MODULE),
    (
        r"broadcast|must match|mat1 and mat2|size mismatch|is invalid for input|Dimension out of range|Number of dimensions"
        r"|inconsistent tensor size|shapes cannot|Expected size|normalized_shape|Given input size|running_mean should contain",
        _SHAPE,
    ),
    (
        r"inplace|in-place|modified by an inplace",
        ("A tensor is written over in an update.", "Return a new tensor: z = z + 1 in place of z += 1, torch.where in place of z[m] = 0."),
    ),
    (
        r"declares no network, tensor or draw",
        ("net and noise have what `networks`, `tensors` and the phase's `noise` return, by name.", "Declare it there, or mend the name."),
    ),
    (r"Hyper has no field", ("h has the fields of the class Hyper.", "Declare it in Hyper: name: float = hp(0.1, 0.0, 1.0).")),
)


def explained(error: Exception) -> Broken:
    """What an error in a model means."""
    if isinstance(error, UserError):
        return Broken(str(error))
    found = of_error(error)
    said = f"{type(error).__name__}: {first_line(error)}".rstrip(".") + "." if str(error).strip() else f"{type(error).__name__}."
    means, remedy = next((words for pattern, words in _PLAIN if re.search(pattern, str(error))), ("", ""))
    place, frame = found or (None, None)
    if means == _DEVICE[0] and place is not None and re.search(r"\brand|normal|dropout|uniform|multinomial|bernoulli", place.text):
        means, remedy = RANDOM
    if means == _SHAPE[0] and place is not None and frame is not None:
        sizes = ", ".join(f"{name} {shape}" for name, shape in shapes(place, frame).items())
        means = f"{means} {sizes}." if sizes else means
    if place is None:
        remedy = remedy or "It happened outside of your file: most often an update or a hook returns something else than a dict of tensors."
    return Broken(said, place=place, means=means, remedy=remedy)
