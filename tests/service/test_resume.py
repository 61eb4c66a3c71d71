"""Searches that were interrupted and go on, on the real Ray, compared with one that ran through."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kit.resumed import SPACE, Heard, one_at_a_time, plain, same
from kit.searches import CONDITIONAL, play, space
from kit.workers import worker

from tuner.data.datasets import load
from tuner.errors import UserError
from tuner.machines.cluster import Share
from tuner.model import load_model
from tuner.runs.events import Listeners, OpenTrial, Past, Run, TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.journal import read_lines
from tuner.runs.lock import LOCK
from tuner.runs.paths import STUDY, checkpoint_file
from tuner.runs.results import read_run
from tuner.runs.trial_logs import TrialLogs
from tuner.search.checkpoints import ahead
from tuner.search.history import past_of
from tuner.search.rungs import Rungs
from tuner.search.study import asked_in, write_study
from tuner.service.driver import Outcome, SearchOptions, search
from tuner.service.resume import ResumeOptions, resume
from tuner.space.reader import read_space
from tuner.space.spec import Spec
from tuner.training import checkpoint
from tuner.training.loop import train
from tuner.tune.asha import Halving
from tuner.tune.callback import Receivers, TuneCallback
from tuner.tune.mailbox import Mail, MailboxReader
from tuner.tune.quarantine import Quarantine
from tuner.tune.result import TuneResult
from tuner.tune.searcher import StudySearch
from tuner.tune.stopper import SearchControl, StopRequests

# --- interrupted and resumed -------------------------------------------------------------------------------------------


KILLED = """
import sys
from pathlib import Path
from kit.resumed import Heard
from tuner.search import trainer
from tuner.service.driver import SearchOptions, search
from tuner.space.reader import read_space
from tuner.space.spec import Spec
trainer.CHECKPOINT_EVERY_S = 0.0
search(read_space(sys.argv[1]), SearchOptions(out=Path(sys.argv[2]), name="s", address=sys.argv[3], listeners=(Heard((2, 1), 9),)))
"""


def killed(*where: str) -> None:
    """A search in a process of its own, which is killed."""
    here = Path(__file__).parent.parent
    paths = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", KILLED, *where]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
def test_a_search_that_was_killed_stopped_and_resumed_is_the_one_that_ran_through(
    tmp_path: Path, through: Outcome, always_checkpointed: None
) -> None:
    import ray

    folder = tmp_path / "runs" / "s"
    killed(str(one_at_a_time(tmp_path)), str(folder.parent), ray.get_runtime_context().gcs_address)
    assert (folder / LOCK).exists() and read_run(folder).status == "failed"
    (folder / "checkpoints" / ".tmpSBhFak").touch()  # as safetensors names what it has not finished
    again = Heard((5, 1))
    assert resume(folder, ResumeOptions(listeners=(again,))).status == "stopped"
    assert again.epochs[0] == (2, 2), "what was journalled is not journalled again"
    last = Heard()
    outcome = resume(folder, ResumeOptions(listeners=(last,)))
    assert (outcome.status, outcome.ran) == ("done", True)
    assert again.started == [2, 3, 4, 5] and last.started == [5, 6, 7]
    same(folder, through.folder)
    about = json.loads((folder / "spec.json").read_text())
    assert len(about["resumed"]) == 2 and about["trials"] == 8


class KillsTheTrial(Heard):
    """SIGKILLs the process of a trial, once."""

    killed = 0

    def epoch_ended(self, number: int, line: dict[str, Any]) -> None:
        if (number, line["epoch"]) == self.at and not self.killed:
            self.killed = worker(r"ray::s\b")
            os.kill(self.killed, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="finds the process in /proc")
def test_a_search_whose_trials_process_was_killed_is_the_one_in_which_it_lived(
    tmp_path: Path, through: Outcome, always_checkpointed: None, caplog: pytest.LogCaptureFixture
) -> None:
    killer = KillsTheTrial((0, 5))
    with caplog.at_level("WARNING", logger="tuner"):
        outcome = search(read_space(str(one_at_a_time(tmp_path))), SearchOptions(out=tmp_path / "runs", name="s", listeners=(killer,)))
    assert killer.killed and killer.started == list(range(8))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("Trial 0 is tried again, 1 of 2 times: the trial's process is gone: ")
    same(outcome.folder, through.folder)


@pytest.mark.parametrize("state", ["pruned", "complete"])
def test_what_the_driver_could_not_write_down_any_more_is_found_out_again(tmp_path: Path, through: Outcome, state: str) -> None:
    """The verdict had fallen, or the training was over, but the journal ends before it says so; and the study is ahead of it."""
    folder = tmp_path / "s"
    shutil.copytree(through.folder, folder)
    path = folder / "results.jsonl"
    end = [i for i, line in enumerate(read_lines(path)) if line.get("state") == state][-1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:end]) + b'{"trial": 0, "ep')
    (folder / "status.json").write_text(json.dumps({"status": "stopped", "started": 1.0}))
    assert resume(folder).status == "done"
    same(folder, through.folder)


def test_a_finished_search_says_so_and_is_extended_when_asked(tmp_path: Path, through: Outcome) -> None:
    folder = copied(through, tmp_path)
    assert (resume(folder).ran, resume(folder, ResumeOptions(trials="8")).ran) == (False, False)
    same(folder, through.folder)
    said = []

    class TriesToo(Heard):
        def trial_started(self, number: int, config: object) -> None:
            super().trial_started(number, config)
            with pytest.raises(UserError) as error:
                resume(folder)
            said.append(str(error.value))

    heard = TriesToo()
    outcome = resume(folder, ResumeOptions(trials="+2", listeners=(heard,)))
    assert (outcome.status, outcome.ran, heard.started) == ("done", True, [8, 9])
    assert all(message.startswith(f"s has a driver already, process {os.getpid()} on ") for message in said)
    before, after = plain(through.folder), plain(folder)
    assert after[0][: len(before[0])] == before[0] and after[1][:8] == before[1] and len(after[1]) == 10
    assert json.loads((folder / "spec.json").read_text())["trials"] == 10
    assert not resume(folder).ran


def test_a_run_may_be_moved(tmp_path: Path, through: Outcome) -> None:
    folder = shutil.copytree(through.folder, tmp_path / "elsewhere" / "renamed")
    outcome = resume(folder)
    assert (outcome.ran, outcome.run.name, len(outcome.run.past.ends if outcome.run.past else ())) == (False, "s", 8)


# --- its parts, without Ray --------------------------------------------------------------------------------------------


def test_a_schedulers_verdicts_are_those_of_one_that_was_never_interrupted() -> None:
    """Eight trials at once, in a random order of events; interrupted anywhere, each under a new name with Tune from there on."""
    rng = random.Random(0)
    events = sorted(((trial, epoch) for trial in range(8) for epoch in range(1, 9)), key=lambda event: (event[1], rng.random()))
    scores = {event: rng.random() for event in events}

    def told(halving: Halving, names: Mapping[int, Any], some: Sequence[tuple[int, int]]) -> list[str]:
        result = [(names[trial], {"cluster_epoch": epoch, "score": scores[trial, epoch]}) for trial, epoch in some]
        return [halving.on_trial_result(None, name, result) for name, result in result]

    def new(life: str) -> tuple[Halving, dict[int, Any]]:
        names = {n: SimpleNamespace(trial_id=f"{life}{n}", config={"trial": n}) for n in range(8)}
        return Halving(Rungs(grace=1, reduction=2, larger_is_better=True)), names

    through = told(*new("through"), events)
    assert through.count("STOP") > 5
    for cut in range(0, len(events), 7):
        halving, names = new("again")
        verdicts = ["STOP" if halving.replay(trial, epoch, scores[trial, epoch]) else "CONTINUE" for trial, epoch in events[:cut]]
        assert verdicts + told(halving, names, events[cut:]) == through


def test_a_study_that_was_written_anew_goes_on_with_the_same_sequence(tmp_path: Path) -> None:
    """Interrupted after the sampler's start-up, with which the searches above are over: TPE chooses by what it was told before."""
    spec = space(tmp_path, CONDITIONAL)
    folders = [tmp_path / name for name in ("through", "in_two")]
    for folder in folders:
        folder.mkdir()
    through = play(StudySearch(spec, folders[0], "s"), 24)
    first = StudySearch(spec, folders[1], "s")
    play(first, 15)
    first.suggest("t15")  # which did not end
    asked = asked_in(folders[1], "s")
    configs = {trial.number: {**spec.config(trial.params), "seed": trial.user_attrs["seed"]} for trial in asked}
    ends = [TrialEnd(trial=t.number, state=t.user_attrs["state"], config=configs[t.number], score=t.value) for t in asked[:15]]
    goes_on = OpenTrial(config=configs[15], metrics=(), score=None, shown={}, seconds=0.0)
    past = Past(ends=tuple(ends), pruned=(), open={15: goes_on}, seconds=0.0)
    scores = {trial.number: trial.intermediate_values for trial in asked}
    write_study(folders[1], Run(name="s", folder=folders[1], spec=spec, info={}, past=past), asked, scores)
    assert play(StudySearch(spec, folders[1], "s"), 9, first=15) == through[15:]


@pytest.mark.parametrize("ended", [{}, {"ended": "complete"}])
def test_an_epoch_that_was_a_trials_last_says_so_itself(tmp_path: Path, ended: dict[str, str]) -> None:
    """A condition may end a trial before its length: if its end was not journalled, its last epoch is trained again, and told then."""
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace("CPU", "1"))
    spec = read_space(str(path))
    StudySearch(spec, tmp_path, "s").suggest("t0")
    (tmp_path / "spec.json").write_text(json.dumps({"metric": {"name": "acc", "goal": "maximize"}}))
    lines = [{"trial": 0, "epoch": i, "phase": "lloyd", "cluster_epoch": i, "metrics": {"acc": i / 10, "n_used": 9.0}} for i in (1, 2)]
    lines[-1] |= ended
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, scores = past_of(tmp_path, spec, asked_in(tmp_path, "s"), lambda *_: False)
    assert scores == {0: {1: 0.1} if ended else {1: 0.1, 2: 0.2}}


def new_callback(spec: Spec, heard: Heard, ended: Callable[[TrialEnd], None], past: Past | None = None) -> TuneCallback:
    run = Run(name="s", folder=Path(), spec=spec, info={}, past=past)
    receivers = Receivers(listeners=Listeners(heard, ()), logs=TrialLogs(run, RunFiles.of(run)), trial_ended=ended)
    control = SearchControl(requests=StopRequests(), quarantine=Quarantine(Share(cpu=1, gpu=0, slots=1)))
    return TuneCallback(run, receivers, control, MailboxReader("mailbox"))


def test_what_the_mailbox_lost_comes_with_the_next_report() -> None:
    spec, heard = read_space("dec"), Heard()
    callback = new_callback(spec, heard, lambda end: None)
    callback._begin({"trial": 4, "config": {}})
    lines = [{"trial": 4, "epoch": epoch, "metrics": {"acc": 0.5}} for epoch in (1, 2, 3)]
    callback._journal(lines[:1])
    callback._result(TuneResult(trial=4, node="", before=lines[:2], line=lines[2], score=0.5, ended=None))
    assert heard.epochs == [(4, 1), (4, 2), (4, 3)]


def test_an_epoch_behind_one_that_the_mailbox_lost_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, heard = read_space("dec"), Heard()
    callback = new_callback(spec, heard, lambda end: None)
    callback._begin({"trial": 4, "config": {}})
    lines = [{"trial": 4, "epoch": epoch, "metrics": {"acc": 0.5}} for epoch in (1, 2, 3, 4)]
    monkeypatch.setattr(callback._mailbox, "look", lambda now=False: [Mail(line=lines[i], captured=(), key=str(i)) for i in (0, 2)])
    callback._take_mail()
    assert heard.epochs == [(4, 1)]
    callback._result(TuneResult(trial=4, node="", before=lines[:3], line=lines[3], score=0.5, ended=None))
    assert heard.epochs == [(4, 1), (4, 2), (4, 3), (4, 4)]


def test_an_epoch_that_comes_again_is_not_journalled_and_other_numbers_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    known = [{"acc": 0.1 * epoch, "samples_per_s": 9.0} for epoch in (1, 2, 3)]
    goes_on = OpenTrial(config={}, metrics=known, score=0.3, shown=known[-1], seconds=5.0)
    past = Past(ends=(), pruned=(), open={4: goes_on}, seconds=5.0)
    spec, heard, ends = read_space("kmeans"), Heard(), []
    callback = new_callback(spec, heard, ends.append, past)
    callback._begin({"trial": 4, "config": {}})
    lines = [{"trial": 4, "epoch": epoch, "metrics": {"acc": acc, "samples_per_s": 1.0}} for epoch, acc in [(2, 0.2), (3, 0.5), (4, 0.4)]]
    with caplog.at_level("WARNING", logger="tuner"):
        callback._journal(lines[:1])
        assert caplog.messages == []
        callback._journal([lines[1], lines[1], lines[2]])
    assert heard.epochs == [(4, 4)]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("Epoch 3 of trial 4, trained again after the interruption, gives acc 0.5 where it gave 0.3: ")
    callback.close([{"trial": 4, "config": {}}], "stopped", None)
    assert ends[0].epochs == 4 and ends[0].seconds > 5.0


def test_a_checkpoint_that_is_ahead_of_the_journal_is_not_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace("CPU", "1"))
    spec = read_space(str(path))
    config = spec.config(spec.completed({})) | {"seed": 3}
    epochs = train(load_model("kmeans"), spec.hyper(config), load(spec.dataset), seed=3)
    (tmp_path / "checkpoints").mkdir()
    second = [next(epochs), next(epochs)][-1].snapshot()
    for number in (0, 1):
        checkpoint.save(second, checkpoint_file(tmp_path, number))

    def trials(done: dict[int, int]) -> dict[int, OpenTrial]:
        return {n: OpenTrial(config=config, metrics=[{}] * i, score=None, shown={}, seconds=0.0) for n, i in done.items()}

    assert ahead(tmp_path, spec, trials({0: 2, 1: 1, 2: 2}), None) == [checkpoint_file(tmp_path, 1)]
    checkpoint_file(tmp_path, 2).write_bytes(b"half of")
    assert ahead(tmp_path, spec, trials({0: 2}), None) == [], "whose checkpoint is of no trial that goes on is of no interest"
    with pytest.raises(UserError, match=r"002\.resume\.safetensors cannot be gone on from: .* trial 2 then begins anew, from its seed\."):
        ahead(tmp_path, spec, trials({2: 2}), None)


# --- what is refused ---------------------------------------------------------------------------------------------------


def copied(through: Outcome, tmp_path: Path) -> Path:
    shutil.copytree(through.folder, tmp_path / "s")
    return tmp_path / "s"


@pytest.mark.parametrize("trials", ["", "x", "-3", "+", "0", "+0", "1.5", "²"])
def test_a_number_of_trials_that_is_none_is_refused(tmp_path: Path, through: Outcome, trials: str) -> None:
    with pytest.raises(UserError) as error:
        resume(copied(through, tmp_path), ResumeOptions(trials=trials))
    assert str(error.value) == f"--trials must be a number of trials in all, such as 80, or +50 for 50 more, but got '{trials}'."


def test_fewer_trials_than_there_are_is_refused(tmp_path: Path, through: Outcome) -> None:
    with pytest.raises(UserError, match=r"s has 8 trials already\. Say --trials \+50 for 50 more\."):
        resume(copied(through, tmp_path), ResumeOptions(trials="7"))


def test_a_damaged_run_is_refused_with_the_place_and_left_as_it_was(tmp_path: Path, through: Outcome) -> None:
    folder = copied(through, tmp_path)
    path = folder / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)

    def refused(file: Path, content: bytes, match: str) -> None:
        sound = file.read_bytes()
        file.write_bytes(content)
        before = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
        with pytest.raises(UserError, match=match):
            resume(folder, ResumeOptions(trials="+1"))
        assert {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()} == before
        file.write_bytes(sound)

    refused(path, b"".join([*lines[:2], b"?\n", *lines[2:]]), r"results\.jsonl:3: the journal is damaged here: this is no line")
    refused(path, b"".join([lines[0], *lines[2:]]), r"results\.jsonl:2: .* after 1 epochs of trial 0 comes epoch 3")
    refused(path, b"".join([*lines, lines[0]]), rf"results\.jsonl:{len(lines) + 1}: .* trial 0 has ended before")
    other = json.dumps({"trial": 99, "epoch": 1, "phase": "p", "cluster_epoch": 1, "metrics": {}}).encode() + b"\n"
    refused(path, b"".join([other, *lines]), r"results\.jsonl:1: .* the study does not know trial 99")
    refused(folder / STUDY, b"?\n" + (folder / STUDY).read_bytes(), r"study\.journal cannot be read: ")
    refused(folder / "space.yaml", b"model: kmeans", r"space\.yaml cannot be used:")
    other_space = (folder / "space.yaml").read_bytes().replace(b"max: 60", b"max: 50")
    refused(folder / "space.yaml", other_space, r"its space means something else to this version of tuner, in parameters\. Go on with")
