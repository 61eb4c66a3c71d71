"""Our DEC, IDEC, DCN and VaDE against ClustPy's: `python benchmarks/peers.py --clustpy PYTHON [--datasets digits usps]`.

Same data, networks, batches, epochs, optimisers, rates and loss weights, one thread; the two take turns, a round is one seed of each.
On either side DEC, IDEC and DCN start from one pre-training for each seed.
Seconds are those of an epoch's updates: without the metrics, which only tuner takes after each epoch, and without k-means. ACC is of the
last epoch. What could not be made equal stands above the table.

ClustPy needs an environment of its own:  python3 -m venv clustpy && clustpy/bin/pip install clustpy==0.0.3

    python benchmarks/peers.py --clustpy clustpy/bin/python --epochs 10 --pretrain-epochs 10         # minutes: the speed
    python benchmarks/peers.py --clustpy clustpy/bin/python --datasets digits usps                   # hours: the accuracy
    python benchmarks/peers.py --clustpy clustpy/bin/python --datasets usps --same-start             # ClustPy from our auto-encoders
    python benchmarks/peers.py --table                                                               # only writes the table anew

Finished runs are appended to benchmarks/peers.jsonl at once and not done again; the table goes into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and by ClustPy's interpreter
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROWS, DOCS = ROOT / "benchmarks" / "peers.jsonl", ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- benchmarks/peers.py: begin -->", "<!-- benchmarks/peers.py: end -->"

DEC = {"loss": "mean", "weight": 1.0, "optimizer": {"lr": 0.01, "momentum": 0.9}}
IDEC = {"loss": "mean", "weight": 0.1, "optimizer": {"lr": 1e-3}}
AE = "ae"  # only the pre-training that DEC, IDEC and DCN start from, and scikit-learn's k-means on its codes
# What differs between the models, in tuner's words and in ClustPy's. Their clustering rates are tuner's defaults.
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    AE: ({"model": "dec"}, {}),
    "dec": ({}, DEC),
    "dec_batch": ({"model": "dec", "target": "batch"}, {"model": "dec"} | DEC),
    "idec": ({}, IDEC),
    "idec_batch": ({"model": "idec", "target": "batch"}, {"model": "idec"} | IDEC),
    "dcn": ({}, {"loss": "sum", "weight": 1.0, "optimizer": {"lr": 1e-3}}),
    "vade": (
        {"recon_loss": "bce", "warm_up": 0, "decay": 1.0},
        {"pretrain_loss": "bce", "loss": "bce", "weight": 1.0, "optimizer": {"lr": 2e-3, "eps": 1e-4}},
    ),
}
SHARED = {"batch_size": 256, "hidden": 500, "latent_dim": 10, "n_clusters": 10, "n_init": 20, "lr_pretrain": 1e-3}
OURS, THEIRS = {"recon_loss": "mse"}, {"pretrain_loss": "mean"}
SAME_START = "clustpy_same_start"  # a side of its own: ClustPy's clustering from tuner's auto-encoder


class Ours:
    """tuner, here."""

    def __init__(self, folder: Path) -> None:
        from tuner.training.pretraining import PretrainingCache

        self._cache = PretrainingCache(folder=folder)
        self._pretrain_s: dict[Path, float] = {}

    def train(self, asked: dict[str, Any], data: Any) -> dict[str, Any]:
        from tuner.training.loop import train

        model, h, start, path = self._pretrained(asked, data)
        found = {"pretrain_s": self._pretrain_s[path]}
        if asked["model"] == AE:
            return found | {"acc": self._k_means(model, h, start, data, asked["seed"])}
        seconds = []
        for epoch in train(model, h, data, seed=asked["seed"], start=start):
            seconds.append(data.spec.n_samples / epoch.metrics["samples_per_s"])
        # The first clustering epoch has k-means in it.
        return found | {"epoch_s": statistics.mean(seconds[1:]), "acc": epoch.metrics["acc"]}

    def autoencoder(self, asked: dict[str, Any], data: Any) -> dict[str, Any]:
        """The weights with which clustering begins, as arrays."""
        start = self._pretrained(asked, data)[2]
        return {name: t.numpy() for name, t in start.tensors.items() if name.startswith(("encoder.", "decoder."))}

    def _pretrained(self, asked: dict[str, Any], data: Any) -> tuple[Any, Any, Any, Path]:
        """The model, its configuration, where its clustering begins, and the file of that, which is made first where it is not there."""
        from tuner.model import load_model
        from tuner.training.loop import train

        more, seed = {"model": asked["model"], **OURS, **MODELS[asked["model"]][0]}, asked["seed"]
        model = load_model(more.pop("model"))
        epochs = max(asked["epochs"], 1)  # `ae` has none, a model at least one
        h = model.hyper({**SHARED, "pretrain_epochs": asked["pretrain_epochs"], "epochs": epochs, **more})
        entry = self._cache.entry(model, h, data, seed=seed, pretrain_seed=seed)
        assert entry is not None
        (kept,) = entry.files.values()
        if entry.start() is None:
            seconds = []
            for epoch in train(model, h, data, seed=seed):
                seconds.append(data.spec.n_samples / epoch.metrics["samples_per_s"])
                if entry.takes(epoch):
                    entry.keep(epoch.phase, epoch.snapshot())
                    break
            self._pretrain_s[kept] = statistics.mean(seconds)
        return model, h, entry.start(), kept

    def _k_means(self, model: Any, h: Any, start: Any, data: Any, seed: int) -> float:
        """ACC of scikit-learn's k-means on the codes."""
        import torch
        from sklearn.cluster import KMeans

        encoder = model.networks(h, data.spec)["encoder"]
        encoder.load_state_dict({name.removeprefix("encoder."): t for name, t in start.tensors.items() if name.startswith("encoder.")})
        with torch.no_grad():
            z_NZ = encoder(data.x_ND).numpy()
        return acc(KMeans(h.n_clusters, n_init=h.n_init, random_state=seed).fit_predict(z_NZ), data.y_N)


class Theirs:
    """ClustPy, in its own interpreter."""

    def __init__(self, python: str) -> None:
        path = str(Path(__file__).with_name("clustpy_side.py"))
        self._process = subprocess.Popen([python, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.torch = self._answer()["torch"]

    def train(self, asked: dict[str, Any], paths: tuple[Path, Path | None], y_N: Any) -> dict[str, Any]:
        """`paths`: the data and, where it is not to pre-train, an auto-encoder."""
        files = {what: str(path) for what, path in zip(("data", "start"), paths, strict=True) if path}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({**SHARED, **asked, **THEIRS, **MODELS[asked["model"]][1], **files}) + "\n")
        self._process.stdin.flush()
        found = self._answer()
        found["acc"] = acc(found.pop("labels"), y_N)
        if "refitted" in found:
            found["acc_refitted"] = acc(found.pop("refitted"), y_N)
        return found

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None and self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"ClustPy's interpreter ended:\n{self._process.stderr.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def acc(c_N: Any, y_N: Any) -> float:
    import torch

    from tuner import agreement, metrics

    return agreement.acc(metrics.contingency(torch.as_tensor(c_N), y_N, SHARED["n_clusters"], int(y_N.max()) + 1).numpy())


def measure(given: argparse.Namespace) -> None:
    import numpy as np
    import torch

    from tuner.data.datasets import DatasetSpec, load
    from tuner.machines.versions import commit

    torch.set_num_threads(1)
    theirs, done = Theirs(given.clustpy), {key(row) for row in rows()}
    about = {"machine": platform.machine(), "torch": torch.__version__, "torch_clustpy": theirs.torch, "commit": commit()}
    about |= {"crowded": True} if given.crowded else {}
    with tempfile.TemporaryDirectory() as folder, ROWS.open("a") as file:
        ours = Ours(given.pretrained or Path(folder))
        for dataset in given.datasets:
            data = load(DatasetSpec(name=dataset), Path(given.data_root) if given.data_root else None)
            path = Path(folder) / f"{dataset}.npz"  # ClustPy's side sees what ours does
            np.savez(path, x=data.x_ND.numpy())
            for seed in given.seeds:
                for name in given.models:
                    asked = {
                        "dataset": dataset,
                        "model": name,
                        "seed": seed,
                        "epochs": 0 if name == AE else given.epochs,
                        "pretrain_epochs": given.pretrain_epochs,
                    }
                    turns = ["tuner", "clustpy"] if seed % 2 == 0 else ["clustpy", "tuner"]
                    sides = [SAME_START] if given.same_start else turns
                    if all(key({**asked, "side": side}) in done for side in sides):
                        continue
                    for side in sides:  # both again: only what ran side by side compares
                        start = None
                        if side == SAME_START:
                            start = Path(folder) / "start.npz"
                            np.savez(start, **ours.autoencoder(asked, data))
                        found = ours.train(asked, data) if side == "tuner" else theirs.train(asked, (path, start), data.y_N)
                        row = {**asked, "side": side, **{k: round(v, 5) for k, v in found.items()}, **about}
                        print({k: v for k, v in row.items() if k not in about}, flush=True)
                        file.write(json.dumps(row) + "\n")
                        file.flush()


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("dataset", "model", "seed", "epochs", "pretrain_epochs", "side"))


def rows() -> list[dict[str, Any]]:
    """The last run of each kind."""
    lines = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    return list({key(row): row for row in lines}.values())


def table() -> str:
    found: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = {}
    for row in sorted(rows(), key=lambda row: (row["dataset"], row["model"], row["epochs"], row["seed"])):
        which = (row["dataset"], row["model"], row["pretrain_epochs"], row["epochs"])
        found.setdefault(which, {"tuner": [], "clustpy": [], SAME_START: []})[row["side"]].append(row)
    text = [HEAD]
    for (dataset, model, pretrain_epochs, epochs), sides in found.items():
        pairs = [(mine, theirs) for mine in sides["tuner"] for theirs in sides["clustpy"] if mine["seed"] == theirs["seed"]]
        if not pairs:
            continue
        cells = [dataset, model, f"{pretrain_epochs} + {epochs}", str(len(pairs))]
        timed = [pair for pair in pairs if not any("crowded" in row for row in pair)]
        cells += [*_times(timed, "pretrain_s"), *_times(timed, "epoch_s")]
        cells += [_spread([mine["acc"] for mine, _ in pairs])]
        cells += [_spread([theirs[name] for _, theirs in pairs if name in theirs]) for name in ("acc", "acc_refitted")]
        same = found[dataset, MODELS[model][1].get("model", model), pretrain_epochs, epochs][SAME_START]
        gains = [mine["acc"] - theirs["acc"] for mine, _ in pairs for theirs in same if mine["seed"] == theirs["seed"]]
        cells += [f"{_spread(gains)} ({len(gains)})" if gains else ""]
        text.append(f"| {' | '.join(cells)} |")
    said = sorted({f"{row['machine']}, one thread, torch {row['torch']} and {row['torch_clustpy']}" for row in rows()})
    return "\n".join([*text, f"\nHardware: {'; '.join(said)}. Commits: {', '.join(sorted({row['commit'] for row in rows()}))}."])


def _times(pairs: list[tuple[dict[str, Any], dict[str, Any]]], phase: str) -> tuple[str, str]:
    pairs = [pair for pair in pairs if phase in pair[0]]
    if not pairs:
        return "", ""
    ratios = [mine[phase] / theirs[phase] for mine, theirs in pairs]
    ours, theirs = (1000 * statistics.median(pair[i][phase] for pair in pairs) for i in (0, 1))
    return f"{ours:.0f} / {theirs:.0f}", f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    sd = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{sd}"


HEAD = """\
Written by `benchmarks/peers.py` from `benchmarks/peers.jsonl`: ClustPy 0.0.3 and tuner's solo engine on the same data, in turns. Equal
are the networks (D-500-500-2000-10, ReLU), how they are initialised, batches of 256 without the incomplete last one, epochs, optimisers
and rates, losses, their reductions and weights, and the number of starts of k-means. On either side DEC, IDEC and DCN start from one
pre-training for each seed; `ae` is that pre-training by itself, with scikit-learn's k-means on its codes. Times are milliseconds of an
epoch's updates, ours / theirs, medians of the rounds; a ratio below 1 says that ours takes less (its median, its range over the rounds).
The other core was busy; where no times are given, other processes ran on the same one, and now and then in the first of the rounds of 30
+ 10 epochs. ACC is the Hungarian one in percent, mean ± standard deviation, of the model's own labels after the last epoch; ClustPy also
clusters its codes once more at the end ("again"). "Same start" is ours minus ClustPy's where ClustPy clusters from our auto-encoder, so
that the clustering alone differs (its rounds).

Not equal: ClustPy's DEC and IDEC sharpen the assignments of each batch by themselves; ours hold, as in the papers, a target of the whole
data set, renewed every 30 batches, which costs passes over the data: on USPS, with 36 batches an epoch, our DEC does 1.4 times the
arithmetic (a pass forward is a third of a step, which goes back, too), IDEC 1.2 times. `dec_batch` and `idec_batch` are ours with
`target: batch`, which is ClustPy's way. ClustPy's DCN moves centres sample after sample in Python, ours in one tensor operation.
ClustPy's VaDE starts from the best mixture of 20 EM runs, ours from one EM run after 20 starts of k-means; it starts sigma where a fresh
layer does, ours at the clusters' scale; it leaves out the 1/2 of the log-variance in p(c | z), its mixture weights start nearly uniform,
and its own labels are of a sampled code. Our warm-up and decay are off.

| data | model | epochs | rounds | pre-training, ms | ratio | clustering, ms | ratio | ACC, ours | ACC, ClustPy | again | same start |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clustpy", metavar="PYTHON", help="the interpreter that has ClustPy")
    parser.add_argument("--datasets", nargs="+", default=["digits"])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)), help="a round each, in which the sides take turns")
    parser.add_argument("--pretrain-epochs", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=50, help="2 or more")
    parser.add_argument("--crowded", action="store_true", help="other work runs beside: the table gives no times")
    parser.add_argument("--same-start", action="store_true", help="only ClustPy's DEC, IDEC and DCN, from tuner's auto-encoders")
    parser.add_argument(
        "--pretrained", type=Path, metavar="DIR", help="with --same-start: where tuner's auto-encoders are kept for the next time"
    )
    parser.add_argument("--data-root", default=os.environ.get("TUNER_DATA"))
    parser.add_argument("--table", action="store_true", help="only write the table anew")
    given = parser.parse_args()
    if given.epochs < 2 or (given.clustpy is None and not given.table):
        parser.error("--epochs is 2 or more, and --clustpy names an interpreter")
    if given.pretrained and not given.same_start:
        parser.error("--pretrained is for --same-start: elsewhere pre-training is timed, and so done")
    if given.same_start:
        given.models = [name for name in given.models if name in ("dec", "idec", "dcn")]
    if not given.table:
        measure(given)
    text, found = DOCS.read_text(), table()
    before, _, rest = text.partition(BEGIN)
    DOCS.write_text(f"{before}{BEGIN}\n{found}\n{END}{rest.partition(END)[2]}")
    print(found)


if __name__ == "__main__":
    main()
