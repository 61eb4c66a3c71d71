"""The keys of a space file. A key is one entry of `KEYS`: how it is read, shown, kept when a run goes on, and explained in docs/.

To add a key, add an entry. `spec.key("patience")` is its value; a field of `Spec` with its name gives it a type, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tuner.data.holdout import TEST, size_of
from tuner.data.names import NEAR
from tuner.metrics import uses_labels
from tuner.model import DataSpec
from tuner.text import counted
from tuner.training.engine import PRECISIONS

from . import reading
from .confirming import Confirm, read_confirm
from .dataset_key import read_dataset
from .holding import read_holdout
from .objectives import read_metrics
from .reading import Asha, Read, Reading, truth, whole, word
from .scores import SCORES
from .seeding import MOST_SEED, Seeds, read_seed
from .selection import WITHOUT_LABELS, read_select
from .stopping import read_stop
from .tracking import read_mlflow

METHODS = {
    "tpe": "Optuna's TPESampler: prefers what good trials have in common",
    "random": "every trial by itself",
    "grid": "every combination of `values` and whole numbers, once",
    "gp": "Optuna's GPSampler: a Gaussian process of the metric",
    "cmaes": "Optuna's CmaEsSampler, for numbers; needs the package cmaes",
    "qmc": "Optuna's QMCSampler: random, but evenly spread",
}
_IN_SWEEPS = {
    "run_cap": "Here it is called 'trials'.",
    "program": "tuner trains the model itself: leave it out.",
    "command": "tuner trains the model itself: leave it out.",
    "project": "W&B reads it from WANDB_PROJECT: leave it out.",
    "entity": "W&B reads it from WANDB_ENTITY: leave it out.",
    "description": "Write it as a comment.",
}


@dataclass(frozen=True)
class Row:
    """A line of `tuner check`. `filled`: the entries of `Spec.filled` that mark it as a default, if any is there."""

    label: str
    text: str
    filled: tuple[str, ...] = ()


Show = Callable[[Mapping[str, Any], DataSpec], Iterable[Row]]


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of a space file.

    `kind`, `default`, `example`, `doc`: for docs/space.md, in Markdown. `default` is `required` where the file must have the key, and
    `missing` is what to do where it does not.
    `read`: the value, from a `Reading` and the key; it may use the `values` of the keys above it. None: `tuner/space/reader.py` reads
    it, since it depends on the parameters, or holds them.
    `plain`: the value as JSON. `decides`: results depend on it, so that a run goes on only while the key still means the same.
    `label`, `show`: its lines in `tuner check`, from the values of all keys and the data; without `show`, the value itself.
    """

    name: str
    kind: str
    default: str
    doc: str
    read: Read | None = None
    example: str = ""
    missing: str = ""
    plain: Callable[[Any], Any] = lambda value: value
    decides: bool = True
    label: str = ""
    show: Show | None = None

    def rows(self, values: Mapping[str, Any], data: DataSpec) -> list[Row]:
        """Its lines in `tuner check`."""
        if self.show is not None:
            return list(self.show(values, data))
        return [Row(self.label or self.name, str(values[self.name]), (self.name,))]


# --- lines of `tuner check` --------------------------------------------------------------------------------------------


def _show_dataset(values: Mapping[str, Any], data: DataSpec) -> Iterable[Row]:
    dataset = values["dataset"]
    parts = [dataset.name, *([f"limit {dataset.limit:,}"] if dataset.limit else []), *([f"scale {dataset.scale}"] if dataset.scale else [])]
    shape, labels = "x".join(map(str, data.shape)), f"{data.n_classes} classes" if data.n_classes else "no labels"
    labels += f" ({data.n_unknown:,} of the labels not known)" if data.n_unknown else ""
    near = f"; {NEAR[dataset.name]}" if dataset.name in NEAR else ""
    yield Row("data set", f"{', '.join(parts)}: {data.n_samples:,} samples of {shape}, {labels}{near}")


def _show_metric(values: Mapping[str, Any], data: DataSpec) -> Iterable[Row]:
    metric = values["metric"]
    uses = " (uses the labels)" if uses_labels(metric.name) else ""
    yield Row("metric", f"{metric.name}, {metric.goal}{uses}", ("metric.name", "metric.goal"))


def _show_metrics(values: Mapping[str, Any], data: DataSpec) -> Iterable[Row]:
    for metric in (values["metrics"] or ())[1:]:
        yield Row("and", f"{metric.name}, {metric.goal}{' (uses the labels)' if uses_labels(metric.name) else ''}")


def _show_seed(values: Mapping[str, Any], data: DataSpec) -> Iterable[Row]:
    yield Row("seed", str(values["seed"]), ("seed", "seed.value"))
    seeds: Seeds = values["seeds"]
    if seeds.race is not None:
        yield Row("seeds", f"a race: {', '.join(map(str, seeds.levels))} of a configuration, each time for the best 1/{seeds.reduction}")
    elif not seeds.single:
        yield Row("seeds", f"{seeds.repeat} of each configuration, which is worth their mean")


def _show_select(values: Mapping[str, Any], data: DataSpec) -> Iterable[Row]:
    if values["select"].labels == "never":
        yield Row("labels", "never choose, stop or rank: metrics that use them are only reported")


def _show_holdout(values: Mapping[str, Any], data: DataSpec) -> Iterable[Row]:
    holdout = values["holdout"]
    if holdout is not None:
        size = size_of(holdout, data.n_samples, data.n_test)
        yield Row("held out", f"{size:,} samples{', the published test split' if holdout == TEST else ''}: no trial sees them")


def _show_early_terminate(values: Mapping[str, Any], data: DataSpec) -> Iterable[Row]:
    asha: Asha | None = values["early_terminate"]
    early = "nothing"
    if asha is not None:
        early = f"asha: all but the best 1/{asha.reduction} after {asha.grace}, {asha.grace * asha.reduction}, … epochs"
    yield Row("stopped early", early, ("early_terminate.grace", "early_terminate.reduction"))


def _show_resources(values: Mapping[str, Any], data: DataSpec) -> Iterable[Row]:
    found = values["resources"]
    gpu = "a GPU where there is one" if found.gpu == "auto" else f"{found.gpu:g} GPU"
    yield Row("each trial has", f"{found.cpu:g} CPU, {gpu}", ("resources.cpu", "resources.gpu"))
    packs = {"auto": "in packs where they pay", 1: "each by itself"}.get(found.pack, f"in packs of up to {found.pack}")
    yield Row("trials train", packs, ("resources.pack",))


def _show_checkpoint_gb(values: Mapping[str, Any], data: DataSpec) -> Iterable[Row]:
    if values["checkpoint_gb"] is not None:
        yield Row("all checkpoints", f"up to {values['checkpoint_gb']:g} GB")


def _show_confirm(values: Mapping[str, Any], data: DataSpec) -> Iterable[Row]:
    found: Confirm | None = values["confirm"]
    if found is not None:
        again = f"the best {found.top} and the model's default, on {found.seeds} fresh seeds each"
        yield Row("confirmed", again, ("confirm.top", "confirm.seeds"))


# --- the table ---------------------------------------------------------------------------------------------------------

_TABLE = (
    Key(
        name="name", kind="a name", default="the file's name", example="first-try",
        doc="What the run is called, unless `--name` says otherwise.", read=reading.read_name, decides=False,
    ),
    Key(
        name="model", kind="a name", default="required", example="aae_unsup", doc="A model; `tuner models` lists them.",
        missing="name a model; `tuner models` lists them.", read=reading.read_model,
    ),
    Key(
        name="dataset", kind="a name or a mapping", default="required", example="{name: mnist, limit: 10000}",
        doc="A data set, or `{name: …, limit: …, scale: …, label: …, drop: […], id: …}`; see [data.md](data.md).",
        missing="name a data set, such as digits.", read=read_dataset, plain=lambda dataset: dataset.written(),
        decides=False, show=_show_dataset,  # when a run goes on, the samples are compared
    ),
    Key(
        name="metric", kind="a mapping", default="required", example="{name: acc, goal: maximize}",
        doc="`{name: …, goal: …}`: what decides ([metrics.md](metrics.md)). The goal may be left out, and all of it with"
        f" `select: {{labels: never}}`: `{WITHOUT_LABELS}`.",
        missing="say what decides, such as {name: acc, goal: maximize}. There is no default, since choosing by labels is a decision; with"
        f" select: {{labels: never}} it is {WITHOUT_LABELS}.",
        read=reading.read_metric, plain=asdict, show=_show_metric,
    ),
    Key(
        name="metrics", kind="a list", default="none", example="[acc, silhouette]",
        doc="In place of `metric`, where several decide: see [search.md](search.md).", read=read_metrics,
        plain=lambda metrics: None if metrics is None else [asdict(metric) for metric in metrics], show=_show_metrics,
    ),
    Key(
        name="select", kind="a mapping", default="`{labels: allowed}`", example="{labels: never}",
        doc="`{labels: never}`: nothing that looks at labels may choose, stop or rank; see [search.md](search.md).",
        read=read_select, plain=asdict, show=_show_select,
    ),
    Key(
        name="holdout", kind="a number, `test` or none", default="`none`", example="0.2",
        doc="A part of the data that no trial sees, a share of the samples or the published test split: the search selects on the rest, and"
        " reports on it; see [search.md](search.md).",
        read=read_holdout, show=_show_holdout,
    ),
    Key(
        name="score", kind=" | ".join(SCORES), default="`last`", example="last", doc="Which epochs count for a trial; see below.",
        read=word(SCORES, "last"),
        show=lambda values, data: [Row("score", f"{values['metric'].name} {SCORES[values['score']].words}", ("score",))],
    ),
    Key(
        name="method", kind=" | ".join(METHODS), default="`tpe`", example="tpe", doc="How configurations are chosen; see below.",
        read=word(METHODS, "tpe", {"bayes": "what W&B calls 'bayes' is tpe or gp here."}),
    ),
    Key(
        name="trials", kind="a whole number", default="24; with `method: grid` all configurations", example="24",
        doc="How many configurations are tried.", decides=False,
    ),
    Key(
        name="stop", kind="a mapping or none", default="`none`", example="{target: 0.9, plateau: 30, hours: 2}",
        doc="What ends the search before all `trials` are tried: `target`, a score; `plateau`, so many trials without a better one;"
        " `hours`; see [search.md](search.md).",
        read=read_stop, plain=lambda stop: stop.plain(), decides=False,
        show=lambda values, data: [Row("ends", values["stop"].words(values["metric"]))] if values["stop"].ever else (),
    ),
    Key(
        name="epochs", kind="a whole number", default="the model's", example="30",
        doc="The clustering epochs of a trial. It may also be searched, under `parameters`.",
    ),
    Key(
        name="seed", kind="a whole number or a mapping", default="0", example="{value: 0, repeat: 3}",
        doc="Everything random follows from it. `{repeat: 3}` tries each configuration on three seeds, `{race: 5}` good ones on up to five;"
        " see [search.md](search.md).",
        read=read_seed, show=_show_seed,
    ),
    Key(
        name="pretrain_seed", kind="a whole number", default="`seed`", example="0", doc="The seed of pre-training, which trials share.",
        read=lambda found, key: found.whole(key, 0, MOST_SEED, found.values["seed"]), label="pre-training seed",
    ),
    Key(
        name="precision", kind=" | ".join(PRECISIONS), default="`fp32`", example="fp32",
        doc="`fp32` or `tf32`: the arithmetic of matrix products on a GPU.", read=word(PRECISIONS, "fp32"),
    ),
    Key(
        name="early_terminate", kind="a mapping or none", default="`{type: asha, grace: 5, reduction: 3}`", example="none",
        doc="When bad trials are stopped, or `none`; see below.", read=reading.read_early_terminate,
        plain=lambda asha: "none" if asha is None else {"type": "asha", **asdict(asha)}, show=_show_early_terminate,
    ),
    Key(
        name="resources", kind="a mapping", default="`{cpu: 1, gpu: auto, pack: auto}`", example="{cpu: 2, gpu: 0.5}",
        doc="What one trial or one pack may use; see below.", read=reading.read_resources, plain=asdict, decides=False,
        show=_show_resources,
    ),
    Key(
        name="retries", kind="a whole number", default="2", example="2",
        doc="How often a trial is tried again after its process was killed.", read=whole(0, None, 2), decides=False,
        show=lambda values, data: [Row("retries", f"{counted(values['retries'], 'time')} if a trial's process is killed", ("retries",))],
    ),
    Key(
        name="checkpoint_gb", kind="a number", default="no limit", example="20", doc="The most gigabytes that all checkpoints may take.",
        read=reading.read_checkpoint_gb, decides=False, show=_show_checkpoint_gb,
    ),
    Key(
        name="confirm", kind="a mapping or none", default="`none`", example="{top: 3, seeds: 5}",
        doc="At the end, train the best configurations again on fresh seeds ([confirm.md](confirm.md)).", read=read_confirm,
        plain=lambda found: "none" if found is None else asdict(found), decides=False, show=_show_confirm,
    ),
    Key(
        name="report", kind="true or false", default="`true`", example="false",
        doc="At the end, write one page about the search into its folder ([report.md](report.md)).", read=truth(True), decides=False,
        show=lambda values, data: (),
    ),
    Key(
        name="mlflow", kind="true, a mapping or none", default="`none`", example="{experiment: digits}",
        doc="Record the search in MLflow, too, as `{uri: …, experiment: …}`: see [mlflow.md](mlflow.md).", read=read_mlflow,
        plain=lambda found: None if found is None else asdict(found), decides=False,
        show=lambda values, data: [Row("MLflow", values["mlflow"].words)] if values["mlflow"] else (),
    ),
    Key(
        name="parameters", kind="a mapping", default="required", example="{n_clusters: {values: [7, 10]}}",
        doc="What varies, and what is fixed; see below.", missing="say what is searched.",
        plain=lambda ranges: {found.name: found.entry() for found in ranges}, show=lambda values, data: (),  # in tables of their own
    ),
)  # fmt: skip
KEYS: dict[str, Key] = {key.name: key for key in _TABLE}


def unknown_keys(found: Reading) -> None:
    """Notes the keys that a space does not have, those of W&B's sweeps with what takes their place."""
    for key, node in found.nodes.items():
        if key in _IN_SWEEPS:
            found.problems.at(node, f"a search space has no key '{key}'. {_IN_SWEEPS[key]}")
    found.only("a search space", {key: node for key, node in found.nodes.items() if key not in _IN_SWEEPS}, KEYS)


def read_key(found: Reading, name: str) -> Any:
    """The value of one key; it is among `found.values` afterwards."""
    read = KEYS[name].read
    assert read is not None, name
    found.values[name] = read(found, name)
    return found.values[name]
