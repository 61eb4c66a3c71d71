"""How well would each criterion have chosen that looks at no labels? `python benchmarks/selection.py --data-root DIR`.

For a model and a data set, 16 configurations are drawn at random from the model's shipped space, with as many clusters as there are
classes, and each is trained on two seeds. Every criterion ranks the configurations, by the mean over their seeds; the labels then say how
well. What is found is appended to benchmarks/selection.jsonl at once, one line for each model and data set; one that is there is not done
again.

    python benchmarks/selection.py --datasets digits wine         # what is missing of these
    python benchmarks/selection.py --table                        # only writes the tables of docs/selection.md anew

Trainings are short (`LENGTHS`), so that an evening suffices: the figures compare criteria, not models.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.data.datasets import Data
    from tuner.runs.partitions import Partition
    from tuner.space.spec import Spec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the runs share the cores
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROWS, PAGE = ROOT / "benchmarks" / "selection.jsonl", ROOT / "docs" / "selection.md"
BEGIN, END = "<!-- benchmarks/selection.py: begin -->", "<!-- benchmarks/selection.py: end -->"

MODELS = ("ae", "idec", "dec", "dcn", "vade", "vae", "gumbel_vae", "aae_unsup", "gmvae")
DATASETS = ("wine", "digits", "blobs", "breast_cancer", "usps")
LENGTHS = {"wine": (30, 20, 32), "breast_cancer": (15, 10, 32), "blobs": (10, 10, 64), "digits": (10, 10, 128), "usps": (4, 3, 256)}
"""By data set: epochs of pre-training, of clustering, and the size of a batch. Models without pre-training have the sum of both."""
CRITERIA = {
    "silhouette": 1, "davies_bouldin": -1, "calinski_harabasz": 1, "description_length": -1, "balance": 1, "confidence": 1,
    "reconstruction": -1, "ace": 1, "stability": 1,
}  # fmt: skip
"""By name: 1 where more is better, -1 where less is."""
TOGETHER = (("silhouette", "davies_bouldin", "calinski_harabasz"), ("ace", "stability"), ("ace", "description_length"),
            ("ace", "balance"), ("ace", "stability", "balance"), ("stability", "balance"))  # fmt: skip
"""Criteria whose ranks are added."""


# --- training ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What one training came to. `partition`: None where it did not complete."""

    config: dict[str, Any]
    metrics: dict[str, float]
    partition: Partition | None


@lru_cache(maxsize=1)
def vectors(name: str, folder: str) -> str:
    """Writes one of the data sets that scikit-learn ships or makes, every feature from 0 to 1; gives its name in a space."""
    import numpy as np
    from sklearn import datasets

    if name == "blobs":  # eight clusters in 20 dimensions, of unequal spread, that overlap
        x_ND, y_N = datasets.make_blobs(1000, 20, centers=8, cluster_std=[1, 2, 3, 4] * 2, center_box=(-4, 4), random_state=0)
    else:
        x_ND, y_N = getattr(datasets, f"load_{name}")(return_X_y=True)
    x_ND = (x_ND - x_ND.min(axis=0)) / np.ptp(x_ND, axis=0)
    path = Path(folder) / f"{name}.npz"
    np.savez(path, x=x_ND.astype(np.float32), y=y_N)
    return f"npz:{path}"


def space(model: str, dataset: str, data: Data) -> Spec:
    """The model's shipped space on another data set: K fixed, and short trainings."""
    from dataclasses import replace

    from tuner.space.reader import read_space

    spec = replace(read_space(model), method="random", seed=0)
    before, after, batch = LENGTHS[dataset]
    staged = "pretrain_epochs" in spec.known
    fixed: dict[str, Any] = {"n_clusters": data.spec.n_classes, "epochs": after if staged else before + after}
    fixed |= {"pretrain_epochs": before} if staged else {}
    fixed |= {"batch_size": batch} if "batch_size" in spec.known else {}
    return spec.fixing(fixed)


def configurations(spec: Spec, n: int) -> list[dict[str, Any]]:
    """The model's default, then up to `n` that were drawn."""
    import optuna

    from tuner.search.proposals import Proposals

    study, proposals = optuna.create_study(), Proposals(spec)
    default = {found.name: found.value for found in spec.parameters if not found.searched}
    found = [{**spec.loaded().hyper({k: v for k, v in default.items() if k in spec.known}).flat()}]
    while len(found) <= n and not proposals.exhausted():
        study.ask()
        chosen = proposals.propose(study, study.trials[-1])
        proposals.add(chosen)
        found.append({name: value for name, value in spec.config(chosen).items() if name in spec.known})
    return found


def trained(spec: Spec, config: dict[str, Any], data: Data, seed: int) -> Trained:
    """One training to its end."""
    from tuner.runs.partitions import Partition
    from tuner.training.codes import subsample_of
    from tuner.training.loop import train

    model, h = spec.loaded(), spec.hyper(config)
    *_, epoch = train(model, h, data, seed=seed)
    if epoch.ended != "complete":
        return Trained(config=config, metrics={}, partition=None)
    c_S, z_SZ = subsample_of(model, h, data, epoch.snapshot())
    return Trained(config=config, metrics=epoch.metrics, partition=Partition(c_S=c_S, z_SZ=z_SZ.astype("float64")))


# --- a row -------------------------------------------------------------------------------------------------------------


def row(model: str, dataset: str, given: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Trains everything of one model on one data set."""
    import torch

    from tuner.data.datasets import DatasetSpec, load
    from tuner.machines.versions import commit

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    named = dataset if dataset in ("digits", "usps") else vectors(dataset, folder)
    data = load(DatasetSpec(name=named), Path(given.data_root) if given.data_root else None)
    spec, began = space(model, dataset, data), time.monotonic()
    configs = configurations(spec, given.configurations)
    runs = [[trained(spec, config, data, seed) for seed in range(given.seeds)] for config in configs]
    default, drawn = runs[0], [seeds for seeds in runs[1:] if all(one.partition for one in seeds)]
    return {
        "model": model, "dataset": dataset, "seeds": given.seeds, "drawn": len(configs) - 1, "complete": len(drawn),
        "lengths": LENGTHS[dataset],
        "default": {name: _mean(default, name) for name in ("acc", "nmi")},
        "configurations": _judged(drawn),
        "seconds": round(time.monotonic() - began, 1), "torch": torch.__version__, "commit": commit(),
    }  # fmt: skip


def _judged(drawn: Sequence[Sequence[Trained]]) -> list[dict[str, Any]]:
    """What every criterion, and the labels, say of each configuration."""
    from tuner.evidence.spaces import ace
    from tuner.evidence.stability import stability

    partitions = [one.partition for seeds in drawn for one in seeds if one.partition is not None]
    score_T = ace(partitions).score_T if partitions else []
    n = len(drawn[0]) if drawn else 1
    found = []
    for i, seeds in enumerate(drawn):
        values: dict[str, float | None] = {name: _mean(seeds, name) for name in CRITERIA if name in seeds[0].metrics}
        losses = [name for name in ("loss/recon", "loss/recon_ae") if name in seeds[0].metrics]
        values["reconstruction"] = _mean(seeds, losses[0]) if losses else None
        values["ace"] = float(statistics.fmean(score_T[i * n : (i + 1) * n]))
        values["stability"] = stability([one.partition for one in seeds if one.partition is not None])
        searched = {name: value for name, value in seeds[0].config.items() if any(value != other[0].config[name] for other in drawn)}
        found.append({"acc": _mean(seeds, "acc"), "nmi": _mean(seeds, "nmi"), "criteria": values, "config": searched})
    return found


def _mean(runs: Sequence[Trained], name: str) -> float | None:
    values = [one.metrics[name] for one in runs if name in one.metrics]
    return round(statistics.fmean(values), 6) if len(values) == len(runs) else None


def rows() -> list[dict[str, Any]]:
    from kept import rows_of

    return rows_of(ROWS)


# --- tables ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How a criterion chose in one row. `acc`: of its pick; `rho_acc`, `rho_nmi`: Spearman's correlations, None where it says the same of
    all configurations; `labelled`: ACC of the best by the labels; `default`: of the model's default."""

    dataset: str
    acc: float
    labelled: float
    default: float | None
    average: float
    rho_acc: float | None
    rho_nmi: float | None


def choice(found: dict[str, Any], names: Sequence[str]) -> Choice | None:
    """That of some criteria by the sum of their ranks; None where the row lacks one of them."""
    from scipy.stats import rankdata

    all_of = found["configurations"]
    if len(all_of) < 3 or any(one["criteria"].get(name) is None for one in all_of for name in names):
        return None
    rank_C = sum(rankdata([-CRITERIA[name] * one["criteria"][name] for one in all_of]) for name in names)
    acc = [one["acc"] for one in all_of]
    return Choice(
        dataset=found["dataset"],
        acc=acc[int(rank_C.argmin())],
        labelled=max(acc),
        default=found["default"]["acc"],
        average=statistics.fmean(acc),
        rho_acc=_rho(rank_C, acc),
        rho_nmi=_rho(rank_C, [one["nmi"] for one in all_of]),
    )


def _rho(rank_C: Any, values: Sequence[float]) -> float | None:
    from scipy.stats import spearmanr

    if len(set(rank_C)) == 1 or len(set(values)) == 1:
        return None
    rho = float(spearmanr(-rank_C, values).statistic)
    return rho if math.isfinite(rho) else None


def tables() -> str:
    """What stands in the page between its marks."""
    found = rows()
    ways = [(name,) for name in CRITERIA] + list(TOGETHER)
    text = [
        "| criterion | rows | rank correlation with ACC | with NMI | ACC of its pick | behind the labelled choice | before the default |"
    ]
    text += ["|---|---|---|---|---|---|---|"]
    for names in ways:
        chosen = [one for cell in found if (one := choice(cell, names)) is not None]
        if chosen:
            text.append(_line(" + ".join(f"`{name}`" for name in names), chosen))
    every = [one for cell in found if (one := choice(cell, ("silhouette",))) is not None]
    text.append(f"| any one, drawn by chance | {len(every)} | 0 | 0 | {_part(one.average for one in every)} | "
                f"{_part(one.labelled - one.average for one in every)} | "
                f"{_part(one.average - one.default for one in every if one.default is not None)} |")  # fmt: skip
    text += [
        "",
        "Behind the labelled choice, by data set:",
        "",
        f"| criterion | {' | '.join(DATASETS)} |",
        f"|---|{'---|' * len(DATASETS)}",
    ]
    for names in ways:
        chosen = [one for cell in found if (one := choice(cell, names)) is not None]
        cells = [_part(one.labelled - one.acc for one in chosen if one.dataset == dataset) for dataset in DATASETS]
        text += [f"| {' + '.join(f'`{name}`' for name in names)} | {' | '.join(cells)} |"] * bool(chosen)
    text += ["", "ACC in %, of each row: the labelled choice, then the picks.", ""]
    few = ("silhouette", "davies_bouldin", "description_length", "balance", "confidence", "ace", "stability")
    text += [
        f"| data | model | configurations | labelled | default | {' | '.join(f'`{name}`' for name in few)} |",
        f"|{'---|' * (5 + len(few))}",
    ]
    for cell in sorted(found, key=lambda one: (DATASETS.index(one["dataset"]), one["model"])):
        picks = [choice(cell, (name,)) for name in few]
        first = next((one for one in picks if one is not None), None)
        if first is not None:
            default = "–" if first.default is None else f"{100 * first.default:.1f}"
            accs = " | ".join("–" if one is None else f"{100 * one.acc:.1f}" for one in picks)
            head = f"| {cell['dataset']} | {cell['model']} | {cell['complete']} of {cell['drawn']}"
            text.append(f"{head} | {100 * first.labelled:.1f} | {default} | {accs} |")
    done = {(cell["dataset"], cell["model"]) for cell in found}
    missing = [f"{model} on {dataset}" for dataset in DATASETS for model in MODELS if (dataset, model) not in done]
    commits = ", ".join(sorted({cell["commit"] for cell in found}))
    text += ["", f"{len(found)} rows{'' if not missing else ', not run yet: ' + ', '.join(missing)}. Commits: {commits}."]
    return "\n".join(text)


def _line(name: str, chosen: Sequence[Choice]) -> str:
    cells = [str(len(chosen)), _rhos(one.rho_acc for one in chosen), _rhos(one.rho_nmi for one in chosen)]
    cells += [_part(one.acc for one in chosen), _part((one.labelled - one.acc for one in chosen), spread=True)]
    cells += [_part((one.acc - one.default for one in chosen if one.default is not None), spread=True)]
    return f"| {' | '.join([name, *cells])} |"


def _rhos(values: Iterator[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):.2f}" if known else "–"


def _part(values: Iterator[float], *, spread: bool = False) -> str:
    """A mean, in points; `spread`: with half of its 95 % interval."""
    from tuner.evidence.statistics import interval

    known = [100 * value for value in values]
    if not known:
        return "–"
    found = interval(known) if spread else None
    return f"{statistics.fmean(known):.1f}" + ("" if found is None else f" ({found.low:.1f} to {found.high:.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=DATASETS)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--configurations", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--data-root", default=os.environ.get("TUNER_DATA"))
    parser.add_argument("--table", action="store_true", help="only write the tables of docs/selection.md anew")
    given = parser.parse_args()
    if not given.table:
        with tempfile.TemporaryDirectory() as folder, ROWS.open("a") as file:
            for dataset in given.datasets:
                for model in given.models:
                    if (model, dataset) in {(one["model"], one["dataset"]) for one in rows()}:
                        continue
                    found = row(model, dataset, given, folder)
                    print({name: value for name, value in found.items() if name != "configurations"}, flush=True)
                    file.write(json.dumps(found) + "\n")
                    file.flush()
    from kept import write_between

    write_between(PAGE, BEGIN, END, tables())


if __name__ == "__main__":
    main()
