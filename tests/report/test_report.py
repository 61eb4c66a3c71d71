"""The page about a search: what it holds, for runs of every kind, and what a browser makes of it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit.browser import CHROMIUM, Tab, in_browser
from kit.journals import write_run
from kit.winners import with_winner

import tuner as api
from tuner.report.importance import importances_of
from tuner.report.material import read_material
from tuner.report.scores import best_of_n
from tuner.report.write import write_report
from tuner.runs.course import BEST_COURSE, read_course
from tuner.runs.results import read_run
from tuner.service.driver import Outcome

RANDOM = {"method": "random", "early_terminate": "none"}
ACC_AND_K = {"metrics": [{"name": "acc", "goal": "maximize"}, {"name": "n_used", "goal": "minimize"}]}


class Page(HTMLParser):
    """A page's text, its figures, and what opens and closes."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.text, self.figures, self.open, self.within = "", list[dict[str, Any]](), list[str](), ""
        self.outside: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.outside += [value for key in ("src", "href") if (value := given.get(key)) and not value.startswith("data:")]
        self.within = given.get("id") or tag
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "figures":
            self.figures = json.loads(data)
        elif self.open and self.open[-1] not in ("script", "style"):
            self.text += f"{data} "

    def figure(self, name: str) -> dict[str, Any]:
        return next(one for one in self.figures if one["name"] == name)


@pytest.mark.parametrize(
    ("trials", "epochs", "about", "says"),
    [
        (40, 8, {}, "acc compares clusters with the labels"),
        (1, 3, {}, "It is one training on one seed"),
        (0, 3, {}, "there is no best one"),
        (24, 4, {"metric": {"name": "silhouette", "goal": "maximize"}}, "No labels were looked at"),
        (24, 4, ACC_AND_K, "The front"),
        (24, 4, {"seeds": {"race": 4, "reduction": 2}}, "each configuration on up to 4 seeds"),
        (24, 4, RANDOM, "The best of n trials"),
        (12, 2, {"parameters": {"n_clusters": {"value": 10}}}, "Top configurations"),
    ],
    ids=["usual", "a single trial", "none", "without labels", "several metrics", "seeds", "random", "nothing searched"],
)
def test_a_run_of_every_kind_has_a_whole_page(tmp_path: Path, trials: int, epochs: int, about: dict[str, Any], says: str) -> None:
    written = write_report([write_run(tmp_path / "run", trials, epochs, **about)])
    page = Page(written.page)
    assert page.open == [] and page.outside == []
    assert says in page.text
    if trials:
        assert page.text.count(f"{trials} of {trials} trials drawn") >= 1
    if trials > 4:  # one of them failed, for a reason that would end a script
        assert "<b>no</b> </script>" in page.text and "\\<b>no\\</b>" in written.text.read_text()
    if trials > 1 and "parameters" not in about:
        parallel = page.figure("parallel-coordinates")
        assert all(len(axis["values"]) == trials for axis in parallel["traces"][0]["dimensions"])
        assert len(parallel["rows"]) == trials
        deciding = [metric["name"] for metric in about.get("metrics", [about.get("metric", {"name": "acc"})])]
        assert {axis["label"] for axis in parallel["traces"][0]["dimensions"]} >= {*deciding, "ended"}
        markers = [trace for trace in page.figure("learning-curves")["traces"] if trace["mode"] == "markers"]
        assert sum(len(trace["x"]) for trace in markers) == trials
    if trials == 1:
        assert not [one["name"] for one in page.figures if one["name"].startswith(("slice", "interaction", "acc-", "parallel"))], (
            "a dot says nothing"
        )
    assert says.partition(":")[0].replace("_", "\\_") in written.text.read_text().replace("\n", " ")


@pytest.mark.parametrize("agrees", [True, False])
def test_what_a_choice_without_labels_would_have_come_to_is_said(agrees: bool, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 16, 4)
    ends = [trial for trial in read_run(run).trials if trial.state == "complete"]
    best, worst = max(ends, key=lambda end: end.score or 0), min(ends, key=lambda end: end.score or 0)
    chosen = best if agrees else worst
    lines = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    for line in lines:
        line["metrics"]["silhouette"] = 0.5 if line["trial"] == chosen.trial else 0.1
    (run / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = f"it would have been trial {chosen.trial}{' as well' if agrees else ''}, with acc {chosen.score:.4f}."
    assert f"Chosen without labels, by the silhouette of the codes, {said}" in Page(write_report([run]).page).text


def test_a_curve_that_stays_where_it_is_is_drawn_at_its_own_scale(tmp_path: Path) -> None:
    """plotly's own axis of a constant 0.1 is from -0.9 to 1.1."""
    run = write_run(tmp_path / "run", 1, 3)
    lines = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    (run / "results.jsonl").write_text("".join(json.dumps({**line, "metrics": {"acc": 0.1}}) + "\n" for line in lines))
    layout = Page(write_report([run]).page).figure("learning-curves")["layout"]
    low, high = layout["yaxis"]["range"]
    assert 0 < low < 0.1 < high < 0.2 and layout["xaxis"]["dtick"] == 1, "and there are no half epochs"


def test_a_searchs_page_comes_from_its_folder(tmp_path: Path, through: Outcome, tuner: Any) -> None:
    results = through.results
    code, said, _ = tuner("report", str(results.folder), "--output", str(tmp_path / "page.html"))
    assert code == 0 and said.startswith("Report: ") and "page.md" in said
    page = Page(tmp_path / "page.html")
    n = len(results.trials)
    assert f"{n} of {n} trials drawn" in page.text
    ends = [row[1] for row in page.figure("parallel-coordinates")["rows"]]
    assert {state: ends.count(state) for state in set(ends)} == {state: k for state, k in results.counts().items() if k}
    run = api.Run(results.folder)
    assert set(run.figures) == {one["name"] for one in page.figures} >= {"map-by-cluster", "map-by-epoch"}
    assert [one.epoch for one in read_course(results.folder / BEST_COURSE)] == [1, 5]
    assert run.figures["learning-curves"].data[0].type == "scatter"
    assert run.report(output=tmp_path / "two.html").is_file()


def test_several_runs_are_compared_and_each_has_its_own_part(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, 16, 4, model=name) for name in ("dec", "idec", "vade")]
    page = Page(write_report(runs, tmp_path / "models.html").page)
    assert page.text.count("3 of 3 runs drawn") == 1 and page.text.count("Learning curves") == 3
    assert "Not confirmed on fresh seeds: dec, idec, vade." in page.text
    assert "the intervals are compared" not in page.text, "there are none"
    assert "An open dot: the search's own figure" in page.text and "Filled dots" not in page.text
    assert re.search(r"\bdec: acc 0\.\d+ of trial \d+, the best of 6 complete trials", page.text)


PART = {"dataset": {"name": "digits", "limit": 400, "scale": None}}
ROWS = [
    {"data": {"rows": 1797, "columns": 64, "values": value, "labels": labels}} for value, labels in (("a", "1"), ("b", "1"), ("a", "2"))
]


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ({}, PART, "The runs are on different data (digits; digits, 400 samples): their figures do not compare models."),
        ({}, {"holdout": 0.2}, "The runs are on different data (digits; digits, 20% held out): their figures do not compare models."),
        (ROWS[0], ROWS[2], "The runs are on different data: digits has changed between them. Their figures do not compare models."),
        (ROWS[0], ROWS[1], None),  # scaled otherwise: the same samples
        (ROWS[0], {}, None),  # an older tuner's
    ],
)
def test_runs_on_other_samples_are_not_compared_without_a_word(
    first: dict[str, Any], second: dict[str, Any], says: str | None, tmp_path: Path
) -> None:
    runs = [write_run(tmp_path / name, 8, 2, **about) for name, about in (("a", first), ("b", second))]
    text = Page(write_report(runs, tmp_path / "both.html").page).text
    assert says in text if says else "different data" not in text


def test_tables_hold_words_at_the_left_and_lone_figures_fill_their_row(tmp_path: Path) -> None:
    rate = {"lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1}}
    runs = [write_run(tmp_path / name, 8, 4, parameters=rate) for name in "ab"]
    written = write_report(runs, tmp_path / "both.html")
    text = written.page.read_text()
    assert "<th scope=col>run</th><th scope=col class=words>model</th><th scope=col class=words>data</th><th scope=col>acc</th>" in text
    assert "<td class=words>dec</td>" in text and "| --- | --- | --- | ---: |" in written.text.read_text()
    assert text.count('<div class="grid filled">') == 2  # the slice of each run


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["report", "RUN", "--output", "page.pdf"], "does not end in .html. Say, for example, page.html"),
        (["report", "RUN", "--output", "FOLDER.html"], "is a folder"),
        (["report", "nothing"], "There is no run"),
        (["report"], "Missing argument"),
    ],
)
def test_what_cannot_be_reported_is_one_error(tmp_path: Path, tuner: Any, words: list[str], says: str) -> None:
    (tmp_path / "FOLDER.html").mkdir()
    places = {"RUN": str(write_run(tmp_path / "run", 2, 2)), "FOLDER.html": str(tmp_path / "FOLDER.html")}
    code, _, error = tuner(*(places.get(word, word) for word in words))
    assert code == 2 and says in error


def test_the_parameter_that_decides_is_the_most_important_one(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", 80, 2)
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    for line in lines:
        if line.get("state") == "complete":
            line["score"] = -abs(np.log10(line["config"]["lr"]) + 2)
    ends = "".join(f"{json.dumps(line)}\n" for line in lines if line.get("state") == "complete")
    (folder / "results.jsonl").write_text(ends)
    found = importances_of(read_material(folder))
    assert found[0].name == "lr" and found[0].value > 0.5
    assert sum(one.value for one in found) == pytest.approx(1)
    assert [one.conditional for one in found if one.name == "weights.kl"] == [True]
    assert all(0 <= one.low <= one.high for one in found)


def test_a_parameter_that_all_trials_but_one_have_is_weighed_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    folder = write_run(tmp_path / "run", 60, 2)
    material = read_material(folder)
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    ends = [line for line in lines if line.get("state") == "complete"]
    without = [line for line in ends if not material.active("weights.kl", line["config"])]
    kept = [line for line in ends if line not in without[1:]]
    (folder / "results.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in kept))
    found = {one.name: one.n for one in importances_of(read_material(folder))}
    assert found["weights.kl"] == len(kept) - 1
    assert not recwarn.list, "Optuna's are none of the reader's"


def test_the_best_of_n_is_that_of_all_draws_of_n(tmp_path: Path) -> None:
    material = read_material(write_run(tmp_path / "run", 9, 2, **RANDOM))
    figure = best_of_n(material)
    assert figure is not None and figure.rows is not None
    scores = np.array(
        [0.0 if end.score is None else end.score for end in material.trials if end.state in ("complete", "collapsed", "diverged")]
    )
    pairs = np.maximum(scores[:, None], scores[None, :])  # every draw of two, with replacement
    assert figure.rows[0][1] == pytest.approx(scores.mean())
    assert figure.rows[1][1] == pytest.approx(pairs.mean())
    assert best_of_n(read_material(write_run(tmp_path / "tpe", 9, 2))) is None


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.slow
def test_a_browser_draws_it_without_an_error_or_a_request_and_saves_its_figures(tmp_path: Path) -> None:
    training = api.train("aae_unsup", limit=200, epochs=2, set={"hidden": 32})
    dataset = {"name": "digits", "limit": 200}
    run = with_winner(write_run(tmp_path / "run", 40, 8, model="aae_unsup", dataset={**dataset, "scale": None}), training, dataset)
    page = write_report([run], tmp_path / "page.html").page

    async def use(tab: Tab) -> None:
        for width, dark in ((1280, False), (390, True)):
            await tab.open(page, width, dark=dark)
            assert await tab.run("document.documentElement.scrollWidth") == width  # nothing hangs over
            over = "place => place.scrollWidth > place.clientWidth + 1"
            fades = f"[...document.querySelectorAll('.scroll')].every(place => place.classList.contains('more') === ({over})(place))"
            assert await tab.run(fades)
            assert width > 390 or await tab.run("document.querySelectorAll('.scroll.more').length > 0")
            paper = await tab.run("getComputedStyle(document.body).backgroundColor")
            assert paper == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
            assert await tab.run("document.querySelectorAll('.plot .main-svg').length > document.querySelectorAll('.plot').length")
            assert await tab.run("document.querySelectorAll('.plot canvas.gl-canvas').length > 0")
        n = await tab.run(
            "[...document.querySelectorAll('.plot')].find(p => p.data[0].type === 'parcoords').data[0].dimensions[0].values.length"
        )
        assert n == 40
        mapped = "[...document.querySelectorAll('.plot')].find(p => (p.data[0].name || '').startsWith('cluster ')).data"
        assert await tab.run(f"{mapped}.reduce((n, trace) => n + trace.x.length, 0)") == 200
        wide = "p => p.data[0].type === 'image' && p.querySelector('image').getBoundingClientRect().width > 100"
        assert await tab.run(f"[...document.querySelectorAll('.plot')].filter({wide}).length") == 5
        names = await tab.run("JSON.parse(document.getElementById('figures').textContent).map(figure => figure.name)")
        for name, first in (("learning-curves", "trial,state,cluster_epoch,acc"), ("styles", "cluster,column,pixels")):
            for kind in ("png", "svg", "csv"):
                await tab.run(f"document.querySelector('button[data-figure=\"{names.index(name)}\"][data-as={kind}]').click()")
                for _ in range(100):
                    if any(tmp_path.glob(f"{name}.{kind}")):
                        break
                    await tab.run("new Promise(done => setTimeout(done, 100))")
                assert (tmp_path / f"{name}.{kind}").stat().st_size > 100
            assert (tmp_path / f"{name}.csv").read_text().splitlines()[0] == first
        assert tab.errors == []
        assert {re.sub(":.*", "", url) for url in tab.asked} <= {"file", "data", "blob"}

    in_browser(tmp_path, use)
