"""What the interpolation critic adds to DEC."""

import numpy as np
import pytest
import torch
from tuner.models._autoencoder import place_centers
from tuner.models._self_taught import renew_target

from tuner.draws import Draws
from tuner.model import load_model
from tuner.testing import blobs, step_of
from tuner.training.loop import train

MODEL, DEC = load_model("acai_dec"), load_model("dec")
DATA = blobs(n_samples=24)
ON = {"weights.mix": 0.5}


@pytest.fixture
def step():
    step = step_of(MODEL, DATA, **ON)
    step.engine.put(0, place_centers(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    step.engine.put(0, renew_target(step.still, DATA, step.values, None))
    return step


def test_kl_is_decs(step):
    theirs = step_of(DEC, DATA)
    theirs.engine.networks["encoder"].load_state_dict(step.networks["encoder"].state_dict())
    theirs.engine.put(0, {name: step.engine.tensors[name] for name in ("centers_KZ", "target_NK")})
    want = DEC.sharpen(theirs.net, theirs.batch, theirs.values, theirs.noise)["kl"]
    assert MODEL.sharpen(step.net, step.batch, step.values, step.noise)["kl"] == want


def test_interp_and_mix_judge_the_decoded_mixtures(step):
    got = MODEL.sharpen(step.net, step.batch, step.values, step.noise)
    z, x, a = step.net.encoder(step.batch.x_BD), step.batch.x_BD, step.noise.share_B1[:, 0]
    mixed = [step.net.decoder(a[i] * z[i] + (1 - a[i]) * z[11 - i]) for i in range(12)]
    assert float(got["interp"]) == pytest.approx(np.mean([float(step.net.critic(m).mean()) ** 2 for m in mixed]), rel=1e-12)
    assert float(got["mix"]) == pytest.approx(np.mean([float((m - x[11 - i]).square().mean()) for i, m in enumerate(mixed)]), rel=1e-12)


def test_the_decoder_stays_as_pre_trained():
    h = MODEL.hyper(dict(MODEL.tiny) | {"batch_size": 12, "pretrain_epochs": 1, "epochs": 2})
    pretrained, *_, last = (e.snapshot().tensors for e in train(MODEL, h, DATA, seed=0))
    moved = {k.split(".")[0] for k in pretrained if not k.startswith("optimizer") and not torch.equal(pretrained[k], last[k])}
    assert moved == {"encoder", "critic", "centers_KZ", "target_NK"}
