"""Which way of searching finds a good configuration, and which a lucky seed? `python benchmarks/luck.py`.

Every way has the same number of epochs, pre-training and confirmation included. What it takes for the winner is then trained on ten seeds
that played no part in choosing, and their mean ACC is the figure. One row for each model, way and seed of the search is appended to
benchmarks/luck.jsonl at once; one that is there is not done again.

    python benchmarks/luck.py --models idec --seeds 5             # what is missing, the first seed of every way first
    python benchmarks/luck.py --full --models idec aae_unsup      # trainings as long as the shipped spaces have them
    python benchmarks/luck.py --table                             # only writes the table of docs/search.md anew

Trials run one after another in this process, with the search's own sampler, rungs and seeds, and without Ray. Without `--full` trainings
are shorter than the shipped spaces have them (`SHORT`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.evidence.statistics import Interval
    from tuner.runs.configurations import Configuration
    from tuner.runs.events import TrialEnd
    from tuner.search.rungs import Rungs
    from tuner.search.trainer import Trainer
    from tuner.space.spec import Spec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROWS, PAGE = ROOT / "benchmarks" / "luck.jsonl", ROOT / "docs" / "search.md"
BEGIN, END = "<!-- benchmarks/luck.py: begin -->", "<!-- benchmarks/luck.py: end -->"

SHORT = {"idec": {"pretrain_epochs": 20, "epochs": 10}, "aae_unsup": {"epochs": 12}}
TRAININGS = 30  # full ones that a search has the epochs of
FRESH = 10  # seeds of the winner's trainings
GRACE, REDUCTION = 2, 3


@dataclass(frozen=True, kw_only=True)
class Way:
    """`top`, `seeds`: how many configurations are trained again in the end, and on how many seeds. `changes`: of the space."""

    doc: str
    top: int = 0
    seeds: int = 0
    changes: dict[str, Any] = field(default_factory=dict)


def ways() -> dict[str, Way]:
    """By name."""
    from tuner.space.seeding import Seeds

    return {
        "tpe": Way(doc="TPE and ASHA, one seed"),
        "random": Way(doc="random, none stopped early", changes={"method": "random", "early_terminate": None}),
        "repeat": Way(doc="TPE and ASHA, `seed: {repeat: 3}`", changes={"seeds": Seeds(repeat=3)}),
        "race": Way(doc="TPE and ASHA, `seed: {race: 5}`", changes={"seeds": Seeds(race=5, reduction=REDUCTION)}),
        "smoothed": Way(doc="TPE and ASHA, `score: mean_last_5`", changes={"score": "mean_last_5"}),
        "confirm 3": Way(doc="TPE and ASHA, then the top 3 on 3 seeds", top=3, seeds=3),
        "confirm 5": Way(doc="TPE and ASHA, then the top 5 on 3 seeds", top=5, seeds=3),
        "confirm 10": Way(doc="TPE and ASHA, then the top 10 on 2 seeds", top=10, seeds=2),
    }


# --- one search --------------------------------------------------------------------------------------------------------


def space(model: str, way: Way, seed: int, *, full: bool) -> Spec:
    """The shipped space, changed as the way asks."""
    from tuner.space.reader import read_space

    spec = read_space(model)
    lengths = {} if full else SHORT[model]
    asha = spec.early_terminate
    if asha is not None and not full:
        asha = replace(asha, grace=GRACE, reduction=REDUCTION)
    spec = replace(spec, seed=seed, trials=10**4, confirm=None, early_terminate=asha, epochs=int(lengths.get("epochs", spec.epochs)))
    return replace(spec.fixing(lengths), **way.changes)


class Play:
    """One search, a trial at a time, until its epochs are used up."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        from tuner.machines.cluster import Share
        from tuner.search.rungs import Rungs, SeedRungs
        from tuner.service.trainers import new_trainer

        self.spec, self.epochs = spec, 0
        self.ends: list[TrialEnd] = []
        self._train: Trainer = replace(new_trainer(spec, Share(cpu=1, gpu=0, slots=1), None), folder=folder)
        asha, kind = spec.early_terminate, Rungs if spec.seeds.single else SeedRungs
        self._rungs: Rungs | None = None
        if asha is not None and spec.epochs > asha.grace:
            self._rungs = kind(grace=asha.grace, reduction=asha.reduction, larger_is_better=spec.metric.goal == "maximize")

    def until(self, budget: float) -> None:
        """Trials that begin within the budget go on to their end."""
        from tuner.tune.searcher import StudySearch

        searcher = StudySearch(self.spec, self._train.folder, "luck")
        while self.epochs < budget:
            asked = searcher.suggest("it")
            if not isinstance(asked, dict):
                return
            self.ends.append(self._trial(asked))
            end = self.ends[-1]
            result = {
                "score": end.score,
                "cluster_epoch": end.metrics["cluster_epoch"],
                "ended": None if end.state == "pruned" else end.state,
            }
            searcher.on_trial_complete("it", result)

    def _trial(self, asked: dict[str, Any]) -> TrialEnd:
        from tuner.runs.events import TrialEnd
        from tuner.search.rungs import SeedRungs

        trial, of = asked["trial"], asked.get("configuration")
        if isinstance(self._rungs, SeedRungs):
            self._rungs.belongs(trial, trial if of is None else of)
        for report in self._train(trial, asked["config"]):
            self.epochs += 1
            last, state = report, report.ended
            at = report.line["cluster_epoch"]
            if at is not None and report.score is not None and self._rungs is not None:
                stops = self._rungs.add(trial, at, report.score)
                if stops and state is None:
                    state = "pruned"
                    break
        metrics = {**last.line["metrics"], "cluster_epoch": last.line["cluster_epoch"] or 0}
        assert state is not None
        return TrialEnd(trial=trial, state=state, config=asked["config"], score=last.score, metrics=metrics, epochs=0, configuration=of)

    def again(self, config: dict[str, Any], seed: int) -> float:
        """A full training of a configuration on a fresh seed, with a pre-training of its own."""
        from tuner.training.loop import train

        spec = self.spec
        for epoch in train(spec.loaded(), spec.hyper(config), self._train.data(), seed=seed):  # noqa: B007 (the last one is looked at)
            self.epochs += 1
        return epoch.metrics["acc"] if epoch.ended == "complete" else spec.metric.worst

    def best(self) -> list[Configuration]:
        """The configurations, best first."""
        from tuner.runs.configurations import ranked

        return ranked([replace(end, score=None) if end.state == "pruned" else end for end in self.ends], self.spec.seeds, self.spec.metric)


def row(model: str, name: str, seed: int, *, full: bool) -> dict[str, Any]:
    """One search, and its winner on fresh seeds."""
    from tuner.draws import seed_of
    from tuner.machines.versions import commit

    way, began = ways()[name], time.monotonic()
    spec = space(model, way, seed, full=full)
    longest = spec.epochs + int(max([0, *_values(spec, "pretrain_epochs")]))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "run").mkdir()
        play = Play(spec, Path(folder) / "run")
        play.until(TRAININGS * longest - way.top * way.seeds * longest)
        best = play.best()
        if way.top:
            fresh = [seed_of(seed, "confirm", i) % 2**32 for i in range(way.seeds)]
            means = [statistics.fmean(play.again(dict(one.end.config), s) for s in fresh) for one in best[: way.top]]
            figure = max(means)
            config = dict(best[means.index(figure)].end.config)
        else:
            config, figure = dict(best[0].end.config), best[0].end.score
        used = play.epochs
        after = [play.again(config, seed_of(seed, "fresh", i) % 2**32) for i in range(FRESH)]
    return {
        "model": model, "way": name, "seed": seed, "full": full, "budget": TRAININGS * longest, "epochs": used, "trials": len(play.ends),
        "figure": figure, "fresh": [round(value, 4) for value in after], "seconds": round(time.monotonic() - began, 1), "commit": commit(),
    }  # fmt: skip


def _values(spec: Spec, name: str) -> Sequence[float]:
    found = spec.ranges.get(name)
    if name not in spec.known:
        return ()
    if found is None:
        return (float(spec.known[name].default),)
    return [float(value) for value in (found.values or (found.value,))] if found.max is None else (float(found.max),)


def rows() -> list[dict[str, Any]]:
    from kept import rows_of

    return rows_of(ROWS)


# --- the table ---------------------------------------------------------------------------------------------------------


def table() -> str:
    """What stands in the page between its marks."""
    from tuner.evidence.statistics import interval

    text = []
    for model, full in sorted({(one["model"], one["full"]) for one in rows()}):
        mine = [one for one in rows() if (one["model"], one["full"]) == (model, full)]
        lengths = "as long as its space has them" if full else f"short: {', '.join(f'{k} {v}' for k, v in SHORT[model].items())}"
        text += [f"`{model}` on digits, trainings {lengths}; {mine[0]['budget']} epochs for each search:", ""]
        text += ["| way | searches | its own figure | mean of ten fresh seeds | against the first way |", "|---|---|---|---|---|"]
        fresh = {(one["way"], one["seed"]): statistics.fmean(one["fresh"]) for one in mine}
        for name, way in ways().items():
            means = [mean for (of, _), mean in fresh.items() if of == name]
            if not means:
                text.append(f"| {way.doc} | 0 | not run yet | | |")
                continue
            figure = statistics.fmean(one["figure"] for one in mine if one["way"] == name)
            gaps = [mean - fresh["tpe", seed] for (of, seed), mean in fresh.items() if of == name != "tpe" and ("tpe", seed) in fresh]
            more = f"{100 * statistics.fmean(gaps):+.1f}{_between(interval(gaps), sign='+')}" if gaps else ""
            cells = [len(means), f"{100 * figure:.1f}", f"{100 * statistics.fmean(means):.1f}{_between(interval(means))}", more]
            text.append(f"| {' | '.join([way.doc, *map(str, cells)])} |")
        text.append("")
    commits = ", ".join(sorted({one["commit"] for one in rows()}))
    note = "ACC in %, with 95 % intervals over the searches. The last column is the mean of the differences."
    return "\n".join([*text, f"{note} Commits: {commits}." if commits else "Not run yet."])


def _between(found: Interval | None, sign: str = "") -> str:
    return "" if found is None else f" ({100 * found.low:{sign}.1f} to {100 * found.high:{sign}.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["idec", "aae_unsup"], choices=sorted(SHORT))
    parser.add_argument("--ways", nargs="+", default=list(ways()), choices=list(ways()))
    parser.add_argument("--seeds", type=int, default=5, help="searches of each way")
    parser.add_argument("--full", action="store_true", help="trainings as long as the shipped spaces have them")
    parser.add_argument("--table", action="store_true", help="only write the table of docs/search.md anew")
    given = parser.parse_args()
    wanted = [(model, name, seed) for model in given.models for seed in range(given.seeds) for name in given.ways]
    for model, name, seed in [] if given.table else wanted:
        if (model, name, seed, given.full) in {(one["model"], one["way"], one["seed"], one["full"]) for one in rows()}:
            continue
        found = row(model, name, seed, full=given.full)
        print(found, flush=True)
        with ROWS.open("a") as file:
            file.write(json.dumps(found) + "\n")
    from kept import write_between

    write_between(PAGE, BEGIN, END, table())


if __name__ == "__main__":
    main()
