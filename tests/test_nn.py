"""The convolutional networks that models share."""

import dataclasses
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from tuner.data.datasets import Data
from tuner.errors import UserError
from tuner.model import DataSpec, load_model
from tuner.nn import Double, Planes, by_rows, by_slices, decoder, encoder, halvings
from tuner.testing import apart, blobs, packed, solo
from tuner.training.loop import train

CONV = SimpleNamespace(network="conv", channels=4)
IMAGES = pytest.mark.parametrize("shape", [(8, 8), (16, 16), (28, 28), (32, 32), (5, 9)])
G = torch.Generator().manual_seed(0)


@IMAGES
@pytest.mark.parametrize("norm", [False, True])
def test_an_image_of_any_size_becomes_a_code_and_an_image_again(shape, norm):
    data = DataSpec(10, shape)
    there, back = encoder(CONV, data, 99, 7, norm=norm), decoder(CONV, data, 7, 99, norm=norm)
    z_BZ = there(torch.rand(3, data.n_features, generator=G))
    assert z_BZ.shape == (3, 7)
    assert back(z_BZ).shape == (3, data.n_features)
    assert all(p.grad is not None for p in filled(there, back, data))


def filled(there, back, data):
    back(there(torch.rand(3, data.n_features, generator=G))).square().sum().backward()
    return [*there.parameters(), *back.parameters()]


def test_images_are_halved_until_they_are_four_by_four():
    assert halvings(DataSpec(1, (28, 28))) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert halvings(DataSpec(1, (32, 32)))[-1] == halvings(DataSpec(1, (16, 16)))[-1] == halvings(DataSpec(1, (8, 8)))[-1] == (4, 4)
    assert halvings(DataSpec(1, (5, 9))) == [(5, 9), (3, 5), (2, 3)]


def test_channels_double_with_every_halving():
    widths = [m.out_channels for m in encoder(CONV, DataSpec(1, (28, 28)), 7) if isinstance(m, torch.nn.Conv2d)]
    assert widths == [4, 8, 16, 32]


def test_a_bias_never_stands_in_front_of_a_batch_norm():
    for network in (encoder(CONV, DataSpec(1, (8, 8)), 7, norm=True), decoder(CONV, DataSpec(1, (8, 8)), 7, norm=True)):
        layers = list(network)
        for layer, behind in pairwise(layers):
            if isinstance(behind, torch.nn.modules.batchnorm._BatchNorm):
                assert layer.bias is None


def test_slices_of_rows_are_short_and_together_make_the_whole():
    x_ND, seen = torch.rand(1300, 3, generator=G), []

    def f(x):
        seen.append(len(x))
        return 2 * x

    assert torch.equal(by_rows(f, x_ND), 2 * x_ND)
    assert seen == [512, 512, 276]
    assert torch.equal(by_rows(f, x_ND, rows=2000), 2 * x_ND)
    assert seen[3:] == [1300]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 24, 30])
def test_slices_give_what_all_rows_give(n):
    x_ND = torch.rand(n, 3, 2, generator=torch.Generator().manual_seed(n))
    for f in (lambda x: x.argmax(1), lambda x: x > 0.5, lambda x: x.double().flatten(1), lambda x: x.sum((1, 2))):
        found, want = by_slices(lambda part, f=f: f(x_ND[part]), n, 8), f(x_ND)
        assert found.dtype == want.dtype and torch.equal(found, want)


def test_numbers_beside_an_image_become_constant_planes():
    image_BP, extra_BE = torch.rand(2, 6, generator=G), torch.rand(2, 3, generator=G)
    x = Planes(2, 3)(torch.cat([image_BP, extra_BE], -1))
    assert torch.equal(x[:, 0], image_BP.reshape(2, 2, 3))
    for e in range(3):
        assert torch.equal(x[:, 1 + e], extra_BE[:, e, None, None].expand(2, 2, 3))


def test_double_repeats_pixels_and_cuts():
    x = torch.rand(2, 3, 4, 5, generator=G)
    assert np.array_equal(Double(7, 10)(x).numpy(), x.numpy().repeat(2, 2).repeat(2, 3)[:, :, :7])


@pytest.mark.parametrize("norm", [False, True])
def test_stacked_networks_give_and_learn_what_each_gives_and_learns(norm):
    data = DataSpec(10, (7, 7))
    pairs = [torch.nn.Sequential(encoder(CONV, data, 3, norm=norm), decoder(CONV, data, 3, norm=norm)).double() for _ in range(3)]
    x_LBD = torch.rand(3, 5, 49, generator=G, dtype=torch.float64)
    parameters, buffers = stack_module_state(pairs)
    out_LBD = vmap(lambda p, b, x: functional_call(pairs[0], (p, b), (x,)))(parameters, {k: b.clone() for k, b in buffers.items()}, x_LBD)
    grads = torch.autograd.grad(out_LBD.square().sum(), list(parameters.values()))
    for lane, pair in enumerate(pairs):
        own = pair(x_LBD[lane])
        assert torch.allclose(own, out_LBD[lane], rtol=1e-10)
        for mine, stacked in zip(torch.autograd.grad(own.square().sum(), list(pair.parameters())), grads, strict=True):
            assert torch.allclose(mine, stacked[lane], rtol=1e-8, atol=1e-10)


def test_convolutions_that_see_a_cluster_beside_the_image_train_alike_alone_and_in_a_pack():
    model = load_model("gmvae")
    h = model.hyper(dict(model.tiny) | {"network": "conv", "form": "simple", "n_draws": 2, "epochs": 2})
    assert apart(solo(model, h, blobs(), 1), packed(model, [h], blobs(), seeds=[1])[0]) < 1e-8


@pytest.mark.parametrize("name", ["gmvae", "gumbel_vae", "acai"])
def test_cross_entropy_of_data_that_are_no_pixels_is_refused(name):
    model = load_model(name)
    data = dataclasses.replace(blobs(), x_ND=3 * blobs().x_ND)
    with pytest.raises(UserError, match="say mse"):
        next(train(model, model.hyper(dict(model.tiny) | {"recon_loss": "bce"}), data, seed=0))


@pytest.mark.parametrize("name", ["acai", "gmvae", "gumbel_vae"])
def test_vectors_are_refused_in_words(name):
    model, x_ND = load_model(name), torch.rand(60, 16, generator=G)
    data = Data(name="vectors", x_ND=x_ND, y_N=None, shape=(16,), test=None)
    with pytest.raises(UserError, match="needs images of shape"):
        next(train(model, model.hyper(dict(model.tiny) | {"network": "conv"}), data, seed=0))
