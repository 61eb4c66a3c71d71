"""What every file in `models/` owes, found and tried by itself: a new model needs no test of its own to be held to this."""

import dataclasses
import inspect
import itertools

import pytest
import torch
from kit.blobs import blobs
from kit.conformance import is_rounding, short, tiny
from kit.lanes import apart, crowded, packed, run_again, solo

from tuner import layout
from tuner.model import Descend, Model, load_model, model_names
from tuner.training.dryrun import dead_weights, owned_terms
from tuner.training.engine import build
from tuner.training.loop import train

EVERY_MODEL = pytest.mark.parametrize("model", [load_model(name) for name in model_names()], ids=lambda m: m.name)
DATA = blobs()


def choices(model):
    """Every choice of every hyper-parameter that has choices, one changed at a time."""
    words = [p for p in model.parameters().values() if p.choices]
    return [{}] + [{p.name: choice} for p in words for choice in p.choices if choice != p.default]


@EVERY_MODEL
def test_a_model_names_its_paper_in_its_first_line(model):
    first = inspect.getsource(inspect.getmodule(type(model))).splitlines()[0]
    assert model.paper.startswith("https://")
    assert first.startswith('"""'), first
    assert model.paper in inspect.getmodule(type(model)).__doc__


@EVERY_MODEL
def test_every_hyper_parameter_has_a_legal_range_that_holds_its_default(model):
    for p in model.parameters().values():
        assert p.choices is not None or p.low is not None, f"{p.name} has no range"
        assert p.wrong(p.default) is None


@EVERY_MODEL
def test_a_model_inherits_from_the_contract_alone_and_holds_no_state(model):
    assert Model in type(model).__bases__, "models share functions, they do not inherit"
    assert vars(model) == {}, "a model holds no state"


@EVERY_MODEL
def test_declared_terms_are_the_returned_ones_and_belong_to_one_update(model):
    returned = set()
    for over in choices(model):
        owned = list(itertools.chain(*owned_terms(model, tiny(model, **over), DATA.spec).values()))
        assert len(owned) == len(set(owned)), "a term belongs to one update"
        returned |= set(owned)
    assert returned == set(model.terms)


@EVERY_MODEL
def test_every_network_is_trained_by_some_update(model):
    h = tiny(model)
    trained = {name for phase in model.phases(h) for u in phase.updates if isinstance(u, Descend) for name in u.rates()}
    assert set(model.networks(h, DATA.spec)) <= trained


@EVERY_MODEL
def test_updates_and_phases_have_names_of_their_own(model):
    for over in choices(model):
        phases = model.phases(tiny(model, **over))
        assert len({phase.name for phase in phases}) == len(phases)
        for phase in phases:
            assert len({update.name for update in phase.updates}) == len(phase.updates)


@EVERY_MODEL
def test_the_same_seed_gives_the_same_result_and_another_seed_another_and_the_global_generator_is_untouched(model):
    h = short(model)
    one, before = solo(model, h, DATA, 1), torch.get_rng_state()
    again = run_again(model, h, DATA, 1)
    assert torch.equal(before, torch.get_rng_state())
    assert apart(one, again) == 0
    others = (solo(model, h, DATA, seed) for seed in range(2, 7))  # k-means may find the same blobs twice
    assert any([r.ended for r in one] != [r.ended for r in other] or apart(one, other) > 0 for other in others)


@EVERY_MODEL
def test_a_lane_equals_its_solo_run(model):
    rates = {name: p.default / 2 for name, p in model.parameters().items() if name.startswith("lr") and p.kind is float}
    weights = {name: tiny(model).weights[name.removeprefix("weights.")] * 2 for name in model.parameters() if name.startswith("weights.")}
    longest = model.phases(short(model))[-1].epochs
    hs = [short(model), short(model, **rates, **weights), short(model, **{longest: 1})]
    runs = packed(model, hs, DATA, seeds=[1, 2, 3], joins=[0, 1, 0])
    for h, seed, run in zip(hs, [1, 2, 3], runs, strict=True):
        assert is_rounding(apart(solo(model, h, DATA, seed), run), model, h, DATA, seed)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 3, 16])
@EVERY_MODEL
def test_a_lane_equals_its_solo_run_whoever_comes_and_goes(model, width):
    """More trials than slots; they join late, refill slots, have phases of other lengths; one diverges and one is taken out."""
    lengths = sorted({phase.epochs for phase in model.phases(short(model))})
    rates = [name for name, p in model.parameters().items() if name.startswith("lr") and p.kind is float]

    def trial(i):
        more = {length: 1 + (i + k) % 3 for k, length in enumerate(lengths)}
        more |= {rate: model.parameters()[rate].default / (1 + i % 4) for rate in rates}
        return short(model, **more), 10 + i, i % 3, None

    crowd = [trial(i) for i in range(width + 3)]
    crowd[-1] = (*crowd[-1][:2], 0, 1)
    h, *rest = crowd[0]
    crowd[0] = (dataclasses.replace(h, **dict.fromkeys(rates, 1e300)), *rest)
    runs = crowded(model, crowd, DATA, width)
    if rates:
        assert runs[0][-1].ended == "diverged"
        crowd, runs = crowd[1:], runs[1:]
    for (h, seed, _, leave), run in zip(crowd, runs, strict=True):
        alone = solo(model, h, DATA, seed)[:leave]
        assert is_rounding(apart(alone, run), model, h, DATA, seed), (h, seed)


@EVERY_MODEL
def test_every_choice_of_every_hyper_parameter_runs_alone_and_in_a_pack(model):
    for over in choices(model):
        h = short(model, **over)
        gap = apart(solo(model, h, DATA, 1), packed(model, [h], DATA, seeds=[1])[0])
        assert is_rounding(gap, model, h, DATA, 1), (over, gap)


@EVERY_MODEL
def test_stopping_and_resuming_changes_nothing(model):
    h = short(model)
    whole = list(solo(model, h, DATA, 1))
    for stop in range(1, len(whole)):
        epochs = train(model, h, DATA, seed=1)
        snapshot = [next(epochs) for _ in range(stop)][-1].snapshot()
        assert apart(whole[stop:], solo(model, h, DATA, 1, start=snapshot)) == 0


@EVERY_MODEL
def test_zero_weight_removes_a_term_even_one_that_is_infinite(model):
    for name in (n for n in model.parameters() if n.startswith("weights.")):
        h = short(model, **{name: 0.0})
        poisoned = poison(model, name.removeprefix("weights."))
        assert apart(solo(model, h, DATA, 1), solo(poisoned, h, DATA, 1)) == 0
        gap = apart(solo(poisoned, h, DATA, 1), packed(poisoned, [h], DATA, [1])[0])
        assert is_rounding(gap, model, h, DATA, 1), (name, gap)


@EVERY_MODEL
def test_every_weight_is_alive_in_some_choice(model):
    on = frozenset(model.terms)
    dead = [set(dead_weights(model, tiny(model, **over), on)) for over in choices(model)]
    assert set.intersection(*dead) == set()


@EVERY_MODEL
def test_three_easy_blobs_are_separated_on_two_seeds_of_three(model):
    data = blobs(n_samples=300, dtype=torch.float32)
    accs = []
    for seed in range(3):
        accs.append(list(train(model, model.hyper(model.tiny), data, seed=seed))[-1].metrics.get("acc", 0.0))
        if sum(acc >= 0.9 for acc in accs) == 2:
            return  # the third could not change it
    pytest.fail(f"separated on fewer than two seeds of three: {accs}")


@EVERY_MODEL
def test_assignments_are_probabilities_and_codes_have_a_row_each(model):
    h = tiny(model)
    from tuner.training.engine import Settings, terms_on
    from tuner.training.solo import Solo

    engine = Solo(model, h, DATA.spec, DATA.x_ND, seed=0)
    values = Settings(model, h, terms_on(model, h), {}).values(DATA.x_ND)
    with engine.view() as net:
        p_BK = model.assign(net, DATA.x_ND[:7], values)
        assert p_BK.shape == (7, h.n_clusters)
        assert torch.allclose(p_BK.sum(-1), torch.ones(7, dtype=p_BK.dtype))
        assert len(model.embed(net, DATA.x_ND[:7], values)) == 7


@EVERY_MODEL
def test_initial_networks_depend_on_the_seed_alone(model):
    h = tiny(model)
    torch.manual_seed(5)
    one, _ = build(model, h, DATA.spec, DATA.x_ND, seed=1)
    torch.manual_seed(6)
    two, _ = build(model, h, DATA.spec, DATA.x_ND, seed=1)
    assert all(torch.equal(p, q) for name in one for p, q in zip(one[name].parameters(), two[name].parameters(), strict=True))


@EVERY_MODEL
def test_a_shipped_space_searches_it(model):
    assert (layout.folder("search_spaces") / f"{model.name}.yaml").is_file()


def poison(model, term):
    """The model with one term made infinite wherever it is computed."""

    def poisoned(update):
        def losses(*args):
            return {k: v * torch.inf if k == term else v for k, v in update.losses(*args).items()}

        losses.__name__ = update.name
        return dataclasses.replace(update, losses=losses)

    def phases(self, h):
        return tuple(
            dataclasses.replace(phase, updates=tuple(poisoned(u) if isinstance(u, Descend) else u for u in phase.updates))
            for phase in type(model).phases(self, h)
        )

    return type(f"Poisoned{type(model).__name__}", (type(model),), {"phases": phases, "__module__": type(model).__module__})()
