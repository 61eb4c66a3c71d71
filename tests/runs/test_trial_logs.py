"""The logs of trials: searches on the real Ray, of models that print, warn and raise; and the collecting by itself."""

import contextlib
import json
import logging
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from kit.disks import begun, opened
from typer.testing import CliRunner

from tuner import capture
from tuner.capture import Captured, captured_for, captured_for_slot
from tuner.cli.app import app
from tuner.machines.cluster import Cluster
from tuner.runs.clean import clean
from tuner.runs.files import bring_back
from tuner.search.trainer import Trainer
from tuner.service.driver import Outcome, SearchOptions, search
from tuner.space.reader import read_space

SPACE = """
model: dec
dataset: {name: digits, limit: 100}
metric: {name: nmi, goal: maximize}
method: grid
trials: 3
epochs: 2
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: PACK}
parameters:
  alpha: {values: [1, 2, LAST]}
  pretrain_epochs: {value: 1}
  batch_size: {value: 50}
  hidden: {value: 8}
"""


LINE = next(i for i, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.startswith(" " * 12 + "warnings.warn"))


class Talks(Trainer):
    """Trains a DEC that talks: all trials in each step, each trial when it is measured. With an alpha of 9 it raises there."""

    def reset_process(self, seed: int) -> None:
        import logging
        import warnings

        from tuner.models import dec

        super().reset_process(seed)

        def sharpen(model: Any, net: Any, batch: Any, h: Any, noise: Any) -> dict[str, Any]:
            logging.getLogger("tuner.models.dec").info("a step")
            return {"kl": dec.kl_to_target(net, net.encoder(batch.x_BD), batch.rows_B, h)}

        def assign(model: Any, net: Any, x_BD: Any, h: Any) -> Any:
            print("measured with", end=" ")
            print(float(h.alpha))
            warnings.warn("careful", stacklevel=1)
            logging.getLogger("somebody").info("not of interest")
            logging.getLogger("somebody").warning("of interest")
            if float(h.alpha) == 9:
                raise ZeroDivisionError("alpha is 9")
            return dec.soft_assign(net, x_BD, h)

        dec.DEC.sharpen, dec.DEC.assign = sharpen, assign  # type: ignore[method-assign]


@pytest.fixture
def talks(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    monkeypatch.setattr("tuner.search.trainer.Trainer", Talks)


def run(folder: Path, pack: str, last: int) -> Outcome:
    path = folder / "space.yaml"
    path.write_text(SPACE.replace("PACK", pack).replace("LAST", str(last)))
    return search(read_space(str(path)), SearchOptions(out=folder / "runs", name="s"))


def log_of(outcome: Outcome, trial: int) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (outcome.folder / "logs" / f"{trial:03d}.jsonl").read_text().splitlines()]
    assert all(line["trial"] == trial and line["time"] > 1e9 for line in lines)
    return lines


def heard_of(outcome: Outcome, trial: int) -> list[str]:
    return [f"{line['level']} {line['message']}" for line in log_of(outcome, trial)]


def measured(alpha: float, *, first: bool) -> list[str]:
    warning = [f"WARNING UserWarning: careful ({__file__}:{LINE})"] * first
    return [f"PRINT measured with {alpha}", *warning, "WARNING somebody: of interest"]


STEP = "INFO tuner.models.dec: a step"


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["off", "3"])
def test_a_trial_s_log_has_what_happened_and_what_was_said(tmp_path: Path, talks: None, pack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.tune.mailbox.LOOK_EVERY_S", 1e9)  # a pre-training lies there when the trial's first result has come
    outcome = run(tmp_path, pack, 4)
    assert [trial.state for trial in outcome.results.trials] == ["complete"] * 3
    for trial in outcome.results.trials:
        found, alpha = heard_of(outcome, trial.trial), float(trial.config["alpha"])
        first = found.index(f"PRINT measured with {alpha}")
        begins = "INFO begins with " + ", ".join(f"{name} {value}" for name, value in trial.config.items())
        assert found[0] == begins and re.fullmatch("INFO tuner: trained here, from epoch [12] on", found[1]), "2: another had pre-trained"
        assert set(found[2:first]) == {STEP}, "as often as a model is asked before it trains"
        # Its clusters are asked for once more after the first epoch and when it is complete, to be kept; in a pack by the host, between
        # the trials.
        kept = measured(alpha, first=False) if pack == "off" else []
        epochs = [*measured(alpha, first=True), *kept, STEP, STEP, *measured(alpha, first=False), *kept]
        assert found[first:] == [*epochs, f"INFO complete after 3 epochs, nmi {trial.score:.6g}"]
        (process,) = {line.get("pid") for line in log_of(outcome, trial.trial)[1:-1]}
        assert process not in (None, os.getpid())

    list(clean([outcome.folder], dry_run=False))
    shown = CliRunner().invoke(app, ["show", str(outcome.folder), "--trial", "1"]).output.splitlines()
    assert shown[1].startswith("process ") and "  INFO     tuner: trained here, from epoch " in shown[2]
    as_json = CliRunner().invoke(app, ["show", str(outcome.folder), "--trial", "1", "--json"]).output
    assert [json.loads(line) for line in as_json.splitlines()] == log_of(outcome, 1)


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["off", "3"])
def test_the_log_of_a_trial_that_raises_ends_with_what_it_said_and_the_traceback(tmp_path: Path, talks: None, pack: str) -> None:
    outcome = run(tmp_path, pack, 9)
    assert {trial.state for trial in outcome.results.trials} == {"complete", "failed"}
    for trial in outcome.results.trials:
        found, alpha = heard_of(outcome, trial.trial), float(trial.config["alpha"])
        assert {line for line in found if "measured" in line} == {f"PRINT measured with {alpha}"}, "its own only"
        if trial.state == "failed":  # in a pack once more, to find out whose fault it was
            again = [] if pack == "off" else measured(9.0, first=False)
            said_then = [line for line in found[:-1] if line in measured(9.0, first=True)]
            assert said_then in (measured(9.0, first=True), measured(9.0, first=True) + again) and found[-2] == said_then[-1]
            why = "ZeroDivisionError: alpha is 9\nTraceback (most recent call last):\n"
            assert re.match(f"ERROR failed after [01] epochs?: {re.escape(why)}", found[-1])


# --- the collecting --------------------------------------------------------------------------------------------------------


def messages(trial: Captured) -> list[str]:
    return [line["message"] for line in trial.take()]


def test_what_one_of_several_says_is_its_own_and_what_all_say_is_everybody_s() -> None:
    trials = Captured(), Captured()
    with captured_for(trials[0], None, trials[1]):
        print("all")
        with captured_for_slot(2):
            print("the third", end="")
        print("all again")
    print("nobody")
    assert [messages(trial) for trial in trials] == [["all", "all again"], ["all", "the third", "all again"]]
    with captured_for(None), captured_for_slot(0):
        print("nobody")
    assert messages(trials[0]) == []


def test_what_is_said_is_still_printed_logged_and_warned_of(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.NOTSET, logger="tuner")  # whatever ran before in this process
    before = sys.stdout, sys.stderr, logging.getLogger().handlers[:]
    trial = Captured()
    with warnings.catch_warnings(record=True) as warned, captured_for(trial):
        warnings.simplefilter("always")
        print("10%", end="\r")
        print("20%\rdone")
        print("to the other stream", file=sys.stderr)
        logging.getLogger("tuner.models.mine").info("news")
        try:
            raise KeyError("k")
        except KeyError:
            logging.getLogger("library").exception("caught")
        warnings.warn("careful", RuntimeWarning, stacklevel=1)
    lines = trial.take()
    assert [(line["level"], line["message"].partition("\n")[0].partition(" (")[0]) for line in lines] == [
        ("PRINT", "done"),
        ("PRINT", "to the other stream"),
        ("INFO", "tuner.models.mine: news"),
        ("ERROR", "library: caught"),
        ("WARNING", "RuntimeWarning: careful"),
    ]
    assert lines[3]["message"].endswith("KeyError: 'k'")
    assert capsys.readouterr() == ("10%\r20%\rdone\n", "to the other stream\n")
    assert caplog.messages == ["news", "caught"] and len(warned) == 1
    assert (sys.stdout, sys.stderr, logging.getLogger().handlers) == before


def test_of_much_that_is_said_some_is_kept_and_the_rest_counted() -> None:
    trial = Captured()
    with captured_for(trial):
        for number in range(capture.LINES + 7):
            print(number)
    assert messages(trial)[-2:] == [str(capture.LINES - 1), "7 further lines of this epoch were not kept"]
    with captured_for(trial):
        print("x" * 2 * capture.LONGEST)
        for _ in range(3 * capture.LONGEST):
            print("y", end="")
    (one, *more) = messages(trial)
    assert one.endswith(f"x … of {2 * capture.LONGEST} characters")
    assert len(more) == 3 and sum(map(len, more)) == 3 * capture.LONGEST, "a line without an end is not kept in memory as a whole"


def test_every_trial_of_a_process_hears_a_warning_that_python_shows_once() -> None:
    trials, source = (Captured(), Captured()), compile("import warnings; warnings.warn('careful')", "model.py", "exec")
    module: dict[str, Any] = {"__name__": "model"}
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("default")
        for trial in trials:
            for _ in range(2):
                with captured_for(trial):
                    exec(source, module)
    assert [messages(trial) for trial in trials] == [["UserWarning: careful (model.py:1)"]] * 2


# --- the files -------------------------------------------------------------------------------------------------------------


def test_a_log_that_could_not_be_written_is_brought_over_behind_what_is_there(tmp_path: Path, cache: Path) -> None:
    folder = begun(tmp_path / "runs" / "s")
    files = opened(folder)
    files.append_seldom("logs/000.jsonl", b"1\n")
    folder.rename(tmp_path / "away")
    files.append_seldom("logs/000.jsonl", b"2\n")
    files.append_seldom("logs/001.jsonl", b"3\n")
    assert (cache / "id" / "logs" / "000.jsonl").read_text() == "2\n"
    (tmp_path / "away").rename(folder)
    files.close()
    bring_back(folder, "id")
    assert [(folder / "logs" / f"00{number}.jsonl").read_text() for number in (0, 1)] == ["1\n2\n", "3\n"]


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    about = {"name": "s", "metric": {"name": "acc", "goal": "maximize"}}
    (tmp_path / "spec.json").write_text(json.dumps(about))
    shown = CliRunner().invoke(app, ["show", str(tmp_path), "--trial", "7"])
    assert "has no log of a trial 7." in str(shown.exception)


def test_of_two_threads_that_train_the_first_may_go_first() -> None:
    first, second, third = Captured(), Captured(), Captured()
    with contextlib.ExitStack() as one, contextlib.ExitStack() as other:
        one.enter_context(captured_for(first))
        other.enter_context(captured_for(second))
        one.close()
        print("to the second")
    with captured_for(third):
        print("to the third")
    assert [messages(trial) for trial in (first, second, third)] == [[], ["to the second"], ["to the third"]]
