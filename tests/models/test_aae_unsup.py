"""Each term of the adversarial auto-encoder against an independent float64 statement of its formula, element by element."""

import itertools

import numpy as np
import pytest
import torch
from kit.encoders import cross_entropy, encoded, logistic, through

from tuner.draws import Draws
from tuner.model import Batch, Net, load_model
from tuner.testing import blobs, step_of
from tuner.training.engine import Settings, terms_on
from tuner.training.loop import train
from tuner.training.solo import Solo

MODEL = load_model("aae_unsup")
DATA = blobs(n_samples=24)
B, K, Z, H = 12, 4, 2, 10


def scene(**more):
    """A fresh model in float64, a batch, its noise, and the hyper-parameters as updates see them."""
    h = MODEL.hyper({"n_clusters": K, "latent_dim": Z, "hidden": H, "batch_size": B, "dropout": 0.3, **more})
    engine = Solo(MODEL, h, DATA.spec, DATA.x_ND, seed=3)
    values = Settings(MODEL, h, terms_on(MODEL, h), {}).values(DATA.x_ND)
    noise = Net({k: v[0] for k, v in MODEL.draw(values, DATA.spec, B, Draws(1, like=DATA.x_ND, lead=(1,))).items()})
    return engine.networks, engine.views["training"], Batch(DATA.x_ND[:B], torch.arange(B)), values, noise


def modes(networks):
    return logistic(through(networks["decoder"], np.eye(K, K + Z)))


def test_recon_is_the_cross_entropy_of_the_clean_image_given_the_noisy_one():
    networks, net, batch, h, noise = scene()
    y, z = encoded(networks["encoder"], batch.x_BD + 0.3 * noise.eps_BD, noise.recon_BH)
    want = cross_entropy(logistic(through(networks["decoder"], np.hstack([y, z]))), batch.x_BD)
    assert float(MODEL.reconstruct(net, batch, h, noise)["recon"]) == pytest.approx(want, rel=1e-10)


def test_mode_rebuilds_the_image_from_the_cluster_alone():
    networks, net, batch, h, noise = scene()
    y, _ = encoded(networks["encoder"], batch.x_BD + 0.3 * noise.eps_BD, noise.recon_BH)
    want = cross_entropy(logistic(through(networks["mode_decoder"], y)), batch.x_BD)
    assert float(MODEL.reconstruct(net, batch, h, noise)["mode"]) == pytest.approx(want, rel=1e-10)


def test_cyclic_compares_the_codes_before_and_after_one_decoding():
    networks, net, batch, h, noise = scene()
    y, z = encoded(networks["encoder"], batch.x_BD, noise.cycle_BH)
    y2, z2 = encoded(networks["encoder"], logistic(through(networks["decoder"], np.hstack([y, z]))), noise.back_BH)
    terms = MODEL.reconstruct(net, batch, h, noise)
    assert float(terms["cyclic"]) == pytest.approx(cross_entropy(np.clip(y2, 1e-6, 1 - 1e-6), y), rel=1e-9)
    assert float(terms["cyclic_z"]) == pytest.approx(np.mean((z2 - z) ** 2), rel=1e-9)


def test_symmetric_pairwise_is_minus_the_mean_absolute_distance_of_all_pairs_and_bounded():
    networks, net, batch, h, noise = scene()
    x = modes(networks)
    want = -np.mean([np.mean(np.abs(x[a] - x[b])) for a, b in itertools.permutations(range(K), 2)])
    got = float(MODEL.spread(net, batch, h, noise)["pairwise"])
    assert got == pytest.approx(want, rel=1e-10)
    assert -1 <= got <= 0


def test_original_pairwise_is_minus_the_cross_entropy_of_each_pair_and_pushes_the_first_only():
    networks, net, batch, h, noise = scene(pairwise_form="original")
    x = modes(networks)
    want = -2 / (K * (K - 1)) * sum(cross_entropy(x[a], x[b]) for a, b in itertools.combinations(range(K), 2))
    loss = MODEL.spread(net, batch, h, noise)["pairwise"]
    assert float(loss) == pytest.approx(want, rel=1e-10)
    from tuner.models.aae_unsup import apart

    logits = torch.randn(K, 5, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(apart(logits, original=True), logits)
    assert grad[-1].abs().max() == 0
    assert grad[0].abs().min() > 0


@pytest.mark.parametrize(("l2", "formula"), [("mean", lambda z: np.mean(np.sum(z**2, 1))), ("norm", lambda z: np.sqrt(np.sum(z**2)))])
def test_deceive_asks_both_critics_and_l2_z_measures_the_code(l2, formula):
    networks, net, batch, h, noise = scene(l2=l2)
    y, z = encoded(networks["encoder"], batch.x_BD, noise.fool_BH)
    terms = MODEL.deceive(net, batch, h, noise)
    assert float(terms["adv_y"]) == pytest.approx(-np.mean(np.log(logistic(through(networks["critic_y"], y)))), rel=1e-10)
    assert float(terms["adv_z"]) == pytest.approx(-np.mean(np.log(logistic(through(networks["critic_z"], z)))), rel=1e-10)
    assert float(terms["l2_z"]) == pytest.approx(formula(z), rel=1e-10)


def test_discriminate_tells_the_evaluated_code_from_prior_draws():
    networks, net, batch, h, noise = scene()
    terms = MODEL.discriminate(net, batch, h, noise)
    y, z = (t.numpy() for t in networks["encoder"].eval()(batch.x_BD))
    for term, critic, real, fake in (("critic_y", "critic_y", noise.y_BK, y), ("critic_z", "critic_z", noise.z_BZ, z)):
        d_real, d_fake = (logistic(through(networks[critic], np.asarray(a))) for a in (real, fake))
        assert float(terms[term]) == pytest.approx(-np.mean(np.log(d_real)) - np.mean(np.log(1 - d_fake)), rel=1e-9)
    assert torch.equal(noise.y_BK.sum(1), torch.ones(B, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_balancing_prior_draws_labels_with_softmax_of_minus_counts(temperature):
    _, _, _, h, _ = scene(categorical_prior="balancing", prior_temperature=temperature)
    counts = np.array([5, 4, 2, 1])
    y_BK = torch.eye(K, dtype=torch.float64)[torch.repeat_interleave(torch.arange(K), torch.as_tensor(counts))]
    e_BK = torch.empty(40_000, K, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(0))
    share = MODEL._balancing(y_BK, e_BK, h).mean(0).numpy()
    want = np.exp(-counts / temperature) / np.exp(-counts / temperature).sum()
    assert np.abs(share - want).max() < 0.01


def test_separate_updates_follow_the_originals_order_and_share_no_term_with_the_joint_step():
    joint, separate = (MODEL.phases(MODEL.hyper({"updates": updates}))[0].updates for updates in ("joint", "separate"))
    assert [u.name for u in joint] == ["reconstruct", "deceive", "discriminate"]
    assert [u.name for u in separate] == ["reconstruct", "cycle", "picture", "spread", "deceive", "discriminate"]
    assert [sorted(u.rates()) for u in separate[1:4]] == [["decoder", "encoder"], ["encoder", "mode_decoder"], ["decoder"]]


def test_the_auxiliary_passes_leave_running_statistics_alone():
    def statistics(updates, **weights):
        rates = dict.fromkeys(("lr_ae", "lr_gen", "lr_cyclic", "lr_mode"), 0.0)
        h = MODEL.hyper(dict(MODEL.tiny) | {"updates": updates, "epochs": 1} | rates | weights)
        state = list(train(MODEL, h, blobs(n_samples=60), seed=0))[-1].snapshot().weights()
        return {k: v for k, v in state.items() if "running" in k or "tracked" in k}

    off = {f"weights.{term}": 0.0 for term in ("cyclic", "cyclic_z", "mode")}
    for updates in ("joint", "separate"):
        with_all, without = statistics(updates), statistics(updates, **off)
        assert with_all["encoder.norm_y.num_batches_tracked"] == 2
        assert all(torch.equal(with_all[k], without[k]) for k in without)


def test_rates_drop_after_the_given_epoch():
    h = MODEL.hyper({"drop_epoch": 3, "drop_factor": 0.5, "lr_gen": 0.004})
    assert MODEL.drop_rates(h, 3) == {}
    assert MODEL.drop_rates(h, 4)["lr_gen"] == pytest.approx(0.002)


@pytest.mark.parametrize("name", ["aae_unsup", "aae_semi"])
def test_the_code_is_the_last_hidden_layer_from_which_cluster_and_style_are_read(name):
    model = load_model(name)
    step = step_of(model, blobs(n_samples=48))
    code_BH, want_BE = (give(step.still, step.batch.x_BD, step.values) for give in (model.embed, model.encode))
    encoder = step.networks["encoder"].eval()
    y_BK, z_BZ = encoder.norm_y(encoder.y(code_BH)).softmax(-1), encoder.norm_z(encoder.z(code_BH))
    assert torch.allclose(torch.cat([y_BK, z_BZ], -1), want_BE)
