"""The GAN's two losses against probabilities, from a discriminator written out with numpy; what BatchNorm remembers."""

import math

import numpy as np
import pytest
import torch

from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("gan")


@pytest.fixture
def step():
    return step_of(MODEL, blobs(n_samples=48))


def judged(step, x_BD):
    """D(x) of samples that are normalised among themselves."""
    net = step.networks
    first, second = (net["trunk"][i].weight.detach().numpy() for i in (0, 2))
    a = np.asarray(x_BD) @ first.T
    a = np.where(a > 0, a, 0.1 * a) @ second.T
    a = (a - a.mean(0)) / np.sqrt(a.var(0) + 1e-5)
    a = np.where(a > 0, a, 0.1 * a)
    return 1 / (1 + np.exp(-(a @ net["critic"].weight.detach().numpy().T + net["critic"].bias.detach().numpy())))


def made_up(step, z_BZ):
    return step.net.still.generator(z_BZ).sigmoid().detach()


def test_the_discriminator_tells_real_samples_from_made_up_ones(step):
    got = MODEL.discriminate(step.net, step.batch, step.values, step.noise)["critic"]
    want = -np.log(judged(step, step.batch.x_BD)).mean() - np.log(1 - judged(step, made_up(step, step.noise.z_BZ))).mean()
    assert float(got) == pytest.approx(want, rel=1e-10)


def test_the_generator_learns_by_the_logarithm_of_being_taken_for_real(step):
    got = MODEL.deceive(step.net, step.batch, step.values, step.noise)["fool"]
    assert float(got) == pytest.approx(-np.log(judged(step, made_up(step, step.noise.z_again_BZ))).mean(), rel=1e-10)


def test_a_discriminator_that_cannot_tell_has_a_loss_of_twice_log_2(step):
    with torch.no_grad():
        for p in step.networks["critic"].parameters():
            p.zero_()
    assert float(MODEL.discriminate(step.net, step.batch, step.values, step.noise)["critic"]) == pytest.approx(2 * math.log(2))


def test_running_statistics_are_of_real_samples_alone(step):
    MODEL.discriminate(step.net, step.batch, step.values, step.noise)
    MODEL.deceive(step.net, step.batch, step.values, step.noise)
    norm, first = step.networks["trunk"][3], step.networks["trunk"][:3]
    assert torch.allclose(norm.running_mean, 0.1 * first(step.batch.x_BD).mean(0))
