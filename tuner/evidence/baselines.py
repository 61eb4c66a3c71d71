"""Did clustering help? k-means beside a confirmed winner: on the raw data, on their principal components, on its pre-trained code."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.atomic import write_whole
from tuner.plain_json import is_number
from tuner.runs.journal import json_object
from tuner.runs.paths import CONFIRM, pretrained_folder

if TYPE_CHECKING:
    import numpy as np

    from tuner.data.datasets import Data
    from tuner.space.spec import Spec

logger = logging.getLogger("tuner")

BASELINES = "baselines.json"  # in the folder of the confirmation
VARIANCE = 0.9  # of the data, which the principal components keep
STARTS = 10  # of k-means, from which scikit-learn takes the best
FITTED = 20_000  # samples that k-means is fitted to, at most; all are assigned
RAW, PCA, CODE = "k-means, raw data", "k-means, PCA", "k-means, pre-trained code"


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """`of`: the configuration that gave K and the codes. `metrics`: by baseline and seed, the metrics of its partition."""

    of: str
    n_clusters: int
    metrics: Mapping[str, Mapping[int, Mapping[str, float]]]

    def values(self, baseline: str, metric: str) -> dict[int, float]:
        """A metric by seed; empty where a partition alone does not have it."""
        return {seed: found[metric] for seed, found in self.metrics.get(baseline, {}).items() if metric in found}

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        by_text = {name: {str(seed): dict(found) for seed, found in seeds.items()} for name, seeds in self.metrics.items()}
        return {"of": self.of, "n_clusters": self.n_clusters, "metrics": by_text}


def read_baselines(folder: Path) -> Baselines | None:
    """Those of the run in `folder`; None where none were computed.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / CONFIRM / BASELINES
    if not path.is_file():
        return None
    content = json_object(path, _wrong)
    metrics = {name: {int(seed): found for seed, found in seeds.items()} for name, seeds in content["metrics"].items()}
    return Baselines(of=str(content["of"]), n_clusters=int(content["n_clusters"]), metrics=metrics)


def _wrong(content: Mapping[str, Any]) -> str | None:
    try:
        seeds = [found for by_seed in content["metrics"].values() for seed, found in by_seed.items() if int(seed) >= 0]
        sound = is_number(content["n_clusters"]) and all(is_number(value) for found in seeds for value in found.values())
        return None if sound and "of" in content else "it holds no baselines"
    except (AttributeError, KeyError, TypeError, ValueError):
        return "it holds no baselines"


def compute(folder: Path, spec: Spec, winner: str, configs: Sequence[Mapping[str, Any]], data: Data) -> Baselines | None:
    """Computes those of the run in `folder`, and keeps them. `configs`: the winner's, with each of its seeds. None where
    neither that nor the data's labels say into how many clusters.

    What was computed for another winner is kept where it is the same: on raw data and on PCA only K and the seeds matter.
    """
    from tuner.data.holdout import parts

    data = parts(data, spec.key("holdout")).kept  # what the winner was trained on, and compares by
    n_clusters = int(configs[0].get("n_clusters") or data.spec.n_classes or 0)
    if not n_clusters:
        return None
    before = read_baselines(folder)
    known = before.metrics if before is not None and before.n_clusters == n_clusters else {}
    codes = dict(known.get(CODE, {})) if before is not None and before.of == winner else {}
    found: dict[str, dict[int, Mapping[str, float]]] = {RAW: dict(known.get(RAW, {})), PCA: dict(known.get(PCA, {})), CODE: codes}
    x_ND = data.x_ND.flatten(1).cpu().numpy()  # images, too
    reduced: np.ndarray | None = None
    for config in configs:
        seed = int(config["seed"])
        if seed not in found[RAW]:
            found[RAW][seed] = _kmeans(x_ND, n_clusters, seed, data)
        if seed not in found[PCA]:
            reduced = _reduced(x_ND) if reduced is None else reduced
            found[PCA][seed] = _kmeans(reduced, n_clusters, seed, data)
        if seed not in found[CODE] and (z_NZ := pretrained_codes(folder, spec, config, data)) is not None:
            found[CODE][seed] = _kmeans(z_NZ, n_clusters, seed, data)
    seeds = {int(config["seed"]) for config in configs}
    kept = {one: {seed: values for seed, values in by_seed.items() if seed in seeds} for one, by_seed in found.items() if by_seed}
    baselines = Baselines(of=winner, n_clusters=n_clusters, metrics=kept)
    write_whole(folder / CONFIRM / BASELINES, json.dumps(baselines.summary()) + "\n")
    return baselines


def _kmeans(x_ND: np.ndarray, n_clusters: int, seed: int, data: Data) -> dict[str, float]:
    """The metrics of a partition by scikit-learn's k-means."""
    import torch
    from sklearn.cluster import KMeans

    from tuner.metrics import of_partition

    fitted = KMeans(n_clusters=n_clusters, n_init=STARTS, random_state=seed).fit(x_ND[_rows(len(x_ND), seed)])
    return of_partition(torch.from_numpy(fitted.predict(x_ND)).long(), data.y_N, n_clusters)


def _rows(n_samples: int, seed: int) -> np.ndarray | slice:
    """Which samples k-means is fitted to: minutes on MNIST's 70,000, seconds on these."""
    import numpy as np

    return slice(None) if n_samples <= FITTED else np.sort(np.random.default_rng(seed).permutation(n_samples)[:FITTED])


def _reduced(x_ND: np.ndarray) -> np.ndarray:
    """(N, P): the fewest principal components that keep `VARIANCE`."""
    from sklearn.decomposition import PCA as Components

    # Of a tall matrix by its covariance: minutes of its own decomposition become seconds, with 3,072 values for each of 70,000 samples.
    solver = "covariance_eigh" if len(x_ND) > 10 * x_ND.shape[1] else "full"
    found: np.ndarray = Components(n_components=VARIANCE, svd_solver=solver).fit_transform(x_ND)
    return found


def pretrained_codes(folder: Path, spec: Spec, config: Mapping[str, Any], data: Data) -> np.ndarray | None:
    """(N, Z): the codes after all pre-training of one training of the run's confirmation; None where the model has no pre-training that is
    kept, or it is not kept any more."""
    from tuner.training.codes import codes_of
    from tuner.training.pretraining import PretrainingCache

    cache = PretrainingCache(folder=pretrained_folder(folder / CONFIRM), precision=spec.precision)
    model, h = spec.loaded(), spec.hyper(config)
    entry = cache.entry(model, h, data, seed=int(config["seed"]), pretrain_seed=spec.pretrain_seed_of(config))
    start = None if entry is None else entry.start()
    return None if start is None else codes_of(model, h, data, start)
