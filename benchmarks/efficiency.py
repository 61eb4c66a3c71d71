"""How many epochs until a search has found what random sampling finds in 64 trainings? `python benchmarks/efficiency.py`.

Searches are simulated on the tables that `record.py` made, one trial at a time, with the sampler, the early stopping and the study of a
search. Two questions, each with its own yardstick:

    luck    On all recorded trainings: after how many epochs is the best score of the search so far as good as the best of 64 random
            trainings (the median of that over the seeds)? So papers measure it; a lucky seed counts in full.
    worth   On the configurations that were recorded on ten seeds: a search sees one seed of each. What is the mean of all ten of the
            configuration that it takes for the best so far?

    python benchmarks/efficiency.py aae_unsup --seeds 100      # what is missing, to benchmarks/efficiency.jsonl
    python benchmarks/efficiency.py --table                    # only writes the tables of docs/search.md and their figure anew

One row for each space, question, way and seed of the search is appended at once; one that is there is not done again. Before the table
stands what there is to find: by how much seeds of one configuration differ, and by how much configurations do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.simulation.table import RecordedTrial

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
TABLES, ROWS, PAGE = ROOT / "benchmarks" / "tables", ROOT / "benchmarks" / "efficiency.jsonl", ROOT / "docs" / "search.md"
BEGIN, END = "<!-- benchmarks/efficiency.py: begin -->", "<!-- benchmarks/efficiency.py: end -->"

FULL = 64  # trainings of the yardstick
MOST = 4 * FULL  # trials of a search that stops some early, before it has used the epochs of that many whole ones
QUESTIONS = ("luck", "worth")
COLOURS = ["#000000", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00"]  # Okabe and Ito's: safe for the colour-blind
SEARCH_SEED = 10_000  # the first; recorded trials are of other searches


@dataclass(frozen=True, kw_only=True)
class Way:
    """`asha`: None where nothing is stopped early."""

    doc: str
    method: str
    asha: Mapping[str, Any] | None = None

    def of(self, content: Mapping[str, Any]) -> dict[str, Any]:
        early = "none" if self.asha is None else {"type": "asha", **self.asha}
        return {**content, "method": self.method, "early_terminate": early, "trials": FULL if self.asha is None else MOST}


def ways(space: str) -> dict[str, Way]:
    """By name; `asha` is that of the shipped space."""
    shipped = {name: value for name, value in _content(space)["early_terminate"].items() if name != "type"}
    eager = {"grace": max(1, shipped["grace"] // 4), "reduction": 4}
    return {
        "random": Way(doc="random, all to the end", method="random"),
        "random asha": Way(doc="random, ASHA", method="random", asha=shipped),
        "tpe": Way(doc="TPE, all to the end", method="tpe"),
        "tpe asha": Way(doc="TPE, ASHA", method="tpe", asha=shipped),
        "tpe eager": Way(doc=f"TPE, ASHA with grace {eager['grace']}", method="tpe", asha=eager),
        "qmc asha": Way(doc="quasi-random, ASHA", method="qmc", asha=shipped),
        "gp asha": Way(doc="Gaussian process, ASHA", method="gp", asha=shipped),
    }


def _content(space: str) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load((ROOT / "search_spaces" / f"{space}.yaml").read_text())
    found.pop("confirm", None)
    return found


# --- one search --------------------------------------------------------------------------------------------------------


class Recorded:
    """A space's table: the trainings of the configurations that have several seeds, and what each of those is worth."""

    def __init__(self, space: str) -> None:
        from tuner.simulation.table import Table

        self.content = _content(space)
        self.table = Table.read(TABLES / f"{space}.jsonl.gz")
        by_key: dict[str, list[RecordedTrial]] = defaultdict(list)
        for trial in self.table.trials:
            by_key[key(trial.config)].append(trial)
        self.several = {name: trials for name, trials in by_key.items() if len(trials) > 1}
        self.worth = {name: statistics.fmean(self.score(trial) for trial in trials) for name, trials in self.several.items()}

    def score(self, trial: RecordedTrial) -> float:
        """Of its last epoch; 0, the worst, of one that collapsed or diverged."""
        last = trial.epochs[-1]
        return float(last.metrics.get(self.content["metric"]["name"], 0.0)) if trial.state == "complete" else 0.0


class Asked(Recorded):
    """For a question, in a file `path` that a simulation reads. `budget`: epochs of a search."""

    def __init__(self, space: str, question: str, folder: Path) -> None:
        from tuner.simulation.nearest import Nearest
        from tuner.space.reader import read_content

        super().__init__(space)
        only = [trial for trials in self.several.values() for trial in trials]
        table = replace(self.table, trials=only) if question == "worth" else self.table
        self.path, self.nearest = folder / "table.jsonl.gz", Nearest(table, read_content(self.content))
        self.budget = FULL * statistics.fmean(len(trial.epochs) for trial in table.trials)
        table.write(self.path)


def key(config: Mapping[str, Any]) -> str:
    """Of a configuration without its seed."""
    return json.dumps({name: value for name, value in sorted(config.items()) if name != "seed"})


def row(space: str, question: str, name: str, seed: int, recorded: Asked) -> dict[str, Any]:
    """`best`: each time that the search had a new best trial, after how many epochs in all, its score, and what its configuration is
    worth."""
    from tuner.runs.journal import read_lines
    from tuner.runs.paths import JOURNAL
    from tuner.service.simulate import SimulateOptions, simulate
    from tuner.space.reader import Options, read_content

    with tempfile.TemporaryDirectory() as folder:
        spec = read_content(ways(space)[name].of(recorded.content), options=Options(seed=SEARCH_SEED + seed))
        done = simulate(spec, SimulateOptions(table=recorded.path, out=Path(folder)))
        if done.status != "done":  # by a signal, which ends this program, too
            sys.exit(f"{name} with seed {seed} is {done.status}. The same command goes on.")
        lines = list(read_lines(done.folder / JOURNAL))
    epochs, trials = 0, 0
    best: list[list[float | None]] = []
    for line in lines:
        if "state" not in line:
            epochs += 1
            continue
        if epochs > recorded.budget:
            break
        trials += 1
        score = line["score"]
        if line["state"] == "complete" and score is not None and (not best or score > best[-1][1]):  # type: ignore[operator]
            worth = recorded.worth.get(key(recorded.nearest.find(line["config"]).trial.config))
            best.append([epochs, round(score, 4), None if worth is None else round(worth, 4)])
    return {"space": space, "question": question, "way": name, "seed": seed, "epochs": epochs, "trials": trials, "best": best}


# --- the tables and the figure -----------------------------------------------------------------------------------------


def rows() -> list[dict[str, Any]]:
    from kept import rows_of

    return rows_of(ROWS)


def reached(row: Mapping[str, Any], score: float) -> float:
    """After how many epochs; infinite where it never did."""
    return next((float(epochs) for epochs, found, _ in row["best"] if found >= score), float("inf"))


def at_end(row: Mapping[str, Any], place: int) -> float:
    """Of the best trial: its score (1), or what its configuration is worth (2)."""
    return float(row["best"][-1][place]) if row["best"] else 0.0


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and its 95 % interval by order statistics (of 100 values the 40th and the 61st), so that values may be infinite. Where
    of the two in the middle one is, the median is the other: there half of the searches had arrived."""
    from scipy.stats import binom

    ordered, n = sorted(values), len(values)
    low = max(int(binom.ppf(0.025, n, 0.5)), 1)
    middle = statistics.median(ordered) if ordered[n // 2] < float("inf") else statistics.median_low(ordered)
    return middle, ordered[low - 1], ordered[n - low]


def tables() -> Iterator[str]:
    """What stands in the page between its marks."""
    known = rows()
    for space in dict.fromkeys(row["space"] for row in known):
        mine = [row for row in known if row["space"] == space]
        of = {
            (question, name): [row for row in mine if (row["question"], row["way"]) == (question, name)]
            for question in QUESTIONS
            for name in ways(space)
        }
        first = of["luck", "random"]
        if not first:
            continue
        target = statistics.median(at_end(row, 1) for row in first)
        budget = statistics.median(row["epochs"] for row in first)
        yield to_find(space)
        yield ""
        yield f"64 random trainings are {budget:,.0f} epochs, and the best of them has {100 * target:.1f}:"
        yield ""
        yield f"| way | searches | epochs to {100 * target:.1f} | of random's | best of {budget:,.0f} epochs | what it is worth |"
        yield "|---|---|---|---|---|---|"
        usual = median_interval([reached(row, target) for row in first])[0]
        for name, way in ways(space).items():
            luck, worth = of["luck", name], of["worth", name]
            if not luck:
                continue
            needed = median_interval([reached(row, target) for row in luck])
            best = median_interval([at_end(row, 1) for row in luck])
            mean = _percent(median_interval([at_end(row, 2) for row in worth])) if worth else ""
            share = f"{needed[0] / usual:.2f}" if needed[0] < float("inf") else ""
            yield f"| {' | '.join([way.doc, str(len(luck)), _epochs(needed), share, _percent(best), mean])} |"
        yield ""
    yield 'Medians over the searches, with 95 % intervals; "never" is: not within the epochs of 64 whole trainings.'


def to_find(space: str) -> str:
    """How far apart a configuration's seeds are and how far configurations are, the seeds' part taken out; of all that were recorded on
    several seeds, and of those with the best one's number of clusters."""
    recorded = Recorded(space)
    best = max(recorded.worth, key=lambda name: recorded.worth[name])
    alike = [name for name in recorded.worth if json.loads(name)["n_clusters"] == json.loads(best)["n_clusters"]]
    seeds, among, _ = _apart(recorded, list(recorded.worth))
    own, same, p = _apart(recorded, alike)
    return (
        f"`{space}`: of {len(recorded.worth)} configurations on ten seeds each the best has a mean of {100 * recorded.worth[best]:.1f}. "
        f"The seeds of one configuration differ by {100 * seeds:.1f} (standard deviation), configurations by {100 * among:.1f}. Among the "
        f"{len(alike)} with as many clusters as the best one, seeds differ by {100 * own:.1f} and configurations by {100 * same:.1f} "
        f"(an F test that they do not differ: p = {p:.2f})."
    )


def _apart(recorded: Recorded, names: Sequence[str]) -> tuple[float, float, float]:
    """The standard deviation of a configuration's seeds, that of configurations without what the seeds put into their means, and the
    probability of means as far apart as these where configurations do not differ."""
    from scipy.stats import f_oneway

    groups = [[recorded.score(trial) for trial in recorded.several[name]] for name in names]
    seeds = statistics.fmean(statistics.variance(group) for group in groups)
    n = statistics.fmean(len(group) for group in groups)
    among = statistics.variance([statistics.fmean(group) for group in groups]) - seeds / n
    return seeds**0.5, max(among, 0.0) ** 0.5, float(f_oneway(*groups).pvalue)


def _epochs(found: tuple[float, float, float]) -> str:
    middle, low, high = (f"{value:,.0f}" if value < float("inf") else "never" for value in found)
    return f"{middle} ({low} to {high})"


def _percent(found: tuple[float, float, float]) -> str:
    return "{:.1f} ({:.1f} to {:.1f})".format(*(100 * value for value in found))


def figure(path: Path) -> None:
    """The median over the searches of the best so far, against the epochs; a row for each space."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["axes.prop_cycle"] = mpl.cycler(color=COLOURS)
    import numpy as np
    from matplotlib import pyplot as plt

    spaces = list(dict.fromkeys(row["space"] for row in rows()))
    drawn, axes = plt.subplots(len(spaces), 2, figsize=(10, 3.6 * len(spaces)), squeeze=False, layout="constrained")
    titles = {"luck": "best trial so far", "worth": "mean of ten seeds of its configuration"}
    for pair, space in zip(axes, spaces, strict=True):
        for axis, question in zip(pair, QUESTIONS, strict=True):
            for name, way in ways(space).items():
                mine = [row for row in rows() if (row["space"], row["question"], row["way"]) == (space, question, name)]
                if mine:
                    first = max(row["best"][0][0] for row in mine if row["best"])
                    at = np.linspace(first, max(row["epochs"] for row in mine), 200)
                    axis.step(
                        at,
                        np.nanmedian([course(row, at, 1 if question == "luck" else 2) for row in mine], axis=0),
                        where="post",
                        label=way.doc,
                    )
            axis.set(title=f"{space}: {titles[question]}", xlabel="epochs of all trials together")
            axis.grid(visible=True, alpha=0.3)
        pair[0].set(ylabel="ACC, median over searches")
        pair[1].legend(fontsize="small")
    drawn.savefig(path, dpi=110)


def course(row: Mapping[str, Any], at: Sequence[float], place: int) -> list[float]:
    """The best so far at each of the epochs `at`; NaN before there is one."""
    steps = [(step[0], step[place]) for step in row["best"]]
    return [next((value for epochs, value in reversed(steps) if epochs <= x), float("nan")) for x in at]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(path.name.removesuffix(".jsonl.gz") for path in TABLES.glob("*.jsonl.gz"))
    parser.add_argument("spaces", nargs="*", default=known, metavar="SPACE", help=f"those that have a table: {', '.join(known)}")
    parser.add_argument("--ways", nargs="+", help="as the rows call them; all if left out")
    parser.add_argument("--questions", nargs="+", default=list(QUESTIONS), choices=QUESTIONS)
    parser.add_argument("--seeds", type=int, default=100, help="searches of each way")
    parser.add_argument("--table", action="store_true", help="only write the tables of docs/search.md and their figure anew")
    given = parser.parse_args()
    done = {(row["space"], row["question"], row["way"], row["seed"]) for row in rows()}
    for space, question in [] if given.table else [(space, question) for space in given.spaces for question in given.questions]:
        with tempfile.TemporaryDirectory() as folder:
            recorded = Asked(space, question, Path(folder))
            for seed in range(given.seeds):
                for name in given.ways or ways(space):
                    if (space, question, name, seed) not in done:
                        with ROWS.open("a") as file:
                            file.write(json.dumps(row(space, question, name, seed, recorded)) + "\n")
        print(f"{space}, {question}: {given.seeds} searches of each way", flush=True)
    from kept import write_between

    text = "\n".join(tables())
    if write_between(PAGE, BEGIN, END, text):
        figure(ROOT / "docs" / "search-efficiency.png")
    else:
        print(text)


if __name__ == "__main__":
    main()
