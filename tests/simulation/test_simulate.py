"""Searches that are replayed on recorded trials."""

from __future__ import annotations

import gzip
import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit.killed import killed_simulation
from kit.one_ray import OneRay
from kit.searches import CONDITIONAL, SPACE, space

from tuner.errors import UserError
from tuner.runs.journal import read_lines
from tuner.runs.results import read_run
from tuner.service.driver import SearchOptions, search
from tuner.service.simulate import Simulated, SimulateOptions, resume_simulated, simulate
from tuner.simulation.nearest import Nearest
from tuner.simulation.table import RecordedEpoch, RecordedTrial, Table
from tuner.simulation.virtual import as_long_as
from tuner.space.spec import Spec

ABOUT = {"model": "kmeans", "dataset": {"name": "digits"}, "epochs": 9}


def recorded(config: dict[str, Any], epochs: int = 9, seconds: float = 2.0, **how: Any) -> RecordedTrial:
    """A trial whose acc rises to a height that its number of clusters decides."""
    height = 1 / (1 + abs(math.log(config["n_clusters"] / 10)))
    lines = [
        RecordedEpoch(
            epoch=i,
            phase="lloyd",
            cluster_epoch=i,
            seconds=seconds,
            metrics={"acc": height * (1 - 0.5**i), "n_used": 9.0},
            ended="complete" if i == epochs and how.get("state", "complete") == "complete" else None,
        )
        for i in range(1, epochs + 1)
    ]
    return RecordedTrial(config=config, state=how.get("state", "complete"), epochs=lines)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Of 30 configurations, each with its own seconds per epoch."""
    spec, rng, path = space(tmp_path), random.Random(0), tmp_path / "table.jsonl.gz"
    counts = rng.sample(range(2, 201), 30)
    trials = [recorded({**spec.config({"n_clusters": n}), "seed": n}, seconds=rng.uniform(1, 5)) for n in counts]
    Table(name="t", about=ABOUT, trials=trials).write(path)
    return path


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The journal, with times counted from the simulation's beginning."""
    began = json.loads((folder / "spec.json").read_text())["simulated"]["began"]
    return [{**line, "time": round(line["time"] - began, 2)} for line in read_lines(folder / "results.jsonl")]


def without_seconds(folder: Path) -> list[dict[str, Any]]:
    """Of an interrupted trial they count from its first epoch's end, as in a search."""
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines_of(folder)]


def simulated(spec: Spec, table: Path, out: Path, **options: Any) -> Simulated:
    return simulate(spec, SimulateOptions(table=table, out=out, **options))


def test_a_search_on_its_own_run_is_that_search(tmp_path: Path, ray_here: OneRay) -> None:
    import ray

    ray_here.up()
    one_at_a_time = f"\nresources: {{cpu: {int(ray.cluster_resources()['CPU'])}, gpu: 0, pack: off}}\n"
    spec = space(tmp_path, SPACE + one_at_a_time)
    real = search(spec, SearchOptions(out=tmp_path / "real"))
    replayed = simulated(spec, real.folder, tmp_path / "replayed")
    assert (replayed.replay.exact, replayed.replay.nearest, replayed.replay.held) == (9, 0, 0)

    def told(folder: Path) -> list[dict[str, Any]]:
        kept = [{k: v for k, v in line.items() if k not in ("time", "seconds")} for line in read_lines(folder / "results.jsonl")]
        for line in kept:
            line["metrics"] = {k: v for k, v in line["metrics"].items() if k != "samples_per_s"}
        return kept

    assert told(replayed.folder) == told(real.folder)
    assert any(line.get("state") == "pruned" for line in told(real.folder))
    assert (best := replayed.results.best()) is not None and best.trial == real.results.best().trial  # type: ignore[union-attr]
    seconds = sum(end.seconds for end in real.results.trials)
    assert sum(end.seconds for end in replayed.results.trials) == pytest.approx(seconds, rel=0.05)


def test_the_clock_goes_by_what_the_epochs_took(tmp_path: Path, table: Path) -> None:
    spec = space(tmp_path, SPACE.replace("early_terminate: {type: asha, grace: 3, reduction: 3}", "method: random\nearly_terminate: none"))
    alone = simulated(spec, table, tmp_path / "runs")
    assert alone.status == "done" and alone.results.counts()["complete"] == 9
    assert alone.results.seconds == pytest.approx(sum(end.seconds for end in alone.results.trials), abs=0.1)
    together = simulated(spec, table, tmp_path / "runs", lanes=9)
    assert together.results.seconds == pytest.approx(max(end.seconds for end in together.results.trials), abs=0.1)
    assert {end.trial: end.score for end in together.results.trials} == {end.trial: end.score for end in alone.results.trials}
    assert lines_of(together.folder) != lines_of(alone.folder)


def test_two_simulations_are_one(tmp_path: Path, table: Path) -> None:
    spec = space(tmp_path, trials=40)
    first, second = (simulated(spec, table, tmp_path / "runs", lanes=8) for _ in range(2))
    assert lines_of(first.folder) == lines_of(second.folder)
    assert first.results.counts()["pruned"] > 5 and first.results.counts()["complete"] > 2


@pytest.mark.parametrize("seeds", ["", "seed: {repeat: 3}\n"], ids=["single", "repeat"])
def test_one_that_was_killed_goes_on_to_the_same_end(seeds: str, tmp_path: Path, table: Path) -> None:
    spec = space(tmp_path, seeds + SPACE.replace("trials: 9", "trials: 40"))
    whole = simulated(spec, table, tmp_path / "whole", lanes=8)
    middle = next(end.trial for end in whole.results.trials if end.trial > 10 and end.state == "complete")
    killed_simulation(tmp_path, table, (middle, 4))
    folder = tmp_path / "runs" / "s"
    assert read_run(folder).status == "failed" and len(lines_of(folder)) < len(lines_of(whole.folder))
    with pytest.raises(UserError, match=r"already\. Say --trials \+50"):
        resume_simulated(folder, "1")
    assert resume_simulated(folder, None).status == "done"
    assert without_seconds(folder) == without_seconds(whole.folder)
    more = resume_simulated(folder, "+5")
    assert more.status == "done" and len(more.results.trials) > len(whole.results.trials)


def test_a_table_is_read_as_it_was_written(tmp_path: Path, table: Path) -> None:
    read = Table.read(table)
    read.write(tmp_path / "again.jsonl.gz")
    again = Table.read(tmp_path / "again.jsonl.gz")
    assert (again.trials, again.about["model"], len(again.trials)) == (read.trials, "kmeans", 30)


def test_the_nearest_is_that_of_all_distances(tmp_path: Path) -> None:
    spec, rng = space(tmp_path, CONDITIONAL), random.Random(0)

    def config() -> dict[str, Any]:
        cyclic = rng.random() < 0.5
        chosen = {"latent_dim": rng.choice([2, 5, 10]), "lr_ae": 10 ** rng.uniform(-4, -2), "use_cyclic": cyclic}
        return {**spec.config(chosen | ({"weights.cyclic": 10 ** rng.uniform(-2, 1)} if cyclic else {})), "seed": rng.randrange(2**32)}

    def distance(a: dict[str, Any], b: dict[str, Any]) -> float:
        found = float(a["latent_dim"] != b["latent_dim"]) + float(a["use_cyclic"] != b["use_cyclic"])
        found += (math.log10(a["lr_ae"] / b["lr_ae"]) / 2) ** 2
        if a["use_cyclic"] != b["use_cyclic"]:
            return found + 1
        return found + ((math.log10(a["weights.cyclic"] / b["weights.cyclic"]) / 3) ** 2 if a["use_cyclic"] else 0)

    def trial(config: dict[str, Any]) -> RecordedTrial:
        line = RecordedEpoch(epoch=1, phase="train", cluster_epoch=1, seconds=1, metrics={"acc": 0.5})
        epochs = [line, RecordedEpoch(epoch=2, phase="train", cluster_epoch=2, seconds=1, metrics={"acc": 0.5}, ended="complete")]
        return RecordedTrial(config=config, state="complete", epochs=epochs)

    rows = [trial(config()) for _ in range(60)]
    nearest = Nearest(Table(name="t", about={"model": "aae_unsup", "dataset": {"name": "digits"}}, trials=rows), spec)
    for _ in range(40):
        asked = config()
        assert nearest.find(asked).trial is min(rows, key=lambda row: distance(asked, dict(row.config)))
    assert nearest.find(rows[7].config).exact and nearest.find(rows[7].config).trial is rows[7]


def test_of_several_seeds_the_trials_own_is_taken(tmp_path: Path) -> None:
    spec = space(tmp_path)
    rows = [recorded({**spec.config({"n_clusters": 10}), "seed": seed}) for seed in (3, 4, 5)]
    nearest = Nearest(Table(name="t", about=ABOUT, trials=rows), spec)
    assert nearest.find(rows[1].config).trial is rows[1]
    other = nearest.find({**rows[0].config, "seed": 7})
    assert other.exact and other.trial is rows[7 % 3]


def test_a_trial_is_cut_or_its_last_metrics_are_held(tmp_path: Path) -> None:
    whole = recorded({"n_clusters": 10}, epochs=9).epochs
    cut = as_long_as(whole, 4)
    assert [epoch.epoch for epoch in cut] == [1, 2, 3, 4] and cut[-1].ended == "complete" and cut[0].ended is None
    held = as_long_as(whole[:3], 5)
    assert [epoch.cluster_epoch for epoch in held] == [1, 2, 3, 4, 5]
    assert held[-1].metrics == whole[2].metrics and held[-1].ended == "complete" and held[3].ended is None


def test_how_many_went_on_beyond_what_was_recorded_is_said(tmp_path: Path) -> None:
    spec = space(tmp_path, SPACE.replace("early_terminate: {type: asha, grace: 3, reduction: 3}", "early_terminate: none"))
    rows = [recorded({**spec.config({"n_clusters": 10}), "seed": 0})]
    rows += [recorded({**spec.config({"n_clusters": n}), "seed": 0}, epochs=3, state="pruned") for n in range(2, 201) if n != 10]
    Table(name="t", about=ABOUT, trials=rows).write(tmp_path / "t.gz")
    outcome = simulated(spec, tmp_path / "t.gz", tmp_path / "runs")
    assert outcome.results.counts()["complete"] == 9
    assert outcome.replay.held == 9 - sum(end.config["n_clusters"] == 10 for end in outcome.results.trials)


CASES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str, str]] = {
    "model": (lambda about: about | {"model": "dec"}, SPACE, "recorded with model dec, but the space says kmeans"),
    "data": (lambda about: about | {"dataset": {"name": "usps"}}, SPACE, "recorded with dataset usps"),
    "metric": (lambda about: about, SPACE.replace("name: acc", "name: nmi"), "has no 'nmi', which the space goes by. It has: acc, n_used"),
    "epochs": (lambda about: about, SPACE.replace("epochs: 9", "epochs: 12"), "trials of 9 epochs at most, but the space asks for 12"),
    "fixed": (lambda about: about, SPACE + "  n_init: {value: 3}\n", "no trial of this space: 'n_init' is"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_table_of_something_else_is_refused(case: str, tmp_path: Path) -> None:
    about, text, message = CASES[case]
    first = space(tmp_path)
    rows = [recorded({**first.config({"n_clusters": 10}), "seed": 0})]
    Table(name="t", about=about(ABOUT), trials=rows).write(tmp_path / "t.gz")
    with pytest.raises(UserError, match=message):
        simulated(space(tmp_path, text), tmp_path / "t.gz", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_what_a_condition_fixes_may_differ_between_recorded_trials(tmp_path: Path) -> None:
    fixed = "weights.cyclic: {value: 0.5, when: {use_cyclic: true}}"
    text = CONDITIONAL.replace("weights.cyclic: {distribution: log_uniform_values, min: 1e-2, max: 1e1, when: {use_cyclic: true}}", fixed)
    spec = space(tmp_path, text)
    assert fixed in text

    def row(cyclic: bool, weight: float) -> RecordedTrial:
        config = {**spec.config({"latent_dim": 5, "lr_ae": 1e-3, "use_cyclic": cyclic}), "weights.cyclic": weight, "seed": 0}
        line = RecordedEpoch(epoch=2, phase="train", cluster_epoch=2, seconds=1, metrics={"acc": 0.5}, ended="complete")
        return RecordedTrial(config=config, state="complete", epochs=[replace(line, epoch=1, cluster_epoch=1, ended=None), line])

    rows = [row(True, 0.5), row(False, 0.0), row(True, 0.7)]
    nearest = Nearest(Table(name="t", about={"model": "aae_unsup", "dataset": {"name": "digits"}}, trials=rows), spec)
    assert [nearest.find(one.config).trial is one for one in rows] == [True, True, False]


def test_a_table_of_a_later_tuner_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.gz").write_bytes(gzip.compress(b'{"tuner table": 9}\n'))
    with pytest.raises(UserError, match="has format 9; this version of tuner reads format 1"):
        Table.read(tmp_path / "t.gz")


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x1f\x8b\x08\x00garbage"])
def test_what_is_no_table_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "t.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"--table .*t\.gz .*Name a run's folder, or a table"):
        Table.read(path)


def test_the_command(tuner: Any, tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space(tmp_path)
    code, out, err = tuner("simulate", "space.yaml", "--table", str(table), "--gpus", "4", "--trials", "12")
    assert (code, err) == (0, "")
    assert "Simulated: nothing was trained." in out and "4 trials at once" in " ".join(out.split())
    assert "as the nearest that was recorded" in out
    code, out, _ = tuner("show", "space")
    assert code == 0 and "Simulated: nothing was trained." in out
    monkeypatch.setenv("TUNER_DATA", str(tmp_path))  # for searches: nobody means the simulation by it
    code, out, err = tuner("resume", "space", "--trials", "+3")
    assert (code, err) == (0, "") and "15 trials" in out
    for flag, value in (("--wandb", "offline"), ("--data-root", str(tmp_path))):
        code, _, err = tuner("resume", "space", flag, value)
        assert code == 2 and f"{flag} says nothing to it" in err
    code, _, err = tuner("simulate", "space.yaml", "--table", "nowhere")
    assert code == 2 and "--table nowhere cannot be read" in err


def test_from_python(tmp_path: Path, table: Path) -> None:
    import tuner

    space(tmp_path)
    run = tuner.simulate(tmp_path / "space.yaml", table=table, gpus=3, out=tmp_path / "runs")
    assert run.status == "done" and len(run.trials) == 9
    assert len(run.resume(trials="+2").trials) == 11
