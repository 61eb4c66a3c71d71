"""Checks of how a model trains: alone, in a pack, resumed, and what comes out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch

from tuner.model import Descend, Hyper, Model
from tuner.training.engine import Settings, build, terms_on
from tuner.training.loop import train
from tuner.training.solo import Solo

from . import places, watch
from .data import DATA, blobs
from .found import RANDOM, Broken
from .runs import Visit, apart, crowded, packed, run_again, solo
from .tiny import choices, few, is_rounding, short, tiny

# --- what is random ----------------------------------------------------------------------------------------------------


def draws_nothing_by_itself(model: Model) -> None:
    h = short(model)
    with watch.draws() as found:
        run_again(model, h, DATA, 1)
    for place in found:
        raise Broken("This line draws by itself.", place=place, means=RANDOM[0], remedy=RANDOM[1])


def the_seed_decides(model: Model) -> None:
    h = short(model)
    one, before = solo(model, h, DATA, 1), torch.get_rng_state()
    again = run_again(model, h, DATA, 1)
    if not torch.equal(before, torch.get_rng_state()):
        raise Broken("A training moves torch's global generator.", means=RANDOM[0], remedy=RANDOM[1])
    if (gap := apart(one, again)) > 0:
        raise Broken(f"Two trainings with the same seed are {gap:.1g} apart.")
    others = (solo(model, h, DATA, seed) for seed in range(2, 7))  # k-means may find the same blobs twice
    if not any([r.ended for r in one] != [r.ended for r in other] or apart(one, other) > 0 for other in others):
        raise Broken("Trainings with six seeds are all the same.")


def initial_networks_follow_from_the_seed(model: Model) -> None:
    built = []
    for state in (5, 6):
        torch.manual_seed(state)
        built.append(build(model, tiny(model), DATA.spec, DATA.x_ND, seed=1)[0])
    for name, network in built[0].items():
        pairs = zip(network.parameters(), built[1][name].parameters(), strict=True)
        if not all(torch.equal(p, q) for p, q in pairs):
            raise Broken(f"The network '{name}' begins otherwise at every call.", place=places.of_key(model, "networks", name))


# --- alone, in a pack, resumed -----------------------------------------------------------------------------------------


def a_lane_equals_its_solo_run(model: Model) -> None:
    known = model.parameters()
    rates = {name: p.default / 2 for name, p in known.items() if name.startswith("lr") and p.kind is float}
    weights = {name: tiny(model).weights[name.removeprefix("weights.")] * 2 for name in known if name.startswith("weights.")}
    longest = model.phases(short(model))[-1].epochs
    hs = [short(model), short(model, **rates, **weights), short(model, **{longest: 1})]
    runs = packed(model, hs, DATA, seeds=[1, 2, 3], joins=[0, 1, 0])
    for h, seed, run in zip(hs, [1, 2, 3], runs, strict=True):
        _close(apart(solo(model, h, DATA, seed), run), model, h, seed)


def every_choice_runs(model: Model) -> None:
    for over in choices(model):
        h = few(model, **over)
        _close(apart(solo(model, h, DATA, 1), packed(model, [h], DATA, seeds=[1])[0]), model, h, 1)


def resuming_changes_nothing(model: Model) -> None:
    h = short(model)
    whole = list(solo(model, h, DATA, 1))
    for stop in range(1, len(whole)):
        epochs = train(model, h, DATA, seed=1)
        snapshot = [next(epochs) for _ in range(stop)][-1].snapshot()
        if (gap := apart(whole[stop:], solo(model, h, DATA, 1, start=snapshot))) > 0:
            raise Broken(f"A training that goes on after epoch {stop} ends {gap:.1g} apart from one that was never stopped.")


def weight_0_removes_a_term(model: Model) -> None:
    for name in (n for n in model.parameters() if n.startswith("weights.")):
        term = name.removeprefix("weights.")
        h, poisoned = few(model, **{name: 0.0}), poison(model, term)
        at = places.of_key(model, "terms", term)
        if apart(solo(model, h, DATA, 1), solo(poisoned, h, DATA, 1)) != 0:
            raise Broken(f"With {name}=0 the term still changes the training.", place=at)
        gap = apart(solo(poisoned, h, DATA, 1), packed(poisoned, [h], DATA, [1])[0])
        if not is_rounding(gap, model, h, DATA, 1):
            raise Broken(f"With {name}=0 a training in a pack is {gap:.1g} apart from one alone.", place=at)


def whoever_comes_and_goes(model: Model) -> None:
    """More trials than slots; they join late, refill slots, have phases of other lengths; one diverges and one is taken out."""
    for width in (1, 3, 16):
        crowd_of_width(model, width)


def crowd_of_width(model: Model, width: int) -> None:
    lengths = sorted({phase.epochs for phase in model.phases(short(model))})
    rates = [name for name, p in model.parameters().items() if name.startswith("lr") and p.kind is float]

    def trial(i: int) -> Visit:
        more: dict[str, Any] = {length: 1 + (i + k) % 3 for k, length in enumerate(lengths)}
        more |= {rate: model.parameters()[rate].default / (1 + i % 4) for rate in rates}
        return few(model, **more), 10 + i, i % 3, None

    crowd = [trial(i) for i in range(width + 3)]
    crowd[-1] = (*crowd[-1][:2], 0, 1)
    too_fast: dict[str, Any] = dict.fromkeys(rates, math.inf)  # behind units that saturate a finite rate, however large, may do no harm
    crowd[0] = (dataclasses.replace(crowd[0][0], **too_fast), *crowd[0][1:])
    runs = crowded(model, crowd, DATA, width)
    if rates:
        if runs[0][-1].ended != "diverged":
            raise Broken("A training with infinite rates did not diverge.")
        crowd, runs = crowd[1:], runs[1:]
    for (h, seed, _, leave), run in zip(crowd, runs, strict=True):
        _close(apart(solo(model, h, DATA, seed)[:leave], run), model, h, seed)


# --- what comes out ----------------------------------------------------------------------------------------------------


def assigns_probabilities(model: Model) -> None:
    h = tiny(model)
    engine = Solo(model, h, DATA.spec, DATA.x_ND, seed=0)
    values = Settings(model, h, terms_on(model, h), {}).values(DATA.x_ND)
    with engine.view() as net:
        p_BK, z_BZ = model.assign(net, DATA.x_ND[:7], values), model.embed(net, DATA.x_ND[:7], values)
    at = places.of_key(model, "assign", "")
    if p_BK.shape != (7, h.n_clusters):
        raise Broken(f"`assign` gives {tuple(p_BK.shape)} for 7 samples and {h.n_clusters} clusters.", place=at)
    if not torch.allclose(p_BK.sum(-1), torch.ones(7, dtype=p_BK.dtype)):
        raise Broken(f"The rows of `assign` sum to {p_BK.sum(-1).tolist()[0]:.3g}, and not to 1.", place=at)
    if len(z_BZ) != 7:
        raise Broken(f"`embed` gives {len(z_BZ)} rows for 7 samples.", place=places.of_key(model, "embed", ""))


def shows_samples(model: Model) -> None:
    """`decode` and `generate`, where the model has them, give samples of the data's shape and range, whatever is chosen."""
    for over in choices(model):
        h = tiny(model, **over)
        engine = Solo(model, h, DATA.spec, DATA.x_ND, seed=0)
        values = Settings(model, h, terms_on(model, h), {}).values(DATA.x_ND)
        y_KK = torch.eye(h.n_clusters, dtype=DATA.x_ND.dtype)
        eps_KS = torch.zeros(h.n_clusters, model.n_styles(values), dtype=y_KK.dtype)
        with engine.view() as net:
            decoded = model.decode(net, model.encode(net, DATA.x_ND[:7], values), values)
            generated = model.generate(net, y_KK, eps_KS, values)
        for hook, shown, n in (("decode", decoded, 7), ("generate", generated, h.n_clusters)):
            if shown is None:
                continue
            if shown.shape != (n, DATA.spec.n_features):
                raise Broken(
                    f"`{hook}` gives {tuple(shown.shape)}, and not {(n, DATA.spec.n_features)}.", place=places.of_key(model, hook, "")
                )
            if not shown.isfinite().all():
                raise Broken(f"`{hook}` gives values that are not finite.", place=places.of_key(model, hook, ""))


def separates_blobs(model: Model) -> None:
    data = blobs(n_samples=300, dtype=torch.float32)
    accs = []
    for seed in range(3):
        accs.append(list(train(model, model.hyper(model.tiny), data, seed=seed))[-1].metrics.get("acc", 0.0))
        if sum(acc >= 0.9 for acc in accs) == 2:
            return  # the third could not change it
    shown = ", ".join(f"{acc:.2f}" for acc in accs)
    raise Broken(f"It finds three easy blobs on fewer than two seeds of three: accuracies {shown}.", place=places.of_key(model, "tiny", ""))


# --- helpers -----------------------------------------------------------------------------------------------------------


def _close(gap: float, model: Model, h: Hyper, seed: int) -> None:
    if not is_rounding(gap, model, h, DATA, seed):
        raise Broken(f"A training in a pack ends {gap:.1g} apart from the same one alone: {h.flat()}, seed {seed}.")


def poison(model: Model, term: str) -> Model:
    """The model with one term made infinite wherever it is computed."""

    def poisoned(update: Descend) -> Descend:
        def losses(*given: Any) -> dict[str, Any]:
            return {k: v * torch.inf if k == term else v for k, v in update.losses(*given).items()}

        losses.__name__ = update.name
        return dataclasses.replace(update, losses=losses)

    def phases(self: Model, h: Any) -> tuple[Any, ...]:
        return tuple(
            dataclasses.replace(phase, updates=tuple(poisoned(u) if isinstance(u, Descend) else u for u in phase.updates))
            for phase in type(model).phases(self, h)
        )

    kind: Callable[[], Model] = type(
        f"Poisoned{type(model).__name__}", (type(model),), {"phases": phases, "__module__": type(model).__module__}
    )
    return kind()
