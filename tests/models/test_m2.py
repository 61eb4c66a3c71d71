"""Each term of M2 against torch.distributions and a loop over classes and samples."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("m2")
DATA = blobs(n_samples=48)
B, K, Z = 12, 3, 2


def cost(step, x_D, k, eps_Z):
    """-log p(x | y, z) - log p(y) + KL(q(z | x, y) || p(z)) of one sample and one class."""
    y_K = torch.eye(K, dtype=torch.float64)[k]
    mu_Z, log_var_Z = step.networks["encoder"](torch.cat([x_D, y_K])).split(Z)
    q = Normal(mu_Z, (log_var_Z / 2).exp())
    out_D = step.networks["decoder"](torch.cat([y_K, q.mean + q.stddev * eps_Z]))
    if step.h.recon_loss == "bce":
        log_p = Bernoulli(logits=out_D, validate_args=False).log_prob(x_D).sum()
    else:  # a Gaussian of variance 1/2, without its constant
        log_p = (Normal(out_D, math.sqrt(0.5)).log_prob(x_D) + 0.5 * math.log(math.pi)).sum()
    prior = Normal(torch.zeros(Z).double(), torch.ones(Z).double())
    return -log_p + math.log(K) + kl_divergence(q, prior).sum()


@pytest.mark.parametrize("recon_loss", ["bce", "mse"])
def test_each_term_is_the_papers_sample_by_sample_and_class_by_class(recon_loss):
    step = step_of(MODEL, DATA, recon_loss=recon_loss)
    terms = {name: float(loss) for name, loss in MODEL.infer(step.net, step.batch, step.values, step.noise).items()}
    (x_LD, y_L), noise = step.batch.labelled, step.noise
    L = len(y_L)
    want = sum(float(cost(step, x_LD[i], int(y_L[i]), noise.eps_LZ[i])) for i in range(L)) / L
    assert terms["labelled"] == pytest.approx(want, rel=1e-12)
    want = 0.0
    for i, x_D in enumerate(step.batch.x_BD):
        q = Categorical(logits=step.networks["classifier"](x_D))
        want += sum(float(q.probs[k] * cost(step, x_D, k, noise.eps_KBZ[k, i])) for k in range(K)) - float(q.entropy())
    assert terms["unlabelled"] == pytest.approx(want / B, rel=1e-12)
    want = -sum(float(Categorical(logits=step.networks["classifier"](x)).log_prob(y)) for x, y in zip(x_LD, y_L, strict=True)) / L
    assert terms["classify"] == pytest.approx(want, rel=1e-12)


def test_the_unlabelled_bound_is_loosest_where_the_classifier_is_wrong_about_the_cost():
    """For given costs it is least at q(y | x) = softmax(-cost), where it is -log sum exp(-cost)."""
    step = step_of(MODEL, DATA)
    cost_BK = torch.tensor(
        [[float(cost(step, x, k, step.noise.eps_KBZ[k, i])) for k in range(K)] for i, x in enumerate(step.batch.x_BD)], dtype=torch.float64
    )
    terms = MODEL.infer(step.net, step.batch, step.values, step.noise)
    assert float(terms["unlabelled"]) >= float(-torch.logsumexp(-cost_BK, 1).mean())


def test_a_sample_is_rebuilt_from_its_class_and_the_mean_style_under_it():
    step = step_of(MODEL, DATA)
    p_BK = MODEL.assign(step.still, step.batch.x_BD, step.values)
    e_BE = MODEL.encode(step.still, step.batch.x_BD, step.values)
    y_K = torch.eye(K, dtype=torch.float64)[int(p_BK[4].argmax())]
    assert torch.allclose(e_BE[4], torch.cat([y_K, step.networks["encoder"](torch.cat([step.batch.x_BD[4], y_K]))[:Z]]))


def test_the_code_of_a_sample_is_what_its_class_is_read_from():
    step = step_of(MODEL, DATA)
    last = step.networks["classifier"][-1]
    logits_BK = last(MODEL.embed(step.still, step.batch.x_BD, step.values))
    assert torch.equal(logits_BK.softmax(-1), MODEL.assign(step.still, step.batch.x_BD, step.values))
