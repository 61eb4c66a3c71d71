"""Search spaces: every line that can be wrong has its message, and what is right means what it says."""

import json
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data.datasets import DATASETS
from tuner.data.published import KNOWN
from tuner.data.scaling import SCALES
from tuner.errors import UserError
from tuner.model import load_model
from tuner.space.keys import METHODS
from tuner.space.located import Located, Problems
from tuner.space.parameters import set_values
from tuner.space.reader import Options, read_space, space_names
from tuner.space.spec import Asha, Resources, Spec
from tuner.space.yaml_lines import parse

ACC = "{name: acc, goal: maximize}"


class Folder:
    """Writes `space.yaml`: model, dataset and metric in lines 1 to 3, `keys` from 4 on, then `parameters:` and its entries."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str | bytes) -> str:
        file = self.path / "space.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(file)

    def read(self, *parameters: str, keys: tuple[str, ...] = (), options: Options | None = None, **head: str) -> Spec:
        head = {"model": "aae_unsup", "dataset": "digits", "metric": ACC} | head
        lines = [*(f"{key}: {value}" for key, value in head.items() if value), *keys, "parameters:", *(f"  {p}" for p in parameters)]
        return read_space(self.write("\n".join(lines)), options=options)

    def refusal(self, *parameters: str, **others) -> list[str]:
        """The lines of the refusal, without the first, which names the file."""
        with pytest.raises(UserError) as refused:
            self.read(*parameters or ("n_clusters: {values: [7, 10]}",), **others)
        first, *lines = str(refused.value).split("\n  ")
        assert first == f"{self.path / 'space.yaml'} cannot be used:"
        return lines

    def refusal_of(self, text: str | bytes) -> str:
        with pytest.raises(UserError) as refused:
            read_space(self.write(text))
        return str(refused.value).removeprefix(f"{self.path / 'space.yaml'} cannot be used:\n  ")


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


KMEANS = {"model": "kmeans"}
SOME = "n_clusters: {values: [7, 10]}"


# --- all at once, in the file's order ---


def test_all_problems_are_said_at_once_in_the_order_of_the_lines_and_options_last(folder):
    lines = folder.refusal(
        "n_clusters: {min: 1, max: 64}",
        "weights.cylic: {min: 0.0, max: 1.0}",
        keys=("trails: 3", "seed: -1"),
        metric="{name: acc, goal: minimize}",
        options=Options(trials=0, set=["hidden=3"]),
    )
    assert lines == [
        "space.yaml:3: 'acc' is better the higher: its goal is maximize.",
        "space.yaml:4: a search space has no key 'trails'. Did you mean 'trials'? Known are name, model, dataset, metric, metrics, select, "
        "holdout, "
        "score, method, trials, stop, "
        "epochs, seed, pretrain_seed, precision, early_terminate, resources, retries, checkpoint_gb, confirm, report, mlflow, parameters.",
        "space.yaml:5: 'seed' must be a whole number from 0 to 4294967295, but got -1.",
        "space.yaml:7: 'n_clusters' must stay within [2, 256], but the file searches [1, 64].",
        "space.yaml:8: aae_unsup has no 'weights.cylic'. Did you mean 'weights.cyclic'?",
        "--set hidden=3: 'hidden' must stay within [8, 8192], but got 3.",
        "--trials 0: 'trials' must be a whole number of 1 or more, but got 0.",
    ]


def test_an_unknown_weight_is_named_with_its_line(folder):
    assert folder.refusal(SOME, "weights.cylic: {min: 0.0, max: 1.0}") == [
        "space.yaml:6: aae_unsup has no 'weights.cylic'. Did you mean 'weights.cyclic'?"
    ]


def test_a_missing_key_is_named_with_what_belongs_there(folder):
    assert folder.refusal_of("name: x").split("\n  ") == [
        "space.yaml: 'model' is missing: name a model; `tuner models` lists them.",
        "space.yaml: 'dataset' is missing: name a data set, such as digits.",
        "space.yaml: 'metric' is missing: say what decides, such as {name: acc, goal: maximize}. There is no default, since choosing by "
        "labels is a decision; with select: {labels: never} it is balance.",
        "space.yaml: 'parameters' is missing: say what is searched.",
    ]


@pytest.mark.parametrize("missing", ["model", "dataset", "metric"])
def test_one_missing_key_is_one_problem(folder, missing):
    (line,) = folder.refusal(**{missing: ""})
    assert line.startswith(f"space.yaml: '{missing}' is missing: ")


# --- keys ---


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("trials: 0", "'trials' must be a whole number of 1 or more, but got 0."),
        ("trials: 2.5", "'trials' must be a whole number of 1 or more, but got 2.5."),
        ("trials: true", "'trials' must be a whole number of 1 or more, but got true."),
        ("trials: '24'", "'trials' must be a whole number of 1 or more, but got '24'."),
        ("trials:", "'trials' must be a whole number of 1 or more, but got nothing."),
        ("trials: [1]", "'trials' must be a whole number of 1 or more, but got a list."),
        ("epochs: 0", "'epochs' must be a whole number from 1 to 100000, but got 0."),
        ("seed: -1", "'seed' must be a whole number from 0 to 4294967295, but got -1."),
        ("score: best", "'score' must be one of last | max | mean_last_5, but got 'best'."),
        ("score: mean_last5", "'score' must be one of last | max | mean_last_5, but got 'mean_last5'. Did you mean 'mean_last_5'?"),
        ("method: tpa", "'method' must be one of tpe | random | grid | gp | cmaes | qmc, but got 'tpa'. Did you mean 'tpe'?"),
        ("method: bayes", "what W&B calls 'bayes' is tpe or gp here."),
        ("run_cap: 24", "a search space has no key 'run_cap'. Here it is called 'trials'."),
        ("program: train.py", "a search space has no key 'program'. tuner trains the model itself: leave it out."),
        ("name: a/b",
         "'name' cannot be 'a/b': it becomes a folder, so up to 100 letters, digits, '.', '_' and '-' only, the first a letter or digit."),
        ("name:",
         "'name' cannot be nothing: it becomes a folder, so up to 100 letters, digits, '.', '_' and '-' only, "
         "the first a letter or digit."),
        ("early_terminate: asha", "'early_terminate' must be none or {type: asha, grace: 5, reduction: 3}, but got 'asha'."),
        ("early_terminate: off", "'early_terminate' must be none or {type: asha, grace: 5, reduction: 3}, but got off."),
        ("early_terminate: {type: hyperband}",
         "'early_terminate' must be none or {type: asha, grace: 5, reduction: 3}, but got type 'hyperband'."),
        ("early_terminate: {type: asha, grace: 0}", "'grace' must be a whole number of 1 or more, but got 0."),
        ("early_terminate: {type: asha, reduction: 1}", "'reduction' must be a whole number of 2 or more, but got 1."),
        ("early_terminate: {type: asha, grac: 2}",
         "'early_terminate' has no key 'grac'. Did you mean 'grace'? Known are type, grace, reduction."),
        ("precision: bf16", "'precision' must be one of fp32 | tf32, but got 'bf16'."),
        ("pretrain_seed: -1", "'pretrain_seed' must be a whole number from 0 to 4294967295, but got -1."),
        ("resources: 2", "'resources' must be a mapping such as {cpu: 1, gpu: auto}, but got 2."),
        ("resources: {cpu: 0}", "'cpu' must be a number above 0, the cores of one trial, but got 0."),
        ("resources: {cpu: -1}", "'cpu' must be a number above 0, the cores of one trial, but got -1."),
        ("resources: {cpu: many}", "'cpu' must be a number above 0, the cores of one trial, but got 'many'."),
        ("resources: {gpu: -1}", "'gpu' must be auto, 0, a share below 1 or a whole number of GPUs, but got -1."),
        ("resources: {pack: 0}", "'pack' must be auto, off or a whole number from 1 to 1024, but got 0."),
        ("resources: {pack: wide}", "'pack' must be auto, off or a whole number from 1 to 1024, but got 'wide'."),
        ("resources: {gpu: 1.5}", "'gpu' must be auto, 0, a share below 1 or a whole number of GPUs, but got 1.5."),
        ("resources: {gpus: 1}", "'resources' has no key 'gpus'. Did you mean 'gpu'? Known are cpu, gpu, pack."),
    ],
)  # fmt: skip
def test_a_wrong_key_is_refused_with_its_line_and_rule(folder, key, message):
    assert folder.refusal(keys=(key,)) == [f"space.yaml:4: {message}"]


def test_a_misspelt_model_is_refused_and_the_rest_still_checked(folder):
    assert folder.refusal(model="aae_unsupp", keys=("trials: 0",)) == [
        "space.yaml:1: There is no model 'aae_unsupp'. Did you mean 'aae_unsup'? `tuner models` lists them.",
        "space.yaml:4: 'trials' must be a whole number of 1 or more, but got 0.",
    ]
    assert folder.refusal(model="[dec]") == ["space.yaml:1: 'model' must be a name, but got a list. `tuner models` lists them."]


def test_cmaes_without_its_package_is_refused(folder, monkeypatch):
    find = lambda name: None if name == "cmaes" else True  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", find)
    parameters = ("dropout: {min: 0.0, max: 0.5}", "input_noise: {min: 0.0, max: 0.5}")
    assert folder.refusal(*parameters, keys=("method: cmaes",)) == [
        "space.yaml:4: method 'cmaes' needs the package cmaes: pip install cmaes."
    ]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_named(folder, method):
    assert folder.read(SOME, keys=(f"method: {method}",)).method == method


# --- metric ---


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("acc", "'metric' must name a metric and its goal, such as {name: acc, goal: maximize}, but got 'acc'."),
        ("{goal: maximize}", "'metric' must name a metric and its goal, such as {name: acc, goal: maximize}, but got no name."),
        ("{name: , goal: maximize}", "'metric' must name a metric and its goal, such as {name: acc, goal: maximize}, but got nothing."),
        ("{name: acc, goal: minimize}", "'acc' is better the higher: its goal is maximize."),
        ("{name: largest_share, goal: maximize}", "'largest_share' is better the lower: its goal is minimize."),
        ("{name: loss/recon, goal: maximize}", "'loss/recon' is better the lower: its goal is minimize."),
        ("{name: acc, goal: max}", "'goal' must be maximize or minimize, but got 'max'."),
        ("{name: acc, goal: maximise}", "'goal' must be maximize or minimize, but got 'maximise'. Did you mean 'maximize'?"),
        ("{name: acc, goal: maximize, target: 1}", "'metric' has no key 'target'. Known are name, goal."),
        ("{name: samples_per_s, goal: maximize}",
         "'samples_per_s' tells how fast a trial runs, not how well it clusters: a search cannot choose by it."),
    ],
)  # fmt: skip
def test_a_wrong_metric_is_refused_with_its_line_and_rule(folder, metric, message):
    assert folder.refusal("dropout: {min: 0.0, max: 0.5}", metric=metric) == [f"space.yaml:3: {message}"]


def test_an_unknown_metric_is_named_with_the_nearest_right_name(folder):
    assert folder.refusal(metric="{name: loss/recn, goal: minimize}", model="kmeans") == [
        "space.yaml:3: there is no metric 'loss/recn'. Known are acc, acc_vote, acc_aae, nmi, ari, ami, n_used, largest_share, balance, "
        "confidence, silhouette, davies_bouldin, calinski_harabasz, description_length, knn_error_3, knn_error_5, knn_error_10."
    ]
    (line,) = folder.refusal(metric="{name: loss/recn, goal: minimize}")
    assert line.startswith("space.yaml:3: there is no metric 'loss/recn'. Did you mean 'loss/recon'? Known are acc, ")


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("{name: acc_vote, goal: maximize}", "it rises with the number of clusters, up to 1 where every sample has its own"),
        ("{name: n_used, goal: maximize}", "it counts the clusters that are used, which rise with their number"),
        ("{name: largest_share, goal: minimize}", "it falls with the number of clusters"),
        ("{name: balance, goal: maximize}", "it is 1 for clusters of equal size, however many"),
    ],
)
def test_the_number_of_clusters_is_not_searched_by_what_it_drives(folder, metric, reason):
    name = metric[7 : metric.index(",")]
    message = f"space.yaml:3: 'n_clusters' cannot be searched by '{name}': {reason}. Use acc, nmi or ari."
    assert folder.refusal(SOME, metric=metric, **KMEANS) == [message]
    assert folder.read("n_init: {values: [5, 10]}", metric=metric, **KMEANS).metric.name == name


def test_a_metric_that_needs_labels_is_refused_where_the_data_have_none(folder):
    np.savez(folder.path / "x.npz", x=np.random.default_rng(0).random((400, 4)))
    data = f"npz:{folder.path / 'x.npz'}"
    assert folder.refusal(dataset=data, **KMEANS) == [
        f"space.yaml:3: 'acc' needs labels, and {data} has none. Without labels there are n_used, largest_share, balance, confidence, "
        "silhouette, davies_bouldin, calinski_harabasz, description_length."
    ]
    assert folder.refusal(dataset=data, metric="{name: knn_error_5, goal: minimize}", **KMEANS)[0].startswith(
        "space.yaml:3: 'knn_error_5' needs"
    )
    found = folder.read(SOME, dataset=data, metric="{name: silhouette, goal: maximize}", **KMEANS)
    assert found.metric.name == "silhouette"
    assert any(note.startswith("'silhouette' is of the codes, which training shapes: ") for note in found.notes)
    assert folder.read(SOME, dataset=data, metric="{name: confidence, goal: maximize}", **KMEANS).metric.name == "confidence"
    (line,) = folder.refusal(SOME, dataset=data, metric="{name: n_used, goal: maximize}", **KMEANS)
    assert line.endswith(
        "which rise with their number. Give it one value, or decide by confidence, silhouette, davies_bouldin, calinski_harabasz or "
        "description_length."
    )


def test_a_loss_can_decide_only_where_every_trial_computes_it(folder):
    off = "cannot decide: it is not computed in trials in which 'weights.cyclic' is 0."
    for parameters in (
        ["weights.cyclic: {min: 0.0, max: 1.0}"],
        ["weights.cyclic: {value: 0}"],
        ["weights.cyclic: {values: [0, 0.5]}"],
        ["use_cyclic: {values: [true, false]}", "weights.cyclic: {min: 0.1, max: 1.0, when: {use_cyclic: true}}"],
    ):
        assert folder.refusal(SOME, *parameters, metric="{name: loss/cyclic}") == [f"space.yaml:3: 'loss/cyclic' {off}"]
    assert folder.read(SOME, "weights.cyclic: {min: 0.1, max: 1.0}", metric="{name: loss/cyclic}").metric.goal == "minimize"


def test_a_loss_of_pre_training_cannot_decide(folder):
    assert folder.refusal(metric="{name: loss/recon_ae, goal: minimize}", model="dec") == [
        "space.yaml:3: 'loss/recon_ae' cannot decide: no clustering epoch computes it."
    ]
    assert folder.read(SOME, metric="{name: loss/kl, goal: minimize}", model="dec").metric.name == "loss/kl"


def test_a_loss_that_decides_while_what_scales_it_is_searched_has_a_note(folder):
    note = "'loss/kl' decides while what moves it by itself is searched, {}: the least need not be the best clustering."
    alpha, k = "alpha: {distribution: log_uniform_values, min: 0.01, max: 100.0}", "n_clusters: {min: 2, max: 20}"
    for searched, named in (([alpha, k], "'alpha' and 'n_clusters'"), ([alpha], "'alpha'"), ([k], "'n_clusters'")):
        assert note.format(named) in folder.read(*searched, metric="{name: loss/kl, goal: minimize}", model="idec").notes
    spec = folder.read(alpha, k, metric="{name: acc}", model="idec")
    assert not [said for said in spec.notes if "decides" in said]
    spec = folder.read(alpha, "lr: {min: 1e-4, max: 1e-2}", metric="{name: loss/recon, goal: minimize}", model="idec")
    assert not [said for said in spec.notes if "decides" in said]


# --- data ---


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("digit", f"There is no data set 'digit'. Did you mean 'digits'? {KNOWN}"),
        ("", "'dataset' must be a name or {name: ..., limit: ..., scale: ...}, but got nothing."),
        ("[digits]", "'dataset' must be a name or {name: ..., limit: ..., scale: ...}, but got a list."),
        ("{limit: 100}", "'dataset' must be a name or {name: ..., limit: ..., scale: ...}, but got no name."),
        ("{name: digits, limits: 100}",
         "'dataset' has no key 'limits'. Did you mean 'limit'? "
         "Known are name, limit, scale, label, drop, id, header, samples, size, colours."),
        ("{name: digits, limit: all}", "'limit' must be a whole number of 2 or more, but got 'all'."),
        ("{name: digits, limit: 0}", "'limit' must be a whole number of 2 or more, but got 0."),
        ("{name: digits, limit: 1798}", "'limit' must stay within [2, 1797], the samples that digits has, but is 1798."),
        ("{name: digits, scale: min_max}", f"'scale' must be one of {' | '.join(SCALES)}, but got 'min_max'. Did you mean 'minmax'?"),
        ("{name: digits, limit: 50}", "'batch_size' is 100 by default, but a batch cannot be more than the data's 50 samples."),
        ("{name: digits, scale: standard}",
         "'scale: standard' puts values outside [0, 1], and aae_unsup rebuilds pixels: say 'scale: minmax'."),
    ],
)  # fmt: skip
def test_wrong_data_are_refused_with_their_line_and_rule(folder, dataset, message):
    text = f"model: aae_unsup\ndataset: {dataset}\nmetric: {ACC}\nparameters:\n  {SOME}\n"
    assert folder.refusal_of(text) == f"space.yaml:2: {message}"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("label: [y]", "'label' must be a column, or none, but got a list."),
        ("id: [a, b]", "'id' must be a column, or none, but got a list."),
        ("samples: [x]", "'samples' must be the name of an array, but got a list."),
        ("drop: [a, [b]]", "'drop' must be a list of columns, but got a list."),
        ("header: sometimes", "'header' must be true or false, but got 'sometimes'."),
        ("colours: gray", "'colours' must be grey or rgb, but got 'gray'. Did you mean 'grey'?"),
        ("size: 0", "'size' must be a whole number or [height, width], but got 0."),
        ("size: [1, 2, 3]", "'size' must be a whole number or [height, width], but got a list."),
    ],
)
def test_what_is_said_of_a_file_wrongly_is_refused_before_the_file_is_looked_for(folder, columns, message):
    assert folder.refusal(SOME, dataset=f"{{name: my.csv, {columns}}}", **KMEANS)[0] == f"space.yaml:2: {message}"


def test_a_missing_data_file_is_said_when_the_space_is_checked(folder):
    missing = folder.path / "none.npz"
    (line,) = folder.refusal(dataset=f"npz:{missing}")
    assert line.startswith(f"space.yaml:2: There is no file {missing}")


def test_data_outside_the_unit_range_need_a_scale_for_a_model_that_rebuilds_pixels(folder):
    np.savez(folder.path / "x.npz", x=np.linspace(-3, 3, 800).reshape(200, 4), y=np.arange(200) % 4)
    data = f"npz:{folder.path / 'x.npz'}"
    rule = f"values of {data} lie outside [0, 1], and aae_unsup rebuilds pixels: say 'scale: minmax'."
    assert folder.refusal(dataset=data) == [f"space.yaml:2: {rule}"]
    assert folder.refusal(dataset=f"{{name: '{data}', scale: none}}") == [f"space.yaml:2: {rule}"]
    assert folder.refusal(options=Options(scale="none"), dataset=data) == [f"--scale none: {rule}"]
    assert folder.read(SOME, dataset=data, options=Options(scale="minmax")).dataset.scale == "minmax"
    assert folder.read(SOME, dataset=data, **KMEANS).dataset.scale is None


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("batch_size: {values: [64, 2000]}", "'batch_size' goes up to 2000, but a batch cannot be more than the data's 1797 samples."),
        ("batch_size: {min: 64, max: 4000}", "'batch_size' goes up to 4000, but a batch cannot be more than the data's 1797 samples."),
        ("batch_size: {value: 2000}", "'batch_size' is 2000, but a batch cannot be more than the data's 1797 samples."),
    ],
)
def test_a_batch_larger_than_the_data_is_refused(folder, parameter, message):
    assert folder.refusal(SOME, parameter) == [f"space.yaml:6: {message}"]


def test_more_clusters_than_samples_are_refused(folder):
    assert folder.refusal("n_clusters: {values: [7, 200]}", dataset="{name: digits, limit: 150}", **KMEANS) == [
        "space.yaml:5: 'n_clusters' goes up to 200, but the clusters cannot be more than the data's 150 samples."
    ]


# --- one parameter ---


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("hiden: {value: 200}",
         "aae_unsup has no 'hiden'. Did you mean 'hidden'?"),
        ("use_cyclic: {values: [true, false]}",
         "aae_unsup has no 'use_cyclic'. If it is a switch of the search, some parameter's `when` must ask for it."),
        ("weights.critic_y: {min: 0.1, max: 1.0}",
         "'weights.critic_y' would change nothing: the term stands alone in its step. Search the step's rate instead."),
        ("hidden: 200", "'hidden' must be a mapping, but got 200. Write {value: 200}."),
        ("hidden: [200, 500]", "'hidden' must be a mapping, but got a list. Write {values: [200, 500]}."),
        ("hidden:", "'hidden' must be a mapping, but got nothing. Write {value: ...}, {values: [...]} or {min: ..., max: ...}."),
        ("hidden: {}", "'hidden' must be a mapping, but got nothing. Write {value: ...}, {values: [...]} or {min: ..., max: ...}."),
        ("hidden: {when: {updates: joint}}", "'hidden' gives no values. Write {value: ...}, {values: [...]} or {min: ..., max: ...}."),
        ("hidden: {vals: [200, 500]}",
         "'hidden' has no key 'vals'. Did you mean 'values'? Known are value, values, min, max, q, distribution, when, otherwise, prior."),
        ("hidden: {value: 200, values: [200]}",
         "'hidden' has `value` and `values`. Write {value: ...}, {values: [...]} or {min: ..., max: ...}."),
        ("hidden: {value: 200, min: 8, max: 9}",
         "'hidden' has `value`, `min` and `max`. Write {value: ...}, {values: [...]} or {min: ..., max: ...}."),
        ("hidden: {values: []}", "'hidden': `values` must be a list with something in it, but got nothing."),
        ("hidden: {values: 200}", "'hidden': `values` must be a list with something in it, but got 200. Write [200]."),
        ("hidden: {values: [200, 200]}", "'hidden': `values` has 200 twice."),
        ("dropout: {values: [0, 0.0]}", "'dropout': `values` has 0.0 twice."),
        ("hidden: {values: [200, [500]]}", "'hidden': `values` must hold single values, but got a list."),
        ("hidden: {value: }", "'hidden': `value` must hold a single value, but got nothing."),
        ("hidden: {value: {min: 3}}", "'hidden': `value` must hold a single value, but got a mapping."),
        ("hidden: {value: 3}", "'hidden' must stay within [8, 8192], but got 3."),
        ("hidden: {value: 200.5}", "'hidden' must be a whole number, but got 200.5."),
        ("hidden: {value: true}", "'hidden' must be a whole number, but got True."),
        ("hidden: {value: wide}", "'hidden' must be a whole number, but got 'wide'."),
        ("hidden: {values: [200, 9000]}", "'hidden' must stay within [8, 8192], but got 9000."),
        ("dropout: {value: '0.2'}", "'dropout' must be a number, but got '0.2'."),
        ("updates: {value: seperate}", "'updates' must be one of joint | separate, but got 'seperate'."),
        ("updates: {value: off}", "'updates' must be one of joint | separate, but got 'off'."),
        ("updates: {min: 0, max: 1}", "'updates' must be one of joint | separate: give `values`, not a range."),
        ("hidden: {min: 100}", "'hidden' has `min` but no `max`."),
        ("hidden: {max: 100}", "'hidden' has `max` but no `min`."),
        ("hidden: {min: wide, max: 100}", "'hidden': `min` must be a number, but got 'wide'."),
        ("hidden: {min: 100, max: .inf}", "'hidden': `max` must be a number, but got .inf."),
        ("hidden: {min: 100, max: 100}", "'hidden': `min` must lie below `max`, but the file has min 100 and max 100."),
        ("dropout: {min: 0.5, max: 0.1}", "'dropout': `min` must lie below `max`, but the file has min 0.5 and max 0.1."),
        ("n_clusters: {min: 1, max: 64}", "'n_clusters' must stay within [2, 256], but the file searches [1, 64]."),
        ("dropout: {min: 0.0, max: 1.5}", "'dropout' must stay within [0, 0.95], but the file searches [0.0, 1.5]."),
        ("weights.cyclic: {min: -1.0, max: 1.0}", "'weights.cyclic' must be 0 or more, but the file searches [-1.0, 1.0]."),
        ("dropout: {min: 0, max: 0.5}",
         "'dropout' has one whole and one fractional bound, min 0 and max 0.5: write both with a point for a continuous range, or both "
         "without for whole numbers (W&B refuses such bounds, too)."),
        ("hidden: {min: 100.0, max: 200.0}",
         "'hidden' must be a whole number, but uniform draws fractions: use int_uniform or q_uniform."),
        ("hidden: {distribution: log_uniform_values, min: 100, max: 200}",
         "'hidden' must be a whole number, but log_uniform_values draws fractions: use q_log_uniform_values."),
        ("dropout: {distribution: int_uniform, min: 0.0, max: 0.5}",
         "'dropout': int_uniform draws whole numbers here, but the file has 0.0."),
        ("hidden: {distribution: q_uniform, min: 100, max: 200, q: 2.5}",
         "'hidden': q_uniform draws whole numbers here, but the file has 2.5."),
        ("lr_ae: {distribution: log_uniform_values, min: 0, max: 1e-2}", "'lr_ae': a log range must start above 0, but `min` is 0."),
        ("weights.cyclic: {distribution: log_uniform_values, min: 0, max: 1}",
         "'weights.cyclic': a log range must start above 0, but `min` is 0. A weight that may be off takes a switch and `when`."),
        ("dropout: {min: 0.0, max: 0.5, q: 0.1}",
         "'dropout': `q` belongs to q_uniform and q_log_uniform_values, but this range is uniform."),
        ("hidden: {value: 200, q: 1}", "'hidden': `q` belongs to q_uniform and q_log_uniform_values."),
        ("dropout: {distribution: q_uniform, min: 0.0, max: 0.5, q: 0}", "'dropout': `q` is the step and must be above 0, but is 0."),
        ("dropout: {distribution: q_uniform, min: 0.0, max: 0.5, q: 0.2}",
         "'dropout': `max` must lie a whole number of steps above `min`, but (0.5 - 0.0) / 0.2 is 2.5."),
        ("hidden: {distribution: q_log_uniform_values, min: 8, max: 64, q: 8}",
         "'hidden': Optuna has log ranges with steps for whole numbers from 1 on only, q: 1. Use q_uniform, or q: 1 and a min from 1 on."),
        ("hidden: {distribution: categorical, value: 200}", "'hidden': categorical takes `values`."),
        ("hidden: {distribution: constant, values: [200]}", "'hidden': constant takes `value`."),
        ("hidden: {distribution: int_uniform, values: [200]}", "'hidden': int_uniform takes `min` and `max`."),
        ("dropout: {distribution: unifrom, min: 0.0, max: 0.5}", "'dropout': There is no distribution 'unifrom'. Did you mean 'uniform'?"),
        ("dropout: {distribution: normal, mu: 0.2, sigma: 0.1}",
         "'dropout': Optuna has no 'normal': use one of uniform, log_uniform_values, int_uniform, q_uniform, q_log_uniform_values, "
         "or values."),
        ("lr_ae: {distribution: log_uniform, min: -8, max: -3}",
         "'lr_ae': W&B's 'log_uniform' takes exponents: use log_uniform_values, with the values themselves."),
        ("weights: {parameters: {cyclic: {value: 1}}}", "'weights': nested parameters are written with a dot, 'weights.cyclic'."),
        ("hidden: {parameters: {wide: {value: 1}}}", "'hidden': nested parameters are written with a dot, 'hidden.wide'."),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_with_its_line_and_rule(folder, parameter, message):
    others = () if parameter.startswith("n_clusters") else (SOME,)
    assert folder.refusal(parameter, *others) == [f"space.yaml:5: {message}"]


def test_parameters_that_are_no_mapping_are_refused(folder):
    for section, got in (
        ("parameters:", "nothing"),
        ("parameters: {}", "nothing"),
        ("parameters: [lr]", "a list"),
        ("parameters: lr", "'lr'"),
    ):
        text = f"model: kmeans\ndataset: digits\nmetric: {ACC}\n{section}\n"
        assert folder.refusal_of(text) == f"space.yaml:4: 'parameters' must be a mapping of names, but got {got}."


def test_a_range_says_what_it_was_given(folder):
    spec = folder.read(
        "n_clusters: {min: 7, max: 14}",
        "lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 5e-3}",
        "dropout: {min: 0.0, max: 0.5}",
        "hidden: {distribution: q_uniform, min: 100, max: 500, q: 200}",
        "input_noise: {distribution: q_uniform, min: 0.0, max: 0.5, q: 0.25}",
        "drop_epoch: {distribution: q_log_uniform_values, min: 10, max: 100}",
        "latent_dim: {values: [5]}",
        "batch_size: {distribution: constant, value: 100}",
        "l2: {distribution: categorical, values: [mean, norm]}",
    )
    kinds = {found.name: (found.kind, found.options) for found in spec.parameters}
    assert kinds == {
        "n_clusters": ("int_uniform", range(7, 15)),
        "lr_ae": ("log_uniform_values", None),
        "dropout": ("uniform", None),
        "hidden": ("q_uniform", range(100, 501, 200)),
        "input_noise": ("q_uniform", None),
        "drop_epoch": ("q_log_uniform_values", range(10, 101)),
        "latent_dim": ("value", (5,)),
        "batch_size": ("value", (100,)),
        "l2": ("values", ("mean", "norm")),
    }
    assert spec.ranges["input_noise"].count == 3
    assert [found.name for found in spec.searched()] == ["n_clusters", "lr_ae", "dropout", "hidden", "input_noise", "drop_epoch", "l2"]
    assert [found.line for found in spec.parameters] == list(range(5, 14))


def test_a_number_is_the_number_it_looks_like(folder):
    spec = folder.read("lr_ae: {values: [1e-4, 5E-4, .5e-2]}", "n_clusters: {values: [010, +12, 1_4]}", "drop_epoch: {value: 1e2}")
    assert spec.ranges["lr_ae"].values == (1e-4, 5e-4, 5e-3)
    assert spec.ranges["drop_epoch"].value == 100


def test_whole_bounds_of_a_fractional_parameter_mean_whole_numbers_and_a_note_says_so(folder):
    spec = folder.read("weights.recon: {min: 1, max: 3}", keys=("trials: 3",))
    assert spec.ranges["weights.recon"].kind == "int_uniform"
    assert spec.notes == (
        "'weights.recon' takes whole numbers only, since 1 and 3 have no point (W&B's rule). Write 1.0 and 3.0 for a continuous range.",
    )


# --- conditions and switches ---

CYCLIC = "weights.cyclic: {min: 0.1, max: 1.0, when: {use_cyclic: true}}"
USE_CYCLIC = "use_cyclic: {values: [true, false]}"


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("use_cyclic", "'dropout': `when` must name parameters and their values, such as {use_cyclic: true}, but got 'use_cyclic'."),
        ("{}", "'dropout': `when` must name parameters and their values, such as {use_cyclic: true}, but got nothing."),
        ("{update: separate}", "'dropout' asks for 'update', which is no name of this file or model. Did you mean 'updates'?"),
        ("{hidden: 300}", "'dropout' asks for hidden: 300, but the file gives it 200 | 500."),
        ("{hidden: [200, 300]}", "'dropout' asks for hidden: 300, but the file gives it 200 | 500."),
        ("{hidden: []}", "'dropout' asks for no value of 'hidden': the list is empty."),
        ("{latent_dim: 20}", "'dropout' asks for latent_dim: 20, but the file gives it [2, 15]."),
        ("{updates: separate}", "'dropout' asks for updates: separate, but the file does not name it, and its default is joint."),
        ("{input_noise: 0.3}",
         "'dropout' asks for 'input_noise', which is a range of fractions: a condition needs `values` or whole numbers."),
        ("{dropout: 0.1}", "'dropout' asks for 'dropout', which is a range of fractions: a condition needs `values` or whole numbers."),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_refused_with_its_line_and_rule(folder, when, message):
    others = ("hidden: {values: [200, 500]}", "latent_dim: {min: 2, max: 15}", "input_noise: {min: 0.1, max: 0.5}")
    assert folder.refusal("dropout:", "  min: 0.0", "  max: 0.5", f"  when: {when}", *others) == [f"space.yaml:8: {message}"]


def test_a_switch_takes_only_what_the_file_gives_it(folder):
    line = "space.yaml:6: 'weights.cyclic' asks for use_cyclic: maybe, but the file gives it true | false."
    assert folder.refusal(USE_CYCLIC, CYCLIC.replace("true", "maybe")) == [line]
    assert folder.refusal("use_cyclic: {min: 0, max: 1}", CYCLIC) == [
        "space.yaml:5: 'use_cyclic' is a switch of the search, and takes `values`, not a range."
    ]


def test_a_misspelt_condition_is_one_problem(folder):
    assert folder.refusal(USE_CYCLIC, CYCLIC.replace("use_cyclic", "use_cylic")) == [
        "space.yaml:6: 'weights.cyclic' asks for 'use_cylic', which is no name of this file or model. Did you mean 'use_cyclic'?"
    ]


def test_a_switch_that_no_condition_asks_for_is_refused(folder):
    assert folder.refusal(SOME, USE_CYCLIC) == [
        "space.yaml:6: aae_unsup has no 'use_cyclic'. If it is a switch of the search, some parameter's `when` must ask for it."
    ]


def test_conditions_in_a_circle_are_refused(folder):
    assert folder.refusal(
        "a: {values: [1, 2], when: {b: 1}}", "b: {values: [1, 2], when: {c: 2}}", "c: {values: [1, 2], when: {a: 1}}", SOME
    ) == ["space.yaml:5: conditions go round in a circle: a asks for b asks for c asks for a."]
    assert folder.refusal("a: {values: [1, 2], when: {a: 1}}") == ["space.yaml:5: conditions go round in a circle: a asks for a."]


def test_off_and_on_are_words_where_words_are_expected_and_bools_among_bools(folder):
    spec = folder.read(
        "cyclic: {values: [off, low, high]}",
        "weights.cyclic: {min: 0.1, max: 1.0, when: {cyclic: [low, high]}}",
        "mode: {values: [on, off]}",
        "weights.mode: {min: 0.1, max: 1.0, when: {mode: yes}}",
    )
    assert spec.ranges["cyclic"].values == ("off", "low", "high")
    assert spec.ranges["mode"].values == (True, False)
    assert spec.ranges["weights.mode"].when == {"mode": (True,)}
    assert spec.switches == {"cyclic", "mode"}
    assert folder.read(SOME, keys=("name: off",)).name == "off"


def test_a_weight_is_0_and_anything_else_its_default_where_a_condition_fails(folder):
    spec = folder.read(USE_CYCLIC, CYCLIC, "dropout: {values: [0.0, 0.1], when: {use_cyclic: [true]}}", keys=("epochs: 30",))
    on = spec.config({"use_cyclic": True, "weights.cyclic": 0.5, "dropout": 0.1})
    off = spec.config({"use_cyclic": False})
    assert (on["weights.cyclic"], on["dropout"], on["use_cyclic"]) == (0.5, 0.1, True)
    assert (off["weights.cyclic"], off["dropout"], off["use_cyclic"]) == (0.0, 0.2, False)
    assert off["epochs"] == 30
    assert off.keys() == load_model("aae_unsup").parameters().keys() | {"use_cyclic"}
    h = spec.hyper(off | {"seed": 3})
    assert (h.weights["cyclic"], h.epochs, h.dropout) == (0.0, 30, 0.2)


def test_what_conditions_ask_for_comes_first(folder):
    spec = folder.read("weights.cyclic: {min: 0.1, max: 1.0, when: {use_cyclic: true}}", SOME, USE_CYCLIC)
    assert [found.name for found in spec.searched()] == ["use_cyclic", "weights.cyclic", "n_clusters"]


def test_a_condition_looks_at_the_value_that_its_parameter_has_in_the_end(folder):
    spec = folder.read(
        "a: {values: [true, false]}",
        "n_clusters: {values: [7, 10], when: {a: true}}",
        "b: {values: [x, y], when: {a: true}}",
        "dropout: {min: 0.0, max: 0.1, when: {n_clusters: 10}}",
        "input_noise: {min: 0.0, max: 0.1, when: {b: x}}",
    )
    active = {name: spec.active(spec.ranges[name], {"a": False}) for name in ("n_clusters", "b", "dropout", "input_noise")}
    assert active == {"n_clusters": False, "b": False, "dropout": True, "input_noise": False}  # 10 is the default of n_clusters
    assert spec.config({"a": False, "dropout": 0.05})["b"] is None


# --- what would change nothing ---

ALONE = "would change nothing: it stands alone in the step"


def test_a_dead_weight_is_refused_with_the_rate_to_search_instead(folder):
    parameters = ("updates: {value: separate}", "weights.mode: {min: 0.1, max: 1.0}", "weights.pairwise: {min: 0.1, max: 1.0}")
    assert folder.refusal(*parameters) == [
        f"space.yaml:6: 'weights.mode' {ALONE} 'picture', and Adam ignores the scale of a loss. Search 'lr_mode' instead.",
        f"space.yaml:7: 'weights.pairwise' {ALONE} 'spread', and Adam ignores the scale of a loss. Search 'lr_pairwise' instead.",
    ]


def test_a_dead_weight_is_refused_whatever_the_switches_say(folder):
    parameters = ("updates: {value: separate}", USE_CYCLIC, CYCLIC, "weights.mode: {min: 0.1, max: 1.0, when: {use_cyclic: false}}")
    lines = folder.refusal(*parameters, "weights.cyclic_z: {value: 0}")
    assert lines == [
        f"space.yaml:7: 'weights.cyclic' {ALONE} 'cycle', and Adam ignores the scale of a loss. Search 'lr_cyclic' instead.",
        f"space.yaml:8: 'weights.mode' {ALONE} 'picture', and Adam ignores the scale of a loss. Search 'lr_mode' instead.",
    ]


def test_a_weight_that_is_dead_in_some_trials_is_noted(folder):
    spec = folder.read("updates: {values: [joint, separate]}", "weights.mode: {min: 0.1, max: 1.0}")
    assert spec.notes == (
        "'weights.mode' changes nothing where updates is separate: it stands alone in the step 'picture', and Adam ignores the scale of a "
        "loss. Search 'lr_mode' instead.",
    )
    conditional = folder.read("updates: {values: [joint, separate]}", "weights.mode: {min: 0.1, max: 1.0, when: {updates: joint}}")
    assert conditional.notes == ()


def test_a_weight_that_only_switches_its_term_on_is_alive(folder):
    assert folder.read("updates: {value: separate}", "weights.mode: {values: [0, 1]}", keys=("trials: 2",)).notes == ()
    (line,) = folder.refusal("updates: {value: separate}", "weights.mode: {values: [0, 0.5, 1]}")
    assert ALONE in line


def test_weights_of_which_only_the_ratio_counts_are_noted(folder):
    spec = folder.read("updates: {value: separate}", "weights.cyclic: {min: 0.1, max: 1.0}", "weights.cyclic_z: {min: 0.1, max: 1.0}")
    assert spec.notes == ("In the step 'cycle' only the ratio of weights.cyclic and weights.cyclic_z counts: one of them could be fixed.",)


def test_a_rate_that_no_step_uses_is_refused_or_noted(folder):
    rate = "lr_mode: {distribution: log_uniform_values, min: 1e-4, max: 1e-3%s}"
    reason = "no step uses it, only one that 'updates: separate' brings."
    assert folder.refusal(rate % "") == [f"space.yaml:5: 'lr_mode' would change nothing: {reason}"]
    both = "updates: {values: [joint, separate]}"
    assert folder.read(both, rate % "").notes == (f"'lr_mode' changes nothing where updates is joint: {reason}",)
    assert folder.read(both, rate % ", when: {updates: separate}").notes == ()


def test_a_mistake_in_one_line_brings_no_verdict_on_another(folder):
    assert folder.refusal("weights.recon: {min: -1.0, max: 1.0}", "weights.cyclic: {min: 0.1, max: 1.0}") == [
        "space.yaml:5: 'weights.recon' must be 0 or more, but the file searches [-1.0, 1.0]."
    ]


# --- methods and counts ---


def test_a_grid_refuses_ranges_of_fractions_and_takes_all_others(folder):
    fractions = (
        "dropout: {min: 0.0, max: 0.5}",
        "lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}",
        "input_noise: {distribution: q_uniform, min: 0.0, max: 0.5, q: 0.25}",
    )
    assert folder.refusal(SOME, *fractions, keys=("method: grid",)) == [
        "space.yaml:7: 'dropout' is uniform over fractions: a grid needs `values` or whole numbers.",
        "space.yaml:8: 'lr_ae' is log_uniform_values over fractions: a grid needs `values` or whole numbers.",
        "space.yaml:9: 'input_noise' is q_uniform over fractions: a grid needs `values` or whole numbers.",
    ]
    whole = ("latent_dim: {min: 2, max: 4}", "hidden: {distribution: q_uniform, min: 100, max: 200, q: 50}")
    spec = folder.read(SOME, *whole, keys=("method: grid",))
    assert (spec.combinations(), spec.trials, spec.filled["trials"]) == (18, 18, 18)


def test_a_grid_that_is_not_finished_is_noted(folder):
    assert folder.read(SOME, "latent_dim: {min: 2, max: 4}", keys=("method: grid", "trials: 4")).notes == (
        "The grid has 6 configurations, of which 4 are tried.",
    )


def test_a_space_with_fewer_configurations_than_trials_is_noted(folder):
    assert folder.read(SOME).notes == ("The space has 2 configurations, and none is tried twice: it ends before 24 trials.",)
    assert folder.read("n_clusters: {value: 10}").notes == (
        "The space has 1 configuration, and none is tried twice: it ends before 24 trials.",
    )


def test_configurations_are_counted_with_their_conditions(folder):
    spec = folder.read(
        "n_clusters: {values: [7, 10, 14]}",
        USE_CYCLIC,
        "weights.cyclic: {values: [0.1, 0.2, 0.3], when: {use_cyclic: true}}",
        "latent_dim: {min: 2, max: 5, when: {use_cyclic: false}}",
    )
    every = product(*(found.options for found in spec.searched()))
    names = [found.name for found in spec.searched()]
    configs = {tuple(spec.config(dict(zip(names, chosen, strict=True))).values()) for chosen in every}
    assert spec.combinations() == len(configs) == 3 * (3 + 4)
    assert folder.read(SOME, "dropout: {min: 0.0, max: 0.5}").combinations() is None
    wide = [f"{name}: {{min: 8, max: 250}}" for name in ("n_clusters", "latent_dim", "hidden")]
    assert folder.read(*wide, keys=("trials: 3",)).combinations() is None


def test_what_a_method_leaves_to_chance_is_noted(folder):
    parameters = (SOME, "dropout: {min: 0.0, max: 0.5}", "input_noise: {min: 0.0, max: 0.5, when: {n_clusters: 10}}")
    notes = {method: folder.read(*parameters, keys=(f"method: {method}",)).notes for method in ("tpe", "gp", "qmc", "random")}
    chance = "leaves {} to chance: it is for numbers without conditions."
    assert notes == {
        "tpe": (),
        "gp": ("Method gp " + chance.format("input_noise"),),
        "qmc": ("Method qmc " + chance.format("n_clusters, input_noise"),),
        "random": (),
    }


# --- epochs, stopping, scores ---


def test_epochs_no_longer_than_grace_stop_nothing_and_one_note_says_so(folder):
    text = "dropout: {min: 0.0, max: 0.5}"
    assert folder.read(text, keys=("epochs: 6",)).early_terminate == Asha(grace=5, reduction=3)
    spec = folder.read(text, keys=("epochs: 5",))
    assert spec.early_terminate is None
    assert spec.notes == ("Nothing is stopped early: 5 epochs are no longer than early_terminate's grace, 5.",)
    assert folder.read(text, keys=("epochs: 5", "early_terminate: none")).notes == ()


def test_epochs_are_given_once(folder):
    assert folder.refusal(SOME, "epochs: {values: [10, 20]}", keys=("epochs: 30",)) == [
        "space.yaml:4: 'epochs' is given twice, here and under parameters in line 7: keep one."
    ]
    assert folder.refusal(SOME, options=Options(epochs=3, set=["epochs=4"])) == [
        "--set epochs=4: 'epochs' is set twice, also by --epochs 3."
    ]


def test_epochs_come_from_the_key_the_parameter_the_command_line_or_the_model(folder):
    searched = (SOME, "epochs: {values: [10, 20]}")
    assert folder.read(SOME, **KMEANS).epochs == 50
    assert folder.read(SOME, keys=("epochs: 7",)).config({"n_clusters": 7})["epochs"] == 7
    assert folder.read(*searched).epochs == 20
    assert folder.read(*searched).config({"n_clusters": 7, "epochs": 10})["epochs"] == 10
    for options in (Options(epochs=3), Options(set=["epochs=3"])):
        for spec in (folder.read(*searched, options=options), folder.read(SOME, keys=("epochs: 30",), options=options)):
            assert (spec.epochs, spec.config({"n_clusters": 7})["epochs"]) == (3, 3)


@pytest.mark.parametrize(
    ("score", "goal", "expected"),
    [("last", "maximize", 0.1), ("max", "maximize", 0.9), ("max", "minimize", 0.1), ("mean_last_5", "maximize", 0.4)],
)
def test_the_score_of_a_trial_is_taken_from_the_epochs_that_count(folder, score, goal, expected):
    metric = "{name: nmi, goal: maximize}" if goal == "maximize" else "{name: largest_share, goal: minimize}"
    spec = folder.read("n_init: {values: [5, 10]}", keys=(f"score: {score}",), metric=metric, **KMEANS)
    assert spec.score_of([0.2, 0.9, 0.3, 0.5, 0.2, 0.1]) == pytest.approx(expected)
    assert spec.score_of([0.3]) == 0.3


def test_a_score_that_looks_at_labels_in_every_epoch_is_noted(folder):
    spec = folder.read("dropout: {min: 0.0, max: 0.5}", keys=("score: max",))
    assert spec.notes == ("With score: max the labels choose each trial's best epoch, too: 'acc' looks better than it is.",)


# --- the command line in place of the file ---


def test_options_stand_in_place_of_the_files_keys(folder):
    options = Options(dataset="usps", scale="minmax", limit=500, trials=3, epochs=6, name="mine", seed=5)
    with pytest.raises(UserError, match="--dataset usps: usps is not in"):
        folder.read(SOME, options=replace(options, data_root=folder.path / "none"))
    options = replace(options, dataset="digits")
    spec = folder.read(SOME, dataset="{name: mnist, limit: 9}", keys=("trials: 9", "epochs: 9", "name: n", "seed: 9"), options=options)
    assert (spec.dataset.name, spec.dataset.limit, spec.dataset.scale) == ("digits", 500, "minmax")
    assert (spec.trials, spec.epochs, spec.name, spec.seed) == (3, 6, "mine", 5)
    assert "--dataset digits stands in place of all of the file's {name: mnist, limit: 9}." in spec.notes
    assert folder.read(SOME, options=Options(dataset="digits"), dataset="").dataset.name == "digits"


def test_a_wrong_option_is_refused_by_its_name(folder):
    assert folder.refusal(options=Options(limit=5000)) == [
        "--limit 5000: 'limit' must stay within [2, 1797], the samples that digits has, but is 5000."
    ]
    assert folder.refusal(options=Options(epochs=0)) == ["--epochs 0: 'epochs' must be a whole number from 1 to 100000, but got 0."]
    assert folder.refusal(options=Options(scale="big")) == [f"--scale big: 'scale' must be one of {' | '.join(SCALES)}, but got 'big'."]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hiden=5", "neither aae_unsup nor the file has 'hiden'. Did you mean 'hidden'?"),
        ("use_cylic=true", "neither aae_unsup nor the file has 'use_cylic'. Did you mean 'use_cyclic'?"),
        ("hidden=3", "'hidden' must stay within [8, 8192], but got 3."),
        ("hidden=wide", "'hidden' must be a whole number, but got 'wide'."),
        ("weights.cyclic=-1", "'weights.cyclic' must be 0 or more, but got -1."),
        ("use_cyclic=maybe", "the file gives 'use_cyclic' only true | false."),
        ("hidden", "write --set key=value."),
        ("hidden=", "write --set key=value."),
        ("=3", "write --set key=value."),
        ("trials=3", "'trials' is a key of the search, not a parameter: use --trials 3."),
        ("method=random", "'method' is a key of the search, not a parameter: change the file."),
    ],
)
def test_a_wrong_setting_is_refused_with_its_rule(folder, setting, message):
    assert folder.refusal(USE_CYCLIC, CYCLIC, options=Options(set=[setting])) == [f"--set {setting}: {message}"]


def test_a_setting_given_twice_is_refused(folder):
    assert folder.refusal(options=Options(set=["hidden=200", "hidden=500"])) == ["--set hidden=500: 'hidden' is set twice, also to 200."]


def test_set_pins_what_is_searched_what_is_not_weights_and_switches(folder):
    settings = ["n_clusters=8", "hidden=1e3", "lr_ae=1e-3", "use_cyclic=off", "weights.mode=0", "updates=joint"]
    spec = folder.read(
        SOME, USE_CYCLIC, CYCLIC, "weights.mode: {min: 0.1, max: 1.0}", "dropout: {min: 0.0, max: 0.5}", options=Options(set=settings)
    )
    config = spec.config({"dropout": 0.1})
    assert [config[name] for name in ("n_clusters", "hidden", "lr_ae", "use_cyclic", "weights.mode", "weights.cyclic")] == [
        8,
        1000,
        1e-3,
        False,
        0,
        0,
    ]
    assert [found.name for found in spec.searched() if spec.active(found, {"dropout": 0.1})] == ["dropout"]


def test_a_pinned_weight_heeds_no_condition_and_its_switch_is_left_out(folder):
    spec = folder.read("dropout: {min: 0.0, max: 0.5}", USE_CYCLIC, CYCLIC, options=Options(set=["weights.cyclic=0.3"]))
    assert spec.config({"dropout": 0.1})["weights.cyclic"] == 0.3
    assert spec.switches == frozenset()
    assert spec.notes == ("'use_cyclic' decides nothing once --set pins what it decided about: it is left out.",)


def test_set_values_serves_a_single_training(folder):
    model = load_model("dec")
    assert set_values(model, ["hidden=64", "lr=1e-2"]) == {"hidden": 64, "lr": 0.01}
    with pytest.raises(UserError) as refused:
        set_values(model, ["hiden=64", "lr=fast", "lr=2"])
    assert str(refused.value).splitlines() == [
        "--set lr=2: 'lr' is set twice, also to fast.",
        "--set hiden=64: dec has no 'hiden'. Did you mean 'hidden'?",
        "--set lr=fast: 'lr' must be a number, but got 'fast'.",
    ]


# --- what is written down ---


def test_every_default_that_was_filled_in_is_told(folder):
    spec = folder.read(SOME, metric="{name: acc}", **KMEANS)
    assert spec.filled == {
        "name": "space",
        "metric.goal": "maximize",
        "select.labels": "allowed",
        "score": "last",
        "method": "tpe",
        "trials": 24,
        "epochs": 50,
        "seed": 0,
        "pretrain_seed": 0,
        "precision": "fp32",
        "early_terminate.grace": 5,
        "early_terminate.reduction": 3,
        "resources.cpu": 1,
        "resources.gpu": "auto",
        "resources.pack": "auto",
        "retries": 2,
        "parameters.n_init": 10,
    }
    assert spec.resources == Resources(cpu=1, gpu="auto")


def test_the_resolved_search_is_json_and_holds_everything(folder):
    spec = folder.read(SOME, "dropout: {distribution: q_uniform, min: 0.0, max: 0.5, q: 0.25}", USE_CYCLIC, CYCLIC)
    resolved = json.loads(json.dumps(spec.resolved()))
    assert resolved["parameters"] == {
        "n_clusters": {"values": [7, 10]},
        "dropout": {"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.25},
        "use_cyclic": {"values": [True, False]},
        "weights.cyclic": {"distribution": "uniform", "min": 0.1, "max": 1.0, "when": {"use_cyclic": [True]}},
    }
    assert resolved["metric"] == {"name": "acc", "goal": "maximize"}
    assert resolved["early_terminate"] == {"type": "asha", "grace": 5, "reduction": 3}
    assert resolved["filled"] == spec.filled
    assert (spec.text, spec.path) == (Path(spec.path).read_text(), folder.path / "space.yaml")


def test_the_sweep_is_the_file_without_its_conditions(folder):
    spec = folder.read(SOME, USE_CYCLIC, CYCLIC, "hidden: {value: 200}", keys=("name: mine", "method: random"))
    assert spec.sweep() == {
        "name": "mine",
        "method": "random",
        "metric": {"name": "acc", "goal": "maximize"},
        "parameters": {
            "n_clusters": {"values": [7, 10]},
            "use_cyclic": {"values": [True, False]},
            "weights.cyclic": {"distribution": "uniform", "min": 0.1, "max": 1.0},
            "hidden": {"value": 200},
        },
    }


# --- YAML ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "space.yaml: the file is empty: a search space is a mapping of keys such as `model:`."),
        ("- model", "space.yaml:1: a search space is a mapping of keys such as `model:`, but this is a list."),
        ("model: dec\nmodel: kmeans\ndataset: digits\nmetric: {name: nmi}\nparameters: {n_init: {value: 1}}",
         "space.yaml:2: 'model' stands here a second time; the first is in line 1."),
        ("model: dec\n  dataset: digits", "space.yaml:2: this is not YAML: mapping values are not allowed here."),
        ("model: dec\n\tdataset: digits",
         "space.yaml:2: this is not YAML: while scanning for the next token found character '\\t' that cannot start any token."),
        ("a: {b: c", "space.yaml:1: this is not YAML: while parsing a flow mapping expected ',' or '}', but got '<stream end>'."),
        ("a: 1\n---\nb: 2", "space.yaml:2: this is not YAML: expected a single document in the stream but found another document."),
        ("a: *b", "space.yaml:1: this is not YAML: found undefined alias 'b'."),
        ("? [a]\n: b", "space.yaml:1: a key must be one word."),
        ("a: &a [*a]", "space.yaml: the file is nested too deeply, or contains itself."),
        ("a: " + "[" * 5000 + "]" * 5000, "space.yaml: the file is nested too deeply, or contains itself."),
        ("a: \x01", "space.yaml: this is not a text file: special characters are not allowed at character 3."),
        ("x" * 1_000_001, "space.yaml: the file has 1,000,001 characters; a search space has fewer than 1,000,000."),
    ],
)  # fmt: skip
def test_what_is_no_mapping_of_keys_is_refused_with_its_line(folder, text, message):
    lines = [line.strip() for line in folder.refusal_of(text).splitlines()]
    assert [line for line in lines if "is missing" not in line] == [message]


def test_a_file_that_is_no_text_is_refused(folder):
    with pytest.raises(UserError) as refused:
        read_space(folder.write(b"name: \xff\xfe"))
    assert str(refused.value) == f"{folder.path / 'space.yaml'} cannot be used: it is not UTF-8 text (invalid start byte at byte 6)."


def test_a_space_from_elsewhere_runs_no_code(folder):
    evil = folder.path / "was-here"
    text = f"name: !!python/object/apply:os.mkdir ['{evil}']\nmodel: !mine kmeans\ndataset: digits\nmetric: {ACC}\nparameters:\n  {SOME}\n"
    first, second, third = folder.refusal_of(text).split("\n  ")
    assert first == "space.yaml:1: a search space is plain data; the tag 'tag:yaml.org,2002:python/object/apply:os.mkdir' is not read."
    assert second.startswith("space.yaml:1: 'name' cannot be a list: it becomes a folder")
    assert third == "space.yaml:2: a search space is plain data; the tag '!mine' is not read."
    assert not evil.exists()


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory(folder):
    bomb = "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))])
    assert folder.refusal_of(bomb) == "space.yaml: the file has more than 10,000 values once its aliases are written out."


def test_aliases_and_comments_and_a_byte_order_mark_are_read(folder):
    text = (
        f"\ufeff# a space\nmodel: kmeans\ndataset: digits\nmetric: {ACC}\nparameters:\n  n_clusters: &v {{values: [7, 10]}}\n  n_init: *v\n"
    )
    spec = read_space(folder.write(text))
    assert spec.ranges["n_init"].values == (7, 10)
    assert spec.ranges["n_init"].line == 7


WORDS = [
    "values",
    "value",
    "min",
    "max",
    "when",
    "distribution",
    "n_clusters",
    "use_x",
    "digits",
    "kmeans",
    "1e-4",
    "010",
    "off",
    "-3",
    ".nan",
    "~",
]
VALUES = st.recursive(
    st.sampled_from(WORDS) | st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "model",
    "dataset",
    "metric",
    "score",
    "method",
    "trials",
    "epochs",
    "seed",
    "name",
    "early_terminate",
    "resources",
    "parameters",
    "run",
]
GOOD = {
    "model": "kmeans",
    "dataset": "digits",
    "metric": {"name": "nmi", "goal": "maximize"},
    "parameters": {"n_clusters": {"values": [7, 10]}},
}


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4), st.dictionaries(st.sampled_from(["n_clusters", "n_init", "use_x"]), VALUES)
)
def test_whatever_a_file_holds_it_is_a_space_or_a_users_error(tmp_path_factory, keys, parameters):
    path = tmp_path_factory.mktemp("any") / "space.yaml"
    for space in ({**GOOD, **keys}, {**GOOD, "parameters": parameters}):
        path.write_text(json.dumps(space), encoding="utf-8")
        with suppress(UserError):
            assert isinstance(read_space(str(path)), Spec)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab:-{}[]!&*#|>'\"%@`, \n\t0.e~?", max_size=40))
def test_whatever_the_text_is_it_is_a_users_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "space.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError):
        read_space(str(path))


# --- shipped spaces and paths ---


def test_every_model_has_a_space():
    assert {read_head(name)["model"] for name in space_names()} >= {"kmeans", "dec", "aae_unsup"}


def read_head(name: str) -> dict:
    import yaml

    from tuner import layout

    return yaml.safe_load((layout.folder("search_spaces") / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", space_names())
def test_a_shipped_space_opens_with_command_cost_and_result_and_has_no_problem(name):
    source = f"{name}.yaml"
    dataset = read_head(name)["dataset"]
    assert (dataset["name"] if isinstance(dataset, dict) else dataset) in DATASETS
    options = Options(dataset="digits") if read_head(name)["dataset"] != "digits" else None  # others may not be at hand
    spec = read_space(source, options=options)
    opening = [line.split(":")[0] for line in spec.text.splitlines()[:3]]
    assert opening == ["# Command", "# Cost", "# Result"]
    assert spec.name == name
    assert not [note for note in spec.notes if not note.startswith("--dataset")]
    # Those change no result.
    assert {key for key in spec.filled if not key.startswith("parameters.")} <= {"retries", "pretrain_seed", "precision", "select.labels"}


def test_a_space_is_found_by_its_path_or_its_name_with_or_without_yaml(folder, monkeypatch):
    assert read_space("kmeans").path == read_space("kmeans.yaml").path
    folder.read(SOME, **KMEANS)
    assert read_space(str(folder.path / "space")).name == "space"
    monkeypatch.chdir(folder.path)
    (folder.path / "kmeans.yaml").write_text((folder.path / "space.yaml").read_text() + "\nseed: 7\n")
    assert read_space("kmeans.yaml").seed == 7  # what lies here comes before what is shipped


def test_a_space_that_is_not_there_is_named_with_the_nearest_shipped_one(folder):
    for source, message in [
        (
            "aae_unsupp",
            "There is no file 'aae_unsupp', and no search space of that name. Did you mean 'aae_unsup'? `tuner spaces` lists them.",
        ),
        (
            "x/kmean.yaml",
            "There is no file 'x/kmean.yaml', and no search space of that name. Did you mean 'kmeans'? `tuner spaces` lists them.",
        ),
        (str(folder.path), f"'{folder.path}' is a folder, not a search space. `tuner spaces` lists those that come with tuner."),
        ("x" * 5000, f"There is no file '{'x' * 5000}', and no search space of that name. `tuner spaces` lists them."),
    ]:
        with pytest.raises(UserError) as refused:
            read_space(source)
        assert str(refused.value) == message


def test_a_condition_that_fails_leaves_what_otherwise_says(folder):
    spec = folder.read(
        "varied: {values: [none, recon]}", "weights.recon: {values: [3, 5], when: {varied: recon}, otherwise: 1}", model="gumbel_vae"
    )
    assert {spec.config(chosen)["weights.recon"] for chosen in spec.worlds(["varied", "weights.recon"])} == {1.0, 3.0, 5.0}
    assert spec.combinations() == 3


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("hidden: {values: [8, 16], otherwise: 8}", "'hidden': without `when` there is no otherwise. Leave `otherwise` out."),
        ("hidden: {values: [9, 16], when: {a: true}, otherwise: 1}", "'hidden' must stay within [8, 8192], but got 1."),
    ],
)
def test_an_otherwise_that_cannot_be_is_refused(folder, entry, message):
    assert folder.refusal("a: {values: [true, false]}", entry)[-1].endswith(message)


def test_the_weights_of_gumbel_vae_are_varied_one_at_a_time():
    spec = read_space("gumbel_vae_weights")
    names = ("weights.recon", "weights.gaussian", "weights.categorical")
    found = {
        (config["n_clusters"], *(config[name] for name in names))
        for config in (spec.config(chosen) for chosen in spec.worlds([r.name for r in spec.searched()]))
    }
    ones = {(1.0,) * 3} | {tuple(w if i == j else 1.0 for j in range(3)) for i in range(3) for w in (3.0, 5.0, 7.0, 9.0)}
    assert found == {(k, *weights) for k in (7, 10, 14) for weights in ones}
    assert spec.trials == len(found) == 39


MERGED = """
model: kmeans
dataset: digits
metric: {name: acc, goal: maximize}
parameters:
  n_clusters: &few {min: 5, max: 15}
  n_init: {<<: *few, max: 9}
  seeded: {<<: [{value: 1}, *few], min: 3}
"""


def test_a_merge_key_merges_and_what_a_mapping_says_itself_comes_first(folder):
    problems = Problems(title="space.yaml", file="space.yaml")
    found = Located(value=parse(MERGED, problems), place="", line=0).plain()["parameters"]
    assert found["n_init"] == {"min": 5, "max": 9} and found["seeded"] == {"value": 1, "min": 3, "max": 15}
    few = folder.refusal_of(MERGED.replace("*few, max: 9", "5, max: 9"))
    assert "space.yaml:7: `<<` merges a mapping, or a list of mappings, by their aliases: `<<: *other`." in few


def test_json_is_read_also_where_tabs_indent_it(folder):
    space = {"model": "kmeans", "dataset": "digits", "metric": {"name": "acc", "goal": "maximize"}}
    text = json.dumps(space | {"parameters": {"n_clusters": {"min": 5, "max": 15}}}, indent="\t")
    found = read_space(folder.write(text)).ranges["n_clusters"]
    assert "\t" in text and (found.min, found.max) == (5, 15)


@pytest.mark.parametrize(("written", "value"), [("!!float 1e-5", 1e-5), ("!!float 1", 1), ("!!int 3", 3), ("!!bool true", True)])
def test_a_number_may_bear_its_tag(written, value):
    found = parse(f"a: {written}", Problems(title="t", file="t"))["a"].value
    assert found == value and type(found) is type(value)


def test_a_tag_that_is_not_the_value_s_is_refused():
    problems = Problems(title="t", file="t")
    parse("a: !!float often", problems)
    assert problems.found == [(1, "t:1: 'often' is no float, as its tag `!!float` has it.")]


def test_a_log_range_with_steps_is_answered_by_what_can_be_taken(folder):
    (line,) = folder.refusal("batch_size: {distribution: q_log_uniform_values, min: 32, max: 256, q: 8}")
    assert line.endswith("q: 1. Use q_uniform, or q: 1 and a min from 1 on.")
    for taken in ("{distribution: q_uniform, min: 32, max: 256, q: 8}", "{distribution: q_log_uniform_values, min: 32, max: 256, q: 1}"):
        folder.read(f"batch_size: {taken}")
