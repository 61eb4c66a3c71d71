"""How well every model clusters at its default configuration: `python benchmarks/accuracy.py --data-root DIR [--datasets digits usps]`.

Each run is one seed of one model on one data set, all samples of it, without a search; what the model's file says is what is trained.
Finished runs are appended to benchmarks/accuracy.jsonl at once, and docs/accuracy.md is written from that file: a run that is there,
with the configuration that the model has today, is not done again. Figures are those of the last epoch: nothing is chosen by labels.

    python benchmarks/accuracy.py                                  # digits, five seeds, every model; one seed of each first
    python benchmarks/accuracy.py --datasets usps --seeds 3 --models ae dec idec dcn vade gumbel_vae aae_unsup
    python benchmarks/accuracy.py --datasets wine blobs            # vectors: one set that scikit-learn ships, one that it makes
    python benchmarks/accuracy.py --table                          # only writes docs/accuracy.md anew

Beside the models stand `pca_kmeans` and `spectral` of scikit-learn; with `kmeans` and `gmm` they are what a line under each table compares
the models with. Models that start from the same pre-training (of one seed) take it from each other while the command runs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selection import vectors

if TYPE_CHECKING:
    from tuner.data.datasets import Data
    from tuner.model import Hyper

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the runs share the cores
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROWS, TABLE = ROOT / "benchmarks" / "accuracy.jsonl", ROOT / "docs" / "accuracy.md"

# ACC / NMI in %, as published. h: Hungarian; v: `acc_aae`, of the adversarial auto-encoder's paper; m: majority vote; b: best run;
# r: run again by another paper. What could not be verified is left out.
PUBLISHED = {
    ("usps", "kmeans"): "66.8 / 63 h",
    ("usps", "ae"): "69.3 / 66.2 h",
    ("usps", "dec"): "74.1 / 75.3 h r; 76.4±0.6 / 78.7±0.6 h",
    ("usps", "idec"): "76.1 / 78.5 h",
    ("usps", "gumbel_vae"): "72.6±3 / 67.0±2 h",
    ("mnist", "kmeans"): "53.2 / 50 h",
    ("mnist", "gmm"): "53.7 h",
    ("mnist", "ae"): "81.8 / 74.7 h; 87.9±3.8 / 80.7±1.9 h",
    ("mnist", "dec"): "84.3 / 80.0 h; 91.2±4.7 / 86.9±3.2 h",
    ("mnist", "idec"): "88.1 / 86.7 h",
    ("mnist", "dcn"): "83 / 81 h",
    ("mnist", "vade"): "94.5 h b",
    ("mnist", "gumbel_vae"): "85.8±8 / 82.1±5 h",
    ("mnist", "gmvae"): "82.3±3.8 v",
    ("mnist", "dac"): "94.1 h",
    ("mnist", "catgan"): "90.3 m b (K = 20)",
    ("mnist", "infogan"): "95 b",
}
COLUMNS = ("acc", "nmi", "ari", "error", "error_test")
VECTORS = ("wine", "breast_cancer", "blobs")
SMALL = ("wine",)  # 178 samples
SHALLOW = ("pca_kmeans", "spectral")
WITHOUT_NETWORK = ("kmeans", "gmm", *SHALLOW)


def hyper(name: str, dataset: str, seed: int, n_clusters: int = 10) -> Hyper:
    """The defaults, with as many clusters as there are classes, and batches of 32 where the data set is smaller than a default batch; a
    semi-supervised model is given other labels with every seed."""
    from tuner.model import load_model

    model = load_model(name)
    known: dict[str, Any] = {"n_clusters": n_clusters} if n_clusters != 10 else {}
    known |= {"batch_size": 32} if dataset in SMALL and "batch_size" in model.parameters() else {}
    return model.hyper(known | ({"label_seed": seed} if model.labels == "partial" else {}))


def shallow(name: str, data: Data, seed: int) -> dict[str, float]:
    """The metrics of a clustering of the data without a network, by scikit-learn."""
    import torch
    from sklearn.cluster import KMeans, SpectralClustering
    from sklearn.decomposition import PCA

    from tuner.metrics import of_partition

    x_ND, K = data.x_ND.numpy(), data.spec.n_classes
    assert K is not None
    if name == "pca_kmeans":
        reduced = PCA(n_components=0.9, svd_solver="full").fit_transform(x_ND)
        c_N = KMeans(n_clusters=K, n_init=20, random_state=seed).fit_predict(reduced)
    else:
        c_N = SpectralClustering(n_clusters=K, affinity="nearest_neighbors", n_neighbors=10, random_state=seed).fit_predict(x_ND)
    return of_partition(torch.from_numpy(c_N).long(), data.y_N, K)


def nearest_errors(data: Data, h: Hyper) -> dict[str, float]:
    """The errors of a nearest-neighbour classifier that has the labelled samples, on the same samples as `error` and `error_test`."""
    from tuner.clustering import nearest
    from tuner.data.labels import labelled_of
    from tuner.losses import one_hot
    from tuner.metrics import errors

    labelled = labelled_of(data, h)
    p_NK = nearest(data.x_ND, labelled.x_MD) @ one_hot(labelled.y_M, h.n_clusters, data.x_ND.dtype)
    assert data.y_N is not None
    return {f"nearest_{name}": round(value, 4) for name, value in errors(p_NK, data.y_N, labelled.rows_M, data.test).items()}


def one(task: tuple[str, str, int, str | None, str]) -> dict[str, Any] | str:
    """Trains, and returns a row, or why the model cannot be trained on the data set."""
    from tuner.errors import UserError

    try:
        return trained(task)
    except UserError as error:
        return f"{task[0]} on {task[1]}: {error}"


def trained(task: tuple[str, str, int, str | None, str]) -> dict[str, Any]:
    """Raises UserError where the model cannot be trained on the data set."""
    name, dataset, seed, root, pretrained = task
    import torch

    from tuner.data.datasets import DatasetSpec, load
    from tuner.model import load_model
    from tuner.training.loop import train
    from tuner.training.pretraining import PretrainingCache

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as folder:
        named = vectors(dataset, folder) if dataset in VECTORS else dataset
        data = load(DatasetSpec(name=named), Path(root) if root else None)
    row: dict[str, Any] = {"model": name, "dataset": dataset, "seed": seed}
    if name in SHALLOW:
        began, metrics = time.monotonic(), shallow(name, data, seed)
        row |= {"epochs": 1, "ended": "complete"} | {k: round(metrics[k], 4) for k in COLUMNS if k in metrics}
        return row | made(began, "cpu") | {"config": {}}
    model, device = load_model(name), "cuda" if torch.cuda.is_available() else "cpu"
    h = hyper(name, dataset, seed, data.spec.n_classes or 10)
    if model.labels == "partial":
        row |= nearest_errors(data, h)
    began = time.monotonic()
    entry = PretrainingCache(folder=Path(pretrained)).entry(model, h, data.to(device), seed=seed, pretrain_seed=seed)
    start = entry.start() if entry else None
    row |= {"pretrained_elsewhere": True} if start else {}
    for epoch in train(model, h, data, seed=seed, start=start, device=device):
        if entry and entry.takes(epoch):
            entry.keep(epoch.phase, epoch.snapshot())
        row |= {"epochs": epoch.epoch, "ended": epoch.ended} | {k: round(epoch.metrics[k], 4) for k in COLUMNS if k in epoch.metrics}
    return row | made(began, device) | {"config": dict(h.flat())}


def made(began: float, device: str) -> dict[str, Any]:
    """How long a row took, and what made it."""
    import torch

    from tuner.machines.versions import commit

    return {"seconds": round(time.monotonic() - began, 1), "device": _device(device), "torch": torch.__version__, "commit": commit()}


def _device(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {os.environ['OMP_NUM_THREADS']} thread(s)"


def rows() -> list[dict[str, Any]]:
    """The runs of configurations that are today's defaults."""
    lines = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    from tuner.model import model_names

    known = set(model_names())
    others = [row for row in lines if row["model"] in SHALLOW]
    # A hyper-parameter that is newer than a row had its default there: a new choice's default is what was done before.
    mine = [row for row in lines if row["model"] in known]
    return others + [
        row for row in mine if row["config"].items() <= hyper(row["model"], row["dataset"], row["seed"], _clusters(row)).flat().items()
    ]


def _clusters(row: dict[str, Any]) -> int:
    return int(row["config"]["n_clusters"]) if row["dataset"] in VECTORS else 10


def tasks(given: argparse.Namespace, pretrained: str) -> Iterator[tuple[str, str, int, str | None, str]]:
    """What is missing, one seed of everything first. `pretrained`: the folder for what the runs share."""
    done = {(row["model"], row["dataset"], row["seed"]) for row in rows()}
    for seed in range(given.seeds):
        for dataset in given.datasets:
            for name in given.models:
                if (name, dataset, seed) not in done:
                    yield name, dataset, seed, given.data_root, pretrained


def table() -> str:
    """docs/accuracy.md."""
    from tuner.data.names import NEAR
    from tuner.model import model_names

    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows():
        found.setdefault((row["dataset"], row["model"]), []).append(row)
    text = [HEAD]
    for dataset in dict.fromkeys(dataset for dataset, _ in found):
        text += [
            f"\n## {dataset}\n",
            *([f"{dataset} is {NEAR[dataset]}.\n"] if dataset in NEAR else []),
            "| model | seeds | ACC | NMI | ARI | error | of 1-NN | epochs | seconds | published |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        here = {name: runs for (of, name), runs in sorted(found.items()) if of == dataset}
        for name in sorted(here, key=lambda name: (name not in WITHOUT_NETWORK, name)):
            runs = here[name]
            ended = [row["ended"] for row in runs if row["ended"] != "complete"]
            note = f" ({len(ended)} {' '.join(sorted(set(ended)))})" if ended else ""
            cells = [_spread([row[k] for row in runs if k in row]) for k in ("acc", "nmi", "ari")]
            for error in ("error", "nearest_error"):
                cells += [_spread([row.get(f"{error}_test", row.get(error)) for row in runs if error in row])]
            whole = [row["seconds"] for row in runs if "pretrained_elsewhere" not in row]
            seconds = whole or [row["seconds"] for row in runs]
            cells += [str(max(row["epochs"] for row in runs)), f"{statistics.mean(seconds):.0f}{'' if whole else ' *'}"]
            text.append(f"| {' | '.join([name, str(len(runs)) + note, *cells, PUBLISHED.get((dataset, name), '')])} |")
        text += ["", verdict(here)]
        missing = [name for name in (*model_names(), *SHALLOW) if name not in here]
        text += [f"\nNot run: {', '.join(missing)}."] if missing else []
    hardware = sorted({f"{row['device']}, torch {row['torch']}" for runs in found.values() for row in runs})
    commits = sorted({row["commit"] for runs in found.values() for row in runs})
    return "\n".join([*text, f"\nHardware: {'; '.join(hardware)}. Commits: {', '.join(commits)}.\n"])


def verdict(here: dict[str, list[dict[str, Any]]]) -> str:
    """Which models without labels are better than the best clustering without a network, by ACC: the difference of the means, and Welch's
    interval of 95 % for it."""
    from scipy.stats import ttest_ind

    from tuner.model import load_model

    accs = {name: [100 * row["acc"] for row in runs if "acc" in row] for name, runs in here.items()}
    best = max((name for name in WITHOUT_NETWORK if accs.get(name)), key=lambda name: statistics.mean(accs[name]), default=None)
    if best is None:
        return "No clustering without a network was run."
    found: dict[str, list[str]] = {"better": [], "no different that these seeds show": [], "worse": []}
    alone = []
    for name in sorted(set(accs) - set(WITHOUT_NETWORK), key=lambda name: -statistics.mean(accs[name] or [0])):
        if load_model(name).labels == "partial" or not accs[name]:
            continue
        if min(len(accs[name]), len(accs[best])) < 2:
            alone.append(name)
            continue
        gap = statistics.mean(accs[name]) - statistics.mean(accs[best])
        between = ttest_ind(accs[name], accs[best], equal_var=False).confidence_interval(0.95)
        kind = "better" if between.low > 0 else "worse" if between.high < 0 else "no different that these seeds show"
        found[kind].append(f"`{name}` {gap:+.1f} ({between.low:+.1f} to {between.high:+.1f})")
    text = [f"Against the best without a network, `{best}` with {_spread([value / 100 for value in accs[best]])}, in points of ACC:"]
    text += [f"{kind}: {', '.join(names) or 'none'};" for kind, names in found.items()]
    text += [f"of one seed, and so without an interval: {', '.join(alone)};"] if alone else []
    return " ".join(text).rstrip(";") + "."


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    sd = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{sd}"


HEAD = """# Accuracy of the defaults

Written by `python benchmarks/accuracy.py` from `benchmarks/accuracy.jsonl`. Every model's default configuration, the last epoch, all
samples. Nothing was searched and nothing chosen by labels, but if a paper leaves a setting open, its default was found with the labels of
digits in sight. Percent, mean ± standard deviation over the seeds; ACC is the Hungarian one.
`error` is measured for the semi-supervised models (`labels = "partial"`), on the published test split or, if there is none, on the samples
without a label; every seed draws other labels, 100 of them. `of 1-NN` is the error, on the same samples, of the class of the nearest of
the same labelled samples. Seconds are wall time of one run on a shared machine; some of the runs stood still for minutes. *: without the
pre-training, which another model's run had done.

Published figures have their papers' own training lengths and, if the letter is not h, another measure (h Hungarian; v `acc_aae`, a
cluster's class being that of the one sample that is likeliest in it; m majority vote; b best run; r run again by another paper): compare
with care.
ACC, NMI and ARI of `aae_semi`, `gumbel_vae_semi`, `m1`, `m1_m2` and `m2` on digits count the 100 labelled samples, too: tuner has left them
out only since.

`wine` are scikit-learn's 178 wines, `blobs` 1,000 made samples in 20 dimensions that overlap; every feature from 0 to 1. They show what the
defaults, which are of pictures, come to on vectors, at one seed each. `wine` is smaller than a default batch: there batches are of 32."""


def main() -> None:
    from tuner.model import model_names

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["digits"])
    parser.add_argument("--models", nargs="+", default=[*model_names(), *SHALLOW])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data-root", default=os.environ.get("TUNER_DATA"))
    parser.add_argument("--table", action="store_true", help="only write docs/accuracy.md anew")
    given = parser.parse_args()
    if not given.table:
        spawn = multiprocessing.get_context("spawn")
        pretrained = tempfile.TemporaryDirectory()
        with pretrained, spawn.Pool(given.workers, maxtasksperchild=8) as pool, ROWS.open("a") as file:
            for row in pool.imap_unordered(one, list(tasks(given, pretrained.name))):
                if isinstance(row, str):
                    print(row, flush=True)
                    continue
                print({key: value for key, value in row.items() if key != "config"}, flush=True)
                file.write(json.dumps(row) + "\n")
                file.flush()
    TABLE.write_text(table())


if __name__ == "__main__":
    main()
