"""M1's bound against torch.distributions, and its support vector machine sample by sample and class by class."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from tuner.model import load_model
from tuner.testing import blobs, solo, step_of

MODEL = load_model("m1")
DATA = blobs(n_samples=48)
B, K, Z = 12, 3, 4


def moments(step, x_D):
    mu_Z, log_var_Z = step.networks["features"](x_D).split(Z)
    return Normal(mu_Z, (log_var_Z / 2).exp())


def test_elbo_is_minus_the_bound_of_one_sample():
    step = step_of(MODEL, DATA, phase=0)
    want = 0.0
    for i, x_D in enumerate(step.batch.x_BD):
        q = moments(step, x_D)
        out_D = step.networks["pixels"](q.mean + q.stddev * step.noise.eps_BZ[i])
        prior = Normal(torch.zeros(Z).double(), torch.ones(Z).double())
        want += float(kl_divergence(q, prior).sum() - Bernoulli(logits=out_D, validate_args=False).log_prob(x_D).sum())
    (train,) = MODEL.phases(step.h)[0].updates
    assert float(train.losses(step.net, step.batch, step.values, step.noise)["elbo"]) == pytest.approx(want / B, rel=1e-12)


def test_the_machine_is_one_against_the_rest_with_an_empty_margin_and_the_labels_balance():
    step = step_of(MODEL, DATA, phase=1, sharpness=2.0, n_labels=14, labelled_batch=14)
    terms = {name: float(loss) for name, loss in MODEL.separate(step.net, step.batch, step.values, step.noise).items()}
    x_LD, y_L = step.batch.labelled
    hinge = empty = balance = 0.0
    f = [step.networks["machine"](moments(step, x_D).mean).tolist() for x_D in step.batch.x_BD]
    for x_D, y in zip(x_LD, y_L, strict=True):
        for k, score in enumerate(step.networks["machine"](moments(step, x_D).mean).tolist()):
            hinge += max(0.0, 1 - (score if k == int(y) else -score)) ** 2
    for k in range(K):
        empty += sum(math.exp(-2.0 * scores[k] ** 2) for scores in f) / B
        wanted = sum(1 if int(y) == k else -1 for y in y_L) / len(y_L)
        balance += (sum(scores[k] for scores in f) / B - wanted) ** 2
    assert terms["hinge"] == pytest.approx(hinge / len(y_L), rel=1e-12)
    assert terms["empty"] == pytest.approx(empty, rel=1e-12)
    assert terms["balance"] == pytest.approx(balance, rel=1e-12)


def test_the_features_stay_as_they_are_while_the_machine_learns():
    h = MODEL.hyper(dict(MODEL.tiny) | {"pretrain_epochs": 1, "epochs": 2})
    first, *_, last = (run.state for run in solo(MODEL, h, blobs(), 0))
    moved = {name.split(".")[0] for name in first if not torch.equal(first[name], last[name])}
    assert moved == {"machine"}
