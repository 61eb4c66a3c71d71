"""ClustPy's part of benchmarks/peers.py, run by the interpreter that has ClustPy; imports nothing of tuner.

Reads one JSON request a line, trains, and answers with one line of JSON: labels, and the seconds of an epoch of either phase without
what comes around the epochs (k-means, the last labels).
"""

import contextlib
import copy
import json
import os
import sys
import time

os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import torch
import torch.nn.functional as F
from clustpy.deep import DCN, DEC, IDEC, VaDE
from clustpy.deep._data_utils import get_dataloader
from clustpy.deep.dcn import _DCN_Module
from clustpy.deep.dec import _DEC_Module
from clustpy.deep.neural_networks import FeedforwardAutoencoder
from clustpy.deep.vade import _VaDE_Module, _VaDE_VAE
from sklearn.cluster import KMeans

LOSSES = {  # of the output and the batch, as tuner's models weigh it
    "mean": lambda out, x: (out - x).square().mean(),
    "sum": lambda out, x: (out - x).square().sum(1).mean(),
    "bce": lambda out, x: F.binary_cross_entropy(out, x, reduction="sum") / len(x),
}
PRETRAINED = {}  # auto-encoders and what they took, by what decides them
LOOPS = {"dec": _DEC_Module, "idec": _DEC_Module, "dcn": _DCN_Module, "vade": _VaDE_Module}


@contextlib.contextmanager
def clocked(module):
    """How long a module's `fit`, the loop over epochs, takes; as a list of one number."""
    seconds, fit = [], module.fit

    def timed(*args, **more):
        began = time.perf_counter()
        fitted = fit(*args, **more)
        seconds.append(time.perf_counter() - began)
        return fitted

    module.fit = timed
    try:
        yield seconds
    finally:
        module.fit = fit


def seed(asked):
    torch.manual_seed(asked["seed"])
    np.random.seed(asked["seed"])


def fresh(asked, n_features):
    layers = [n_features, asked["hidden"], asked["hidden"], 4 * asked["hidden"], asked["latent_dim"]]
    seed(asked)
    kind = _VaDE_VAE if asked["model"] == "vade" else FeedforwardAutoencoder
    return kind(layers, activation_fn=torch.nn.ReLU, random_state=asked["seed"])


def pretrained(asked, network, loader):
    """The auto-encoder, and the seconds of an epoch."""
    epochs, loss = asked["pretrain_epochs"], LOSSES[asked["pretrain_loss"]]
    with clocked(type(network)) as seconds:
        network.fit(n_epochs=epochs, optimizer_params={"lr": asked["lr_pretrain"]}, dataloader=loader, ssl_loss_fn=loss)
    return network, {"pretrain_s": seconds[0] / epochs}


def filled(network, path):
    """With weights from a file, in which the layers of a part are named by their place."""
    weights = {name.replace("coder.", "coder.block."): torch.from_numpy(t) for name, t in np.load(path).items()}
    network.load_state_dict(weights)
    network.fitted = True
    return network


def run(asked):
    x_ND = np.load(asked["data"])["x"].astype(np.float32)
    size, name = asked["batch_size"], asked["model"]
    loaders = get_dataloader(x_ND, size, shuffle=True, drop_last=True), get_dataloader(x_ND, size, shuffle=False)
    network, spent = fresh(asked, x_ND.shape[1]), {}
    if "start" in asked:
        network = filled(network, asked["start"])
    else:
        which = tuple(asked[key] for key in ("data", "seed", "pretrain_epochs", "pretrain_loss"))
        if which not in PRETRAINED:
            PRETRAINED[which] = pretrained(asked, network, loaders[0])
        network, spent = copy.deepcopy(PRETRAINED[which])
    if name == "ae":
        with torch.no_grad():
            z_NZ = network.encode(torch.from_numpy(x_ND)).numpy()
        found = KMeans(asked["n_clusters"], n_init=asked["n_init"], random_state=asked["seed"]).fit_predict(z_NZ)
        return {**spent, "labels": found.tolist()}
    seed(asked)
    common = {
        "n_clusters": asked["n_clusters"],
        "batch_size": size,
        "neural_network": network,
        "embedding_size": asked["latent_dim"],
        "clustering_epochs": asked["epochs"],
        "optimizer_class": torch.optim.SGD if name == "dec" else torch.optim.Adam,
        "clustering_optimizer_params": asked["optimizer"],
        "ssl_loss_fn": LOSSES[asked["loss"]],
        "clustering_loss_weight": asked["weight"],
        "custom_dataloaders": loaders,
        "device": torch.device("cpu"),
        "random_state": asked["seed"],
    }
    starts = {"initial_clustering_params": {"n_init": asked["n_init"]} | ({"covariance_type": "diag"} if name == "vade" else {})}
    model = {"dec": DEC, "idec": IDEC, "dcn": DCN, "vade": VaDE}[name](**common, **starts)
    with clocked(LOOPS[name]) as clustering:
        model.fit(x_ND)
    own = getattr(model, {"dec": "dec_labels_", "idec": "dec_labels_", "dcn": "dcn_labels_", "vade": "vade_labels_"}[name])
    return {
        **spent,
        "epoch_s": clustering[0] / asked["epochs"],
        "labels": np.asarray(own).tolist(),
        "refitted": np.asarray(model.labels_).tolist(),
    }


def main():
    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr  # ClustPy prints
    print(json.dumps({"torch": torch.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
