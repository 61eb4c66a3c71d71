"""Each term of InfoGAN sample by sample, from torch.distributions."""

import numpy as np
import pytest
import torch
from kit.encoders import logistic
from torch.distributions import Categorical, Normal

from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("infogan")
B, K, C = 12, 3, 2


@pytest.fixture
def step():
    return step_of(MODEL, blobs(n_samples=48), n_codes=C)


def losses(step, update):
    return {name: float(loss) for name, loss in getattr(MODEL, update)(step.net, step.batch, step.values, step.noise).items()}


def made(step, inputs_BI):
    """The critic's probability of made-up samples, and minus the log-likelihood of y and of c, a sample at a time."""
    fake_BH = step.net.still.trunk(step.net.still.generator(inputs_BI).sigmoid())
    d = logistic(step.net.critic(fake_BH).detach().numpy())
    of_y = of_c = 0.0
    for read, inputs in zip(step.net.still.reader(fake_BH).detach(), inputs_BI, strict=True):
        of_y -= float(Categorical(logits=read[:K]).log_prob(inputs[:K].argmax()))
        of_c -= float(Normal(read[K:], 1.0).log_prob(inputs[K : K + C]).sum())
    return d, of_y / B, of_c / B


def test_the_critic_tells_real_from_made_up_and_reads_the_codes_back(step):
    d, of_y, of_c = made(step, step.noise.critic_BI)
    real = logistic(step.net.critic(step.net.still.trunk(step.batch.x_BD)).detach().numpy())
    want = {"critic": -np.mean(np.log(real)) - np.mean(np.log(1 - d)), "read_y": of_y, "read_c": of_c}
    assert losses(step, "discriminate") == pytest.approx(want, rel=1e-10)


def test_the_generator_fools_the_critic_and_keeps_the_codes_visible(step):
    d, of_y, of_c = made(step, step.noise.generator_BI)
    assert losses(step, "deceive") == pytest.approx({"fool": -np.mean(np.log(d)), "write_y": of_y, "write_c": of_c}, rel=1e-10)


def test_inputs_are_a_cluster_and_uniform_numbers(step):
    assert not torch.equal(step.noise.critic_BI, step.noise.generator_BI)
    for inputs_BI in (step.noise.critic_BI, step.noise.generator_BI):
        assert inputs_BI[:, :K].sum(1).tolist() == [1.0] * B
        assert inputs_BI[:, :K].unique().tolist() == [0.0, 1.0]
        assert -1 <= float(inputs_BI[:, K:].min()) < 0 < float(inputs_BI[:, K:].max()) < 1


def test_the_readers_weights_move_with_the_critic():
    (phase,) = MODEL.phases(MODEL.hyper())
    assert [sorted(u.rates().items()) for u in phase.updates] == [
        [("critic", "lr_disc"), ("reader", "lr_disc"), ("trunk", "lr_disc")],
        [("generator", "lr_gen")],
    ]
