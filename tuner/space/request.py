"""A configuration that somebody asks for: read and checked as the space is, filled up with what was not said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.model import Parameter

from .keys import KEYS
from .located import Located, Problems
from .parameters import pin, settings
from .ranges import Range, in_words, show

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

    from .spec import Spec


ASKED_FOR = "asked_for"  # in a trial's user attributes: `{"order", "like", "set", "beside"}`, and `warm` where it starts from weights
GIVEN = "given"  # there: the whole configuration, of a trial that nobody proposed


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """`chosen`: a value for each searched parameter whose condition holds. `beside`: for what the search leaves alone, other values
    than its own. `spec`: the search with those."""

    spec: Spec
    chosen: Mapping[str, Any]
    beside: Mapping[str, Any]


def beside_of(user_attrs: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a trial has at other values than the space and the model give it."""
    found: Mapping[str, Any] = user_attrs.get(ASKED_FOR, {}).get("beside", {})
    return found


def is_warm(user_attrs: Mapping[str, Any]) -> bool:
    """Whether a trial starts from another's weights: what it comes to says nothing of its configuration alone."""
    return "warm" in user_attrs.get(ASKED_FOR, {})


def config_of(spec: Spec, trial: Trial | FrozenTrial) -> dict[str, Any]:
    """Every hyper-parameter, weight and switch of a trial of the study, and its `seed`."""
    about = trial.user_attrs
    if GIVEN in about:
        return {**about[GIVEN], "seed": about["seed"]}
    warm: Mapping[str, Any] = about.get(ASKED_FOR, {}).get("warm", {})
    return spec.fixing(beside_of(about)).config(trial.params) | {"seed": about["seed"]} | dict(warm)


def read_wanted(spec: Spec, texts: Iterable[str], like: FrozenTrial | None = None) -> Wanted:
    """What `--set key=value` asks for: `like` with these changes, or a whole configuration. A searched parameter that neither says is
    at the model's default.

    Raises:
        UserError: for names that do not exist, values that are not legal or that the search does not know, and what should be said.
    """
    problems = Problems(title="This configuration", file="--set")
    pins = settings(texts, problems)
    said = _said(spec, pins, problems)
    problems.raise_if_any()

    beside = dict(beside_of(like.user_attrs)) if like is not None else {}
    searched = {found.name for found in spec.searched()}
    beside |= {name: spec.known[name].kind(value) for name, value in said.items() if name in spec.known and name not in searched}
    wider = spec.fixing(beside)
    before = like.params if like is not None else {}
    chosen: dict[str, Any] = {}
    for found in spec.searched():
        name = found.name
        if not wider.active(found, chosen):
            if name in said:
                problems.at(pins[name], f"'{name}' is not searched here: it asks for {_conditions(found)}. Say that, too.")
            continue
        if name in said:
            value = _known_to_the_search(found, said[name], pins[name], problems)
        else:
            value = before[name] if before.get(name) is not None else _default(found, spec.known.get(name), problems)
        chosen[name] = found.first if value is None else value  # what is wrong has been said; conditions are looked at all the same
    problems.raise_if_any()
    return Wanted(spec=wider, chosen=chosen, beside=beside)


def _said(spec: Spec, pins: Mapping[str, Located], problems: Problems) -> dict[str, Any]:
    """The legal values of all that is said; a key of the search cannot be said of one trial."""
    for name in pins.keys() & set(KEYS):
        if name not in spec.ranges or not spec.ranges[name].searched:
            problems.at(pins[name], f"'{name}' is a key of the search, and the same for all its trials.")
    model = spec.loaded()
    return {found.name: found.value for found in pin(spec.parameters, pins, model, problems) if found.name in pins}


def _known_to_the_search(found: Range, value: Any, node: Located, problems: Problems) -> Any:
    """The value as the search has it; None, and a problem, where the search has no such value."""
    known = found.known(value)
    if known is None:
        problems.at(node, f"'{found.name}' is searched over {in_words(found)}, and the sampler can be told of no other value.")
    return known


def _default(found: Range, p: Parameter | None, problems: Problems) -> Any:
    """The model's default as the search has it; None, and a problem, where there is none. `p`: None for a switch of the search."""
    default = None if p is None else found.known(p.default)
    if default is None:
        name, why = found.name, "has no default" if p is None else f"its default, {show(p.default)}, is not among them"
        problems.at(None, f"'{name}' must be said, such as --set {name}={show(found.first)}: {in_words(found)} is searched, and {why}.")
    return default


def _conditions(found: Range) -> str:
    return " and ".join(f"{name}={' or '.join(map(show, values))}" for name, values in found.when.items())
