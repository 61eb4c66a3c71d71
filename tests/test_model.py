"""The contract's own rules: names, ranges, and which weights are alive."""

import pytest

from tuner.errors import UserError
from tuner.model import load_model
from tuner.training.dryrun import dead_weights, redundant_weights

AAE = load_model("aae_unsup")
ALL = frozenset(AAE.terms)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hiden": 3}, "aae_unsup has no 'hiden'. Did you mean 'hidden'?"),
        ({"weights.cylic": 3}, "aae_unsup has no 'weights.cylic'. Did you mean 'weights.cyclic'?"),
        ({"n_clusters": 1}, "'n_clusters' must stay within [2, 256], but got 1."),
        ({"n_clusters": 2.5}, "'n_clusters' must be a whole number, but got 2.5."),
        ({"lr_ae": "fast"}, "'lr_ae' must be a number, but got 'fast'."),
        ({"lr_ae": True}, "'lr_ae' must be a number, but got True."),
        ({"lr_ae": float("nan")}, "'lr_ae' must stay within [0, 1], but got nan."),
        ({"updates": "both"}, "'updates' must be one of joint | separate, but got 'both'."),
        ({"weights.mode": -1}, "'weights.mode' must be 0 or more, but got -1."),
        (
            {"weights.critic_y": 2},
            "'weights.critic_y' would change nothing: the term stands alone in its step. Search the step's rate instead.",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(values, message):
    with pytest.raises(UserError) as error:
        AAE.hyper(values)
    assert str(error.value) == message


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(UserError, match=r"'n_clusters' must stay.*'hidden' must stay"):
        AAE.hyper({"n_clusters": 0, "hidden": 0})


def test_an_unknown_model_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"There is no model 'aae_unsupp'\. Did you mean 'aae_unsup'\?"):
        load_model("aae_unsupp")


def test_flat_and_hyper_are_inverse():
    h = AAE.hyper({"lr_ae": 1e-3, "weights.mode": 0})
    assert AAE.hyper(h.flat()) == h
    assert h.flat()["weights.mode"] == 0.0


def test_all_extra_losses_are_alive_in_the_joint_step():
    assert dead_weights(AAE, AAE.hyper(), ALL) == {}


def test_in_separate_steps_the_weights_of_mode_and_pairwise_are_dead():
    dead = dead_weights(AAE, AAE.hyper({"updates": "separate"}), ALL)
    assert set(dead) == {"weights.recon", "weights.mode", "weights.pairwise"}
    assert dead["weights.mode"] == "it stands alone in the step 'picture', and Adam ignores the scale of a loss. Search 'lr_mode' instead."


def test_a_weight_dies_when_the_others_of_its_step_are_off():
    on = ALL - {"cyclic_z"}
    assert "weights.cyclic" in dead_weights(AAE, AAE.hyper({"updates": "separate"}), on)


def test_of_two_searched_weights_alone_in_a_step_only_the_ratio_counts():
    h, both = AAE.hyper({"updates": "separate"}), frozenset({"weights.cyclic", "weights.cyclic_z"})
    (note,) = redundant_weights(AAE, h, ALL, both)
    assert note == "In the step 'cycle' only the ratio of weights.cyclic and weights.cyclic_z counts: one of them could be fixed."
    assert redundant_weights(AAE, AAE.hyper(), ALL, both) == []
