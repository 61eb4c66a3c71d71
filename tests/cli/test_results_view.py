"""A search's outcome where a configuration has several seeds, several metrics decide, nothing was trained, or much fails."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from kit.journals import write_run
from rich.console import Console, RenderableType

from tuner.cli.results_view import best_table, heading, outcome_view
from tuner.runs.paths import JOURNAL
from tuner.runs.results import read_run


def shown(*parts: RenderableType) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    for part in parts:
        console.print(part)
    return console.export_text()


def rows(text: str) -> dict[str, str]:
    """A table's rows by their first cell."""
    return {first: rest.strip() for line in text.splitlines() if line.strip() for first, _, rest in [line.strip().partition("  ")]}


def seeded(folder: Path, seeds: dict[int, tuple[int, ...]], spec: dict[str, int]) -> Path:
    """A run in which every trial is complete. `seeds`: which trials are of one configuration, by its number."""
    write_run(folder, trials=sum(map(len, seeds.values())), epochs=4, seeds=spec)
    of = {trial: number for number, trials in seeds.items() for trial in trials}
    lines = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
    for line in lines:
        if "state" in line:
            acc = round(0.5 + 0.1 * of[line["trial"]] + 0.01 * line["trial"], 4)
            line |= {"state": "complete", "configuration": of[line["trial"]], "score": acc, "reason": None}
            line["metrics"] |= {"acc": acc}
    (folder / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_configuration_of_several_seeds_shows_mean_deviation_and_its_trials(tmp_path: Path) -> None:
    results = read_run(seeded(tmp_path / "run", {0: (0, 2, 4), 1: (1, 3, 5)}, {"repeat": 3}))
    assert heading(results) == "Best 2 of 2 configurations by acc of the last epoch, mean ± sd over seeds"
    assert heading(results, 1) == "Best configuration of 2 configurations by acc of the last epoch, mean ± sd over seeds"
    table = rows(shown(best_table(results)))
    assert table["configuration"].split() == ["1", "0"]
    assert re.split(r"  +", table["acc"]) == ["0.6300 ± 0.02", "0.5200 ± 0.02"]
    assert table["seeds"].split() == ["3", "3"] and re.split(r"  +", table["trials"]) == ["1, 3, 5", "0, 2, 4"]


def test_trials_that_follow_each_other_are_a_range(tmp_path: Path) -> None:
    results = read_run(seeded(tmp_path / "run", {0: (0, 1, 2), 3: (3, 4, 5)}, {"repeat": 3}))
    assert re.split(r"  +", rows(shown(best_table(results)))["trials"]) == ["3–5", "0–2"]


def test_where_several_metrics_decide_the_front_is_shown(tmp_path: Path) -> None:
    metrics = [{"name": "acc", "goal": "maximize"}, {"name": "nmi", "goal": "maximize"}]
    results = read_run(write_run(tmp_path / "run", trials=8, epochs=4, metric=metrics[0], metrics=metrics))
    complete = results.counts()["complete"]
    assert (
        heading(results)
        == f"The front: {len(results.front())} of {complete} complete trials that no other beats in acc and nmi of the last epoch"
    )
    table = rows(shown(best_table(results)))
    assert len(table["trial"].split()) == len(results.front()) and {"acc", "nmi"} <= set(table)


def test_a_simulation_says_that_nothing_was_trained(tmp_path: Path) -> None:
    simulated = {"table": str(tmp_path / "idec.jsonl.gz"), "lanes": 64}
    text = shown(*outcome_view(read_run(write_run(tmp_path / "run", trials=3, epochs=4, simulated=simulated))))
    assert "Simulated: nothing was trained. The epochs are those of " in text and "64 trials at once." in text


def test_data_that_are_near_to_the_papers_are_named_as_such(tmp_path: Path) -> None:
    dataset = {"name": "rcv1_4", "limit": None, "scale": None}
    text = shown(*outcome_view(read_run(write_run(tmp_path / "run", trials=3, epochs=4, dataset=dataset))))
    assert "rcv1_4 is close to the papers' REUTERS-10K, not the same rows." in text


@pytest.mark.parametrize(("kinds", "more"), [(3, False), (4, True)])
def test_failures_are_said_once_for_each_reason_and_not_all_of_many(kinds: int, more: bool, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", trials=16, epochs=4)
    lines = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
    for line in lines:
        if "state" in line:
            line |= {"state": "failed", "score": None, "reason": f"ValueError: of kind {line['trial'] % kinds}"}
    (folder / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = shown(*outcome_view(read_run(folder)))
    assert "No trial was completed, so there is no best one." in text
    assert ("There are other reasons; results.jsonl has them." in text) is more
    of_first = ", ".join(str(trial) for trial in range(16) if trial % kinds == 0)
    assert text.count(" failed: ValueError: of kind ") == 3
    assert f"Trials {of_first if kinds == 4 else '0, 3, 6, 9, 12 and 1 more'} failed: ValueError: of kind 0" in text
