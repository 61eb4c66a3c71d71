"""Each term of the semi-supervised adversarial auto-encoder against numpy, with the tools that check the unsupervised one."""

import numpy as np
import pytest
import torch
from kit.encoders import cross_entropy, encoded, logistic, through

from tuner.model import load_model
from tuner.testing import blobs, step_of
from tuner.training.loop import train

MODEL = load_model("aae_semi")
B, K, Z, L = 12, 3, 2, 12


@pytest.fixture
def step():
    return step_of(MODEL, blobs(n_samples=48))


def losses(step, update):
    return {name: float(loss) for name, loss in getattr(MODEL, update)(step.net, step.batch, step.values, step.noise).items()}


def test_recon_rebuilds_the_batch_and_the_labelled_samples_from_noisy_ones(step):
    x_ND = torch.cat([step.batch.x_BD, step.batch.labelled[0]])
    y, z = encoded(step.networks["encoder"], x_ND + 0.3 * step.noise.eps_ND, 1.0)
    want = cross_entropy(logistic(through(step.networks["decoder"], np.hstack([y, z]))), x_ND)
    assert losses(step, "reconstruct")["recon"] == pytest.approx(want, rel=1e-10)


def test_deceive_asks_both_critics_about_the_batch(step):
    codes = encoded(step.networks["encoder"], step.batch.x_BD, 1.0)
    for name, code in zip("yz", codes, strict=True):
        want = -np.mean(np.log(logistic(through(step.networks[f"critic_{name}"], code))))
        assert losses(step, "deceive")[f"adv_{name}"] == pytest.approx(want, rel=1e-10)


def test_discriminate_tells_the_evaluated_codes_from_prior_draws(step):
    got = losses(step, "discriminate")
    fakes = (t.numpy() for t in step.networks["encoder"].eval()(step.batch.x_BD))
    for name, real, fake in zip("yz", (step.noise.y_BK, step.noise.z_BZ), fakes, strict=True):
        d_real, d_fake = (logistic(through(step.networks[f"critic_{name}"], np.asarray(a))) for a in (real, fake))
        assert got[f"critic_{name}"] == pytest.approx(-np.mean(np.log(d_real)) - np.mean(np.log(1 - d_fake)), rel=1e-9)


def test_classify_is_the_cross_entropy_of_the_softmax_itself_and_can_reach_zero(step):
    x_LD, y_L = step.batch.labelled
    y, _ = encoded(step.networks["encoder"], x_LD, 1.0)
    assert losses(step, "classify")["classify"] == pytest.approx(-np.mean([np.log(y[i, int(c)]) for i, c in enumerate(y_L)]), rel=1e-10)
    h = MODEL.hyper(dict(MODEL.tiny) | {"epochs": 20, "lr_class": 0.03})
    assert list(train(MODEL, h, blobs(), seed=0))[-1].metrics["loss/classify"] < 0.1


def test_the_steps_follow_the_originals_order():
    (phase,) = MODEL.phases(MODEL.hyper())
    assert [u.name for u in phase.updates] == ["reconstruct", "discriminate", "deceive", "classify"]
    assert [sorted(u.rates().items()) for u in phase.updates][3] == [("encoder", "lr_class")]


def test_only_the_step_that_rebuilds_moves_running_statistics():
    state = next(train(MODEL, MODEL.hyper(dict(MODEL.tiny)), blobs(n_samples=60), seed=0)).snapshot().weights()
    assert state["encoder.norm_y.num_batches_tracked"] == 2
