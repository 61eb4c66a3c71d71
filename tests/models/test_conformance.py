"""What every file in `models/` owes, found and tried by itself: a new model needs no test of its own to be held to this."""

import inspect

import pytest

from tuner import layout
from tuner.model import load_model, model_names
from tuner.testing import CHECKS
from tuner.testing.trained import crowd_of_width

EVERY_MODEL = pytest.mark.parametrize("model", [load_model(name) for name in model_names()], ids=lambda m: m.name)


@EVERY_MODEL
def test_a_model_names_its_paper_in_its_first_line(model):
    first = inspect.getsource(inspect.getmodule(type(model))).splitlines()[0]
    assert model.paper.startswith("https://")
    assert first.startswith('"""'), first
    assert model.paper in inspect.getmodule(type(model)).__doc__


@EVERY_MODEL
@pytest.mark.parametrize("check", CHECKS, ids=str)
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
