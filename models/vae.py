"""Variational auto-encoder (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114) with k-means or a Gaussian mixture on its codes.

z ~ N(0, I), x ~ p(x | z), q(z | x) = N(mu, sigma^2). `weights.kl` is the beta of Higgins, Matthey, Pal, Burgess, Glorot, Botvinick, Mohamed
& Lerchner 2017, https://openreview.net/forum?id=Sy2fzU9gl: above 1 it buys codes whose numbers vary apart from each other with poorer
pictures; near 0 an auto-encoder is left. The head is fitted anew after every epoch, on mu.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper, which has no clusters: the head; the networks of DEC, Adam; the divergence warms up (`warm_up: 0` is the paper's).
On scikit-learn's digits k-means on the pixels is better (79 % of ACC; the default 75.7 +- 0.7): the divergence counts for as many nats as
on MNIST, which has twelve times the pixels, and empties the code. A smaller weight keeps more in it and does not cluster better (hidden
125, 3 seeds: weight 1 68.7 +- 13.8, with 17.5 % errors of 5 neighbours; 0.2 67.5 +- 3.1, with 8.2 %).
"""

from dataclasses import dataclass

from tuner.losses import kl_normal, misfit
from tuner.model import Descend, Model, Phase, Term, hp
from tuner.nn import Network

from ._autoencoder import RECON_SUM, TINY, Coders, coders, decoded
from ._heads import Head, blank_head, by_head, fit_head, head_centers, head_distances
from ._vae import draw_code, risen, sampled


class VAE(Model):
    paper = "https://arxiv.org/abs/1312.6114"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Head, Coders, Network):
        batch_size: int = hp(100, 2, 65536, static=True)
        recon_loss: str = hp("bce", choices=("bce", "mse"), doc="p(x | z): pixels in [0, 1], or any data")
        warm_up: int = hp(10, 0, 100000, doc="epochs over which the divergence rises from 0 to its weight")
        lr: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(100, 1, 100000)

    terms = {"recon": RECON_SUM, "kl": Term(1.0, "KL(q(z | x) || N(0, I)); its weight is the paper's beta")}
    tiny = {**TINY, "warm_up": 1, "lr": 3e-3, "epochs": 10}

    def networks(self, h, data):
        return coders(h, data, n_codes=2 * h.latent_dim)  # mu, then log sigma^2

    def tensors(self, h, data):
        return blank_head(h)

    def bound(self, net, batch, h, noise):
        """Minus the ELBO, of one sample of z."""
        mu_BZ, log_var_BZ = net.encoder(batch.x_BD).chunk(2, -1)
        output_BD = net.decoder(sampled(mu_BZ, log_var_BZ, noise.eps_BZ))
        return {"recon": misfit(output_BD, batch.x_BD, h.recon_loss).sum(-1).mean(), "kl": kl_normal(mu_BZ, log_var_BZ).mean()}

    def warm(self, h, epoch):
        return {"weights.kl": h.weights["kl"] * risen(h, epoch)}

    def fit(self, net, data, h, g):
        return fit_head(data.by_rows(lambda x_BD: self.embed(net, x_BD, h)), h, g)

    def phases(self, h):
        train = Descend(self.bound, trains=("encoder", "decoder"))
        return (Phase("train", "epochs", noise=draw_code, schedule=self.warm, updates=(train,), after_epoch=self.fit),)

    def assign(self, net, x_BD, h):
        return by_head(net, self.embed(net, x_BD, h), h)

    def distances(self, net, x_BD, h):
        return head_distances(net, self.embed(net, x_BD, h), h)

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)[:, : h.latent_dim]

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def generate(self, net, y_BK, eps_BS, h):
        return decoded(net, y_BK @ head_centers(net, h), h)
