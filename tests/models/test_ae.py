"""The auto-encoder that the clustering models share, and its heads, against independent statements."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from tuner.models._autoencoder import SHAPED_BY, autoencode, coders

from tuner.clustering import Mixture, log_joint, sq_dist
from tuner.data.datasets import Data
from tuner.draws import Draws
from tuner.errors import UserError
from tuner.losses import misfit
from tuner.model import load_model
from tuner.testing import blobs, step_of
from tuner.training.engine import build
from tuner.training.loop import train
from tuner.training.trial import initial_seed, start_trial

MODEL = load_model("ae")
DATA = blobs(n_samples=60)
G = torch.Generator().manual_seed(0)


def test_squared_error_and_cross_entropy_are_those_of_every_single_feature():
    a, x = torch.randn(5, 3, generator=G, dtype=torch.float64), torch.rand(5, 3, generator=G, dtype=torch.float64)
    p = 1 / (1 + np.exp(-a.numpy()))
    assert np.allclose(misfit(a, x, "mse").numpy(), (a.numpy() - x.numpy()) ** 2, rtol=1e-12)
    assert np.allclose(misfit(a, x, "bce").numpy(), -(x.numpy() * np.log(p) + (1 - x.numpy()) * np.log(1 - p)), rtol=1e-12)


@pytest.mark.parametrize("recon_loss", ["mse", "bce"])
def test_recon_ae_rebuilds_the_clean_input_from_what_dropout_left(recon_loss):
    step = step_of(MODEL, DATA, n_clusters=3, input_dropout=0.3, recon_loss=recon_loss)
    net, x_BD = step.net, step.batch.x_BD
    got = autoencode(net, step.batch, step.values, step.noise)["recon_ae"]
    keep = step.noise.keep_BD.numpy()
    assert set(np.round(np.unique(keep), 6)) == {0.0, np.round(1 / 0.7, 6)}
    rebuilt = net.decoder(net.encoder(torch.as_tensor(x_BD.numpy() * keep)))
    assert float(got) == pytest.approx(float(misfit(rebuilt, x_BD, recon_loss).mean()), rel=1e-12)


def test_without_dropout_every_input_is_left_as_it_is():
    keep_BD = step_of(MODEL, DATA, n_clusters=3).noise.keep_BD
    assert torch.equal(keep_BD, torch.ones_like(keep_BD))


def test_training_is_bit_for_bit_a_plain_loop_with_torchs_adam():
    h = MODEL.hyper({"hidden": 8, "latent_dim": 2, "n_clusters": 3, "batch_size": 16, "epochs": 3})
    *_, last = train(MODEL, h, DATA, seed=0)
    networks, _ = build(MODEL, h, DATA.spec, DATA.x_ND, initial_seed(MODEL, start_trial(MODEL, h, seed=0)))
    encoder, decoder = networks["encoder"], networks["decoder"]
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=h.lr, fused=True)
    for epoch in (1, 2, 3):
        order_N = Draws(0, "train", epoch, "order", like=DATA.x_ND).permutation(60)
        for rows_B in order_N.split(16)[:3]:  # an incomplete batch is left out
            x_BD = DATA.x_ND[rows_B]
            optimizer.zero_grad()
            (decoder(encoder(x_BD)) - x_BD).square().mean().backward()
            optimizer.step()
    trained = last.snapshot().tensors
    assert all(torch.equal(p, trained[f"{name}.{k}"]) for name, network in networks.items() for k, p in network.state_dict().items())


def test_codes_and_outputs_are_linear_between_three_hidden_layers():
    h = MODEL.hyper({"hidden": 8, "latent_dim": 2})
    shapes = {name: [tuple(p.shape) for p in network.parameters() if p.dim() == 2] for name, network in coders(h, DATA.spec).items()}
    assert shapes == {
        "encoder": [(8, 16), (8, 8), (32, 8), (2, 32)],
        "decoder": [(32, 2), (8, 32), (8, 8), (16, 8)],
    }
    assert all(isinstance(network[-1], torch.nn.Linear) for network in coders(h, DATA.spec).values())


def test_pre_training_that_ignores_its_extra_codes_leaves_them_as_they_were():
    h = load_model("vade").hyper({"hidden": 8, "latent_dim": 2, "n_clusters": 3, "batch_size": 30, "pretrain_epochs": 2, "epochs": 1})
    fresh, trained = ([e.snapshot().tensors["encoder.6.weight"] for e in train(load_model("vade"), h, DATA, seed=0)][i] for i in (0, 1))
    assert torch.equal(fresh[2:], trained[2:])
    assert not torch.equal(fresh[:2], trained[:2])


def test_cross_entropy_refuses_data_that_are_no_pixels():
    data = Data(name="wide", x_ND=3 * DATA.x_ND, y_N=DATA.y_N, shape=(16,), test=None)
    with pytest.raises(UserError, match="say mse, or 'scale: minmax'"):
        next(train(MODEL, MODEL.hyper({"recon_loss": "bce", "batch_size": 30}), data, seed=0))
    next(train(MODEL, MODEL.hyper(dict(MODEL.tiny)), data, seed=0))


def test_a_shared_pre_training_depends_on_every_field_that_the_models_share():
    (pretrain, *_) = load_model("dec").phases(load_model("dec").hyper())
    assert set(pretrain.depends) == {
        "latent_dim", "hidden", "batch_size", "recon_loss", "input_dropout", "lr_pretrain", "pretrain_epochs",
        "network", "channels",
    }  # fmt: skip
    assert set(pretrain.depends) <= set(SHAPED_BY)


def trained(**more):
    """The codes at the end of a run, and the head's state."""
    h = MODEL.hyper(dict(MODEL.tiny) | {"epochs": 2} | more)
    (*_, snapshot) = (e.snapshot().tensors for e in train(MODEL, h, DATA, seed=0))
    encoder = MODEL.networks(h, DATA.spec)["encoder"].double()
    encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in snapshot.items() if k.startswith("encoder.")})
    return encoder(DATA.x_ND).detach(), snapshot


def test_the_k_means_head_is_as_good_as_scikit_learns_on_the_codes_as_they_now_are():
    z_NZ, state = trained()
    theirs = KMeans(3, n_init=20, random_state=0).fit(z_NZ.numpy())
    assert float(sq_dist(z_NZ, state["centers_KZ"]).amin(1).sum()) <= 1.02 * theirs.inertia_


@pytest.mark.parametrize("covariance", ["diag", "full", "tied"])
def test_the_mixture_head_is_as_likely_as_scikit_learns_on_the_codes_as_they_now_are(covariance):
    z_NZ, state = trained(head="gmm", covariance=covariance, reg_covar=1e-3)
    ours = log_joint(z_NZ, Mixture(*(state[name] for name in Mixture._fields))).logsumexp(1).mean()
    theirs = GaussianMixture(3, covariance_type=covariance, reg_covar=1e-3, random_state=0).fit(z_NZ.numpy())
    assert float(ours) >= theirs.score(z_NZ.numpy()) - 0.1


def test_the_head_is_fitted_anew_every_epoch():
    h = MODEL.hyper(dict(MODEL.tiny) | {"epochs": 2})
    one, two = (e.snapshot().tensors["centers_KZ"] for e in train(MODEL, h, DATA, seed=0))
    assert not torch.equal(one, two)


def test_draws_for_dropout_hide_the_share_that_was_asked_for():
    g = Draws(0, like=DATA.x_ND)
    h = MODEL.hyper({"input_dropout": 0.2})
    keep_BD = MODEL.phases(h)[0].noise(h, DATA.spec, 1000, g)["keep_BD"]
    assert float((keep_BD == 0).double().mean()) == pytest.approx(0.2, abs=0.01)
    assert float(keep_BD.mean()) == pytest.approx(1.0, abs=0.02)
