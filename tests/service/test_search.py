"""Searches on the real Ray, Tune and Optuna. Most train nothing: a script says what every epoch of every trial measures."""

import io
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import optuna_dashboard
import pytest
import torch
import yaml
from kit.searches import CONDITIONAL, SPACE, play, space

from tuner.data.datasets import DatasetSpec
from tuner.data.raw import data_root
from tuner.errors import UserError
from tuner.machines.cluster import Cluster, Share
from tuner.machines.token import protect_token, token_file
from tuner.runs.journal import read_lines
from tuner.runs.paths import STUDY, checkpoint_file, weights_file
from tuner.search.proposals import trial_seed
from tuner.search.study import open_storage
from tuner.search.trainer import Report, Trainer
from tuner.service.driver import Outcome, SearchOptions, search
from tuner.space.spec import Resources, Spec
from tuner.training import checkpoint
from tuner.tune.actor import TrialActor
from tuner.tune.failures import Failures, reason_of
from tuner.tune.patches import only_the_trial_is_lost
from tuner.tune.quarantine import Quarantine
from tuner.tune.searcher import StudySearch


class Heard:
    """Keeps all events, and does something at one of them."""

    def __init__(self, do: Callable[[str, Any], None] = lambda name, event: None) -> None:
        self.events: list[tuple[str, Any]] = []
        self._do = do

    def __getattr__(self, name: str) -> Any:
        def hear(*event: Any, **named: Any) -> None:
            self.events.append((name, event))
            self._do(name, event)

        return hear

    def names(self) -> list[str]:
        return [name for name, _ in self.events]


def run_search(spec: Spec, out: Path, *listeners: Any, **options: Any) -> Outcome:
    return search(spec, SearchOptions(out=out, listeners=listeners, **options))


def one_at_a_time(spec: Spec) -> Spec:
    import ray

    return with_share(spec, cpu=ray.cluster_resources()["CPU"])


def with_share(spec: Spec, *, cpu: float, gpu: Any = 0) -> Spec:
    return Spec(**{**{name: getattr(spec, name) for name in spec.__dataclass_fields__}, "resources": Resources(cpu=cpu, gpu=gpu)})


def study_of(outcome: Outcome) -> optuna.Study:
    return optuna.load_study(study_name=outcome.run.name, storage=open_storage(outcome.folder / STUDY))


def served_by_optuna_dashboard(outcome: Outcome) -> dict[str, int]:
    """How many trials of each state `optuna-dashboard study.journal` shows of its first study."""
    app = optuna_dashboard.wsgi(open_storage(outcome.folder / STUDY))

    def get(path: str, query: str = "") -> Any:
        asked = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_TYPE": "application/json"}
        server = {
            "SERVER_NAME": "here",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
        }
        return json.loads(b"".join(app({**asked, **server}, lambda status, headers, error=None: None)))

    study = get("/api/studies")["study_summaries"][0]["study_id"]
    states = [trial["state"] for trial in get(f"/api/studies/{study}", "after=0")["trials"]]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def by_trial(outcome: Outcome) -> dict[int, list[dict[str, Any]]]:
    """The journal's epochs of each trial."""
    found: dict[int, list[dict[str, Any]]] = {}
    for line in read_lines(outcome.folder / "results.jsonl"):
        if "state" not in line:
            found.setdefault(line["trial"], []).append(line)
    return found


# --- scripts instead of training ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """Stands in for `Trainer`: trial n does what `plans[n]` says, the last plan what all others do."""

    folder: Path
    plans: tuple[str, ...]
    fallback: Path | None = None

    def __call__(self, trial: int, config: Mapping[str, Any]) -> Iterator[Report]:
        kind, _, level = self.plans[min(trial, len(self.plans) - 1)].partition(" ")
        acc, pretraining = float(level or 0.5), 2 if kind == "pretrained" else 0
        for index in range(1, 10 + pretraining):
            clustering = index - pretraining if index > pretraining else None
            line = {"trial": trial, "epoch": index, "phase": "p", "cluster_epoch": clustering, "metrics": {"acc": acc, "loss/a": 1.0}}
            score = None if clustering is None else acc
            ended = "complete" if clustering == 9 else None
            if kind == "slow" and index == 3:
                time.sleep(600)
            if kind == "raises" and index == 2:
                raise ZeroDivisionError("the script says so\nand more")
            if kind == "gpu-full" and index == 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has")
            if kind == "machine-full" and index == 2:
                raise MemoryError
            if kind == "dies" and index == 2:
                os._exit(1)
            if kind == "dies-twice" and index == 4 and len(list(self.folder.glob("death *"))) < 2:
                (self.folder / f"death {os.getpid()}").touch()
                os._exit(1)
            if kind in ("collapsed", "diverged") and index == 2:
                score, ended = 0.0, kind
                line["metrics"] = {"loss/a": 1.0}
            if ended == "complete":
                weights_file(self.folder, trial).parent.mkdir(exist_ok=True)
                weights_file(self.folder, trial).write_text(f"weights of {trial}")
            yield Report(line=line, score=score, ended=ended, reason=f"it {ended}" if ended in ("collapsed", "diverged") else None)
            if ended:
                return


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> Callable[..., None]:
    def put(*plans: str) -> None:
        monkeypatch.setattr("tuner.search.trainer.Trainer", lambda **given: Script(given["folder"], plans))

    return put


def test_a_search_with_every_kind_of_end(tmp_path: Path, scripted: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    plans = ("good 0.9", "raises", "diverged", "collapsed", "good 0.1", "pretrained 0.95", "dies", "good 0.2", "good 0.85")
    scripted(*plans)

    def fail(name: str, event: Any) -> None:
        if name == "epoch_ended":
            raise ConnectionError("the dashboard is down")

    heard, fails = Heard(), Heard(fail)
    with caplog.at_level(logging.WARNING, logger="tuner"):
        spec = space(tmp_path, SPACE.replace("kmeans", "dec") + "retries: 0\n")
        outcome = run_search(one_at_a_time(spec), tmp_path / "runs", fails, heard)
    assert outcome.status == "done"

    # how they ended, in the journal
    states = {t.trial: t.state for t in outcome.results.trials}
    assert states == {
        0: "complete", 1: "failed", 2: "diverged", 3: "collapsed", 4: "pruned", 5: "complete", 6: "failed", 7: "pruned", 8: "pruned",
    }  # fmt: skip
    reasons = {t.trial: t.reason for t in outcome.results.trials if t.reason}
    assert reasons.pop(6).startswith("the trial's process is gone: ")
    assert reasons == {1: "ZeroDivisionError: the script says so", 2: "it diverged", 3: "it collapsed"}
    tracebacks = {t.trial: t.traceback for t in outcome.results.trials if t.traceback}
    assert tracebacks.keys() == {1}
    lines = str(tracebacks[1]).splitlines()
    assert lines[0] == "Traceback (most recent call last):" and "in step" in lines[1] and lines[-2:] == [
        "ZeroDivisionError: the script says so", "and more",
    ]  # fmt: skip
    assert outcome.results.summary()["best"] == {
        "trial": 5, "metrics": {"acc": 0.95, "loss/a": 1.0}, "config": dict(outcome.results.trials[5].config),
    }  # fmt: skip
    assert {t.trial: t.score for t in outcome.results.trials if t.state in ("diverged", "collapsed")} == {2: None, 3: None}

    # what was asked is what the searcher asks by itself: Tune neither reorders nor repeats
    (tmp_path / "alone").mkdir()
    alone = StudySearch(outcome.run.spec, tmp_path / "alone", "s")
    asked = [alone.suggest(str(n)) for n in range(9)]
    assert [t.config for t in outcome.results.trials] == [one["config"] for one in asked if one is not None]

    # every epoch once and in order, those of pre-training before the others
    epochs = by_trial(outcome)
    assert {trial: [line["epoch"] for line in lines] for trial, lines in epochs.items()} == {
        0: [*range(1, 10)], 1: [1], 2: [1, 2], 3: [1, 2], 4: [1, 2, 3], 5: [*range(1, 12)], 6: [1], 7: [1, 2, 3], 8: [1, 2, 3],
    }  # fmt: skip
    assert [line["cluster_epoch"] for line in epochs[5]] == [None, None, *range(1, 10)]
    assert all(isinstance(line["time"], float) for lines in epochs.values() for line in lines)

    # in the study: PRUNED for exactly those that the scheduler stopped, with their last step; nothing is left open
    study = study_of(outcome)
    told = {trial.number: trial for trial in study.trials}
    kinds = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "diverged": "COMPLETE", "collapsed": "COMPLETE"}
    assert {number: trial.state.name for number, trial in told.items()} == {number: kinds[state] for number, state in states.items()}
    for number, trial in told.items():
        assert trial.user_attrs == {"trial": number, "seed": trial_seed(0, number), "state": states[number]}
        assert trial.params == {"n_clusters": outcome.results.trials[number].config["n_clusters"]}
        clustering = [line["cluster_epoch"] for line in epochs[number] if line["cluster_epoch"]]
        assert list(trial.intermediate_values) == clustering
    assert told[0].intermediate_values == dict.fromkeys(range(1, 10), 0.9)
    assert told[4].value == 0.1
    assert (told[2].value, told[3].value) == (0.0, 0.0)
    assert study.best_trial.number == 5
    assert served_by_optuna_dashboard(outcome) == {"Complete": 4, "Fail": 2, "Pruned": 3}

    # the winner's weights, and nobody else's
    assert (outcome.folder / "best.safetensors").read_text() == "weights of 5"
    assert sorted(path.name for path in outcome.folder.iterdir()) == [
        "best.safetensors", "best.yaml", "logs", "results.jsonl", "space.yaml", "spec.json", "status.json", "study.journal",
    ]  # fmt: skip

    # who listened heard it all, and who failed was left out
    assert heard.names()[0] == "search_started"
    assert heard.events[-1] == ("search_ended", ("done",))
    assert heard.names().count("trial_started") == heard.names().count("trial_ended") == 9
    lines = [event[1] for name, event in heard.events if name == "epoch_ended"]
    assert lines == [line for line in read_lines(outcome.folder / "results.jsonl") if "state" not in line]
    assert fails.names()[-1] == "epoch_ended"
    assert fails.names().count("epoch_ended") == 1
    assert [record.message for record in caplog.records] == [
        "Heard failed and is left out from here on; the search and its journal go on. ConnectionError: the dashboard is down"
    ]


@pytest.mark.slow
def test_a_trial_whose_process_dies_is_tried_again_and_loses_nothing(
    tmp_path: Path, scripted: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    scripted("dies-twice 0.7", "good 0.5")
    heard = Heard()
    with caplog.at_level(logging.WARNING, logger="tuner"):
        outcome = run_search(one_at_a_time(space(tmp_path, trials=2)), tmp_path / "runs", heard)
    assert [(t.state, t.score, t.epochs) for t in outcome.results.trials] == [("complete", 0.7, 9), ("pruned", 0.5, 3)]
    assert [line["epoch"] for line in by_trial(outcome)[0]] == list(range(1, 10))
    assert heard.names().count("trial_started") == 2
    assert study_of(outcome).trials[0].intermediate_values == dict.fromkeys(range(1, 10), 0.7)
    assert [record.message.partition(": ")[0] for record in caplog.records] == [
        "Trial 0 is tried again, 1 of 2 times", "Trial 0 is tried again, 2 of 2 times",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_trial_whose_process_dies_as_it_takes_it_over_is_tried_again(
    tmp_path: Path, scripted: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune itself would wait for ever: it goes on taking the trial for one that is about to begin."""
    flag = tmp_path / "died"

    class Dies(TrialActor):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            if new_config["trial"] == 1 and not flag.exists():
                flag.touch()
                os._exit(1)
            return super().reset_config(new_config)

    monkeypatch.setattr("tuner.tune.actor.trainable", lambda context: type(context.name, (Dies,), {"context": context}))
    scripted("good 0.7")
    outcome = run_search(one_at_a_time(space(tmp_path, trials=3)), tmp_path / "runs")
    assert flag.exists()
    assert [(t.state, t.epochs) for t in outcome.results.trials] == [("complete", 9)] * 3


@pytest.mark.slow
def test_a_trial_that_ran_out_of_memory_says_what_to_do_and_is_not_tried_again(
    tmp_path: Path, scripted: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    scripted("gpu-full", "machine-full", "good 0.5")
    outcome = run_search(one_at_a_time(space(tmp_path, trials=3)), tmp_path / "runs")
    assert [t.state for t in outcome.results.trials] == ["failed", "failed", "complete"]
    reasons = [str(t.reason).partition(" To do: ") for t in outcome.results.trials[:2]]
    assert [reason[0] for reason in reasons] == [
        "out of memory on the GPU: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has.",
        "out of memory on the machine: MemoryError.",
    ]
    assert all("under 'resources' larger" in reason[2] and "'batch_size'" in reason[2] for reason in reasons)
    assert caplog.messages == []


@pytest.mark.slow
def test_a_search_whose_first_trials_all_fail_alike_is_given_up(tmp_path: Path, scripted: Callable[..., None]) -> None:
    scripted("raises")
    outcome = run_search(one_at_a_time(space(tmp_path)), tmp_path / "runs")
    assert outcome.status == outcome.results.status == "failed"
    assert outcome.reason == "the first 4 trials all failed for the same reason: ZeroDivisionError: the script says so"
    assert [t.state for t in outcome.results.trials if t.state != "stopped"] == ["failed"] * 4
    assert len(outcome.results.trials) <= 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_search_and_keeps_what_is_finished(
    tmp_path: Path, scripted: Callable[..., None], number: signal.Signals
) -> None:
    scripted("good 0.5", "slow 0.5")

    def interrupt(name: str, event: Any) -> None:
        if name == "epoch_ended" and (event[0], event[1]["epoch"]) == (1, 2):
            os.kill(os.getpid(), number)

    spec = one_at_a_time(space(tmp_path, epochs=4))  # shorter than the script: nobody but the training says when a trial is complete
    inherited = signal.signal(number, signal.default_int_handler)  # whoever runs this may have been started with nohup
    try:
        outcome = run_search(spec, tmp_path / "runs", Heard(interrupt))
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, inherited)
    assert outcome.status == outcome.results.status == "stopped"
    assert [(t.trial, t.state, t.epochs) for t in outcome.results.trials] == [(0, "complete", 9), (1, "stopped", 2)]
    assert [(t.state.name, t.user_attrs["state"]) for t in study_of(outcome).trials] == [("COMPLETE", "complete"), ("FAIL", "stopped")]
    assert (outcome.folder / "best.safetensors").read_text() == "weights of 0"


def test_a_journal_that_cannot_be_written_ends_the_search_as_failed(
    tmp_path: Path, scripted: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted("good 0.5")
    heard = Heard()

    def full(self: object, trial: int, line: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tuner.runs.journal.Journal.epoch_ended", full)
    with pytest.raises(OSError, match="No space left on device"):
        run_search(one_at_a_time(space(tmp_path)), tmp_path / "runs", heard)
    assert heard.events[-1] == ("search_ended", ("failed",))
    assert json.loads((tmp_path / "runs" / "space" / "status.json").read_text())["status"] == "failed"


def test_a_worker_killed_for_its_nodes_memory_costs_its_trial_only() -> None:
    from ray.air.execution._internal import RayActorManager
    from ray.exceptions import OutOfMemoryError

    heard = Heard()
    actor = SimpleNamespace(_on_error=heard.actor, actor_id="a")
    task = SimpleNamespace(_on_error=heard.task, _tracked_actor=actor)
    manager = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=heard.cleanup)
    killed = OutOfMemoryError("1 worker(s) were killed due to the node running low on memory.\nAnd a page more")
    with only_the_trial_is_lost(Failures(Quarantine(Share(cpu=1, gpu=0, slots=1)))):
        RayActorManager._actor_task_failed(manager, task, killed)  # type: ignore[arg-type]
    assert heard.names() == ["cleanup", "actor", "task"]
    assert reason_of(heard.events[-1][1][1]) == (
        "out of memory on the machine: 1 worker(s) were killed due to the node running low on memory. To do: let fewer trials run there "
        "at once ('cpu' under 'resources' larger), or make 'batch_size' or the networks smaller."
    )


def test_a_death_that_tune_hears_of_twice_is_one_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for every task that was under way: the second time the trial is waiting to be tried again, and Tune would end it."""
    from ray.exceptions import RayActorError
    from ray.tune.execution.tune_controller import TuneController

    heard = Heard()
    monkeypatch.setattr(
        TuneController, "_process_trial_failure", lambda self, trial, exception: heard.death(trial.trial_id, str(exception))
    )

    class Stub(SimpleNamespace):
        __hash__ = object.__hash__  # type: ignore[assignment]  # as Tune's trials have it

    trials = [Stub(trial_id=name, temporary_state=SimpleNamespace(ray_actor=None), config={"outside": []}) for name in "ab"]
    open_to_all = SimpleNamespace(failed=lambda *_: False, outside=[])
    with only_the_trial_is_lost(Failures(open_to_all)):  # type: ignore[arg-type]
        for trial, actor in ((0, "one"), (0, "one"), (1, "one"), (0, "two")):
            error = RayActorError(actor_id=actor, error_msg=f"{actor} is dead")
            TuneController._process_trial_failure(SimpleNamespace(), trials[trial], error)  # type: ignore[arg-type]
    assert [arguments for _, arguments in heard.events] == [("a", "one is dead"), ("b", "one is dead"), ("a", "two is dead")]


# --- real trainings ----------------------------------------------------------------------------------------------------


def test_a_real_search_writes_down_all_that_it_found(tmp_path: Path, cluster: Cluster) -> None:
    """Two configurations, pre-training before the clustering, and more trials asked for than there are configurations."""
    text = """
model: dec
dataset: {name: digits, limit: 300}
metric: {name: nmi, goal: maximize}
trials: 5
epochs: 2
early_terminate: none
parameters:
  pretrain_epochs: {value: 2}
  n_clusters: {values: [5, 10]}
"""
    (tmp_path / "runs" / "space").mkdir(parents=True)
    outcome = run_search(one_at_a_time(space(tmp_path, text)), tmp_path / "runs")
    assert (outcome.status, outcome.run.name) == ("done", "space-2")
    assert [t.state for t in outcome.results.trials] == ["complete", "complete"]
    assert {t.config["n_clusters"] for t in outcome.results.trials} == {5, 10}

    phases = [[(line["phase"], line["cluster_epoch"]) for line in lines] for lines in by_trial(outcome).values()]
    # One at a time: the second finds the first one's pre-training.
    assert [[clustering for _, clustering in trial] for trial in phases] == [[None, None, 1, 2], [1, 2]]
    assert not {phase for phase, _ in phases[0][:2]} & {phase for phase, _ in phases[0][2:]}
    assert [list(trial.intermediate_values) for trial in study_of(outcome).trials] == [[1, 2], [1, 2]]

    best = outcome.results.best()
    assert best is not None
    assert best.score == best.metrics["nmi"] == max(t.score or 0 for t in outcome.results.trials)
    snapshot = checkpoint.load(outcome.folder / "best.safetensors")
    assert (snapshot.model, snapshot.seed, snapshot.config["n_clusters"]) == ("dec", best.config["seed"], best.config["n_clusters"])
    assert snapshot.cluster_epoch == 2
    assert snapshot.tensors == snapshot.weights()
    winner = yaml.safe_load((outcome.folder / "best.yaml").read_text())
    assert (winner["model"], winner["dataset"]) == ("dec", {"name": "digits", "limit": 300})
    assert (winner["epochs"], winner["seed"], winner["trial"]) == (2, best.config["seed"], best.trial)
    assert winner["parameters"]["n_clusters"] == best.config["n_clusters"]
    assert winner["score"] == {"rule": "last", "value": best.score}

    about = json.loads((outcome.folder / "spec.json").read_text())
    assert (about["name"], about["space"], about["seed"]) == ("space-2", "space", 0)
    assert about["versions"]["ray"]
    assert about["hardware"]["cpus"] >= 1
    assert (outcome.folder / "space.yaml").read_text() == text


# --- the training side, without Ray ------------------------------------------------------------------------------------


def trainer(spec: Spec, folder: Path) -> Trainer:
    dataset = DatasetSpec(name="digits", limit=200)
    return Trainer(spec=spec, folder=folder, dataset=dataset, data_root=data_root(), device="cpu", threads=1)


def config(spec: Spec, **values: Any) -> dict[str, Any]:
    chosen = spec.completed({})
    return spec.config(chosen) | {"seed": 1} | values


@pytest.mark.parametrize("score", ["last", "max", "mean_last_5"])
def test_the_weights_that_are_kept_are_those_that_the_score_is_of(tmp_path: Path, score: str) -> None:
    spec = space(tmp_path, SPACE + f"score: {score}\n")
    reports = list(trainer(spec, tmp_path)(3, config(spec, n_clusters=20)))
    acc = [report.line["metrics"]["acc"] for report in reports]
    assert reports[-1].ended == "complete"
    assert [report.score for report in reports] == [
        {"last": acc[i - 1], "max": max(acc[:i]), "mean_last_5": sum(acc[max(0, i - 5) : i]) / min(i, 5)}[score]
        for i in range(1, len(acc) + 1)
    ]
    snapshot = checkpoint.load(weights_file(tmp_path, 3))
    kept = max(i for i, value in enumerate(acc, 1) if value == max(acc)) if score == "max" else len(acc)
    assert snapshot.epoch == kept


def test_a_running_trial_is_checkpointed_once_a_minute_at_most(tmp_path: Path) -> None:
    spec = space(tmp_path)
    reports = trainer(spec, tmp_path)(0, config(spec, n_clusters=20))
    for _ in range(4):
        next(reports)
    assert not checkpoint_file(tmp_path, 0).exists()
    reports = replace(trainer(spec, tmp_path), checkpoint_every=0.0)(0, config(spec, n_clusters=20))
    next(reports)
    assert not checkpoint_file(tmp_path, 0).exists()  # who has not asked for the second may not have journalled the first
    next(reports)
    assert checkpoint.load(checkpoint_file(tmp_path, 0)).epoch == 1


@pytest.mark.parametrize("score", ["last", "max", "mean_last_5"])
def test_a_trial_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(tmp_path: Path, score: str) -> None:
    text = SPACE.replace("kmeans", "dec").replace(
        "parameters:", "parameters:\n  pretrain_epochs: {value: 2}\n  hidden: {value: 16}\n  batch_size: {value: 50}"
    )
    spec = space(tmp_path, text.replace("n_clusters: {min: 2, max: 200}", "n_clusters: {values: [10, 11]}") + f"score: {score}\n")
    one, other = tmp_path / "one" / "run", tmp_path / "other" / "run"  # neither finds the other's pre-training
    one.mkdir(parents=True)
    other.mkdir(parents=True)
    through = list(trainer(spec, other)(0, config(spec)))
    seen = []
    for report in replace(trainer(spec, one), checkpoint_every=0.0)(0, config(spec)):
        seen.append(report)
        if report.line["epoch"] == 6:
            break
    again = list(trainer(spec, one)(0, config(spec)))
    assert [report.line["epoch"] for report in again] == list(range(6, 12))  # 5 was settled when 6 was asked for

    def plain(reports: list[Report]) -> list[Any]:
        unlike = {"samples_per_s"}
        return [({**r.line, "metrics": {k: v for k, v in r.line["metrics"].items() if k not in unlike}}, r.score) for r in reports]

    assert plain(seen[:5] + again) == plain(through)
    ours, theirs = (checkpoint.load(weights_file(folder, 0)) for folder in (one, other))
    assert ours.epoch == theirs.epoch and all(bool((ours.tensors[k] == theirs.tensors[k]).all()) for k in theirs.tensors)


def test_a_trial_does_not_feel_who_had_its_process_before(tmp_path: Path) -> None:
    spec = space(tmp_path)
    train = trainer(spec, tmp_path)
    alone = [report.line["metrics"]["acc"] for report in train(0, config(spec, n_clusters=20))]
    list(train(1, config(spec, n_clusters=7, seed=5)))
    assert [report.line["metrics"]["acc"] for report in train(2, config(spec, n_clusters=20))] == alone


def test_a_silhouette_is_a_score_like_any_other(tmp_path: Path) -> None:
    spec = space(tmp_path, SPACE.replace("{name: acc, goal: maximize}", "{name: silhouette, goal: maximize}"))
    reports = list(trainer(spec, tmp_path)(0, config(spec)))
    assert [report.score for report in reports] == [report.line["metrics"]["silhouette"] for report in reports]


def test_a_node_that_does_not_see_the_runs_folder_says_so(tmp_path: Path) -> None:
    spec = space(tmp_path)
    with pytest.raises(RuntimeError, match=r"this node does not see the run's folder .*/gone: --out must lie where all nodes can write"):
        next(trainer(spec, tmp_path / "gone")(0, config(spec)))


# --- what is asked next, without Ray -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["tpe", "random", "gp", "qmc"])
def test_the_sequence_of_configurations_is_a_function_of_the_seed_interrupted_or_not(tmp_path: Path, method: str) -> None:
    trials = 12 if method == "gp" else 24
    text = CONDITIONAL + f"method: {method}\n"

    def folder(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    through = play(StudySearch(space(tmp_path, text), folder("through"), "s"), trials)
    in_two = play(StudySearch(space(tmp_path, text), folder("in_two"), "s"), 7)
    in_two += play(StudySearch(space(tmp_path, text), tmp_path / "in_two", "s"), trials - 7, first=7)
    assert in_two == through
    other = play(StudySearch(space(tmp_path, text, seed=1), folder("other"), "s"), 3)
    assert all(one["lr_ae"] != another["lr_ae"] for one, another in zip(through, other, strict=False))
    assert [one["seed"] for one in through[:3]] == [trial_seed(0, n) for n in range(3)]


def test_a_condition_that_fails_leaves_its_weight_at_zero_and_out_of_the_study(tmp_path: Path) -> None:
    searcher = StudySearch(space(tmp_path, CONDITIONAL), tmp_path, "s")
    asked = play(searcher, 20)
    for found, trial in zip(asked, searcher.study.trials, strict=True):
        assert (found["weights.cyclic"] > 0) == found["use_cyclic"] == ("weights.cyclic" in trial.params)
    assert {found["use_cyclic"] for found in asked} == {True, False}


SMALL = """
model: aae_unsup
dataset: digits
metric: {name: acc, goal: maximize}
early_terminate: none
trials: 100
parameters:
  latent_dim: {values: [2, 5, 10]}
  use_cyclic: {values: [true, false]}
  weights.cyclic: {values: [0.5, 1.0], when: {use_cyclic: true}}
"""


@pytest.mark.parametrize("method", ["tpe", "random", "grid"])
def test_no_configuration_is_tried_twice_and_the_search_ends_when_all_were(tmp_path: Path, method: str) -> None:
    searcher = StudySearch(space(tmp_path, SMALL + f"method: {method}\n"), tmp_path, "s")
    asked = [(one["latent_dim"], one["weights.cyclic"]) for one in play(searcher, 100)]
    assert sorted(asked) == [(z, w) for z in (2, 5, 10) for w in (0.0, 0.5, 1.0)]
    assert len(searcher.study.trials) == 9
    if method == "grid":
        assert asked == [(z, w) for z in (2, 5, 10) for w in (0.5, 1.0, 0.0)]


def test_configurations_that_train_alike_are_one_configuration(tmp_path: Path) -> None:
    text = SMALL.replace("{values: [0.5, 1.0], when: {use_cyclic: true}}", "{values: [0.0, 1.0], when: {use_cyclic: true}}")
    searcher = StudySearch(space(tmp_path, text), tmp_path, "s")
    assert len(play(searcher, 100)) == 6  # off by the switch, or off by a weight of 0


def test_trials_that_never_ended_do_not_stay_running(tmp_path: Path) -> None:
    searcher = StudySearch(space(tmp_path, CONDITIONAL), tmp_path, "s")
    asked = [searcher.suggest(name) for name in ("a", "b")]
    assert searcher.open_trials() == asked
    searcher.stop("stopped")
    assert [(t.state.name, t.user_attrs["state"]) for t in searcher.study.trials] == [("FAIL", "stopped")] * 2
    assert searcher.open_trials() == []


def test_a_trial_that_ended_badly_in_pre_training_is_told_the_worst_value(tmp_path: Path) -> None:
    searcher = StudySearch(
        space(tmp_path, CONDITIONAL.replace("name: acc, goal: maximize", "name: loss/recon, goal: minimize")), tmp_path, "s"
    )
    searcher.suggest("a")
    searcher.on_trial_complete("a", {"score": 1e9, "cluster_epoch": 0, "ended": "diverged"})
    (trial,) = searcher.study.trials
    assert (trial.state.name, trial.value, trial.intermediate_values) == ("COMPLETE", 1e9, {})


# --- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a\\b", ".hidden", "a b", "ä", "x" * 101, "-x"])
def test_a_name_that_is_no_folders_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as error:
        run_search(space(tmp_path), tmp_path / "runs", name=name)
    rule = "it becomes a folder, so up to 100 letters, digits, '.', '_' and '-' only, the first a letter or digit."
    assert str(error.value) == f"--name cannot be '{name}': {rule}"
    assert not (tmp_path / "runs").exists()


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    with pytest.raises(UserError) as error:
        run_search(space(tmp_path), tmp_path / "runs", name="taken")
    assert str(error.value) == (
        f"There is a run 'taken' in {tmp_path / 'runs'} already. Choose another --name, or leave it out: runs are numbered."
    )


def test_an_out_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "runs"
    with pytest.raises(UserError) as error:
        run_search(space(tmp_path), out)
    assert str(error.value) == f"--out {out} cannot be written: {tmp_path / 'file'} is a file."


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that not even root can write")
def test_an_out_in_a_folder_that_takes_no_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--out /proc/runs cannot be written: .*"):
        run_search(space(tmp_path), Path("/proc/runs"))


def test_a_share_that_no_node_can_ever_give_is_refused_and_nothing_is_written(tmp_path: Path, cluster: Cluster) -> None:
    with pytest.raises(UserError) as error:
        run_search(with_share(space(tmp_path), cpu=10_000), tmp_path / "runs")
    assert str(error.value).startswith(
        "'resources' asks for 10000 cpu and 0 gpu for a trial, which no node can ever give: this machine has "
    )
    assert not (tmp_path / "runs").exists()


def test_an_address_where_nobody_answers_is_refused_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UserError) as error:
            run_search(space(tmp_path), tmp_path / "runs", address=address)
    assert str(error.value) == f"The Ray cluster at {address} cannot be joined: Connection refused"
    with pytest.raises(UserError) as error:
        run_search(space(tmp_path), tmp_path / "runs", address="ray://10.0.0.1:10001")
    assert str(error.value) == (
        "--address ray://10.0.0.1:10001 is no node of a Ray cluster: give the host and port of its head, such as 10.0.0.1:6379, "
        "on a machine that belongs to it."
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "127.0.0.1:1"])
def test_an_address_that_nobody_typed_is_said_to_be_the_environment_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError) as error:
        run_search(space(tmp_path), tmp_path / "runs")
    said = str(error.value)
    assert said.startswith(f"RAY_ADDRESS={address} is no node") or said.endswith("(RAY_ADDRESS in the environment names it.)")
    assert "--address" not in said


# --- Ray's token -------------------------------------------------------------------------------------------------------


def test_the_tokens_file_is_readable_to_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ray" / "auth_token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    protect_token()
    token = path.read_text()
    assert (path.stat().st_mode & 0o777, len(token)) == (0o600, 64)
    path.chmod(0o644)
    protect_token()
    assert (path.stat().st_mode & 0o777, path.read_text()) == (0o600, token)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path / "below"))
    with pytest.raises(
        UserError, match=r"Ray's token cannot be kept in .*below: .* Set RAY_AUTH_TOKEN_PATH to a file that can be written\."
    ):
        protect_token()


def test_a_search_starts_ray_with_its_token_on_and_without_a_dashboard_where_that_is_said(cluster: Cluster) -> None:
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert token_file().stat().st_mode & 0o077 == 0
    assert os.environ["TUNER_NO_DASHBOARD"] == "1" and cluster.dashboard() is None
