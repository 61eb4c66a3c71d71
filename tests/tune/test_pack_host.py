"""The host of packs by itself, without Ray: who trains when, and what happens when an engine fails."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from kit.waiting import ENDS_S, until
from ray.exceptions import OutOfMemoryError

from tuner.data.datasets import DatasetSpec
from tuner.errors import UserError
from tuner.model import load_model
from tuner.search.trainer import Trainer
from tuner.space.reader import read_space
from tuner.training.pack import Pack
from tuner.tune import pack_client
from tuner.tune.pack_host import PackHost

SPACE = """
model: aae_unsup
dataset: {name: digits, limit: 200}
metric: {name: acc, goal: maximize}
epochs: 3
parameters: {hidden: {value: 16}, batch_size: {value: 50}, lr_ae: {min: 1.0e-4, max: 1.0}}
"""


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    folder = tmp_path / "run"
    folder.mkdir()
    return Trainer(
        spec=read_space(str(path)), folder=folder, dataset=DatasetSpec(name="digits", limit=200), data_root=tmp_path,
        device="cpu", threads=1,
    )  # fmt: skip


def config(trainer: Trainer, lr_ae: float = 1e-3) -> dict[str, object]:
    return trainer.spec.config({"lr_ae": lr_ae}) | {"seed": 7}


def fetch(host: PackHost, trial: int) -> list[int]:
    """The numbers of a trial's epochs, to its end."""
    epochs, ended = [], None
    while ended is None:
        report = host.next(trial)
        epochs.append(report.line["epoch"])
        ended = report.ended
    return epochs


def fetch_all(host: PackHost, trials: list[int]) -> dict[int, list[int]]:
    """As their actors would: all at once."""
    found: dict[int, list[int]] = {}
    threads = [threading.Thread(target=lambda t=t: found.update({t: fetch(host, t)}), daemon=True) for t in trials]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=ENDS_S)
    return found


def test_the_host_measures_what_the_search_goes_by(trainer: Trainer) -> None:
    spec = replace(trainer.spec, metric=replace(trainer.spec.metric, name="silhouette"))
    host = PackHost(replace(trainer, spec=spec), 2)
    host.join(0, config(trainer), 0)
    report = host.next(0)
    assert report.score == report.line["metrics"]["silhouette"]


def test_a_trial_runs_one_epoch_ahead_of_what_was_fetched_and_no_further(trainer: Trainer) -> None:
    host = PackHost(trainer, 2)
    host.join(0, config(trainer), 0)
    host.join(1, config(trainer), 0)
    assert fetch(host, 1) == [1, 2, 3]
    assert host._pool.members[0].trial.epoch == 1
    host.next(0)
    host.leave(0)
    assert host.load() == 1


def test_epochs_that_were_fetched_before_the_host_died_are_not_given_again(trainer: Trainer) -> None:
    host = PackHost(trainer, 2)
    host.join(0, config(trainer), 2)
    assert fetch(host, 0) == [3]


def test_whoever_waits_for_a_trial_that_another_process_came_for_waits_no_longer(trainer: Trainer) -> None:
    """Its own process has died; else its thread would be lost to the host."""
    host, waited = PackHost(trainer, 2), []
    host.join(0, config(trainer), 3)  # nothing comes: all three epochs were fetched
    waiting = threading.Thread(target=lambda: waited.append(host.next(0)), daemon=True)
    waiting.start()
    until(lambda: host._hosted[0].finished)
    host.join(0, config(trainer), 1)
    waiting.join(timeout=ENDS_S)
    assert waited == [None]
    assert fetch(host, 0) == [2, 3]
    assert host.next(7) is None, "who never joined, or joined the process before this one, is told to join"


def test_a_trial_that_raises_fails_alone(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model("aae_unsup")

    class Raising(type(model)):  # type: ignore[misc]
        __module__ = type(model).__module__

        def draw(self, h, data, B, g):  # type: ignore[no-untyped-def]
            if h.lr_ae > 0.5:
                raise RuntimeError("this one is broken")
            return super().draw(h, data, B, g)

    monkeypatch.setattr("tuner.space.spec.load_model", lambda name: Raising())
    host = PackHost(trainer, 3)
    monkeypatch.undo()
    for trial, lr in enumerate((1e-3, 0.9, 2e-3)):
        host.join(trial, config(trainer, lr), 0)
    assert fetch_all(host, [0, 2]) == {0: [1, 2, 3], 2: [1, 2, 3]}
    with pytest.raises(RuntimeError, match="this one is broken"):
        fetch(host, 1)


def test_a_trial_that_cannot_even_begin_fails_alone(trainer: Trainer) -> None:
    host = PackHost(trainer, 2)
    host.join(0, config(trainer) | {"batch_size": 300}, 0)
    host.join(1, config(trainer), 0)
    with pytest.raises(UserError, match="'batch_size' is 300, but digits has 200 samples"):
        host.next(0)
    assert fetch(host, 1) == [1, 2, 3]


def test_packs_too_wide_for_the_memory_are_halved(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    step = Pack.step

    def limited(self, *batch):  # type: ignore[no-untyped-def]
        if self.slots > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, *batch)

    monkeypatch.setattr(Pack, "step", limited)
    host = PackHost(trainer, 4)
    for trial in range(4):
        host.join(trial, config(trainer, 1e-3 * (trial + 1)), 0)
    assert fetch_all(host, [0, 1, 2, 3]) == {trial: [1, 2, 3] for trial in range(4)}
    assert host._pool.widths.most <= 2
    assert "are too many for the memory" in capfd.readouterr().out


def test_a_host_that_was_killed_for_want_of_memory_is_asked_for_narrower_packs(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    host, asked = PackHost(trainer, 8), []

    class Killed:
        """The host as its guests have it: killed while its packs are wider than 2."""

        def __getattr__(self, name: str) -> SimpleNamespace:
            def call(*given: object) -> object:
                if name == "next" and host._pool.widths.most > 2:
                    raise OutOfMemoryError("1 worker(s) were killed due to the node running low on memory.")
                asked.append((name, *given[3:]))
                return getattr(host, name)(*given)

            return SimpleNamespace(remote=lambda *given: lambda: call(*given))

    monkeypatch.setattr(pack_client, "ray", SimpleNamespace(get=lambda asked: asked()))
    monkeypatch.setattr(pack_client.PackedTrainer, "_emptiest", lambda self, trial: Killed())
    monkeypatch.setattr(pack_client, "RESTART_S", 0.0)
    reports = pack_client.PackedTrainer(hosts=("h",))(0, config(trainer))
    assert [report.line["epoch"] for report in reports] == [1, 2, 3]
    assert [most for name, *most in asked if name == "join"] == [[None], [4], [2]]


def test_a_trial_alone_that_is_too_large_for_the_memory_fails(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self, *batch):  # type: ignore[no-untyped-def]
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("tuner.training.solo.Solo.step", full)
    host = PackHost(trainer, 2)
    host.join(0, config(trainer), 0)
    with pytest.raises(torch.OutOfMemoryError):
        host.next(0)
