"""The five entropies of CatGAN against torch.distributions, from networks written out with numpy."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical
from tuner.models.catgan import entropy, entropy_of_mean

from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("catgan")
B, K = 12, 3


@pytest.fixture
def step():
    return step_of(MODEL, blobs(n_samples=48), dropout=0.4, input_noise=0.3)


def lrelu(a):
    return np.where(a > 0, a, 0.1 * a)


def judged(step, x_BD, name):
    """p(y | x) of noisy samples under a mask, from numpy."""
    noise, net = step.noise, step.networks["discriminator"]
    a = np.asarray(x_BD) + 0.3 * getattr(noise, f"{name}_BD").numpy()
    for layer, mask in ((net.first, f"{name}_first_BH"), (net.second, f"{name}_second_BH")):
        a = lrelu(a @ layer.weight.numpy().T + layer.bias.numpy()) * getattr(noise, mask).numpy()
    return Categorical(logits=torch.as_tensor(a @ net.last.weight.numpy().T + net.last.bias.numpy())).probs


def sureness(p_BK):
    return float(Categorical(probs=p_BK).entropy().mean()), -float(Categorical(probs=p_BK.mean(0)).entropy())


def test_the_discriminator_is_sure_of_real_samples_of_all_clusters_and_unsure_of_others(step):
    got = {name: float(loss) for name, loss in MODEL.discriminate(step.net, step.batch, step.values, step.noise).items()}
    sure, balance = sureness(judged(step, step.batch.x_BD, "real"))
    unsure, _ = sureness(judged(step, step.net.still.generator(step.noise.z_BZ).sigmoid().detach(), "fake"))
    assert got == pytest.approx({"sure": sure, "balance": balance, "unsure": -unsure}, rel=1e-10)


def test_the_generator_makes_samples_of_all_clusters_that_the_discriminator_is_sure_of(step):
    got = {name: float(loss) for name, loss in MODEL.imitate(step.net, step.batch, step.values, step.noise).items()}
    sure, balance = sureness(judged(step, step.net.still.generator(step.noise.z_again_BZ).sigmoid().detach(), "again"))
    assert got == pytest.approx({"sure_fake": sure, "balance_fake": balance}, rel=1e-10)


def test_the_entropies_have_their_known_extremes():
    one_hot_BK, flat_BK = torch.eye(K).double().clamp(min=1e-300).log(), torch.full((K, K), -math.log(K)).double()
    assert float(entropy(one_hot_BK).mean()) == pytest.approx(0, abs=1e-12)
    assert float(entropy_of_mean(one_hot_BK)) == pytest.approx(math.log(K))
    assert float(entropy(flat_BK).mean()) == pytest.approx(math.log(K))
    assert float(entropy_of_mean(one_hot_BK[:1].expand(5, K))) == pytest.approx(0, abs=1e-12)


def test_each_step_trains_its_own_network_at_its_own_rate():
    (phase,) = MODEL.phases(MODEL.hyper())
    assert [u.rates() for u in phase.updates] == [{"discriminator": "lr_disc"}, {"generator": "lr_gen"}]
