"""What every file in `models/` owes, found and tried by itself: a new model needs no test of its own to be held to this."""

import inspect

import pytest

from tuner import layout
from tuner.model import load_model, model_names
from tuner.testing import CHECKS
from tuner.testing.trained import crowd_of_width

MODELS = [load_model(name) for name in model_names()]
EVERY_MODEL = pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
# The checks that train most, and models that are made like another one here or take long: together they wait for CI's second step, or
# for `pytest -k NAME -m "not gpu"`. A new model is held to everything at once.
COSTLY = {
    "every choice runs, alone and in a pack",
    "many in one pack give what each gives alone",
    "three easy blobs are told apart",
    "weight 0 removes a term",
}
LATER = {
    *("aae_semi", "acai_dec", "acai_idec", "adgm", "dac", "dbn_nmmc", "dcn", "depict", "dipdeck", "dlgmm", "gmvae", "gumbel_vae_semi"),
    *("improved_gan", "infogan", "ladder_vae", "m1", "m1_m2", "n2d", "prednet", "sdgm", "swwae"),
}


def waits(model, check):
    return (pytest.mark.slow,) if model.name in LATER and in_words(check) in COSTLY else ()


def in_words(check):
    return str(check).replace("-", " ")


@EVERY_MODEL
def test_a_model_names_its_paper_in_its_first_line(model):
    first = inspect.getsource(inspect.getmodule(type(model))).splitlines()[0]
    assert model.paper.startswith("https://")
    assert first.startswith('"""'), first
    assert model.paper in inspect.getmodule(type(model)).__doc__


def test_what_waits_is_there():
    assert set(model_names()) > LATER and {in_words(check) for check in CHECKS} > COSTLY


@pytest.mark.parametrize(
    ("model", "check"),
    [pytest.param(model, check, marks=waits(model, check), id=f"{check}-{model.name}") for check in CHECKS for model in MODELS],
)
def test_a_model_keeps_the_contract(model, check):
    check(model)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 3, 16])
@EVERY_MODEL
def test_a_lane_equals_its_solo_run_whoever_comes_and_goes(model, width):
    crowd_of_width(model, width)


@EVERY_MODEL
def test_a_shipped_space_searches_it(model):
    assert (layout.folder("search_spaces") / f"{model.name}.yaml").is_file()
