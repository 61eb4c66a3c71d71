"""The terms of the improved GAN against probabilities of K + 1 classes, from a discriminator written out with numpy."""

import numpy as np
import pytest
import torch

from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("improved_gan")
DATA = blobs(n_samples=48)
B, K = 12, 3


@pytest.fixture
def step():
    return step_of(MODEL, DATA, input_noise=0.2, layer_noise=0.4)


def judged(step, x_BD, name):
    """Logits and last hidden layer: weights are rows of length 1 times a length, noise is added behind each ReLU."""
    a = np.asarray(x_BD) + 0.2 * getattr(step.noise, f"{name}_0").numpy()
    for i, layer in enumerate(step.networks["discriminator"].layers, start=1):
        w, length, b = (t.detach().numpy() for t in (layer.direction, layer.length, layer.bias))
        out = a @ (w / np.sqrt((w**2).sum(1, keepdims=True))).T * length + b
        if i == 6:
            return out, a
        a = np.maximum(out, 0) + 0.4 * getattr(step.noise, f"{name}_{i}").numpy()


def k_plus_1(logits_BK):
    """The probabilities of K classes and of being made up, whose logit is 0."""
    e = np.exp(np.concatenate([logits_BK, np.zeros((len(logits_BK), 1))], 1))
    return e / e.sum(1, keepdims=True)


def test_the_discriminator_tells_classes_from_each_other_and_from_one_more_of_made_up_samples(step):
    got = {name: float(loss) for name, loss in MODEL.discriminate(step.net, step.batch, step.values, step.noise).items()}
    x_LD, y_L = step.batch.labelled
    p_LK = k_plus_1(judged(step, x_LD, "labelled")[0])[:, :K]
    classify = -np.log((p_LK / p_LK.sum(1, keepdims=True))[np.arange(len(y_L)), y_L.numpy()]).mean()
    real = -0.5 * np.log(1 - k_plus_1(judged(step, step.batch.x_BD, "real")[0])[:, K]).mean()
    made_up = step.net.still.generator(step.noise.z_BZ).sigmoid().detach()
    fake = -0.5 * np.log(k_plus_1(judged(step, made_up, "fake")[0])[:, K]).mean()
    assert got == pytest.approx({"classify": classify, "real": real, "fake": fake}, rel=1e-10)


def test_the_generator_matches_the_mean_of_the_last_hidden_layer(step):
    (got,) = MODEL.imitate(step.net, step.batch, step.values, step.noise).values()
    made_up = step.net.still.generator(step.noise.z_again_BZ).sigmoid().detach()
    gap = judged(step, made_up, "fake_again")[1].mean(0) - judged(step, step.batch.x_BD, "real_again")[1].mean(0)
    assert float(got) == pytest.approx(float((gap**2).mean()), rel=1e-10)


def test_before_the_first_step_every_unit_has_mean_0_and_variance_1_over_noisy_samples():
    from tuner.draws import Draws

    step = step_of(MODEL, DATA, input_noise=0.2, layer_noise=0.0)
    step.networks["discriminator"].load_state_dict(
        MODEL.fit_scales(step.still, DATA, step.values, Draws(7, like=DATA.x_ND))["discriminator"]
    )
    a = DATA.x_ND + 0.2 * Draws(7, like=DATA.x_ND).normal(48, 16)
    for layer in step.networks["discriminator"].layers:
        out = layer(a).detach()
        assert torch.allclose(out.mean(0), torch.zeros(out.shape[1]).double(), atol=1e-9)
        assert torch.allclose(out.std(0, correction=0), torch.ones(out.shape[1]).double(), atol=1e-6)
        a = out.relu()


def test_each_step_trains_its_own_network_at_its_own_rate():
    (phase,) = MODEL.phases(MODEL.hyper())
    assert [u.rates() for u in phase.updates] == [{"discriminator": "lr_disc"}, {"generator": "lr_gen"}]
