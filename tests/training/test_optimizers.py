"""Our calls of torch's fused kernels against torch's own optimisers."""

import pytest
import torch

from tuner.model import SGD, Adam, RMSprop
from tuner.training.optimizers import MOMENTS, move, rate_type

NUMBERS = {
    Adam: {"beta1": 0.8, "beta2": 0.99, "eps": 1e-7},
    SGD: {"momentum": 0.9},
    RMSprop: {"alpha": 0.95, "eps": 1e-7},
}
THEIRS = {
    Adam: lambda params: torch.optim.Adam(params, lr=0.01, betas=(0.8, 0.99), eps=1e-7),
    SGD: lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9),
    RMSprop: lambda params: torch.optim.RMSprop(params, lr=0.01, alpha=0.95, eps=1e-7),
}


def start(dtype):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=g, dtype=dtype) for shape in ((4, 3), (5,))], g


@pytest.mark.parametrize("kind", NUMBERS)
def test_ten_steps_are_torchs(kind):
    ours, g = start(torch.float64)
    theirs = [p.clone().requires_grad_() for p in ours]
    optimizer = THEIRS[kind](theirs)
    moments, count = [[torch.zeros_like(p) for p in ours] for _ in MOMENTS[kind]], torch.zeros(())
    for _ in range(10):
        grads = [torch.randn(p.shape, generator=g, dtype=p.dtype) for p in ours]
        for p, grad in zip(theirs, grads, strict=True):
            p.grad = grad.clone()
        optimizer.step()
        count += 1
        move(kind(), ours, grads, moments, count, lr=torch.tensor(0.01, dtype=rate_type(count.device)), numbers=NUMBERS[kind])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", NUMBERS)
def test_what_rests_keeps_its_parameters_and_moments(kind):
    ours, _ = start(torch.float32)
    before, moments = [p.clone() for p in ours], [[torch.full_like(p, 0.5) for p in ours] for _ in MOMENTS[kind]]
    grads, lr = [torch.full_like(p, torch.nan) for p in ours], torch.tensor(0.01, dtype=torch.float64)
    move(kind(), ours, grads, moments, torch.ones(()), lr=lr, numbers=NUMBERS[kind], rests=torch.ones(()))
    assert all(torch.equal(a, b) for a, b in zip(ours, before, strict=True))
    assert all((t == 0.5).all() for moment in moments for t in moment)
