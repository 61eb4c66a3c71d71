"""Orders to searches that run: on the real Ray, handed in as files at an exact epoch, or by the commands to another process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from tuner.errors import UserError
from tuner.machines.cluster import Cluster
from tuner.runs import orders
from tuner.runs.journal import read_lines
from tuner.runs.orders import Order
from tuner.runs.paths import STUDY
from tuner.runs.results import read_run
from tuner.search.study import open_storage
from tuner.service.driver import Outcome, SearchOptions, search
from tuner.service.resume import ResumeOptions, resume
from tuner.service.steering import keep_for_resume
from tuner.space.reader import read_space
from tuner.space.request import read_wanted
from tuner.space.spec import Spec

SPACE = """
model: kmeans
dataset: {name: digits, limit: 200}
metric: {name: acc, goal: maximize}
method: random
trials: 6
epochs: 4
early_terminate: none
resources: {cpu: CPU, gpu: 0, pack: off}
parameters:
  n_clusters: {min: 2, max: 60}
  n_init: {value: 2}
"""


@pytest.fixture(autouse=True)
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "LOOK_EVERY_S", 0.0)


def one_at_a_time(folder: Path, text: str = SPACE) -> Spec:
    import ray

    path = folder / "space.yaml"
    path.write_text(text.replace("CPU", str(int(ray.cluster_resources()["CPU"]))))
    return read_space(str(path))


class Gives:
    """Hands orders in, and sends signals, each at an epoch of a trial."""

    def __init__(self, folder: Path, at: Mapping[tuple[int, int], list[Order | int]]) -> None:
        self.folder, self.at = folder, at
        self.started: list[int] = []

    def trial_started(self, number: int, config: object) -> None:
        self.started.append(number)

    def epoch_ended(self, number: int, line: dict[str, Any]) -> None:
        for what in self.at.get((number, line["epoch"]), []):
            if isinstance(what, Order):
                orders._write(self.folder, what)
            else:
                os.kill(os.getpid(), what)

    def __getattr__(self, name: str) -> Any:
        return lambda *event: None


def steered(tmp_path: Path, at: Mapping[tuple[int, int], list[Order | int]], text: str = SPACE) -> tuple[Outcome, Gives]:
    gives = Gives(tmp_path / "runs" / "s", at)
    spec = one_at_a_time(tmp_path, text)
    return search(spec, SearchOptions(out=tmp_path / "runs", name="s", listeners=(gives,))), gives


def answer(outcome: Outcome, order: Order) -> tuple[bool, str]:
    said = json.loads((outcome.folder / orders.ORDERS / f"{order.id}.answer").read_text())
    return said["taken"], said["said"]


def enqueue(number: str, *texts: str, like: int | None = None) -> Order:
    return Order(do="enqueue", set=texts, like=like, id=number)


def study(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=open_storage(folder / STUDY)).trials


def ends(folder: Path) -> dict[int, dict[str, Any]]:
    return {line["trial"]: line for line in read_lines(folder / "results.jsonl") if "state" in line}


def epochs(folder: Path, trial: int) -> list[int]:
    return [line["epoch"] for line in read_lines(folder / "results.jsonl") if line["trial"] == trial and "state" not in line]


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Outcome:
    """The search that nobody steered."""
    return steered(tmp_path_factory.mktemp("through"), {})[0]


# --- enqueue -----------------------------------------------------------------------------------------------------------

FIRST, SECOND = enqueue("1", "n_init=3", like=0), enqueue("2", "n_clusters=9")


def test_what_is_enqueued_is_tried_next_and_all_others_are_as_they_were(tmp_path: Path, through: Outcome) -> None:
    late = enqueue("3", "n_clusters=5")
    outcome, gives = steered(tmp_path, {(1, 1): [FIRST, SECOND], (5, 2): [late]})
    assert answer(outcome, FIRST) == (True, "It is trial 2 of s, and begins as soon as there is room.")
    assert answer(outcome, SECOND)[1].startswith("It is trial 3 of s")
    assert answer(outcome, late) == (
        False,
        "s has begun all its 6 trials. When they have ended, enqueue this again, and: tuner resume s --trials +1",
    )
    assert (outcome.status, gives.started) == ("done", [0, 1, 2, 3, 4, 5])
    before, after = study(through.folder), study(outcome.folder)
    assert (after[2].params, after[3].params) == (before[0].params, {"n_clusters": 9})
    assert [after[n].params for n in (0, 1, 4, 5)] == [before[n].params for n in (0, 1, 4, 5)]
    assert [trial.user_attrs["seed"] for trial in after] == [trial.user_attrs["seed"] for trial in before]
    assert after[2].user_attrs["asked_for"] == {"order": "1", "like": 0, "set": ["n_init=3"], "beside": {"n_init": 3}}
    assert [n for n, trial in enumerate(after) if "asked_for" in trial.user_attrs] == [2, 3]
    journal = ends(outcome.folder)
    assert [n for n in journal if journal[n].get("asked_for")] == [2, 3]
    assert [journal[n]["config"]["n_init"] for n in range(6)] == [2, 2, 3, 2, 2, 2] and journal[3]["config"]["n_clusters"] == 9
    assert [trial.value for trial in after] == [journal[n]["score"] for n in range(6)], "the sampler is told of all of them"
    same = [n for n in (0, 1, 4, 5) if journal[n]["score"] == ends(through.folder)[n]["score"]]
    assert same == [0, 1, 4, 5]


@pytest.mark.slow
def test_an_interrupted_search_goes_on_with_what_was_enqueued(tmp_path: Path, cluster: Cluster) -> None:
    """Of the three that were enqueued one has ended, one is open and one waits."""
    third = enqueue("3", "n_clusters=30")
    at: dict[tuple[int, int], list[Order | int]] = {(0, 1): [FIRST, SECOND, third]}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, _ = steered(tmp_path / "a", at)
    cut, _ = steered(tmp_path / "b", at | {(2, 1): [signal.SIGINT]})
    assert cut.status == "stopped" and [trial.state.name for trial in study(cut.folder)] == ["COMPLETE", "COMPLETE", "FAIL", "FAIL"]
    orders._write(cut.folder, SECOND)  # its driver died before it had removed the order: it is not tried twice
    again = Gives(cut.folder, {})
    outcome = resume(cut.folder, ResumeOptions(listeners=(again,)))
    assert (outcome.status, again.started) == ("done", [2, 3, 4, 5])
    assert answer(outcome, SECOND)[1].startswith("It is trial 2 of s")

    def plain(folder: Path) -> list[Any]:
        told = [(t.params, t.value, t.state, t.intermediate_values, t.user_attrs) for t in study(folder)]
        return [*told, *({k: v for k, v in ends(folder)[n].items() if k in ("config", "score", "asked_for", "state")} for n in range(6))]

    assert plain(outcome.folder) == plain(whole.folder)


@pytest.mark.slow
def test_what_is_enqueued_while_no_driver_runs_is_tried_when_the_search_goes_on(
    tmp_path: Path, through: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    cut, _ = steered(tmp_path, {(1, 1): [signal.SIGINT]})
    assert orders.give(cut.folder, SECOND) is None, "nobody takes it"
    assert keep_for_resume(cut.folder, SECOND) == 0
    with pytest.raises(UserError, match="Did you mean 'n_clusters'"):
        keep_for_resume(cut.folder, enqueue("4", "n_cluster=3"))
    (cut.folder / orders.ORDERS / "0.json").write_text('{"do": "what"}')
    gives = Gives(cut.folder, {(5, 3): [enqueue("5", "n_clusters=3")]})
    outcome = resume(cut.folder, ResumeOptions(listeners=(gives,)))
    assert [trial.params for trial in study(cut.folder)][2] == {"n_clusters": 9} and gives.started == [1, 2, 3, 4, 5]
    assert caplog.messages == ["What was enqueued while no driver ran is refused: 0.json is no order of tuner's."]
    # A search that has all its trials keeps it for one that is to have more.
    assert keep_for_resume(outcome.folder, enqueue("6", "n_clusters=4")) == 1
    assert not resume(outcome.folder).ran and len(orders.waiting(outcome.folder)) == 1
    assert resume(outcome.folder, ResumeOptions(trials="+1")).results.trials[6].config["n_clusters"] == 4


# --- stop --------------------------------------------------------------------------------------------------------------


def stop(number: str, trial: int | None = None) -> Order:
    return Order(do="stop", trial=trial, id=number)


@pytest.mark.slow
def test_a_trial_that_is_stopped_keeps_its_score_and_the_search_goes_on(tmp_path: Path, through: Outcome) -> None:
    one, waits, over, none = stop("2", 1), stop("3", 2), stop("4", 0), stop("5", 9)
    outcome, gives = steered(tmp_path, {(1, 2): [enqueue("1", "n_clusters=5"), one, waits, over, none]})
    assert answer(outcome, one) == (True, "Trial 1 of s stops with the epoch that it is in. The search goes on.")
    assert answer(outcome, waits) == (True, "Trial 2 of s is stopped: it was waiting for its turn.")
    assert answer(outcome, over) == (False, "Trial 0 of s has ended already: it is complete.")
    assert answer(outcome, none) == (False, "There is no trial 9: s has begun trials 0 to 2.")
    assert (outcome.status, gives.started) == ("done", [0, 1, 3, 4, 5])
    journal = ends(outcome.folder)
    assert {n: end["state"] for n, end in journal.items()} == {n: "stopped" if n in (1, 2) else "complete" for n in range(6)}
    assert [journal[n]["for_good"] for n in (1, 2)] == [True, True]
    assert epochs(outcome.folder, 1) == [1, 2, 3] and epochs(outcome.folder, 2) == []
    assert journal[1]["score"] == [line["metrics"]["acc"] for line in read_lines(outcome.folder / "results.jsonl") if line["trial"] == 1][2]
    told = study(outcome.folder)
    assert [trial.state.name for trial in told] == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert [trial.user_attrs["state"] for trial in told][1:3] == ["stopped", "stopped"]
    assert [told[n].params for n in (3, 4, 5)] == [study(through.folder)[n].params for n in (3, 4, 5)]
    assert not (outcome.folder / "checkpoints").exists()
    assert not resume(outcome.folder).ran, "it does not go on with the search, either"
    assert resume(outcome.folder, ResumeOptions(trials="+1")).results.counts() == {**outcome.results.counts(), "complete": 5}


PRETRAINED = """
model: dec
dataset: {name: digits, limit: 200}
metric: {name: acc, goal: maximize}
trials: 2
epochs: 2
early_terminate: none
resources: {cpu: CPU, gpu: 0, pack: off}
parameters:
  lr: {values: [0.001, 0.002]}
  hidden: {value: 10}
  batch_size: {value: 50}
  pretrain_epochs: {values: [999, 1000]}
"""


def test_a_trial_is_stopped_in_its_pre_training(tmp_path: Path, cluster: Cluster) -> None:
    at: dict[tuple[int, int], list[Order | int]] = {(n, 3): [stop(str(n), n)] for n in (0, 1)}
    outcome, gives = steered(tmp_path, at, PRETRAINED)
    assert (outcome.status, gives.started) == ("done", [0, 1])
    for number, end in ends(outcome.folder).items():
        assert (end["state"], end["score"], end["for_good"]) == ("stopped", None, True)
        assert 3 <= len(epochs(outcome.folder, number)) < 900
    assert [trial.state.name for trial in study(outcome.folder)] == ["FAIL", "FAIL"]
    with pytest.raises(UserError, match=r"--set batch_size=500: 'batch_size' is 500, but a batch cannot be more than the data's 200"):
        keep_for_resume(outcome.folder, enqueue("9", "lr=0.001", "pretrain_epochs=999", "batch_size=500"))


@pytest.mark.slow
def test_a_search_that_is_told_to_stop_ends_as_with_ctrl_c(tmp_path: Path, cluster: Cluster) -> None:
    outcome, _ = steered(tmp_path, {(1, 2): [stop("1")]})
    assert answer(outcome, stop("1")) == (True, "s ends. Everything finished is kept.")
    assert outcome.status == read_run(outcome.folder).status == "stopped"
    orders._write(outcome.folder, stop("2"))  # whoever gave it did not wait: it was not for the next driver
    outcome = resume(outcome.folder)
    assert (outcome.status, answer(outcome, stop("2"))[0]) == ("done", False)
    assert outcome.results.counts()["complete"] == 6


# --- what can be asked for ---------------------------------------------------------------------------------------------

SWITCHES = """
model: aae_unsup
dataset: digits
metric: {name: acc, goal: maximize}
epochs: 30
parameters:
  n_clusters: {value: 10}
  latent_dim: {values: [4, 8]}
  lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 5e-3}
  use_cyclic: {values: [true, false]}
  weights.cyclic: {distribution: log_uniform_values, min: 1e-2, max: 10, when: {use_cyclic: true}}
"""


@pytest.fixture(scope="module")
def switches(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    path = tmp_path_factory.mktemp("switches") / "space.yaml"
    path.write_text(SWITCHES)
    return read_space(str(path))


@pytest.mark.parametrize(
    ("texts", "chosen", "beside"),
    [
        (["use_cyclic=false", "latent_dim=8", "lr_ae=1e-3"], {"latent_dim": 8, "lr_ae": 0.001, "use_cyclic": False}, {}),
        (["use_cyclic=off", "latent_dim=4", "hidden=64"], {"latent_dim": 4, "use_cyclic": False}, {"hidden": 64}),
        (["use_cyclic=true", "latent_dim=4", "weights.cyclic=3"], {"latent_dim": 4, "use_cyclic": True, "weights.cyclic": 3.0}, {}),
    ],
)
def test_what_is_not_said_is_at_its_default(switches: Spec, texts: list[str], chosen: dict[str, Any], beside: dict[str, Any]) -> None:
    found = read_wanted(switches, texts)
    default = switches.known["lr_ae"].default
    assert (found.chosen, found.beside) == ({"lr_ae": default} | chosen, beside)
    config = found.spec.config(found.chosen)
    assert all(config[name] == value for name, value in {**chosen, **beside}.items())


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["weights.cylic=3"], "--set weights.cylic=3: neither aae_unsup nor the file has 'weights.cylic'. Did you mean 'weights.cyclic'?"),
        (["lr_ae=-1"], "--set lr_ae=-1: 'lr_ae' must"),
        (["lr_ae"], "--set lr_ae: write --set key=value."),
        (["epochs=99"], "--set epochs=99: 'epochs' is a key of the search, and the same for all its trials."),
        (["trials=99"], "--set trials=99: 'trials' is a key of the search, and the same for all its trials."),
        (
            ["lr_ae=0.1"],
            "--set lr_ae=0.1: 'lr_ae' is searched over [0.0001, 0.005], and the sampler can be told of no other value.",
        ),
        (["use_cyclic=3"], "--set use_cyclic=3: the file gives 'use_cyclic' only true | false."),
        (
            ["use_cyclic=false", "weights.cyclic=3"],
            "--set weights.cyclic=3: 'weights.cyclic' is not searched here: it asks for use_cyclic=true. Say that, too.",
        ),
        ([], "--set: 'use_cyclic' must be said, such as --set use_cyclic=true: true | false is searched, and has no default."),
        ([], "--set: 'latent_dim' must be said, such as --set latent_dim=4: 4 | 8 is searched, and its default, 5, is not among them."),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_with_what_to_say(switches: Spec, texts: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        read_wanted(switches, texts)
    assert said in str(error.value) and str(error.value).startswith("This configuration cannot be used:\n")


def test_a_copy_has_what_is_not_said_and_leaves_out_what_its_changes_switch_off(switches: Spec) -> None:
    study = optuna.create_study()
    study.add_trial(
        optuna.trial.create_trial(
            value=0.0,
            params={"latent_dim": 8, "lr_ae": 0.002, "use_cyclic": True, "weights.cyclic": 0.5},
            distributions={
                "latent_dim": optuna.distributions.CategoricalDistribution([4, 8]),
                "lr_ae": optuna.distributions.FloatDistribution(1e-4, 5e-3, log=True),
                "use_cyclic": optuna.distributions.CategoricalDistribution([True, False]),
                "weights.cyclic": optuna.distributions.FloatDistribution(1e-2, 10, log=True),
            },
            user_attrs={"asked_for": {"beside": {"hidden": 64}}},
        )
    )
    found = read_wanted(switches, ["weights.cyclic=0.3"], study.trials[0])
    assert found.chosen == {"latent_dim": 8, "lr_ae": 0.002, "use_cyclic": True, "weights.cyclic": 0.3}
    assert found.beside == {"hidden": 64}
    assert "weights.cyclic" not in read_wanted(switches, ["use_cyclic=false"], study.trials[0]).chosen
