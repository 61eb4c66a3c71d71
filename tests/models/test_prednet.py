"""PredNet's levels against the paper's equations with torch's own functions, a film at a time; films and images that stay."""

import pytest
import torch
from torch.nn import functional as F
from tuner.models.prednet import Levels, film_of

from tuner.data.datasets import Data
from tuner.errors import UserError
from tuner.model import load_model
from tuner.testing import step_of

MODEL = load_model("prednet")


def films(n=30, shape=(4, 5, 6)):
    x = torch.rand(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return Data(name="films", x_ND=x.flatten(1), y_N=torch.arange(n) % 3, shape=shape, test=None)


def by_hand(levels, film_TChw):
    """Each level's mean error, frame by frame, and what each level remembers in the end."""
    n = len(levels.predict)
    size = film_TChw.shape[-2:]
    r, c, e = [], [], []
    for predict in levels.predict:
        r.append(torch.zeros(1, predict.in_channels, *size, dtype=film_TChw.dtype))
        c.append(r[-1])
        e.append(torch.zeros(1, 2 * predict.out_channels, *size, dtype=film_TChw.dtype))
        size = [(side + 1) // 2 for side in size]
    errors = []
    for frame in film_TChw:
        for k in range(n - 1, -1, -1):
            seen = [r[k], e[k]]
            if k < n - 1:
                seen.append(F.interpolate(r[k + 1], scale_factor=2)[..., : r[k].shape[-2], : r[k].shape[-1]])
            gates = F.conv2d(torch.cat(seen, 1), levels.remember[k].weight, levels.remember[k].bias, padding=1)
            i, f, o = ((0.2 * gate + 0.5).clamp(0, 1) for gate in gates.split(r[k].shape[1], 1)[:3])
            c[k] = f * c[k] + i * torch.tanh(gates.split(r[k].shape[1], 1)[3])
            r[k] = o * torch.tanh(c[k])
        a = frame[None]
        for k in range(n):
            hat = F.relu(F.conv2d(r[k], levels.predict[k].weight, levels.predict[k].bias, padding=1))
            if k == 0:
                hat = hat.minimum(torch.ones_like(hat))
            e[k] = torch.cat([F.relu(hat - a), F.relu(a - hat)], 1)
            if k < n - 1:
                up = F.relu(F.conv2d(e[k], levels.ascend[k].weight, levels.ascend[k].bias, padding=1))
                a = F.max_pool2d(up, 2, ceil_mode=True)
        errors.append([float(one.mean()) for one in e])
    return errors, r


@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 3, 5, 4)])
def test_errors_and_memory_are_the_papers_film_by_film(shape):
    data = films(shape=shape)
    step = step_of(MODEL, data, n_levels=3)
    levels = step.networks["levels"].double()
    (T, *frame), is_still = film_of(data.spec, 7)
    assert not is_still
    with torch.no_grad():
        errors, r = levels(step.batch.x_BD)
        got = MODEL.learn(step.net, step.batch, step.values, step.noise)
        want = dict.fromkeys(got, 0.0)
        for b, x_D in enumerate(step.batch.x_BD):
            found, remembered = by_hand(levels, x_D.view(T, *frame))
            assert torch.allclose(torch.stack([e_BT[b] for e_BT in errors], -1), torch.tensor(found, dtype=torch.float64), atol=1e-12)
            assert all(torch.allclose(ours[b], theirs[0], atol=1e-12) for ours, theirs in zip(r, remembered, strict=True))
            for at_t in found[1:]:  # nothing is asked of the first frame
                want["pixels"] += at_t[0] / (T - 1) / len(step.batch.x_BD)
                want["features"] += sum(at_t[1:]) / (T - 1) / len(step.batch.x_BD)
    assert {name: float(loss) for name, loss in got.items()} == pytest.approx(want, rel=1e-10)


def test_the_code_is_the_mean_over_pixels_of_what_is_remembered_in_the_end():
    data = films()
    for pooled, width in (("all", 3 + 4 + 8), ("top", 8)):
        step = step_of(MODEL, data, n_levels=3, pooled=pooled)
        r = step.networks["levels"](step.batch.x_BD)[1]
        code = MODEL.embed(step.net, step.batch.x_BD, step.values)
        assert code.shape == (12, width)
        assert torch.equal(code[:, -8:], r[-1].mean((-2, -1)))


def test_an_image_is_a_film_in_which_nothing_moves():
    x = films(shape=(5, 6)).x_ND
    still, film = (Levels((4, 1, 5, 6), [1, 4, 8], [3, 4, 8], is_still).double() for is_still in (True, False))
    film.load_state_dict(still.state_dict())
    (errors, r), (others, s) = still(x), film(x.repeat(1, 4))
    assert all(torch.equal(a, b) for a, b in zip([*errors, *r], [*others, *s], strict=True))


@pytest.mark.parametrize(
    ("shape", "film", "is_still"), [((8, 8), (7, 1, 8, 8), True), ((3, 8, 8), (7, 3, 8, 8), True), ((4, 8, 8), (4, 1, 8, 8), False)]
)
def test_three_planes_are_colours_and_any_other_number_frames(shape, film, is_still):
    assert film_of(films(shape=shape).spec, 7) == (film, is_still)


@pytest.mark.parametrize("shape", [(16,), (1, 4, 4)])
def test_what_is_neither_film_nor_image_is_refused(shape):
    with pytest.raises(UserError, match=rf"prednet needs films .* but a sample's shape is \({shape[0]},"):
        MODEL.networks(MODEL.hyper(), films(shape=shape).spec)
