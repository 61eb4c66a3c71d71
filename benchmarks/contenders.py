"""The adversarial auto-encoder's training step four ways: by hand with a DataLoader, by hand on resident data, our engine, our packs.

Each is a generator of the seconds per step and trial of one stretch of steps after another, so that a benchmark can let them take
turns. All train the same networks with the same three updates, all extra losses on, and fetch their losses once per stretch.
"""

import itertools
import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from tuner.data.datasets import Data
from tuner.model import load_model
from tuner.nn import mlp
from tuner.training.batches import Around, run_batches
from tuner.training.engine import Settings, build, state_of
from tuner.training.pack import Pack
from tuner.training.solo import Solo
from tuner.training.trial import start_trial

B, K, Z = 100, 10, 5


class Encoder(nn.Module):
    def __init__(self, n_features, hidden):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(n_features, hidden, bias=False), nn.Dropout(0.2), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(),
        )  # fmt: skip
        self.y = nn.Sequential(nn.Linear(hidden, K, bias=False), nn.BatchNorm1d(K), nn.Softmax(-1))
        self.z = nn.Sequential(nn.Linear(hidden, Z, bias=False), nn.BatchNorm1d(Z))

    def forward(self, x):
        a = self.body(x)
        return self.y(a), self.z(a)


def resident(x, n_steps):
    """Batches of data that lie on the device, in a fresh order for each stretch."""
    while True:
        order = torch.randperm(len(x), device=x.device)
        yield (x[order[step * B : (step + 1) * B]] for step in range(n_steps))


def by_hand(stretches, n_features, hidden, device, lr_ae=8e-4, seed=0, after=None):
    """What a careful user writes: `nn.Module`s with `nn.Dropout`, `Adam(fused=True)`. `stretches`: iterables of batches. `after` is given
    the encoder when a stretch is over, and is not timed."""
    torch.manual_seed(seed)
    encoder, decoder, mode_decoder = Encoder(n_features, hidden), mlp(K + Z, hidden, hidden, n_features), mlp(K, hidden, hidden, n_features)
    critic_y, critic_z = mlp(K, hidden, hidden, 1), mlp(Z, hidden, hidden, 1)
    for network in (encoder, decoder, mode_decoder, critic_y, critic_z):
        network.to(device)

    def adam(*networks, lr):
        return torch.optim.Adam([p for n in networks for p in n.parameters()], lr=lr, fused=True)

    opt_ae, opt_gen, opt_disc = adam(encoder, decoder, mode_decoder, lr=lr_ae), adam(encoder, lr=2e-3), adam(critic_y, critic_z, lr=2e-4)
    bce, modes = F.binary_cross_entropy_with_logits, torch.eye(K, K + Z, device=device)
    for batches in stretches:
        began, losses = time.perf_counter(), []
        for xb in batches:
            y, z = encoder(xb + 0.3 * torch.randn_like(xb))
            recon, mode = bce(decoder(torch.cat([y, z], -1)), xb), bce(mode_decoder(y), xb)
            y, z = encoder(xb)
            y2, z2 = encoder(decoder(torch.cat([y, z], -1)).sigmoid())
            cyclic = F.binary_cross_entropy(y2.clamp(1e-6, 1 - 1e-6), y.detach())
            cyclic_z = (z2 - z.detach()).square().mean()
            m = decoder(modes).sigmoid()
            pairwise = -(m[:, None] - m).abs().mean(-1).sum() / (K * (K - 1))
            loss = recon + mode + 0.01 * cyclic + 0.001 * cyclic_z + 0.006 * pairwise
            opt_ae.zero_grad()
            loss.backward()
            opt_ae.step()
            y, z = encoder(xb)
            fool_y, fool_z, l2 = F.softplus(-critic_y(y)).mean(), F.softplus(-critic_z(z)).mean(), z.square().sum(-1).mean()
            opt_gen.zero_grad()
            (fool_y + fool_z + 0.15 * l2).backward()
            opt_gen.step()
            encoder.eval()
            with torch.no_grad():
                y, z = encoder(xb)
            encoder.train()
            real_y, real_z = F.one_hot(torch.randint(K, (B,), device=device), K).float(), torch.randn(B, Z, device=device)
            tell_y = F.softplus(-critic_y(real_y)).mean() + F.softplus(critic_y(y)).mean()
            tell_z = F.softplus(-critic_z(real_z)).mean() + F.softplus(critic_z(z)).mean()
            opt_disc.zero_grad()
            (tell_y + tell_z).backward()
            opt_disc.step()
            losses.append(torch.stack([t.detach() for t in (recon, mode, cyclic, cyclic_z, pairwise, fool_y, fool_z, l2, tell_y, tell_z)]))
        torch.stack(losses).mean(0).tolist()
        seconds = (time.perf_counter() - began) / len(losses)
        if after is not None:
            after(encoder)
        yield seconds


def by_engine(x, hidden, n_steps, lanes=None):
    """Our solo engine, or a pack of `lanes` trials, as `tuner.loop` runs them; without the evaluation, which the others lack."""
    model = load_model("aae_unsup")
    h = model.hyper({"hidden": hidden, "batch_size": B, "n_clusters": K, "latent_dim": Z})
    data = replace(Data(name="random", x_ND=x, y_N=None, shape=(x.shape[1],)), x_ND=x[: n_steps * B])
    trials = [start_trial(model, h, seed=seed) for seed in range(lanes or 1)]
    phase = model.phases(h)[0]
    if lanes is None:
        engine = Solo(model, h, data.spec, x, seed=0)
        engine.open(phase)
    else:
        engine = Pack(model, h, data.spec, x, slots=lanes)
        for lane in range(lanes):
            engine.open(phase, lane)
            engine.load(lane, state_of(*build(model, h, data.spec, x, seed=lane)))
    for _ in itertools.count():
        began = time.perf_counter()
        settings = [Settings(model, h, trial.on, {}) for trial in trials]
        values = {lane: s.values(x) for lane, s in enumerate(settings)}
        engine.begin(settings)
        run_batches(engine, phase, trials, data, Around(settings, values, whole=None))
        for lane in range(len(trials)):
            engine.measured(lane)
        for trial in trials:
            trial.phase_epoch += 1
        yield (time.perf_counter() - began) / n_steps / len(trials)
