"""Deep adversarial clustering (Harchaoui, Mattei & Bouveyron 2017, https://openreview.net/group?id=ICLR.cc/2017/workshop).

"Deep adversarial Gaussian mixture auto-encoder for clustering": an adversarial auto-encoder whose prior is a Gaussian mixture that follows
the codes. The auto-encoder is pre-trained and a mixture fitted to its codes; a critic tells samples of the mixture from codes, the encoder
rebuilds and deceives it, and after every epoch a few passes of EM move the mixture to where the codes now are.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper: the encoder rebuilds and deceives in one step, so that the two can be weighed; no ensemble of several runs. The
sizes of its networks are not known to us: the auto-encoder is DEC's, the critic has two hidden layers.
"""

from dataclasses import dataclass

from tuner.clustering import Mixture, around, drawn, em, gmm, responsibilities
from tuner.losses import fool, misfit, tell_apart
from tuner.model import Descend, Model, Phase, Term, hp
from tuner.nn import Network, mlp

from ._autoencoder import RECON_AE, RECON_MEAN, TINY, Coders, Denoised, Pretrained, coders, decoded, pretraining


class DAC(Model):
    paper = "https://openreview.net/group?id=ICLR.cc/2017/workshop"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Pretrained, Denoised, Coders, Network):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K")
        n_init: int = hp(20, 1, 1000, static=True, doc="starts of the k-means from which the mixture is fitted to the codes")
        covariance: str = hp("full", choices=("diag", "full", "tied"))
        reg_covar: float = hp(0.1, 1e-6, 10.0, log=True, doc="added to every variance, or mixture and codes may shrink in turn")
        em_passes: int = hp(5, 0, 1000, doc="passes of EM after every epoch; 0: the mixture stays as it was fitted at first")
        lr: float = hp(1e-3, 0.0, 1.0, log=True, doc="the auto-encoder's rate in clustering")
        lr_critic: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(50, 1, 100000, doc="clustering epochs")

    terms = {
        "recon_ae": RECON_AE,
        "recon": RECON_MEAN,
        "adv": Term(0.1, "-log D(z)"),
        "critic": Term(None, "-log D(sample of the mixture) - log(1 - D(z))"),
    }
    tiny = {**TINY, "batch_size": 15, "reg_covar": 1e-3, "lr_pretrain": 1e-2, "pretrain_epochs": 10, "epochs": 4}

    def networks(self, h, data):
        return coders(h, data) | {"critic": mlp(h.latent_dim, h.hidden, h.hidden, 1)}

    def tensors(self, h, data):
        return Mixture.blank(h.n_clusters, h.latent_dim, h.covariance)._asdict()

    def draw(self, h, data, B, g):
        return {"e_BK": g.exponential(B, h.n_clusters), "eps_BZ": g.normal(B, h.latent_dim)}

    def fit(self, net, data, h, g):
        e_IKN = g.exponential(h.n_init, h.n_clusters, data.spec.n_samples)
        return gmm(data.by_rows(net.encoder), e_IKN, h.covariance, h.reg_covar)._asdict()

    def follow(self, net, data, h, g):
        z_NZ, mixture = data.by_rows(net.encoder), Mixture.of(net)
        for _ in range(int(h.em_passes)):
            mixture, _ = em(z_NZ, mixture, h.covariance, h.reg_covar)
        return mixture._asdict()

    def reconstruct(self, net, batch, h, noise):
        z_BZ = net.encoder(batch.x_BD)
        recon = misfit(net.decoder(z_BZ), batch.x_BD, h.recon_loss).mean()
        return {"recon": recon, "adv": fool(net.critic(z_BZ))}

    def discriminate(self, net, batch, h, noise):
        real_BZ = drawn(Mixture.of(net), noise.e_BK, noise.eps_BZ)
        return {"critic": tell_apart(net.critic(real_BZ), net.critic(net.encoder(batch.x_BD)))}

    def phases(self, h):
        updates = (
            Descend(self.reconstruct, trains=("encoder", "decoder")),
            Descend(self.discriminate, trains=("critic",), lr="lr_critic"),
        )
        return (
            pretraining(),
            Phase("cluster", "epochs", start=self.fit, noise=self.draw, after_epoch=self.follow, updates=updates),
        )

    def assign(self, net, x_BD, h):
        return responsibilities(net.encoder(x_BD), Mixture.of(net))

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def n_styles(self, h):
        return h.latent_dim

    def generate(self, net, y_BK, eps_BS, h):
        return decoded(net, around(Mixture.of(net), y_BK, eps_BS), h)
