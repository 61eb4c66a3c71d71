"""Our calls of torch's fused kernels against torch's own optimisers."""

import pytest
import torch

from tuner.model import SGD, Adam, RMSprop, load_model
from tuner.training.engine import Settings
from tuner.training.optimizers import MOMENTS, move, rate_type

CASES = {
    "Adam": (Adam(beta1=0.8, beta2=0.99, eps=1e-7), torch.optim.Adam, {"betas": (0.8, 0.99), "eps": 1e-7}),
    "Adam with decay": (Adam(weight_decay=0.1), torch.optim.Adam, {"weight_decay": 0.1}),
    "SGD": (SGD(momentum=0.9), torch.optim.SGD, {"momentum": 0.9}),
    "SGD with decay": (SGD(weight_decay=0.1), torch.optim.SGD, {"weight_decay": 0.1}),
    "Nesterov": (SGD(momentum=0.9, nesterov=True), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "Nesterov with decay": (
        SGD(momentum=0.9, weight_decay=0.1, nesterov=True),
        torch.optim.SGD,
        {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    ),
    "RMSprop": (RMSprop(alpha=0.95, eps=1e-7), torch.optim.RMSprop, {"alpha": 0.95, "eps": 1e-7}),
}


def start(dtype):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=g, dtype=dtype) for shape in ((4, 3), (5,))], g


@pytest.mark.parametrize("case", CASES)
def test_ten_steps_are_torchs(case):
    optimizer, kind, fields = CASES[case]
    ours, g = start(torch.float64)
    theirs = [p.clone().requires_grad_() for p in ours]
    torchs = kind(theirs, lr=0.01, **fields)
    moments, count = [[torch.zeros_like(p) for p in ours] for _ in MOMENTS[type(optimizer)]], torch.zeros(())
    for _ in range(10):
        grads = [torch.randn(p.shape, generator=g, dtype=p.dtype) for p in ours]
        for p, grad in zip(theirs, grads, strict=True):
            p.grad = grad.clone()
        torchs.step()
        count += 1
        move(optimizer, ours, grads, moments, count, lr=torch.tensor(0.01, dtype=rate_type(count.device)), numbers=vars(optimizer))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_what_rests_keeps_its_parameters_and_moments(case):
    optimizer, _, _ = CASES[case]
    ours, _ = start(torch.float32)
    before, moments = [p.clone() for p in ours], [[torch.full_like(p, 0.5) for p in ours] for _ in MOMENTS[type(optimizer)]]
    grads, lr = [torch.full_like(p, torch.nan) for p in ours], torch.tensor(0.01, dtype=torch.float64)
    move(optimizer, ours, grads, moments, torch.ones(()), lr=lr, numbers=vars(optimizer), rests=torch.ones(()))
    assert all(torch.equal(a, b) for a, b in zip(ours, before, strict=True))
    assert all((t == 0.5).all() for moment in moments for t in moment)


def test_a_decay_gives_the_loss_a_scale():
    assert Adam().scale_invariant
    assert not Adam(weight_decay=0.1).scale_invariant


def test_a_switch_may_be_a_hyper_parameter_too():
    model = load_model("aae_unsup")
    settings = Settings(model, model.hyper({"updates": "joint"}), frozenset(), {})
    settings.static["ahead"] = True
    assert settings.number("ahead") == 1.0
    assert settings.number("dropout") == 0.2
    assert settings.number(False) is False
