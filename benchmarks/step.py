"""Time of one training step: our solo engine against a hand-written PyTorch loop of the same adversarial auto-encoder.

    python benchmarks/step.py            # both scales, five alternating rounds each, one thread

The opponent is what a careful user writes: `nn.Module`s with `nn.Dropout`, data resident on the device, `Adam(fused=True)`, the same
three updates with all extra losses on, losses fetched once per epoch. Both run in this process, in turn; the ratio is the median of
the five paired ones. Data are random: a step's time does not depend on them.
"""

import argparse
import itertools
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

from tuner.data import Data
from tuner.dryrun import owned_terms
from tuner.engine import Settings, Solo
from tuner.loop import Hooks, run_batches, start_trial
from tuner.model import load_model
from tuner.nn import mlp

SCALES = {"digits": {"n_features": 64, "hidden": 200, "n_samples": 1797}, "mnist": {"n_features": 784, "hidden": 1000, "n_samples": 2000}}
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


def by_hand(x, hidden):
    """Yields the seconds per step of one epoch after another."""
    torch.manual_seed(0)
    n_features, device = x.shape[1], x.device
    encoder, decoder, mode_decoder = Encoder(n_features, hidden), mlp(K + Z, hidden, hidden, n_features), mlp(K, hidden, hidden, n_features)
    critic_y, critic_z = mlp(K, hidden, hidden, 1), mlp(Z, hidden, hidden, 1)
    for network in (encoder, decoder, mode_decoder, critic_y, critic_z):
        network.to(device)

    def adam(*networks, lr):
        return torch.optim.Adam([p for n in networks for p in n.parameters()], lr=lr, fused=True)

    opt_ae, opt_gen, opt_disc = adam(encoder, decoder, mode_decoder, lr=8e-4), adam(encoder, lr=2e-3), adam(critic_y, critic_z, lr=2e-4)
    bce, modes = F.binary_cross_entropy_with_logits, torch.eye(K, K + Z, device=device)
    while True:
        began, losses = time.perf_counter(), []
        order = torch.randperm(len(x), device=device)
        for step in range(len(x) // B):
            xb = x[order[step * B : (step + 1) * B]]
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
        yield (time.perf_counter() - began) / (len(x) // B)


def by_engine(x, hidden):
    """The same for the engine: an epoch's batches as `tuner.loop` runs them, without the evaluation, which the opponent lacks."""
    model = load_model("aae_unsup")
    h = model.hyper({"hidden": hidden, "batch_size": B, "n_clusters": K, "latent_dim": Z})
    data = Data(name="random", x_ND=x, y_N=None, shape=(x.shape[1],), test=None)
    trial, phase = start_trial(model, h, seed=0), model.phases(h)[0]
    engine = Solo(model, h, data.spec, x, seed=0, owned=owned_terms(model, h, data.spec))
    engine.open(phase)
    for epoch in itertools.count(1):
        began = time.perf_counter()
        settings = Settings(model, h, trial.on, phase.schedule(h, epoch))
        engine.begin([settings])
        run_batches(engine, phase, [trial], data, Hooks([settings], {0: settings.values(x)}, whole=None))
        engine.measured()
        trial.epoch += 1
        yield (time.perf_counter() - began) / (len(x) // B)


def compare(scale, rounds, device):
    shape = SCALES[scale]
    x = torch.rand(shape["n_samples"], shape["n_features"], device=device)
    hand, engine = by_hand(x, shape["hidden"]), by_engine(x, shape["hidden"])
    next(hand), next(engine)
    epochs = 6 if scale == "digits" else 1
    pairs = [[statistics.median(next(run) for _ in range(epochs)) for run in (hand, engine)] for _ in range(rounds)]
    theirs, ours = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = [ours / theirs for theirs, ours in pairs]
    spread = f"rounds {min(ratios):.3f} to {max(ratios):.3f}"
    print(f"{scale}: by hand {theirs:.2f} ms, engine {ours:.2f} ms a step; ratio {statistics.median(ratios):.3f} ({spread})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.device}, {args.threads} thread(s), batch {B}, all losses on, {args.rounds} alternating rounds")
    for scale in SCALES:
        compare(scale, args.rounds, args.device)
