"""What a user types and sees: texts, exit codes, and that nothing else reaches the terminal."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from kit.commands import SPACE, tuner_process
from kit.waiting import ENDS_S
from kit.wandb_files import read_runs
from rich.console import Console

from tuner import layout
from tuner.cli import results_view
from tuner.cli.app import main
from tuner.cli.live import Display, pace, render
from tuner.cli.options import DONE, INTERRUPTED, OURS, THEIRS
from tuner.data import examine
from tuner.errors import UserError
from tuner.machines import cluster
from tuner.runs.events import Run, TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.journal import Journal
from tuner.runs.partitions import partition_file, write_partition
from tuner.runs.paths import STUDY
from tuner.runs.progress import Progress
from tuner.runs.results import Results, read_run
from tuner.search.study import open_storage
from tuner.service import driver
from tuner.service.driver import Outcome, SearchOptions
from tuner.service.resume import ResumeOptions
from tuner.space.reader import Options, read_space
from tuner.space.spec import Spec
from tuner.text import counted, duration, number
from tuner.trackers.modes import MODES, wandb_mode
from tuner.training import loop


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, 80 columns, nobody's account."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith("WANDB_") or name in ("TUNER_DATA", "FORCE_COLOR", "NO_COLOR")]:
        monkeypatch.delenv(name)
    return tmp_path


# --- looking things up -------------------------------------------------------------------------------------------------


def test_the_version_is_printed(tuner: Any) -> None:
    code, out, err = tuner("--version")
    assert code == DONE and re.fullmatch(r"tuner \d\S+\n", out) and err == ""


def test_help_names_every_command_and_search_help_every_option(tuner: Any) -> None:
    code, out, _ = tuner("--help")
    assert code == DONE
    for command in (
        *("search", "resume", "train", "check", "models", "describe", "spaces", "ls", "show"),
        *("status", "stop", "enqueue", "clean", "cluster", "doctor", "submit", "logs"),
    ):
        assert re.search(rf"^│ {command} ", out, re.M), command
    _, out, _ = tuner("search", "--help")
    words = "space dataset scale limit trials epochs name seed address wandb data-root out set"
    assert {word for word in words.split() if f"--{word} " not in out} == set()
    assert "tuner search --space my.yaml --trials 100 --set hidden=500" in out


def test_what_lists_and_helps_does_not_wait_for_torch_ray_or_wandb() -> None:
    """Each of them costs a second or more."""
    for words in (["--help"], ["models"], ["spaces"], ["ls"], ["--version"], ["cluster", "copy"]):
        program = (
            f"import sys; from tuner.cli.app import main; main({words!r}); print({{'torch', 'ray', 'wandb', 'optuna'}} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=layout.ROOT)
        assert done.stdout.splitlines()[-1] == "set()", words


def test_models_are_listed_by_name_with_their_paper(tuner: Any) -> None:
    code, out, _ = tuner("models")
    assert code == DONE
    assert {path.stem for path in layout.folder("models").glob("[!_]*.py")} == {
        line.split()[0] for line in out.splitlines() if line[0] != " "
    }
    assert "Deep embedded clustering (Xie, Girshick & Farhadi 2016," in out


def test_spaces_are_listed_with_command_cost_and_result(tuner: Any) -> None:
    code, out, _ = tuner("spaces")
    assert code == DONE
    for path in layout.folder("search_spaces").glob("*.yaml"):
        assert re.search(rf"^{path.stem} ", out, re.M)
        assert f"--space {path.stem}" in out


def test_a_space_that_comes_along_is_checked_by_its_name(tuner: Any) -> None:
    code, out, err = tuner("check", "aae_unsup", "--dataset", "digits")  # instead of images that may not be here
    assert code == DONE, out + err


def test_a_model_is_described_with_ranges_formulas_and_what_each_step_trains(tuner: Any) -> None:
    code, out, _ = tuner("describe", "dec")
    assert code == DONE
    assert re.search(r"^n_clusters +s +10 +\[2, 256\] +K", out, re.M)
    assert re.search(r"^kl +– +KL\(P \|\| Q\)", out, re.M)
    assert "Phase 1: pretrain  pretrain_epochs = " in out and "(pre-training, not scored)" in out
    assert "trains encoder, centers_KZ at lr (SGD)" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_choice_changes_the_steps_that_are_described(tuner: Any) -> None:
    _, joint, _ = tuner("describe", "aae_unsup")
    _, separate, _ = tuner("describe", "aae_unsup", "--set", "updates=separate")
    assert joint.count("every batch") == 3 and separate.count("every batch") == 6
    assert "y' the cluster" in joint and "sg[y]" in joint, "brackets are text, not markup"


# --- errors of whoever types -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serch"], "No such command 'serch'. Did you mean 'search'? See `tuner --help`."),
        (["search", "--spce", "x"], "There is no option --spce. Did you mean '--space'? See `tuner search --help`."),
        (["search"], "Missing option '--space'. See `tuner search --help`."),
        (["train"], "Missing argument 'MODEL|YAML'. See `tuner train --help`."),
        (["describe", "kmens"], "There is no model 'kmens'. Did you mean 'kmeans'? `tuner models` lists them."),
        (["train", "kmens"], "There is no model 'kmens'. Did you mean 'kmeans'? `tuner models` lists them."),
        (["train", "kmeans", "--set", "n_clustes=3"], "--set n_clustes=3: kmeans has no 'n_clustes'. Did you mean 'n_clusters'?"),
        (["train", "kmeans", "--set", "n_init=0"], "--set n_init=0: 'n_init' must stay within [1, 1000], but got 0."),
        (
            ["train", "kmeans", "--seed", "-1"],
            "--seed -1 cannot be used:\n  --seed -1: 'seed' must be a whole number from 0 to 4294967295, but got -1.",
        ),
        (["train", "kmeans", "--dataset"], "Option '--dataset' requires an argument. See `tuner train --help`."),
        (
            ["search", "--space", "kmeans", "--wandb", "of"],
            "Invalid value for '--wandb': 'of' is not one of 'online', 'offline', 'disabled'. See `tuner search --help`.",
        ),
        (["train", "kmeans", "--epochs", "0"], "'epochs' must stay within [1, 100000], but got 0."),
        (
            ["train", "dec", "--limit", "100", "--set", "batch_size=101"],
            "'batch_size' is 101, but digits has 100 samples. Set batch_size=100 or less.",
        ),
        (["train", "nothing.yaml"], "There is no file nothing.yaml."),
        (["show", "nothing"], "There is no run 'runs/nothing'. `tuner ls` lists them."),
    ],
)
def test_a_wrong_command_gets_one_message_and_exit_code_2(tuner: Any, words: list[str], message: str) -> None:
    code, out, err = tuner(*words)
    assert (code, out, err) == (THEIRS, "", f"error: {message}\n")


def test_a_folder_that_is_gone_is_told(tuner: Any) -> None:
    Path("gone").mkdir()
    os.chdir("gone")
    Path("../gone").rmdir()
    assert tuner("ls") == (THEIRS, "", "error: The folder in which this runs is gone. Change into one that exists.\n")


def test_a_value_of_the_wrong_type_names_its_option(tuner: Any) -> None:
    code, out, err = tuner("search", "--space", "aae_unsup", "--trials", "many")
    assert code == THEIRS and out == ""
    assert re.fullmatch(r"error: Invalid value for '--trials': .*integer.*\. See `tuner search --help`\.\n", err)


def test_a_space_with_errors_is_refused_with_all_of_them_and_their_lines(tuner: Any, here: Path) -> None:
    Path("bad.yaml").write_text(
        SPACE.replace("kmeans", "aae_unsup").replace("{values: [5, 10, 15]}", "{min: 1, max: 64}").replace("n_init: ", "weights.cylic: ")
    )
    code, out, err = tuner("check", "bad.yaml")
    assert code == THEIRS and out == ""
    assert err == (
        "error: bad.yaml cannot be used:\n"
        "  bad.yaml:8: 'n_clusters' must stay within [2, 256], but the file searches [1, 64].\n"
        "  bad.yaml:9: aae_unsup has no 'weights.cylic'. Did you mean 'weights.cyclic'?\n"
    )


def test_a_wrong_option_is_named_as_it_was_typed(tuner: Any) -> None:
    Path("my.yaml").write_text(SPACE)
    code, _, err = tuner("check", "my.yaml", "--trials", "0")
    assert code == THEIRS
    assert "--trials 0: 'trials' must be a whole number of 1 or more" in err
    code, _, err = tuner("check", "my.yaml", "--trials", "9" * 19)
    assert code == THEIRS and "'trials' must be a whole number of at most 18 digits" in err


# --- check -------------------------------------------------------------------------------------------------------------


def test_check_prints_what_the_search_would_do_and_which_defaults_were_filled_in(tuner: Any) -> None:
    Path("my.yaml").write_text(SPACE)
    code, out, err = tuner("check", "my.yaml", "--seed", "3", "--set", "n_init=4")
    assert code == DONE and err == ""
    assert re.search(r"^data set +digits: 1,797 samples of 8x8, 10 classes$", out, re.M)
    assert re.search(r"^metric +acc, maximize \(uses the labels\)$", out, re.M)
    assert re.search(r"^score +acc of the last epoch  \(default\)$", out, re.M)
    assert re.search(r"^method +tpe  \(default\)$", out, re.M)
    assert re.search(r"^seed +3$", out, re.M)
    assert re.search(r"^n_clusters +5 \| 10 \| 15$", out, re.M)
    assert re.search(r"^n_init +4$", out, re.M)
    assert not Path("runs").exists()


def test_check_says_what_is_legal_but_may_surprise(tuner: Any) -> None:
    Path("my.yaml").write_text(SPACE.replace("early_terminate: none", "early_terminate: {type: asha, grace: 6}"))
    _, out, _ = tuner("check", "my.yaml")
    assert "Note: Nothing is stopped early" in out


@pytest.mark.parametrize(
    "words",
    [
        ["train", "kmeans", "--epochs", "30", "--set", "n_init=1"],
        ["show", "one", "--json"],
        ["--help"],
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (["describe", "aae_unsup"], ["models"], ["status", "--json"], ["ls"], ["--version"])
        ),
    ],
    ids=lambda words: words[0],
)
def test_a_command_whose_output_nobody_reads_ends_quietly(words: list[str]) -> None:
    a_run(a_spec(), "one")
    done = unread(["-m", "tuner.cli", *words])
    assert (done.returncode, done.stderr) == (DONE, "")


def unread(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """`| head -1` closes the pipe; here it is closed before the first line."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": str(layout.ROOT)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    os.close(writer)
    return done


def test_a_command_that_acts_does_all_of_it_though_nobody_reads_what() -> None:
    left = [a_run(a_spec(), name).folder / "best.yaml.tmp" for name in ("one", "two")]
    for path in left:
        path.touch()
    done = unread(["-m", "tuner.cli", "clean", "one", "two"])
    assert (done.returncode, done.stderr) == (DONE, "") and not any(path.exists() for path in left)


@pytest.mark.parametrize("stdout_too", [True, False])
def test_another_pipe_that_breaks_is_no_reader_that_left(stdout_too: bool) -> None:
    program = (
        "import sys; from tuner.cli import app, look\n"
        "def models(*_): raise BrokenPipeError(32, 'Broken pipe')\n"
        "look.shipped.models = models; sys.exit(app.main(['models']))"
    )
    done = (
        unread(["-c", program])
        if stdout_too
        else subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    )
    assert (done.returncode, "fault of tuner's" in done.stderr) == ((DONE, False) if stdout_too else (OURS, True))


# --- train -------------------------------------------------------------------------------------------------------------


def test_train_prints_one_line_per_epoch_and_needs_no_ray() -> None:
    program = (
        "import sys; from tuner.cli.app import main; code = main(['train', 'kmeans', '--epochs', '3', '--set', 'n_init=1'])\n"
        "print({'ray', 'wandb', 'optuna'} & set(sys.modules), code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=layout.ROOT)
    head, *epochs, last = done.stdout.splitlines()
    assert head == "kmeans on digits: 1,797 samples, 10 classes; seed 0"
    assert [line[:17] for line in epochs] == ["epoch 1/3 lloyd  ", "epoch 2/3 lloyd  ", "epoch 3/3 lloyd  "]
    clustering, codes = r"acc 0\.\d{4}  nmi 0\.\d{4}  ari 0\.\d{4}  n_used 10  ", r"silhouette 0\.\d{4}  knn_error_5 0\.\d{4}  "
    assert all(re.search(clustering + (codes if line is epochs[-1] else "") + r"[\d,]+/s$", line) for line in epochs)
    assert last == "set() 0" and done.stderr == ""


def test_a_collapsed_training_says_so_and_is_no_error(tuner: Any) -> None:
    x_ND = np.full((40, 5), 1000, "float32")
    x_ND[0, 0] = np.nextafter(x_ND[0, 0], np.float32(2000))  # so near to the others that squared distances in float32 do not tell
    np.savez("same.npz", x=x_ND)
    code, out, err = tuner("train", "kmeans", "--dataset", "npz:same.npz", "--set", "n_clusters=2", "--set", "n_init=1")
    assert code == DONE and all(line.startswith("Note: ") for line in err.splitlines())
    assert out.splitlines()[0] == "kmeans on npz:same.npz: 40 samples, no labels; seed 0"
    assert len(out.splitlines()) == 5 and out.splitlines()[-1].startswith("Collapsed after 3 epochs: ")


def test_a_diverged_training_says_so_and_is_no_error(tuner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "_MOST", 1e38)  # such values are refused otherwise
    x_ND = np.random.default_rng(0).normal(size=(40, 5)).astype("float32") * 1e30
    np.savez("big.npz", x=x_ND, y=np.arange(40) % 4)
    code, out, err = tuner("train", "dec", "--dataset", "npz:big.npz", "--set", "hidden=8", "--set", "batch_size=10")
    assert code == DONE and all(line.startswith("Note: ") for line in err.splitlines())
    assert out.splitlines()[-1].startswith("Diverged after 1 epoch: ")


def test_a_configuration_file_is_trained_with_its_data_seed_and_epochs(tuner: Any) -> None:
    content = {"model": "kmeans", "dataset": {"name": "digits", "limit": 300}, "epochs": 2, "seed": 7, "pretrain_seed": 0}
    Path("best.yaml").write_text(yaml.safe_dump({**content, "parameters": {"n_clusters": 4, "n_init": 1}}))
    _, out, _ = tuner("train", "best.yaml")
    assert out.splitlines()[0] == "kmeans on digits: 300 samples, 10 classes; seed 7"
    assert len(out.splitlines()) == 3 and "n_used 4" in out
    _, again, _ = tuner("train", "best.yaml", "--seed", "8", "--epochs", "1", "--set", "n_clusters=3", "--limit", "200")
    assert again.splitlines()[0] == "kmeans on digits: 200 samples, 10 classes; seed 8"
    assert len(again.splitlines()) == 2 and "n_used 3" in again


def test_a_file_that_is_no_configuration_is_refused(tuner: Any) -> None:
    Path("space.yaml").write_text(SPACE)
    Path("list.yaml").write_text("- 1\n")
    Path("torn.yaml").write_text("model: {\n")
    assert tuner("train", "space.yaml")[::2] == (
        THEIRS, "error: space.yaml is a search space, not one configuration. Search it: tuner search --space space.yaml\n",
    )  # fmt: skip
    for name, what in (
        ("list.yaml", "list.yaml:1: a configuration is a mapping of keys such as `model:`, but this is a list."),
        ("torn.yaml", "torn.yaml:2: this is not YAML: while parsing a flow node expected the node content, but found '<stream end>'."),
    ):
        assert tuner("train", name)[::2] == (THEIRS, f"error: {name} cannot be used:\n  {what}\n")


def test_all_that_is_wrong_with_a_configuration_is_told_with_its_line(tuner: Any) -> None:
    Path("my.yaml").write_text(
        "model: kmeans\nseeds: 3\nprecision: fp8\nparameters:\n  n_clustrs: 3\n  n_init: 0\ndataset: {name: minst}\n"
    )
    code, out, err = tuner("train", "my.yaml")
    assert (code, out) == (THEIRS, "")
    assert err.startswith(
        "error: my.yaml cannot be used:\n"
        "  my.yaml:2: a configuration has no key 'seeds'. Did you mean 'seed'? "
        "Known are model, dataset, epochs, seed, pretrain_seed, precision, parameters.\n"
        "  my.yaml:3: 'precision' must be one of fp32 | tf32, but got 'fp8'.\n"
        "  my.yaml:5: kmeans has no 'n_clustrs'. Did you mean 'n_clusters'?\n"
        "  my.yaml:6: 'n_init' must stay within [1, 1000], but got 0.\n"
        "  my.yaml:7: There is no data set 'minst'. Did you mean 'mnist'? Known are "
    )


def test_a_configuration_may_say_1e_4(tuner: Any) -> None:
    parameters = "{lr: 1e-4, hidden: 8, pretrain_epochs: 0, batch_size: 50}"
    Path("my.yaml").write_text(f"model: dec\ndataset: {{name: digits, limit: 100}}\nepochs: 1\nparameters: {parameters}\n")
    assert tuner("train", "my.yaml")[0] == DONE


def test_an_interrupted_training_ends_with_130(tuner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.train

    def interrupted(*args: Any, **kwargs: Any) -> Iterator[Any]:
        yield next(real(*args, **kwargs))
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", interrupted)
    code, out, err = tuner("train", "kmeans", "--set", "n_init=1")
    assert code == INTERRUPTED and len(out.splitlines()) == 2
    assert err == "Interrupted. Nothing was written.\n"


def test_a_fault_of_ours_is_1_with_the_traceback_in_a_file(tuner: Any, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    def broken(*args: Any, **kwargs: Any) -> Iterator[Any]:
        raise RuntimeError("a bug")
        yield

    monkeypatch.setattr(loop, "train", broken)
    monkeypatch.setattr("tempfile.tempdir", str(here))
    code, _, err = tuner("train", "kmeans")
    assert code == OURS and "Traceback" not in err
    (file,) = here.glob("tuner-error-*.txt")
    assert err == f"error: RuntimeError: a bug\nThis is a fault of tuner's, not yours. The traceback is in {file}: please report it.\n"
    assert "Traceback (most recent call last)" in file.read_text() and "RuntimeError: a bug" in file.read_text()


# --- what a search says, without one -----------------------------------------------------------------------------------


def line(trial: int, epoch: int, acc: float) -> dict[str, Any]:
    metrics = {"acc": acc, "nmi": 0.5, "ari": 0.25, "n_used": 9.0, "samples_per_s": 1000.0}
    return {"trial": trial, "epoch": epoch, "phase": "lloyd", "cluster_epoch": epoch, "metrics": metrics, "time": float(epoch)}


def ended(trial: int, state: str, acc: float, reason: str | None = None) -> TrialEnd:
    config = {"n_clusters": 5 * (trial + 1), "n_init": 2, "epochs": 6, "seed": trial}
    score = acc if state in ("complete", "pruned") else None
    return TrialEnd(
        trial=trial, state=state, config=config, score=score, metrics=line(trial, 6, acc)["metrics"], epochs=2, seconds=61, reason=reason
    )


ENDS = (ended(0, "complete", 0.7), ended(1, "complete", 0.8), ended(2, "failed", 0.0, "RuntimeError: out of [memory]"))


def a_spec(text: str = SPACE, **options: Any) -> Spec:
    Path("my.yaml").write_text(text)
    return read_space("my.yaml", options=Options(**options))


def a_run(spec: Spec, name: str = "my", status: str = "done", ends: tuple[TrialEnd, ...] = ENDS) -> Run:
    """A run's folder as a search would have left it."""
    run = Run(
        name=name, folder=Path("runs").absolute() / name, spec=spec, info={"dashboard": {"url": "http://127.0.0.1:1", "login": "no login"}}
    )
    run.folder.mkdir(parents=True)
    (run.folder / "spec.json").write_text(json.dumps({**spec.resolved(), "name": name}))
    journal = Journal(RunFiles.of(run))
    journal.search_started(run)
    for end in ends:
        for epoch in (1, 2):
            journal.epoch_ended(end.trial, line(end.trial, epoch, end.metrics["acc"]))
        journal.trial_ended(end)
    journal.search_ended(status)
    return run


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Searches that start no Ray: they play `ENDS` to whoever listens and end with `status`."""
    how: dict[str, Any] = {"status": "done"}

    def search(spec: Spec, options: SearchOptions) -> Outcome:
        how["spec"], how["options"] = spec, options
        run = a_run(spec, options.name or spec.name, how["status"], how.get("ends", ENDS))
        for listener in options.listeners:
            listener.search_started(run)
            for end in how.get("ends", ENDS):
                listener.trial_started(end.trial, dict(end.config))
                for epoch in (1, 2):
                    listener.epoch_ended(end.trial, line(end.trial, epoch, 0.5))
                listener.trial_ended(end)
            listener.search_ended(how["status"])
        results = read_run(run.folder)
        return Outcome(run=run, status=how["status"], folder=run.folder, results=results, reason=how.get("reason"))

    monkeypatch.setattr(driver, "search", search)
    monkeypatch.setattr(cluster, "start_ray_early", lambda address: how.update(started=address))
    monkeypatch.setattr(cluster, "join", lambda address: SimpleNamespace(address=None))
    return how


def test_a_search_says_what_it_does_and_ends_with_the_table_and_the_files(tuner: Any, played: dict[str, Any]) -> None:
    Path("my.yaml").write_text(SPACE)
    code, out, err = tuner("search", "--space", "my.yaml", "--wandb", "disabled")
    assert code == DONE and err == ""
    assert [re.sub(r"^\[[\d:]+\]", "[time]", text) for text in out.splitlines()] == [
        "my: 3 trials of kmeans on digits, by acc of the last epoch, in runs/my/",
        "Ray dashboard: http://127.0.0.1:1 (no login)",
        "[time] trial 0 complete after 2 epochs in 1:01: acc 0.7000, the best so far",
        "[time] trial 1 complete after 2 epochs in 1:01: acc 0.8000, the best so far",
        "[time] trial 2 failed after 2 epochs in 1:01: RuntimeError: out of [memory]",
        "",
        "Best 2 of 3 trials by acc of the last epoch",
        "trial             1        0",
        "────────────────────────────",
        "acc          0.8000   0.7000",
        "nmi          0.5000   0.5000",
        "ari          0.2500   0.2500",
        "n_used            9        9",
        "epochs            2        2",
        "",
        "n_clusters       10        5",
        "acc compares clusters with the labels, so this choice used labels.",
        "Labels: metrics looked at them in 6 epochs. They decided what to try next (2×),",
        "how trials rank (2×).",
        "",
        "3 trials: 2 complete · 1 failed; 6 epochs in 0:00",
        "Trial 2 failed: RuntimeError: out of [memory]",
        "",
        "In runs/my/",
        "  results.jsonl  every epoch of every trial",
    ]


def test_a_search_goes_on_when_nobody_reads_what_it_prints(played: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my.yaml").write_text(SPACE)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["search", "--space", "my.yaml", "--wandb", "disabled"]) == DONE
    assert read_run(Path("runs/my")).status == "done"


def test_every_option_reaches_the_search(tuner: Any, played: dict[str, Any]) -> None:
    Path("my.yaml").write_text(SPACE)
    words = "--dataset digits --limit 500 --scale minmax --trials 2 --epochs 4 --seed 5 --set n_init=3"
    where = "--name other --out elsewhere --address 10.0.0.1:6379 --data-root data --wandb offline"
    assert tuner("search", "--space", "my", *words.split(), *where.split())[0] == DONE
    spec, options = played["spec"], played["options"]
    assert (spec.dataset.name, spec.dataset.limit, spec.dataset.scale) == ("digits", 500, "minmax")
    assert (spec.trials, spec.epochs, spec.seed, spec.ranges["n_init"].value) == (2, 4, 5, 3)
    assert (options.name, options.out, options.address, options.data_root) == ("other", Path("elsewhere"), "10.0.0.1:6379", Path("data"))
    assert options.listeners[1].mode == "offline" and played["started"] == "10.0.0.1:6379"


@pytest.mark.parametrize(
    ("variable", "option", "mode"),
    [(None, None, "online"), ("offline", None, "offline"), ("disabled", None, "disabled"), ("offline", "disabled", "disabled")],
)
def test_wandb_does_what_the_option_says_or_else_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, option: str | None, mode: str
) -> None:
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert wandb_mode(option) == mode


@pytest.mark.parametrize(
    ("variables", "option", "expected"),
    [
        ({"WANDB_DISABLED": "true"}, None, "disabled"),
        ({"WANDB_DISABLED": "true"}, "offline", "offline"),
        ({"WANDB_DISABLED": "false", "WANDB_MODE": "dryrun"}, None, "offline"),
        ({"WANDB_MODE": "foo"}, None, "WANDB_MODE must be one of online | offline | disabled, but is 'foo'."),
        ({"WANDB_MODE": "ofline"}, "online", "Did you mean 'offline'?"),
        ({"WANDB_MODE": "foo"}, "disabled", "disabled"),
        ({"WANDB_PROJECT": "team/clustering"}, "offline", "Say WANDB_ENTITY=team WANDB_PROJECT=clustering."),
        ({"WANDB_PROJECT": "50%"}, None, "WANDB_PROJECT is '50%', but a project's name holds none of / "),
        ({"WANDB_PROJECT": "p" * 129}, None, "has 128 at most"),
        ({"WANDB_PROJECT": "team/clustering", "WANDB_MODE": "disabled"}, None, "disabled"),
    ],
)
def test_wandbs_own_switches_and_names_are_wandbs(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], option: str | None, expected: str
) -> None:
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if expected in MODES:
        assert wandb_mode(option) == expected
    else:
        with pytest.raises(UserError, match=re.escape(expected)):
            wandb_mode(option)


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", *(pytest.param(one, marks=pytest.mark.slow) for one in (">&- 2>&-", "2>&-"))])
def test_closed_streams_stop_no_command(closed: str, tmp_path: Path) -> None:
    words = f"'{sys.executable}' -m tuner.cli train kmeans --dataset digits --limit 100 --epochs 1 {closed}; echo $? > code"
    subprocess.run(["bash", "-c", words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(layout.ROOT)}, check=True)
    assert (tmp_path / "code").read_text() == "0\n"


def test_an_interrupted_search_says_what_was_kept_and_how_to_go_on(tuner: Any, played: dict[str, Any]) -> None:
    Path("my.yaml").write_text(SPACE)
    played["status"] = "stopped"
    code, out, err = tuner("search", "--space", "my.yaml", "--seed", "4", "--wandb", "disabled")
    assert code == INTERRUPTED and "Best 2 of 3 trials" in out
    assert err == ("Interrupted: 3 trials had ended. Every epoch is kept, also of those that had not. To go on: tuner resume my\n")


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (["it broke"], "Nothing was found: the only trial failed: it broke\n"),
        (["it broke", "it broke"], "Nothing was found: all 2 trials failed: it broke\n"),
        (["it broke", "no room"], "Nothing was found: all 2 trials failed: for 2 reasons, the first: it broke\n"),
    ],
)
def test_a_search_in_which_every_trial_failed_ends_as_a_failure_however_few_there_were(
    tuner: Any, played: dict[str, Any], reasons: list[str], said: str
) -> None:
    Path("my.yaml").write_text(SPACE)
    played["ends"] = tuple(replace(ENDS[2], trial=trial, reason=reason) for trial, reason in enumerate(reasons))
    code, _, err = tuner("search", "--space", "my.yaml", "--wandb", "disabled")
    assert (code, err) == (OURS, said)


def test_a_search_that_was_given_up_says_why_once(tuner: Any, played: dict[str, Any]) -> None:
    Path("my.yaml").write_text(SPACE)
    played["status"], played["reason"] = "failed", "the first 4 trials all failed for the same reason: out of [memory]"
    code, _, err = tuner("search", "--space", "my.yaml", "--wandb", "disabled")
    assert code == OURS
    assert err == "Given up: the first 4 trials all failed for the same reason: out of [memory]. What is above was kept.\n"


def test_a_refused_search_writes_nothing(tuner: Any, played: dict[str, Any]) -> None:
    Path("my.yaml").write_text(SPACE.replace("maximize", "minimize"))
    code, out, err = tuner("search", "--space", "my.yaml", "--wandb", "offline")
    assert code == THEIRS and out == "" and "its goal is maximize" in err
    assert [path.name for path in Path().iterdir()] == ["my.yaml"]


def test_a_dashboard_that_breaks_is_told_in_one_line(tuner: Any, played: dict[str, Any], capsys: Any) -> None:
    Path("my.yaml").write_text(SPACE)
    tuner("search", "--space", "my.yaml", "--wandb", "disabled")
    logging.getLogger("tuner").warning("%s failed", "WandbRuns")
    assert capsys.readouterr().err.endswith("Warning: WandbRuns failed\n")


# --- resume ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Resumes that do nothing but say how it ended."""
    how: dict[str, Any] = {"status": "done", "ran": True}

    def resume(folder: Path, options: ResumeOptions) -> Outcome:
        how["options"] = options
        run = Run(name=folder.name, folder=folder.absolute(), spec=a_spec(), info={})
        return Outcome(run=run, status=how["status"], folder=run.folder, results=read_run(folder), ran=how["ran"])

    monkeypatch.setattr("tuner.service.resume.resume", resume)
    monkeypatch.setattr(cluster, "start_ray_early", lambda address: how.update(started=address))
    return how


def test_every_option_of_resume_reaches_it_and_what_is_not_said_is_as_it_was(tuner: Any, resumed: dict[str, Any]) -> None:
    run = a_run(a_spec(), status="stopped")
    about = json.loads((run.folder / "spec.json").read_text())
    (run.folder / "spec.json").write_text(json.dumps(about | {"wandb": "disabled", "address": "10.0.0.1:6379"}))
    assert tuner("resume", "my")[0] == DONE
    options = resumed["options"]
    assert (options.trials, options.address, options.data_root, options.listeners[1].mode) == (None, None, None, "disabled")
    assert resumed["started"] == "10.0.0.1:6379"
    words = "--trials +5 --address local --wandb offline --data-root data"
    assert tuner("resume", "runs/my", *words.split())[0] == DONE
    options = resumed["options"]
    assert (options.trials, options.address, options.data_root, options.listeners[1].mode) == ("+5", "local", Path("data"), "offline")
    assert resumed["started"] is None


def test_a_resumed_search_ends_with_the_table_and_may_be_interrupted_again(tuner: Any, resumed: dict[str, Any]) -> None:
    a_run(a_spec(), status="stopped")
    resumed["status"] = "stopped"
    code, out, err = tuner("resume", "my", "--wandb", "disabled")
    assert code == INTERRUPTED and "Best 2 of 3 trials" in out and err.endswith(" To go on: tuner resume my\n")


def test_resuming_a_finished_run_says_that_it_is_finished(tuner: Any, resumed: dict[str, Any]) -> None:
    a_run(a_spec())
    resumed["ran"] = False
    assert tuner("resume", "my") == (DONE, "my is finished: 3 trials have ended. More: tuner resume my --trials +3\n", "")
    assert "started" not in resumed, "Ray"
    a_run(a_spec(), "other", ends=ENDS[:2])
    assert tuner("resume", "other")[1] == "other is finished: every configuration of its space was tried.\n"


def test_a_run_that_cannot_be_resumed_is_refused(tuner: Any) -> None:
    a_run(a_spec())
    missing = "its spec.json has no 'options'. It was begun by an older version of tuner, or was changed."
    assert tuner("resume", "my") == (THEIRS, "", f"error: my cannot go on: {missing}\n")
    assert tuner("resume", "mi")[2] == "error: There is no run 'runs/mi'. `tuner ls` lists them.\n"
    (Path("runs") / "my" / "driver.lock").write_text("{}")
    assert tuner("resume", "my")[2].startswith("error: my has a driver already, process None on None: ")


# --- ls and show -------------------------------------------------------------------------------------------------------


def test_ls_has_one_line_per_run(tuner: Any) -> None:
    assert tuner("ls") == (DONE, "There are no runs in runs/ yet. Start with: tuner search --space aae_unsup\n", "")
    a_run(a_spec(), "one")
    a_run(a_spec(), "two", status="stopped", ends=ENDS[2:])
    code, out, _ = tuner("ls")
    assert code == DONE
    head, _, *lines = out.splitlines()
    assert head.split() == ["run", "status", "model", "data", "trials", "best", "time"]
    assert [text.split() for text in lines] == [
        ["one", "done", "kmeans", "digits", "3/3", "acc", "0.8000", "0:00"],
        ["two", "stopped", "kmeans", "digits", "1/3", "–", "0:00"],
    ]


def test_ls_lists_the_sound_runs_and_says_which_is_damaged(tuner: Any) -> None:
    a_run(a_spec(), "sound")
    (a_run(a_spec(), "broken").folder / "status.json").write_text("[]")
    code, out, err = tuner("ls")
    assert (code, out.splitlines()[-1].split()[0]) == (THEIRS, "sound")
    assert "broken/status.json cannot be read" in err


@pytest.mark.parametrize("which", ["my", "runs/my"])
def test_show_json_prints_one_object_and_nothing_else(tuner: Any, which: str) -> None:
    a_run(a_spec())
    code, out, err = tuner("show", which, "--json")
    assert code == DONE and err == ""
    shown = json.loads(out)
    assert list(shown) == ["name", "status", "metric", "best", "trials", "epochs", "seconds", "labels"]
    assert (shown["name"], shown["status"], shown["metric"], shown["epochs"]) == ("my", "done", "acc", 6)
    assert shown["best"] == {"trial": 1, "metrics": dict(ENDS[1].metrics), "config": dict(ENDS[1].config)}
    assert shown["trials"] == {"complete": 2, "pruned": 0, "stopped": 0, "failed": 1, "diverged": 0, "collapsed": 0}


def test_show_by_a_criterion_ranks_without_labels_and_reports_them_beside_it(tuner: Any) -> None:
    folder = a_run(a_spec()).folder
    assert tuner("show", "my", "--by", "acc")[2].startswith(
        "error: 'acc' looks at labels, and --by chooses without them. It may be one of ace,"
    )
    assert "my has kept no codes of trial 0, which 'ace' needs" in tuner("show", "my", "--by", "ace")[2]
    y_S = np.arange(40) % 2
    z_SZ = np.stack([10.0 * y_S, np.arange(40.0) % 5], axis=1).astype(np.float32)
    write_partition(partition_file(folder, 0), y_S, z_SZ)
    write_partition(partition_file(folder, 1), np.roll(y_S, 1) * (np.arange(40) < 20), z_SZ)
    code, out, err = tuner("show", "my", "--by", "ace")
    assert (code, err) == (DONE, "") and out.startswith("2 complete trials of my by ace, without labels\n")
    assert [words.split()[0] for words in out.splitlines()[3:5]] == ["0", "1"], "though trial 1 has the higher acc"
    assert "acc, nmi, ari: reported beside it, and no part of the choice." in out
    found = json.loads(tuner("show", "my", "--by", "ace", "--json")[1])
    assert found["by"] == ["ace"] and [(one["configuration"], one["rank"]) for one in found["configurations"]] == [(0, 1.0), (1, 2.0)]
    assert found["configurations"][0]["reported"]["acc"] == 0.7 and "ace" not in found["configurations"][0]["reported"]
    assert tuner("show", "my", "--by", "stability")[0] == THEIRS


def test_show_tells_how_a_run_stands(tuner: Any) -> None:
    a_run(a_spec(), status="stopped")
    _, out, _ = tuner("show", "my")
    assert out.splitlines()[0] == "my: stopped, kmeans on digits, tpe, seed 0"
    assert "3 trials: 2 complete · 1 failed; 6 epochs in 0:00" in out


def test_show_tells_once_for_each_reason_who_failed_and_where(tuner: Any) -> None:
    where = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nRuntimeError: [no]'
    alike = [replace(ended(n, "failed", 0.0, "RuntimeError: [no]"), traceback=where) for n in range(7)]
    a_run(a_spec(), ends=(*alike, ended(7, "failed", 0.0, "the trial's process is gone: killed")))
    _, out, _ = tuner("show", "my")
    assert "Trials 0, 1, 2, 3, 4 and 2 more failed: RuntimeError: [no]" in out
    assert "Trial 7 failed: the trial's process is gone: killed" in out
    assert out.count('  File "a.py", line 1, in f') == 1


def test_a_run_without_a_complete_trial_has_no_best(tuner: Any) -> None:
    a_run(a_spec(), ends=ENDS[2:])
    _, out, _ = tuner("show", "my")
    assert "No trial was completed, so there is no best one." in out
    assert json.loads(tuner("show", "my", "--json")[1])["best"] is None


def test_a_misspelt_run_gets_the_nearest_name(tuner: Any) -> None:
    a_run(a_spec(), "good")
    assert tuner("show", "god")[2] == "error: There is no run 'runs/god'. Did you mean 'good'? `tuner ls` lists them.\n"


# --- the display -------------------------------------------------------------------------------------------------------


def shown(progress: Progress, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True, highlight=False)
    console.print(render(progress, width))
    return [text.rstrip() for text in console.export_text().splitlines()]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_display_fits_its_terminal_and_shows_counts_best_and_what_runs(width: int) -> None:
    spec = a_spec(trials=24)
    progress = Progress(Run(name="my", folder=Path("runs/my"), spec=spec, info={}))
    assert "no trial is complete yet" in shown(progress, width)
    for trial in range(9):
        progress.begin(trial, {"n_clusters": 10, "n_init": 2, "epochs": 6, "seed": 1})
        progress.advance(trial, line(trial, 2, 0.5 + trial / 100), time.monotonic())
    for end in ENDS:
        progress.end(end)
    lines = shown(progress, width)
    assert max(map(len, lines)) <= width
    assert "6 running · 2 complete · 0 pruned · 1" in " ".join(lines)
    assert any(text.startswith("best acc 0.8000  trial 1  n_clusters=10") for text in lines)
    assert any("#3 2/6 acc 0.5300" in text for text in lines)


def test_the_time_left_follows_from_how_long_trials_were() -> None:
    progress = Progress(Run(name="my", folder=Path("runs/my"), spec=a_spec(), info={}))
    assert progress.seconds_left() is None and pace(progress) == "starting"
    progress.begin(0, {"n_clusters": 10, "n_init": 2, "epochs": 6, "seed": 1})
    now = time.monotonic()
    for epoch in (1, 2, 3):
        progress.advance(0, line(0, epoch, 0.5), now - 3 + epoch)
    left = progress.seconds_left()
    assert left is not None and left == pytest.approx((3 + 6 + 6) / 1.5, rel=0.2), "3 epochs to go, two trials of 6, 3 epochs in 2 s"


def test_in_a_terminal_there_is_a_live_display_and_failures_appear_above_it() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, _environ={"TERM": "xterm"}, highlight=False)
    display = Display(console)
    display.search_started(Run(name="my", folder=Path("runs/my"), spec=a_spec(), info={}))
    for end in ENDS:
        display.trial_started(end.trial, end.config)
        display.epoch_ended(end.trial, line(end.trial, 1, 0.5))
        display.trial_ended(end)
    display.search_ended("done")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "trial 2 failed after 2 epochs in 1:01: RuntimeError: out of [memory]" in text
    assert "trial 0 complete" not in text
    assert "running · " in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.83251, "0.8325"),
        (0.0, "0.0000"),
        (1.0, "1.0000"),
        (-0.5, "-0.5000"),
        (1.234e-5, "1.234e-05"),
        (12345.6, "1.235e+04"),
        (None, "–"),
    ],
)
def test_metrics_are_short_and_exact_enough(value: float | None, text: str) -> None:
    assert number(value) == text
    assert number(1.0, "n_used") == "1"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61, "1:01"), (3661.9, "1:01:01")])
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_table_of_scores_by_another_rule_says_so() -> None:
    def titled(text: str) -> str:
        results: Results = read_run(a_run(a_spec(text), name=f"r{len(list(Path().glob('runs/*')))}").folder)
        return f"{results_view.heading(results)} / {next(iter(results_view.best_table(results).columns[0].cells))}"

    assert titled(SPACE + "score: max\n") == "Best 2 of 3 trials by acc of the best epoch / acc (best)"
    assert titled(SPACE + "score: mean_last_5\n") == "Best 2 of 3 trials by acc as the mean of the last five epochs / acc (mean)"


# --- shells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tuner tr", ["train"]),
        ("tuner train km", ["kmeans"]),
        ("tuner search --space aae_unsup_", ["aae_unsup_mnist", "aae_unsup_original"]),
        ("tuner show o", ["one"]),
        ("tuner enqueue o", ["one"]),
    ],
)
def test_the_shell_completes_commands_models_spaces_and_runs(typed: str, offered: list[str]) -> None:
    a_run(a_spec(), "one")
    asked: Mapping[str, str] = {"_TUNER_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    program = "from tuner.cli.app import main; main([])"
    environment = {**os.environ, **asked, "PYTHONPATH": str(layout.ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.split() == offered


# --- the whole thing, in processes of their own ------------------------------------------------------------------------


@pytest.mark.process
def test_a_search_from_the_shell_is_quiet_and_leaves_everything(tuner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNER_NO_REPORT")
    monkeypatch.delenv("TUNER_NO_DASHBOARD")
    Path("my.yaml").write_text(SPACE)
    process = tuner_process("search", "--space", "my.yaml")
    out, err = process.communicate(timeout=ENDS_S)
    assert process.returncode == DONE
    assert err == "", "neither Ray nor W&B says anything"
    lines = out.splitlines()
    assert lines[0] == "my: 3 trials of kmeans on digits, by acc of the last epoch, in runs/my/"
    assert read_run(Path("runs/my")).spec_json["dashboard"]["url"].startswith("http://127.0.0.1:")
    assert sum(" complete after 6 epochs" in text for text in lines) == 3
    assert "  wandb sync runs/my/wandb/offline-run-*" in lines
    assert any(text.startswith("Best 3 of 3 trials by acc of the last epoch") for text in lines)
    assert lines[-3:-1] == ["Train the best again with: tuner train runs/my/best.yaml", "Report: runs/my/report.html"]
    assert lines[-1] == "W&B: the report is kept. To make it later: tuner report my --wandb"
    assert {path.name for path in Path("runs/my").iterdir()} >= {
        *("space.yaml", "spec.json", "results.jsonl", "study.journal", "best.yaml", "best.safetensors", "wandb", "report.md"),
    }  # fmt: skip

    best = json.loads(tuner("show", "my", "--json")[1])["best"]
    _, again, _ = tuner("train", "runs/my/best.yaml")
    assert f"acc {best['metrics']['acc']:.4f}" in again.splitlines()[-1], "the best trial can be trained again"

    runs = [run for run in read_runs(Path("runs/my")).values() if run.job_type == "trial"]
    journal = [json.loads(text) for text in Path("runs/my/results.jsonl").read_text().splitlines()]
    assert len(runs) == 3 and len(read_runs(Path("runs/my"))) == 4
    for run in runs:
        trial = int(run.id.rpartition("-")[2])
        ours = [entry for entry in journal if entry["trial"] == trial]
        assert [(entry["_step"], entry["acc"]) for entry in run.history] == [
            (e["epoch"], e["metrics"]["acc"]) for e in ours if "epoch" in e
        ]
        assert run.config == ours[-1]["config"] and run.summary["state"] == "complete" and run.exit_code == 0


@pytest.mark.process
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNER_NO_DASHBOARD")
    Path("my.yaml").write_text(
        SPACE.replace("trials: 3", "trials: 1000\nmethod: random").replace("{values: [5, 10, 15]}", "{min: 5, max: 200}")
    )
    process = tuner_process("search", "--space", "my.yaml", start_new_session=True)
    assert process.stdout is not None
    head: list[str] = []
    while not any(" complete " in text for text in head):
        head.append(process.stdout.readline())
        assert head[-1], "".join(head) + (process.stderr.read() if process.stderr else "")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to everybody
    out, err = process.communicate(timeout=ENDS_S)
    assert process.returncode == INTERRUPTED
    assert re.fullmatch(r"Interrupted: \d+ trials? had ended\. .* To go on: tuner resume my\n", err), err
    assert "trials by acc of the last epoch" in out
    run = read_run(Path("runs/my"))
    assert run.status == "stopped" and run.counts()["complete"] >= 1
    runs = read_runs(Path("runs/my"))
    assert {run.exit_code for run in runs.values()} <= {0, 255}
    assert next(run for run in runs.values() if run.job_type == "search").exit_code == 255

    before = {trial.trial for trial in run.trials if trial.state == "complete"}
    asked = len(optuna.load_study(study_name="my", storage=open_storage(Path("runs/my") / STUDY)).trials)
    process = tuner_process("resume", "my", "--trials", str(asked))
    out, err = process.communicate(timeout=ENDS_S)
    assert (process.returncode, err) == (DONE, "")
    assert f"Resumed: {counted(len(before), 'trial')} had ended, " in out
    run = read_run(Path("runs/my"))
    assert (run.status, run.counts()["complete"], run.spec_json["trials"]) == ("done", asked, asked)
    assert {run.summary["state"] for run in read_runs(Path("runs/my")).values() if run.job_type == "trial"} == {"complete"}
