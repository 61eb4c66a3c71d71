"""Deep embedded clustering (Xie, Girshick & Farhadi 2016, https://arxiv.org/abs/1511.06335).

Pre-train an auto-encoder, put k-means centres on its codes, then pull soft assignments towards a sharpened target.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper: the auto-encoder is pre-trained end to end with Adam, not layer by layer; training runs for a number of
epochs, not until the labels rest; `refresh_every` is 30 batches on all data, which is theirs for small ones (MNIST: 160); pixels are in
[0, 1] (theirs: up to 5.1). `target: batch` is not in the paper; other implementations have it for its speed.
With `network: conv` and a `boost` other than 2 it is DBC, discriminatively boosted clustering (Li, Qiao, Zhang & Xi 2017,
https://arxiv.org/abs/1703.07980), as far as its abstract says: the formula of its target is our reading, and its network pools.
"""

from dataclasses import dataclass

from tuner.model import SGD, Descend, Model, Term, hp
from tuner.nn import Network

from ._autoencoder import RECON_AE, TINY, Coders, Denoised, Pretrained, coders, decoded, pretraining
from ._self_taught import KL, SelfTaught, centers_and_target, kl_to_target, self_taught, soft_assign


class DEC(Model):
    paper = "https://arxiv.org/abs/1511.06335"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(SelfTaught, Pretrained, Denoised, Coders, Network):
        lr: float = hp(0.01, 0.0, 1.0, log=True, doc="SGD's rate in clustering")
        momentum: float = hp(0.9, 0.0, 1.0)
        epochs: int = hp(50, 1, 100000, doc="clustering epochs")

    terms = {"recon_ae": RECON_AE, "kl": Term(None, KL)}
    tiny = {**TINY, "refresh_every": 4, "pretrain_epochs": 10, "epochs": 4}

    def networks(self, h, data):
        return coders(h, data)

    def tensors(self, h, data):
        return centers_and_target(h, data)

    def sharpen(self, net, batch, h, noise):
        """Equation 2, with the target of equation 3."""
        return {"kl": kl_to_target(net, net.encoder(batch.x_BD), batch.rows_B, h)}

    def phases(self, h):
        sharpen = Descend(self.sharpen, trains=("encoder", "centers_KZ"), optimizer=SGD(momentum="momentum"))
        return pretraining(), self_taught(h, sharpen)

    def assign(self, net, x_BD, h):
        return soft_assign(net, x_BD, h)

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def generate(self, net, y_BK, eps_BS, h):
        return decoded(net, y_BK @ net.centers_KZ, h)
