"""ACAI's terms against loops over samples, and its head against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from tuner.models._mixing import criticise

from tuner.clustering import sq_dist
from tuner.model import load_model
from tuner.testing import blobs, step_of
from tuner.training.loop import train

MODEL = load_model("acai")
DATA = blobs(n_samples=60)
B = 12


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def mixtures(step):
    """The code's mixture and its share, sample by sample: the partner is the one opposite in the batch."""
    z = step.net.encoder(step.batch.x_BD).numpy()
    share = step.noise.share_B1.numpy()[:, 0]
    return [share[i] * z[i] + (1 - share[i]) * z[B - 1 - i] for i in range(B)], share


def decode(step, z):
    return step.net.decoder(torch.as_tensor(z)).numpy()


def critic(step, x):
    return step.net.critic(torch.as_tensor(x)).numpy().mean()


@pytest.mark.parametrize("recon_loss", ["mse", "bce"])
def test_the_auto_encoder_wants_every_mixture_scored_zero(recon_loss):
    step = step_of(MODEL, DATA, recon_loss=recon_loss)
    got = MODEL.reconstruct(step.net, step.batch, step.values, step.noise)["interp"]
    means_pixels = sigmoid if recon_loss == "bce" else np.asarray
    want = np.mean([critic(step, means_pixels(decode(step, z))) ** 2 for z in mixtures(step)[0]])
    assert float(got) == pytest.approx(want, rel=1e-12)


def test_recon_is_the_mean_squared_error_over_all_features():
    step = step_of(MODEL, DATA)
    got = MODEL.reconstruct(step.net, step.batch, step.values, step.noise)["recon"]
    x = step.batch.x_BD.numpy()
    assert float(got) == pytest.approx(np.mean((decode(step, step.net.encoder(step.batch.x_BD)) - x) ** 2), rel=1e-12)


def test_a_mixture_is_compared_with_the_sample_whose_share_is_the_larger():
    step = step_of(MODEL, DATA, **{"weights.mix": 1.0})
    x = step.batch.x_BD.numpy()
    zs, share = mixtures(step)
    assert (share < 0.5).all()
    want = np.mean([(decode(step, z) - x[B - 1 - i]) ** 2 for i, z in enumerate(zs)])
    assert float(MODEL.reconstruct(step.net, step.batch, step.values, step.noise)["mix"]) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("recon_loss", ["mse", "bce"])
def test_the_critic_guesses_the_share_of_a_mixture_and_none_for_a_blend_with_the_data(recon_loss):
    step = step_of(MODEL, DATA, recon_loss=recon_loss, blend=0.3)
    got = criticise(step.net, step.batch, step.values, step.noise)
    means_pixels = sigmoid if recon_loss == "bce" else np.asarray
    zs, share = mixtures(step)
    guesses = np.array([critic(step, means_pixels(decode(step, z))) for z in zs])
    assert float(got["critic_mix"]) == pytest.approx(np.mean((guesses - share) ** 2), rel=1e-12)
    blends = [0.3 * x.numpy() + 0.7 * means_pixels(decode(step, step.net.encoder(x))) for x in step.batch.x_BD]
    assert float(got["critic_data"]) == pytest.approx(np.mean([critic(step, x) ** 2 for x in blends]), rel=1e-12)


@pytest.mark.parametrize(("still", "moving"), [("lr", {"critic"}), ("lr_critic", {"encoder", "decoder"})])
def test_each_step_moves_its_own_networks(still, moving):
    h = MODEL.hyper(dict(MODEL.tiny) | {still: 0.0, "epochs": 2})
    one, two = (e.snapshot().weights() for e in train(MODEL, h, DATA, seed=0))
    networks = {name for name in one if name.split(".")[0] in MODEL.networks(h, DATA.spec)}
    assert {name.split(".")[0] for name in networks if not torch.equal(one[name], two[name])} == moving


def test_the_head_is_k_means_on_pca_whitened_codes():
    h = MODEL.hyper(dict(MODEL.tiny) | {"epochs": 2})
    (*_, state) = (e.snapshot().tensors for e in train(MODEL, h, DATA, seed=0))
    encoder = MODEL.networks(h, DATA.spec)["encoder"].double()
    encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")})
    z_NZ = encoder(DATA.x_ND).detach()
    white_NZ = (z_NZ - state["mean_Z"]) @ state["whiten_ZZ"]
    theirs = PCA(whiten=True).fit_transform(z_NZ.numpy()) * np.sqrt(len(z_NZ) / (len(z_NZ) - 1))
    best = KMeans(3, n_init=20, random_state=0).fit(theirs)
    assert float(sq_dist(white_NZ, state["centers_KZ"]).amin(1).sum()) == pytest.approx(best.inertia_, rel=0.02)
