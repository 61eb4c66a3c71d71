"""Checks of what a model declares; nothing is trained but where it may keep something."""

from __future__ import annotations

import itertools

from tuner.model import Descend, Model
from tuner.training.dryrun import dead_weights, owned_terms, unreached

from . import places
from .data import DATA
from .found import Broken
from .runs import solo
from .tiny import choices, short, tiny


def has_tiny(model: Model) -> None:
    if not hasattr(model, "tiny"):
        raise Broken("It has no `tiny`.", place=places.of_class(model))
    too_many = int(tiny(model).n_clusters) != 3 if "n_clusters" in model.parameters() else False
    if too_many and model.labels == "none":
        raise Broken(f"tiny has n_clusters={tiny(model).n_clusters}, but must have 3.", place=places.of_key(model, "tiny", "n_clusters"))


def ranges_hold_defaults(model: Model) -> None:
    for p in model.parameters().values():
        at = places.of_key(model, "terms", p.term) if p.term else places.of_key(model, p.name, "")
        if p.choices is None and p.low is None:
            raise Broken(f"{p.name} has no range.", place=at)
        if wrong := p.wrong(p.default):
            raise Broken(wrong, place=at)


def holds_no_state(model: Model) -> None:
    if Model not in type(model).__bases__:
        bases = ", ".join(base.__name__ for base in type(model).__bases__)
        raise Broken(f"It is a subclass of {bases}, and not of Model itself.", place=places.of_class(model))
    solo(model, short(model), DATA, 1)
    for name in vars(model):
        raise Broken(f"It keeps `self.{name}`.", place=places.of_assigned(model, name))


def terms_are_returned(model: Model) -> None:
    returned: set[str] = set()
    for over in choices(model):
        owned = list(itertools.chain(*owned_terms(model, tiny(model, **over), DATA.spec, "meta").values()))
        for term in owned:
            if owned.count(term) > 1:
                raise Broken(f"Two updates return the term '{term}'.", place=places.of_key(model, "terms", term))
        returned |= set(owned)
    for term in model.terms:
        if term not in returned:
            remedy = f"Return it: `return {{…, '{term}': …}}`; or take it out of `terms`."
            raise Broken(f"`terms` has '{term}', but no update returns it.", place=places.of_key(model, "terms", term), remedy=remedy)
    for term in sorted(returned - set(model.terms)):
        update = next(u for u in _descends(model) if term in owned_terms(model, tiny(model), DATA.spec, "meta").get(u.name, ()))
        remedy = f"Declare it: '{term}': Term(1.0, 'what it measures')."
        raise Broken(f"An update returns '{term}', which `terms` has not.", place=places.of_key(model, update.name, term), remedy=remedy)


def networks_are_trained(model: Model) -> None:
    h = tiny(model)
    trained = {name for update in _descends(model) for name in update.rates()}
    for name in model.networks(h, DATA.spec):
        if name not in trained:
            raise Broken(f"No update trains the network '{name}'.", place=places.of_key(model, "networks", name))
    for name, update in unreached(model, h, "meta").items():
        raise Broken(
            f"The update '{update}' is to train '{name}', but no term that it returns depends on it.",
            place=places.of_key(model, update, ""),
            remedy="Look for .detach(), torch.no_grad() and argmax on the way from it to the loss; or take it out of `trains`.",
        )


def names_are_their_own(model: Model) -> None:
    for over in choices(model):
        names = [phase.name for phase in model.phases(tiny(model, **over))]
        for name in names:
            if names.count(name) > 1:
                raise Broken(f"Two phases are named '{name}'.", place=places.of_key(model, "phases", name))


def every_weight_is_alive(model: Model) -> None:
    on = frozenset(model.terms)
    dead = [dead_weights(model, tiny(model, **over), on, "meta") for over in choices(model)]
    for name in sorted(set.intersection(*(set(reasons) for reasons in dead))):
        term = name.removeprefix("weights.")
        raise Broken(f"{name} changes nothing: {dead[0][name]}", place=places.of_key(model, "terms", term))


def _descends(model: Model) -> list[Descend]:
    return [u for phase in model.phases(tiny(model)) for u in phase.updates if isinstance(u, Descend)]
