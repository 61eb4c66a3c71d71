"""What ACAI (Berthelot, Raffel, Roy & Goodfellow 2019, https://arxiv.org/abs/1807.07543) shares with the models that cluster beside its
critic (Lutscher, el Hassouni, Stol & Hoogendoorn 2020, https://arxiv.org/abs/2011.01977): decoded mixtures of two codes look like data.

Shapes: B batch, D features, Z code.
"""

from dataclasses import dataclass

from tuner.losses import misfit
from tuner.model import Descend, Hyper, Term, hp

from ._autoencoder import MISFIT, RECON_AE, autoencode, coder, coders, drop_inputs, pixels, pretraining
from ._self_taught import self_taught

INTERP = "mean d(x_mix)^2, x_mix decoded from a z_i + (1 - a) z_j, a in [0, 1/2], j the sample opposite i in the batch"
MIX = f"mean over features of {MISFIT}, x_mix against x_j"
CRITIC_MIX = Term(1.0, "mean (d(x_mix) - a)^2")
CRITIC_DATA = Term(1.0, "mean d(x_hat + `blend` (x - x_hat))^2")


def coders_and_critic(h, data):
    return coders(h, data) | {"critic": coder(h, data, h.latent_dim)}


def draw_shares(h, data, B, g):
    return {"share_B1": g.uniform(B, 1) / 2}


def mixed(net, z_BZ, share_B1):
    return net.decoder(share_B1 * z_BZ + (1 - share_B1) * z_BZ.flip(0))


def score(net, x_BD):
    """(B,) d(x): the mean of the critic's outputs."""
    return net.critic(x_BD).mean(-1)


def interpolate(net, z_BZ, batch, h, noise, names=("interp", "mix")):
    """The two terms of an auto-encoder that ask for good mixtures."""
    interp, mix = names
    if not h.uses(*names):
        return {}
    terms, mixed_BD = {}, mixed(net, z_BZ, noise.share_B1)
    if h.uses(interp):
        terms[interp] = score(net, pixels(mixed_BD, h)).square().mean()
    if h.uses(mix):
        terms[mix] = misfit(mixed_BD, batch.x_BD.flip(0), h.recon_loss).mean()
    return terms


def criticise(net, batch, h, noise):
    z_BZ = net.encoder(batch.x_BD)
    mixed_BD, rebuilt_BD = pixels(mixed(net, z_BZ, noise.share_B1), h), pixels(net.decoder(z_BZ), h)
    return {
        "critic_mix": (score(net, mixed_BD) - noise.share_B1[:, 0]).square().mean(),
        "critic_data": score(net, rebuilt_BD + h.blend * (batch.x_BD - rebuilt_BD)).square().mean(),
    }


# --- the critic beside pre-training and clustering ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Constrained(Hyper):
    """For the models whose codes are both clustered and mixed."""

    blend: float = hp(0.2, 0.0, 1.0, doc="the data's share in what the critic is to find unmixed; ACAI's gamma")
    lr_critic: float = hp(1e-3, 0.0, 1.0, log=True, doc="the critic's rate, in both phases")


PRETRAINED_TERMS = {
    "recon_ae": Term(1.0, RECON_AE.doc),
    "interp_ae": Term(0.5, f"{INTERP}, in pre-training"),
    "mix_ae": Term(1.0, f"{MIX}, in pre-training"),
    "critic_mix": CRITIC_MIX,
    "critic_data": CRITIC_DATA,
}
CRITICISE = Descend(criticise, trains=("critic",), lr="lr_critic")


def autoencode_mixed(net, batch, h, noise):
    z_BZ = net.encoder(batch.x_BD)
    return autoencode(net, batch, h, noise) | interpolate(net, z_BZ, batch, h, noise, names=("interp_ae", "mix_ae"))


def pretraining_mixed():
    def draw(h, data, B, g):
        return drop_inputs(h, data, B, g) | draw_shares(h, data, B, g)

    weights = tuple(f"weights.{term}" for term in PRETRAINED_TERMS)
    both = Descend(autoencode_mixed, trains=("encoder", "decoder"), lr="lr_pretrain")
    return pretraining((both, CRITICISE), draw, depends=("blend", "lr_critic", *weights))


def phases_mixed(h, sharpen):
    """Pre-training, then clustering by this update, the critic beside both."""
    return pretraining_mixed(), self_taught(h, sharpen, CRITICISE, noise=draw_shares)
