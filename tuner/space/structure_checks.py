"""What a search would change in its model: rates that no step uses, weights of terms that are not there, a loss that cannot decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from tuner.hyper import weight_name
from tuner.model import DataSpec, Descend, Hyper, Model, Parameter
from tuner.training.dryrun import dead_weights, owned_terms, redundant_weights, scaled_by
from tuner.training.engine import terms_on

from .checked import Checked
from .located import Located
from .ranges import Range, show

_MOST_WORLDS, _MOST_DRIED = 2048, 8  # a dry run takes a tenth of a second


@dataclass(frozen=True, kw_only=True, eq=False)
class _World:
    """One structure that a trial can have: the choices made, and everything else at some value."""

    chosen: Mapping[str, Any]
    h: Hyper
    static: frozenset[tuple[str, Any]]
    on: frozenset[str]  # the terms that may be other than 0


def check_structure(search: Checked) -> list[str]:
    """Refuses what would change nothing in any trial; notes on what would change nothing in some."""
    worlds = list(islice(_worlds(search), _MOST_WORLDS + 1))
    complete = len(worlds) <= _MOST_WORLDS
    notes = [*_check_rates(search, worlds, complete), *_check_weights(search, worlds, complete)]
    if complete:
        _check_loss(search, worlds)
        notes += _notes_of_losses(search, worlds)
    return list(dict.fromkeys(notes))


def _worlds(search: Checked) -> Iterator[_World]:
    """Choices and conditions are made in every way, numbers only where a condition asks."""
    static = {found.name for found in search.spec.searched() if _is_choice(search.spec.known.get(found.name))}
    parents = {parent for found in search.spec.parameters for parent in found.when}
    seen: dict[Any, frozenset[str]] = {}  # `terms_on` walks through all epochs of a schedule
    for chosen in search.spec.worlds(static | parents):
        config = search.spec.config(search.spec.completed(chosen))
        weights = {name: float(_may_weigh(search, name, chosen)) for name, p in search.spec.known.items() if p.term is not None}
        h = search.spec.hyper(config | weights)
        key = (frozenset(h.static().items()), frozenset(weights.items()))
        if key not in seen:
            seen[key] = terms_on(search.model, h)
        yield _World(chosen=chosen, h=h, static=key[0], on=seen[key])


def _may_weigh(search: Checked, name: str, chosen: Mapping[str, Any]) -> bool:
    """Whether a term's weight can be other than 0 in this world."""
    found = search.spec.ranges.get(name)
    if found is None:
        wrong = name in search.entries  # its own line has a problem, which shall not cause others
        return wrong or search.spec.known[name].default != 0
    return found.nonzero() > 0 if search.spec.active(found, chosen) else bool(found.otherwise)


def _check_rates(search: Checked, worlds: list[_World], complete: bool) -> Iterator[str]:
    """Rates that no step uses."""
    used = {world.static: _rates(search.model, world.h) for world in worlds}
    elsewhere = _rates_by_choice(search.model)
    for found in search.spec.searched():
        if found.name in elsewhere:
            active = [world for world in worlds if search.spec.active(found, world.chosen)]
            dead = [world for world in active if found.name not in used[world.static]]
            only = f", only one that '{elsewhere[found.name]}' brings" if elsewhere[found.name] else ""
            refuse = complete and len(dead) == len(active)
            yield from _verdict(search, found, [(world, f"no step uses it{only}") for world in dead], refuse)


def _check_weights(search: Checked, worlds: list[_World], complete: bool) -> Iterator[str]:
    """Weights that change nothing. With more terms on a weight can only come alive: one that is dead in the largest sets of
    terms is dead in all, and the smaller sets are looked at for notes."""
    terms = {name: p.term for name, p in search.spec.known.items() if p.term is not None}
    weights = [found for found in search.spec.searched() if found.name in terms]
    if not weights:
        return
    worlds = list({(world.static, world.on): world for world in worlds}.values())
    largest = [world for world in worlds if not any(world.static == other.static and world.on < other.on for other in worlds)]
    dead: dict[str, list[tuple[_World, str]]] = {found.name: [] for found in weights}
    alive: set[str] = set()
    smaller = [world for world in worlds if world not in largest][: max(0, _MOST_DRIED - len(largest))]
    for world in [*largest, *smaller]:
        reasons = _dead(search.model, world.static, world.on)
        computed = {term for terms in _computed(search.model, world.static).values() for term in terms}
        active = [found for found in weights if search.spec.active(found, world.chosen)]
        for found in active:
            # One value beside 0 still switches the term on and off.
            if found.name in reasons and (found.nonzero() > 1 or terms[found.name] not in computed):
                dead[found.name].append((world, reasons[found.name].rstrip(".")))
            elif world in largest:
                alive.add(found.name)
        if world in largest:
            searched = frozenset(found.name for found in active) - reasons.keys()
            yield from redundant_weights(search.model, world.h, world.on, searched)
    for found in weights:
        yield from _verdict(search, found, dead[found.name], complete and found.name not in alive)


def _verdict(search: Checked, found: Range, dead: list[tuple[_World, str]], refuse: bool) -> Iterator[str]:
    """Dead wherever it is searched: a problem. Dead in some structures: a note."""
    if dead and refuse:
        search.problems.at(search.entries[found.name], f"'{found.name}' would change nothing: {dead[0][1]}.")
    elif dead:
        yield f"'{found.name}' changes nothing{_where(found, [world for world, _ in dead])}: {dead[0][1]}."


def _check_loss(search: Checked, worlds: list[_World]) -> None:
    """A loss that decides must be there in every clustering epoch of every trial."""
    for name, at in search.deciding.items():
        term = name.removeprefix("loss/")
        if term in search.model.terms and term != name:
            _check_term(search, worlds, term, at)


def _notes_of_losses(search: Checked, worlds: list[_World]) -> Iterator[str]:
    """A loss that decides while what stands in its formula is searched."""
    searched = {found.name for found in search.spec.searched()}
    for name in search.deciding:
        term = name.removeprefix("loss/")
        if term not in search.model.terms or term == name:
            continue
        moving = {number for world in worlds[:_MOST_DRIED] for number in _scaled(search.model, world.static, term)} & searched
        moving |= {"n_clusters"} & searched
        if moving:
            names = " and ".join(f"'{one}'" for one in sorted(moving))
            yield f"'{name}' decides while what moves it by itself is searched, {names}: the least need not be the best clustering."


def _check_term(search: Checked, worlds: list[_World], term: str, at: Located) -> None:
    weight = search.spec.ranges.get(weight_name(term))
    for world in worlds:
        owned = _computed(search.model, world.static)
        clustering = [update for phase in search.model.phases(world.h) if phase.clusters for update in phase.updates]
        if not any(term in owned.get(update.name, ()) for update in clustering):
            where = f" where {_said(world.chosen)}" if world.chosen else ""
            search.problems.at(at, f"'loss/{term}' cannot decide: no clustering epoch computes it{where}.")
            return
        zero = weight is not None and search.spec.active(weight, world.chosen) and weight.may_be_zero()
        if zero or term not in world.on:
            search.problems.at(at, f"'loss/{term}' cannot decide: it is not computed in trials in which 'weights.{term}' is 0.")
            return


def _where(found: Range, worlds: list[_World]) -> str:
    """` where updates is separate`: the choices that all these worlds share."""
    first = worlds[0].chosen
    shared = {
        name: value
        for name, value in first.items()
        if name not in found.when and all(name in world.chosen and world.chosen[name] == value for world in worlds)
    }
    return f" where {_said(shared)}" if shared else " in some trials"


def _said(chosen: Mapping[str, Any]) -> str:
    return " and ".join(f"{name} is {show(value)}" for name, value in chosen.items())


_DATA = DataSpec(n_samples=64, shape=(8, 8), n_classes=4)  # any data will do: which terms there are does not depend on them


# Only static values can change what these find. A space is checked more than once in a process, and worlds share them.


@lru_cache(maxsize=256)
def _computed(model: Model, static: frozenset[tuple[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The terms of each step."""
    return owned_terms(model, model.hyper(dict(static)), _DATA)


@lru_cache(maxsize=256)
def _scaled(model: Model, static: frozenset[tuple[str, Any]], term: str) -> frozenset[str]:
    """The numbers in a term's formula."""
    return scaled_by(model, model.hyper(dict(static)), term)


@lru_cache(maxsize=256)
def _dead(model: Model, static: frozenset[tuple[str, Any]], on: frozenset[str]) -> dict[str, str]:
    """The dead weights with their reasons."""
    return dead_weights(model, model.hyper(dict(static)), on)


def _is_choice(p: Parameter | None) -> bool:
    return p is not None and p.choices is not None


def _rates(model: Model, h: Hyper) -> set[str]:
    """The hyper-parameters that are rates, momenta or clips of the steps that are taken."""
    used: set[str] = set()
    for phase in model.phases(h):
        for update in phase.updates:
            if isinstance(update, Descend):
                used |= {*update.rates().values(), *(str(name) for name in vars(update.optimizer).values() if isinstance(name, str))}
                used |= {update.clip} if update.clip else set()
    return used


def _rates_by_choice(model: Model) -> dict[str, str]:
    """Every rate of the model, with the one choice beside the defaults that makes a step use it, or nothing for the defaults."""
    found = dict.fromkeys(_rates(model, model.hyper()), "")
    for p in model.parameters().values():
        for choice in p.choices or ():
            for name in _rates(model, model.hyper({p.name: choice})):
                found.setdefault(name, f"{p.name}: {show(choice)}")
    return found
