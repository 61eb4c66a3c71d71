"""DEPICT's paths, loss and target against independent statements."""

import numpy as np
import pytest
import torch

from tuner.draws import Draws
from tuner.model import DataSpec, load_model
from tuner.testing import blobs, step_of

MODEL = load_model("depict")
DATA = blobs(n_samples=24)


def placed(**more):
    step = step_of(MODEL, DATA, **{"network": "mlp"} | more)
    step.engine.put(0, MODEL.place(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    return step


def dense(layer, x):
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def leaky(a):
    return np.where(a > 0, a, 0.01 * a)


def encoded(encoder, x, keep0=1.0, keep1=1.0):
    """Inputs, two layers and code, as Lasagne's dropout layers stand: behind the inputs and behind the first layer's unit."""
    _, one, two, code = encoder.layers
    level0 = (2 * x - 1) * keep0
    level1 = leaky(dense(one[0], level0)) * keep1
    level2 = leaky(dense(two[0], level1))
    return level0, level1, level2, np.tanh(dense(code[0], level2))


def test_the_noisy_code_rebuilds_every_clean_layer_and_predicts_the_target():
    step = placed(layer_weight=0.3)
    x, networks, noise = step.batch.x_BD.numpy(), step.networks, step.noise
    got = MODEL.follow(step.net, step.batch, step.values, noise)
    clean = encoded(networks["encoder"], x)[:3]
    z = encoded(networks["encoder"], x, noise.keep0_BF.numpy(), noise.keep1_BF.numpy())[3]
    back, up1, up0 = networks["decoder"].layers
    rebuilt2 = leaky(dense(back[0], z))
    rebuilt1 = leaky(dense(up1[0], rebuilt2))
    rebuilt0 = np.tanh(dense(up0[0], rebuilt1))
    gaps = [np.mean((a - b) ** 2) for a, b in zip(clean, (rebuilt0, rebuilt1, rebuilt2), strict=True)]
    assert float(got["recon"]) == pytest.approx(gaps[0] + 0.3 * (gaps[1] + gaps[2]), rel=1e-10)
    e = np.exp(dense(networks["softmax"], z))
    q = step.net.target_NK[step.batch.rows_B].numpy()
    assert float(got["ce"]) == pytest.approx(np.mean(-(q * np.log(e / e.sum(1, keepdims=True))).sum(1)), rel=1e-10)


def test_both_layers_that_are_hidden_are_hidden():
    keep = step_of(MODEL, blobs(n_samples=300), size=100, network="mlp", input_dropout=0.5, layer_dropout=0.2).noise
    for mask, p in ((keep.keep0_BF, 0.5), (keep.keep1_BF, 0.2)):
        assert set(mask.unique().tolist()) == {0.0, 1 / (1 - p)}
        assert float((mask == 0).double().mean()) == pytest.approx(p, abs=0.05)


@pytest.mark.parametrize(("power", "share"), [(2.0, 1.0), (1.0, 0.5)], ids=["the code's", "the paper's"])
def test_the_target_is_p_over_the_soft_size_of_the_cluster(power, share):
    step = placed(power=power, share=share)
    p = MODEL.assign(step.still, DATA.x_ND, step.values).numpy()
    got = MODEL.renew(step.still, DATA, step.values, None)["target_NK"].numpy()
    for i in range(24):
        of = [p[i, k] ** power / sum(p[n, k] for n in range(24)) ** share for k in range(3)]
        assert np.allclose(got[i], [one / sum(of) for one in of], rtol=1e-10)


def test_the_softmax_starts_from_the_directions_of_kmeans_centres_and_their_clusters():
    step = placed()
    z = step.still.encoder(DATA.x_ND)[-1].numpy()
    cluster = step.net.target_NK.argmax(1).numpy()
    means = np.stack([z[cluster == k].mean(0) for k in range(3)])
    assert np.array_equal(cluster, ((z[:, None] - means) ** 2).sum(-1).argmin(1)), "k-means is at rest"
    weight = step.networks["softmax"].weight.numpy()
    assert np.allclose(weight, means / np.linalg.norm(means, axis=1, keepdims=True), rtol=1e-6)
    assert not step.networks["softmax"].bias.any()


@pytest.mark.parametrize(
    ("shape", "units"), [((28, 28), (50, 13, 7)), ((16, 16), (50, 7, 4)), ((8, 8), (50, 3, 2)), ((3, 9, 12), (50, (3, 5), (2, 3)))]
)
def test_images_get_the_authors_convolutions_and_come_back_in_their_size(shape, units):
    spec, h = DataSpec(n_samples=9, shape=shape), MODEL.hyper({})
    networks = MODEL.networks(h, spec)
    levels = networks["encoder"](torch.rand(2, spec.n_features))
    channels, *sides = units
    sides = [(side, side) if isinstance(side, int) else side for side in sides]
    assert [level.shape[1] for level in levels] == [spec.n_features, *(channels * a * b for a, b in sides), 10]
    assert [level.shape for level in networks["decoder"](levels[-1])] == [level.shape for level in reversed(levels[:-1])]


def test_vectors_get_linear_layers():
    spec = DataSpec(n_samples=9, shape=(7,), unit_range=False)
    levels = MODEL.networks(MODEL.hyper({}), spec)["encoder"](torch.randn(2, 7))
    assert [level.shape[1] for level in levels] == [7, 500, 2000, 10]


def test_what_is_decoded_has_the_range_of_the_data():
    step = placed()
    e_BZ = MODEL.embed(step.still, DATA.x_ND, step.values)
    tanh = step.still.decoder(e_BZ)[-1]
    assert torch.allclose(MODEL.decode(step.still, e_BZ, step.values), (tanh + 1) / 2)
