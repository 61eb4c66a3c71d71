"""How `tuner search`, `tuner resume` and `tuner confirm` end: what is said, where, and with which exit code."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from kit.without_ray import confirmed_without_ray, without_ray_at_all

from tuner.cli.confirm_view import end_of_confirmation
from tuner.cli.end import print_end, print_finished, print_uploads
from tuner.cli.options import INTERRUPTED, OURS, new_console
from tuner.runs.events import Run
from tuner.runs.results import read_run
from tuner.search.saved import spec_of
from tuner.service.confirm import ConfirmOutcome
from tuner.service.driver import Outcome
from tuner.space.reader import read_space
from tuner.space.seeding import Seeds
from tuner.stores.uploads import Sent

SPACE = """\
model: kmeans
dataset: {name: x.npz}
metric: {name: acc, goal: maximize}
trials: 2
epochs: 3
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: "off"}
parameters:
  n_clusters: {values: [3, 4]}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ConfirmOutcome]:
    """A run, and its confirmation: the best of it and the default, two seeds each."""
    folder, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    y_N = np.repeat([0, 1, 2], 20)
    np.savez(folder / "x.npz", x=(rng.normal(size=(60, 4)) * 0.1 + y_N[:, None]).astype(np.float32), y=y_N)
    (folder / "my.yaml").write_text(SPACE.replace("x.npz", f"npz:{folder / 'x.npz'}"))
    run = without_ray_at_all(read_space(str(folder / "my.yaml")), folder / "runs", "my")
    return run, confirmed_without_ray(run, top=1, seeds=2)


@pytest.fixture
def run(made: tuple[Path, ConfirmOutcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same run without its confirmation, in a folder of its own, where commands are typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return shutil.copytree(made[0], tmp_path / "runs" / "my")


def outcome(folder: Path, status: str = "done", **more: Any) -> Outcome:
    spec, results = spec_of(folder, "2", None), replace(read_run(folder), **more.pop("results", {}))
    return Outcome(run=Run(name="my", folder=folder, spec=spec, info={}), status=status, folder=folder, results=results, **more)


def ended(what: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    try:
        what()
        code = 0
    except typer.Exit as exit_:
        code = exit_.exit_code
    return code, *capsys.readouterr()


def test_a_search_that_is_done_ends_with_its_tables(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(lambda: print_end(outcome(run), new_console()), capsys)
    assert (code, err) == (0, "") and "Best 2 of 2 trials by acc" in out and "2 trials: 2 complete" in out
    assert "Train the best again with: tuner train runs/my/best.yaml" in out


def test_an_interrupted_search_says_what_is_kept_and_how_it_goes_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ended(lambda: print_end(outcome(run, "stopped"), new_console()), capsys)
    assert code == INTERRUPTED
    assert err == "Interrupted: 2 trials had ended. Every epoch is kept, also of those that had not. To go on: tuner resume my\n"


def test_a_search_that_was_given_up_says_why(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ended(lambda: print_end(outcome(run, "failed", reason="the disk is full"), new_console()), capsys)
    assert (code, err) == (OURS, "Given up: the disk is full. What is above was kept.\n")
    code, _, err = ended(lambda: print_end(outcome(run, "failed"), new_console()), capsys)
    assert (code, err) == (OURS, "The search failed before all its trials were run. What is above was kept.\n")


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (["ValueError: no"], "the only trial failed: ValueError: no"),
        (["ValueError: no", "ValueError: no"], "all 2 trials failed: ValueError: no"),
        (["ValueError: no", "ValueError: never"], "all 2 trials failed: for 2 reasons, the first: ValueError: no"),
    ],
)
def test_a_search_of_which_every_trial_failed_found_nothing(
    reasons: list[str], said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = read_run(run).trials
    failed = tuple(replace(trial, state="failed", score=None, reason=why) for trial, why in zip(trials, reasons, strict=False))
    code, _, err = ended(lambda: print_end(outcome(run, results={"trials": failed}), new_console()), capsys)
    assert (code, err) == (OURS, f"Nothing was found: {said}\n")


def test_a_search_that_its_own_rule_ended_says_how_it_goes_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = {"because": "acc reached 0.9", "status": "stopped"}
    code, out, err = ended(lambda: print_end(outcome(run, "stopped", results=results), new_console()), capsys)
    assert (code, err) == (0, "") and out.endswith("What was training is kept, and goes on then. To go on: tuner resume my\n")
    results = {"because": "no gain in 30 trials", "status": "done"}
    code, out, err = ended(lambda: print_end(outcome(run, results=results), new_console()), capsys)
    assert (code, err) == (0, "") and out.endswith("To go on: tuner resume my --trials +10\n")


def test_where_nothing_was_left_to_do_that_is_said_with_how_to_do_more(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(found: Outcome) -> str:
        return ended(lambda: print_finished(found, new_console()), capsys)[1]

    assert said(outcome(run)) == "my is finished: 2 trials have ended. More: tuner resume my --trials +2\n"
    rule = outcome(run, results={"because": "acc reached 0.9"})
    assert said(rule) == "my is finished: acc reached 0.9. More: tuner resume my --trials +2\n"
    small = outcome(run)
    small = replace(small, run=replace(small.run, spec=replace(small.run.spec, trials=9)))
    assert said(small) == "my is finished: every configuration of its space was tried.\n"
    several = replace(small, run=replace(small.run, spec=replace(small.run.spec, trials=2, seeds=Seeds(repeat=3))))
    assert said(several) == "my is finished: 2 configurations, 2 trials, have ended. More: tuner resume my --trials +2\n"


def test_what_a_store_lacks_is_named_with_the_way_to_send_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = Sent(place="s3://bucket/my", missing=tuple(f"logs/{n}.log" for n in range(7)))
    _, out, err = ended(lambda: print_uploads(sent, run, new_console()), capsys)
    listed = ", ".join(f"logs/{n}.log" for n in range(5))
    assert out == "" and err.startswith(f"Missing or outdated in s3://bucket/my/: {listed} and 2 more. To send them: tuner resume ")
    _, out, err = ended(lambda: print_uploads(replace(sent, missing=()), run, new_console()), capsys)
    assert (out, err) == ("Everything is in s3://bucket/my/ too.\n", "")


# --- with a confirmation -----------------------------------------------------------------------------------------------


def test_the_confirmation_of_a_search_decides_its_exit_code(
    made: tuple[Path, ConfirmOutcome], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made[0].parents[1])
    monkeypatch.setenv("COLUMNS", "200")
    whole = outcome(made[0], confirmed=made[1])
    code, out, err = ended(lambda: print_end(whole, new_console()), capsys)
    assert (code, err) == (0, "") and out.index("Best 2 of 2 trials") < out.index("mean ± sd") < out.index("best.yaml")
    given_up = replace(whole, confirmed=replace(made[1], status="failed", reason="no node is left"))
    code, _, err = ended(lambda: print_end(given_up, new_console()), capsys)
    assert (code, err) == (OURS, "Given up: no node is left. What is above was kept.\n")


def test_a_confirmation_that_is_not_complete_says_what_is_left(
    made: tuple[Path, ConfirmOutcome], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made[0].parents[1])
    found = made[1].found

    def end(**how: Any) -> tuple[int, str]:
        code, _, err = ended(lambda: end_of_confirmation(replace(made[1], **how)), capsys)
        return code, err

    assert end() == (0, "")
    code, err = end(status="stopped")
    assert (code, err) == (INTERRUPTED, "Interrupted: k-means beside the winner is left. To go on: tuner confirm my\n")
    first = found.configurations[0]
    one = replace(first, ends=dict(list(first.ends.items())[:1]))
    code, err = end(status="stopped", found=replace(found, configurations=(one, *found.configurations[1:])))
    assert (code, err) == (INTERRUPTED, "Interrupted: 1 training of 4 left. To go on: tuner confirm my\n")
    code, err = end(status="failed")
    assert (code, err) == (OURS, "Given up: the confirmation failed before all its trainings were run. What is above was kept.\n")
    nobody = tuple(replace(one, ends={}, values={}) for one in found.configurations)
    code, err = end(found=replace(found, configurations=nobody))
    assert (code, err) == (OURS, "Nothing was confirmed: no training has a figure that counts. Why not stands above.\n")
