"""What the adversarial auto-encoders (Makhzani, Shlens, Jaitly, Goodfellow & Frey 2016, https://arxiv.org/abs/1511.05644) share: an encoder
to a cluster y and a style z, and a critic of each.

Shapes: B batch, D features, Z code, K clusters, H hidden units.
"""

from torch import nn

from tuner.losses import fool, tell_apart
from tuner.nn import mlp


class Encoder(nn.Module):
    """`mask_BH` drops units of the first layer. `features`: the last hidden layer, in place of y and z, which are both read from it. No
    bias in front of a BatchNorm: it has no gradient but rounding noise."""

    def __init__(self, n_features, hidden, n_clusters, latent_dim):
        super().__init__()
        self.first, self.norm_first = nn.Linear(n_features, hidden, bias=False), nn.BatchNorm1d(hidden)
        self.second, self.norm_second = nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden)
        self.y, self.norm_y = nn.Linear(hidden, n_clusters, bias=False), nn.BatchNorm1d(n_clusters)
        self.z, self.norm_z = nn.Linear(hidden, latent_dim, bias=False), nn.BatchNorm1d(latent_dim)

    def forward(self, x_BD, mask_BH=None, features=False):
        a_BH = self.first(x_BD)
        a_BH = self.norm_first(a_BH if mask_BH is None else a_BH * mask_BH).relu()
        a_BH = self.norm_second(self.second(a_BH)).relu()
        if features:
            return a_BH
        return self.norm_y(self.y(a_BH)).softmax(-1), self.norm_z(self.z(a_BH))


def adversaries(h):
    """The critics of y and z."""
    H = h.hidden
    return {"critic_y": mlp(h.n_clusters, H, H, 1), "critic_z": mlp(h.latent_dim, H, H, 1)}


def fooled(net, y_BK, z_BZ):
    return {"adv_y": fool(net.critic_y(y_BK)), "adv_z": fool(net.critic_z(z_BZ))}


def told_apart(net, real, fake):
    """`real`, `fake`: a pair (y, z) each."""
    critics = (("critic_y", net.critic_y), ("critic_z", net.critic_z))
    return {name: tell_apart(critic(a), critic(b)) for (name, critic), a, b in zip(critics, real, fake, strict=True)}
