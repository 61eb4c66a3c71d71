"""The what-where auto-encoder against torch's own pooling and unpooling, one sample at a time."""

import pytest
import torch
from torch.nn import functional as F
from tuner.models.swwae import pooled, unpooled

from tuner.data.datasets import Data
from tuner.errors import UserError
from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("swwae")


def test_pooling_emits_the_largest_of_four_and_its_place_and_unpooling_puts_it_back():
    a = torch.randn(3, 2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).relu() + 0.01
    what, where = pooled(a)
    want, index = F.max_pool2d(F.pad(a, (0, 1, 0, 1)), 2, return_indices=True)
    assert torch.equal(what, want)
    assert torch.equal(unpooled(what + 1, where, (7, 5)), F.max_unpool2d(want + 1, index, 2)[..., :7, :5])


def test_each_term_is_the_papers_sample_by_sample():
    step = step_of(MODEL, blobs(n_samples=48), dropout=0.4)
    got = {name: float(loss) for name, loss in MODEL.learn(step.net, step.batch, step.values, step.noise).items()}
    net, (x_LD, y_L), sums = step.networks, step.batch.labelled, dict.fromkeys(got, 0.0)
    for i, x_D in enumerate([*step.batch.x_BD, *x_LD]):
        what_1, where_1 = F.max_pool2d(F.relu(net["conv_1"][1](x_D.view(1, 1, 4, 4))), 2, return_indices=True)
        keep = step.noise.keep_NC[i].view(1, -1, 1, 1)
        what_2, where_2 = F.max_pool2d(F.relu(net["conv_2"][0](what_1)) * keep, 2, return_indices=True)
        logits = net["classifier"](what_2.flatten(1))
        hat_2 = F.relu(net["rebuilder"][0](logits)).view_as(what_2)
        hat_1 = F.relu(net["deconv_2"][0](F.max_unpool2d(hat_2, where_2, 2)))
        hat = net["deconv_1"][0](F.max_unpool2d(hat_1, where_1, 2))
        N = len(step.batch.x_BD) + len(x_LD)
        for name, gap in (("recon", x_D.view(1, 1, 4, 4) - hat), ("middle_1", what_1 - hat_1), ("middle_2", what_2 - hat_2)):
            sums[name] += float(gap.square().mean()) / N
        if i >= len(step.batch.x_BD):
            sums["classify"] -= float(logits.log_softmax(-1)[0, y_L[i - len(step.batch.x_BD)]]) / len(x_LD)
    assert got == pytest.approx(sums, rel=1e-10)


def test_the_encoder_is_not_held_still_where_its_levels_are_compared():
    step = step_of(MODEL, blobs(n_samples=48))
    with torch.no_grad():
        for name in ("rebuilder", "deconv_2"):  # a decoder that says 0 leaves the encoder's half of the term
            for p in step.networks[name].parameters():
                p.zero_()
    weight = step.networks["conv_1"][1].weight.requires_grad_()
    (gradient,) = torch.autograd.grad(MODEL.learn(step.net, step.batch, step.values, step.noise)["middle_1"], weight)
    assert float(gradient.abs().max()) > 0


def test_samples_that_are_no_images_are_refused():
    data = Data(name="rows", x_ND=torch.zeros(4, 16), y_N=None, shape=(16,), test=None)
    with pytest.raises(UserError, match=r"needs images"):
        MODEL.networks(MODEL.hyper(), data.spec)
