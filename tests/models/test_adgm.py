"""Each term of the auxiliary and the skip deep generative model against torch.distributions, by a loop over classes and samples."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal

from tuner.model import load_model
from tuner.testing import blobs, step_of

DATA = blobs(n_samples=48)
B, K, Z, A = 12, 3, 2, 2
EYE = torch.eye(K, dtype=torch.float64)
BOTH = pytest.mark.parametrize("name", ["adgm", "sdgm"])


class Joint:
    """p(x, y, a, z) and q(a, y, z | x) of a step, with BatchNorm as it is in evaluation, where each sample stands alone."""

    def __init__(self, step, skip):
        self.step, self.skip, self.net = step, skip, step.still

    def normal(self, network, *given):
        mu, log_var = getattr(self.net, network)(torch.cat(given)[None])[0].chunk(2)
        return Normal(mu, log_var.exp().sqrt())

    def cost(self, x_D, k, eps_A, eps_Z):
        """-log p(x, y, a, z) + log q(a | x) + log q(z | a, x, y)."""
        y_K, q_a = EYE[k], self.normal("auxiliary", x_D)
        a = q_a.mean + q_a.stddev * eps_A
        q_z = self.normal("encoder", x_D, a, y_K)
        z = q_z.mean + q_z.stddev * eps_Z
        p_a = self.normal("auxiliary_prior", y_K, z) if self.skip else self.normal("auxiliary_prior", y_K, z, x_D)
        out_D = self.net.decoder(torch.cat([y_K, z, a] if self.skip else [y_K, z])[None])[0]
        log_p = Bernoulli(logits=out_D, validate_args=False).log_prob(x_D).sum() - math.log(K)
        log_p += Normal(0, 1).log_prob(z).sum() + p_a.log_prob(a).sum()
        return q_a.log_prob(a).sum() + q_z.log_prob(z).sum() - log_p

    def classes(self, x_D, eps_A):
        q_a = self.normal("auxiliary", x_D)
        return Categorical(logits=self.net.classifier(torch.cat([x_D, q_a.mean + q_a.stddev * eps_A])[None])[0])


def terms_of(model, step):
    """As in training, but with BatchNorm in evaluation, so that a sample alone gives what it gives in a batch."""
    step.still.still = step.still
    return {name: float(loss) for name, loss in model.infer(step.still, step.batch, step.values, step.noise).items()}


@BOTH
def test_each_term_is_the_papers_sample_by_sample_and_class_by_class(name):
    model = load_model(name)
    step = step_of(model, DATA)
    terms, joint, noise, (x_LD, y_L) = terms_of(model, step), Joint(step, skip=name == "sdgm"), step.noise, step.batch.labelled
    L = len(y_L)
    want = sum(float(joint.cost(x_LD[i], int(y_L[i]), noise.eps_LA[i], noise.eps_LZ[i])) for i in range(L)) / L
    assert terms["labelled"] == pytest.approx(want, rel=1e-10)
    want = 0.0
    for i, x_D in enumerate(step.batch.x_BD):
        q = joint.classes(x_D, noise.eps_BA[i])
        want += sum(float(q.probs[k] * joint.cost(x_D, k, noise.eps_BA[i], noise.eps_KBZ[k, i])) for k in range(K)) - float(q.entropy())
    assert terms["unlabelled"] == pytest.approx(want / B, rel=1e-10)
    want = -sum(float(joint.classes(x_LD[i], noise.eps_LA[i]).log_prob(y_L[i])) for i in range(L)) / L
    assert terms["classify"] == pytest.approx(want * 48 / 12, rel=1e-10)  # N / n_labels


@BOTH
def test_the_bound_is_one_of_the_logarithm_of_the_evidence(name):
    """Averaged over draws of a and z, exp(-L) is p(x, y) by importance sampling: the same whatever the proposals' networks say."""
    model = load_model(name)
    step = step_of(model, DATA)
    joint, x_D, g = Joint(step, skip=name == "sdgm"), step.batch.x_BD[0], torch.Generator().manual_seed(0)
    eps = torch.randn(4000, A + Z, generator=g, dtype=torch.float64)
    x_SD, y_SK = x_D.expand(4000, -1), EYE[:1].expand(4000, -1)

    def log_evidence():
        from tuner.models._auxiliary import infer_auxiliary, minus_bound

        a, log_q_a = infer_auxiliary(joint.net, x_SD, eps[:, :A])
        cost = minus_bound(joint.net, x_SD, y_SK, a, eps[:, A:], step.values, model.generate_both) + log_q_a
        return float(torch.logsumexp(-cost, 0)) - math.log(4000), -float(cost.mean())

    first, bound = log_evidence()
    with torch.no_grad():
        step.networks["encoder"][-1].bias += 0.3  # another proposal of z
    assert bound < first
    assert log_evidence()[0] == pytest.approx(first, abs=0.05)


@BOTH
def test_a_prediction_is_the_mean_over_draws_of_the_auxiliary_number(name):
    model = load_model(name)
    step = step_of(model, DATA)
    joint, x_D = Joint(step, skip=name == "sdgm"), step.batch.x_BD[4]
    want = sum(joint.classes(x_D, eps_A).probs for eps_A in step.still.eps_PA) / 3
    assert torch.allclose(model.assign(step.still, step.batch.x_BD, step.values)[4], want)


@BOTH
def test_a_step_moves_the_running_statistics_by_the_unlabelled_batch_alone(name):
    model = load_model(name)
    step = step_of(model, DATA)
    model.infer(step.net, step.batch, step.values, step.noise)
    norms = [m for network in step.networks.values() for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert [int(m.num_batches_tracked) for m in norms] == [1] * 10


@BOTH
def test_the_code_is_what_the_class_is_read_from_under_the_mean_auxiliary_number(name):
    model = load_model(name)
    step = step_of(model, DATA)
    x_BD, code_BH = step.batch.x_BD, model.embed(step.still, step.batch.x_BD, step.values)
    auxiliary, classifier = (step.networks[name].eval() for name in ("auxiliary", "classifier"))
    seen_BE = torch.cat([x_BD, auxiliary(x_BD).chunk(2, -1)[0]], -1)
    assert torch.allclose(classifier[-1](code_BH), classifier(seen_BE))
