"""M1+M2 is M2 on M1's codes: its terms are M2's of the codes, with a Gaussian of the given deviation."""

import math

import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from tuner.model import load_model
from tuner.testing import blobs, solo, step_of

MODEL = load_model("m1_m2")
DATA = blobs(n_samples=48)
B, K, Z, S = 12, 3, 4, 2


def cost(step, z_Z, k, eps_S):
    y_K = torch.eye(K, dtype=torch.float64)[k]
    mu_S, log_var_S = step.networks["encoder"](torch.cat([z_Z, y_K])).split(S)
    q = Normal(mu_S, (log_var_S / 2).exp())
    p = Normal(step.networks["decoder"](torch.cat([y_K, q.mean + q.stddev * eps_S])), step.h.noise)
    return -p.log_prob(z_Z).sum() + math.log(K) + kl_divergence(q, Normal(torch.zeros(S).double(), torch.ones(S).double())).sum()


def test_the_terms_are_m2s_of_the_mean_codes():
    step = step_of(MODEL, DATA, phase=1, noise=0.3)
    terms = {name: float(loss) for name, loss in MODEL.infer(step.net, step.batch, step.values, step.noise).items()}
    (x_LD, y_L), noise, classifier = step.batch.labelled, step.noise, step.networks["classifier"]
    codes = [step.networks["features"](x_D)[:Z] for x_D in step.batch.x_BD]
    known = [step.networks["features"](x_D)[:Z] for x_D in x_LD]
    L = len(known)
    labelled = sum(float(cost(step, z, int(y_L[i]), noise.eps_LZ[i])) for i, z in enumerate(known)) / L
    assert terms["labelled"] == pytest.approx(labelled, rel=1e-12)
    unlabelled = 0.0
    for i, z_Z in enumerate(codes):
        q = Categorical(logits=classifier(z_Z))
        unlabelled += sum(float(q.probs[k] * cost(step, z_Z, k, noise.eps_KBZ[k, i])) for k in range(K)) - float(q.entropy())
    assert terms["unlabelled"] == pytest.approx(unlabelled / B, rel=1e-12)
    classify = -sum(float(Categorical(logits=classifier(z)).log_prob(y)) for z, y in zip(known, y_L, strict=True)) / L
    assert terms["classify"] == pytest.approx(classify, rel=1e-12)


def test_m1_stays_as_it_is_while_m2_learns():
    h = MODEL.hyper(dict(MODEL.tiny) | {"pretrain_epochs": 1, "epochs": 2})
    first, *_, last = (run.state for run in solo(MODEL, h, blobs(), 0))
    moved = {name.split(".")[0] for name in first if not torch.equal(first[name], last[name])}
    assert moved == {"classifier", "encoder", "decoder"}
