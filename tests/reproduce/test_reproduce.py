"""`tuner reproduce`: every recipe is read at both sizes and makes its page; a killed one goes on to the same numbers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit.browser import CHROMIUM, Tab, in_browser

import tuner as api
from tuner import layout
from tuner.data.datasets import load
from tuner.errors import UserError
from tuner.metrics import METRICS
from tuner.reproduce.numbers import published_of, rows_of, spread
from tuner.reproduce.reader import read_recipe
from tuner.reproduce.recipe import LETTERS, SIZES, Asked, Recipe
from tuner.reproduce.run import Told, reproduce
from tuner.reproduce.shelf import recipe_names
from tuner.reproduce.trained import Kept, Result, train_one
from tuner.reproduce.views import VIEWS
from tuner.runs.course import read_course
from tuner.training import room

TINY = {"hidden": 32, "pretrain_epochs": 1, "channels": 4, "n_init": 2, "svm_hidden": 16}
FIRST = "all_weights_one"
SMALL = Asked(seeds=1, epochs=2, limit=300, settings=["hidden=16"])


def tiny(recipe: Recipe, size: str = SIZES[0]) -> Asked:
    """One seed of two epochs on few samples; what some model has of TINY."""
    known = {name for job in recipe.jobs[size] for name in job.model.parameters()}
    settings = [f"{name}={value}" for name, value in TINY.items() if name in known]
    labels = max(job.values.get("n_labels", 0) for job in recipe.jobs[size])
    return Asked(size=size, seeds=1, epochs=2, limit=max(300, 2 * labels), settings=settings)


def quiet(begun: list[str] | None = None) -> Told:
    taken = [] if begun is None else begun
    return Told(begins=lambda job, *_: taken.append(job.training), epoch=lambda *_: None, ends=lambda _: None)


def made(name: str, out: Path, begun: list[str] | None = None) -> tuple[Recipe, str, str]:
    recipe = read_recipe(name)
    found = reproduce(recipe, tiny(recipe), out, quiet(begun))
    return recipe, found.page.read_text(), found.text.read_text()


def figures_in(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def tables_in(text: str) -> list[tuple[list[str], list[list[str]]]]:
    """The head and the rows of each table of Markdown."""
    found: list[list[list[str]]] = []
    lines = text.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
    return [(head, cells) for head, _, *cells in found]


METRIC_ENDS = tuple(f"-{name}" for name in METRICS)


def whole(recipe: Recipe, page: str, text: str) -> None:
    """The page has every view with its trainings and figures, the text the same tables, and both what was published."""
    figures = figures_in(page)
    names = [figure["name"] for figure in figures]
    assert len(set(names)) == len(names) and all(figure["traces"] for figure in figures)
    for view in recipe.views:
        assert f"<h2>{view.title}</h2>" in page and f"## {view.title}" in text
        if view.kind in ("epochs", "seeds", "sweep"):
            assert {name for name in names if name.endswith(tuple(f"-{metric}" for metric in view.metrics))}
    for head, cells in tables_in(text):
        ours = [i for i, name in enumerate(head) if not re.search("training|data|seeds|varied|metric|published", name)]
        for row in cells:
            assert len(row) == len(head)
            if not any("published" in cell for cell in row):
                assert all(re.fullmatch(r"–|\d{1,3}\.\d( ± \d+\.\d)?", row[i]) for i in ours), row
                assert all(0 <= float(row[i].split()[0]) <= 100 for i in ours if row[i] != "–"), row
        assert any(row[i] != "–" for row in cells for i in ours)
    for figure in figures:
        if figure["name"].endswith(METRIC_ENDS):
            drawn = [x if isinstance(y, str) else y for trace in figure["traces"] for x, y in zip(trace["x"], trace["y"], strict=True)]
            assert drawn and all(0 <= one <= 1 for one in drawn), figure["name"]
            assert all(len(row) == len(figure["columns"]) for row in figure["rows"])
    for one in recipe.published:
        assert one.value.replace("<", "\\<") in text, one


def test_a_recipe_makes_a_whole_page_and_a_second_call_trains_nothing(tmp_path: Path) -> None:
    begun: list[str] = []
    recipe, page, text = made(FIRST, tmp_path, begun)
    whole(recipe, page, text)
    assert len(begun) == len(recipe.jobs["digits"])
    assert figures_in(made(FIRST, tmp_path, begun)[1]) == figures_in(page)
    assert len(begun) == len(recipe.jobs["digits"])
    reproduce(recipe, replace(tiny(recipe), epochs=1), tmp_path, quiet(begun))  # other trainings
    assert len(begun) == 2 * len(recipe.jobs["digits"])


MAPPED = ("aae_losses", "latent_maps")  # seconds for each map


@pytest.mark.parametrize("name", [name for name in recipe_names() if name not in MAPPED])
def test_every_recipe_makes_a_whole_page(name: str, tmp_path: Path) -> None:
    whole(*made(name, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_makes_a_whole_page_of_its_trainings_on_digits(name: str, tmp_path: Path) -> None:
    """All that it trains at this size, at full length; of its seeds the first."""
    recipe = read_recipe(name)
    begun: list[str] = []
    found = reproduce(recipe, Asked(seeds=1), tmp_path, quiet(begun))
    whole(recipe, found.page.read_text(), found.text.read_text())
    assert len(begun) == len(recipe.asked(Asked(seeds=1)))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_read_at_both_sizes_and_shows_what_it_trains(name: str) -> None:
    recipe = read_recipe(name)
    for size in SIZES:
        jobs = recipe.asked(Asked(size=size))
        assert len({job.stem for job in jobs}) == len(jobs)
        assert all(job.hyper() for job in jobs)
        groups = {job.group for job in jobs}
        assert groups == {job.group for view in recipe.views for job in recipe.chosen(view, jobs)}
    assert all(one.verified or "u" in one.letters or "a" in one.letters for one in recipe.published)


def test_a_killed_training_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    recipe = read_recipe(FIRST)
    job = replace(recipe.asked(tiny(recipe))[0], values={**recipe.asked(tiny(recipe))[0].values, "epochs": 7})
    data = load(job.data)
    straight = train_one(Kept(folder=tmp_path / "straight", job=job, data=data, pictured=True), lambda epoch: None, every_s=0)
    kept = Kept(folder=tmp_path / "killed", job=job, data=data, pictured=True)

    def kill(after: int) -> None:
        def tell(epoch: Any) -> None:
            if epoch.epoch == after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_one(kept, tell, every_s=0)
        assert kept.result() is None

    kill(3)
    written = json.loads(kept.file("json").read_text())
    written["lines"].append({**written["lines"][-1], "epoch": 4, "cluster_epoch": 4})  # killed between the lines and the checkpoint
    kept.file("json").write_text(json.dumps(written))
    kill(6)
    begun: list[int] = []
    resumed = train_one(kept, lambda epoch: begun.append(epoch.epoch), every_s=0)
    assert begun == [7] and not kept.file("resume.safetensors").exists()
    for name in ("acc", "nmi", "loss/recon"):
        assert resumed.course(name) == straight.course(name) and len(straight.course(name)) == 7
    assert [one.epoch for one in read_course(kept.file("course.safetensors"))] == [1, 5]
    found = kept.result()
    assert found is not None and found.ended == "complete" and found.value("acc") == straight.value("acc")


def test_a_damaged_file_is_a_training_that_was_not_done(tmp_path: Path) -> None:
    recipe = read_recipe(FIRST)
    job = recipe.asked(tiny(recipe))[0]
    kept = Kept(folder=tmp_path, job=job, data=load(job.data))
    train_one(kept, lambda epoch: None)
    assert kept.result() is not None
    kept.file("json").write_text("{")
    assert kept.result() is None
    assert Kept(folder=tmp_path, job=replace(job, seed=1), data=kept.data).result() is None


def test_published_values_stand_beside_the_data_that_they_are_of(tmp_path: Path) -> None:
    recipe = read_recipe(FIRST)
    for size, data, beside in (("digits", "digits", 1), ("paper", "mnist", 1)):
        job = next(job for job in recipe.jobs[size])
        lines = [{"epoch": 1, "phase": "train", "cluster_epoch": 1, "metrics": {"acc": 0.25, "error": 0.5, "error_test": 0.4}}]
        results = [
            Result(job=replace(job, seed=seed), lines=lines, ended=end, seconds=1.0) for seed, end in ((0, "complete"), (1, "collapsed"))
        ]
        (row,) = rows_of(results)
        assert row.data == data and row.seeds == "2 (1 collapsed)"
        assert spread(row.values("acc"), "acc") == "25.0 ± 0.0" and row.values("error") == [0.4, 0.4] and row.values("nmi") == []
        assert len(published_of(recipe, row, "acc", 100)) == beside and published_of(recipe, row, "acc", 1) == []
    assert recipe.published[0].number is None and math.isclose(replace(recipe.published[0], value="94.46").number or 0, 0.9446)


BAD = """title: Bad
source: nobody
digits: {data: [digitz], seeds: 0}
paper: {data: [digits]}
trainings:
  one: {model: kmeens}
  two: {model: dec, parameters: {hiden: 3, latent_dim: 1000}, on: {mnist: {hidden: 10}}}
  three: {model: dec, vary: {hidden: 5}}
  five: {model: dec}
views:
  - {kind: tabel, title: T}
  - {kind: table, title: T, metrics: [acc, nim], trainings: [four], epochs: [1]}
  - {kind: sweep, title: T, metrics: [acc], trainings: [five]}
published:
  - {training: two, metric: acc, value: 90, letters: hx, data: mnist}
"""


def test_all_mistakes_of_a_recipe_are_said_at_once_with_their_lines(tmp_path: Path, tuner: Any) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    code, out, err = tuner("reproduce", str(file))
    assert code == 2 and out == ""
    for line, says in (
        (3, "no data set 'digitz'"),
        (3, "'seeds' must be a whole number of 1 or more"),
        (6, "no model 'kmeens'. Did you mean 'kmeans'?"),
        (7, "dec has no 'hiden'. Did you mean 'hidden'?"),
        (7, "'latent_dim' must stay within [1, 256]"),
        (7, "'on' names 'mnist'"),
        (8, "'vary' must give 'hidden' a list"),
        (11, "'kind' must be one of epochs, pictures, seeds, sweep, table, but got 'tabel'. Did you mean 'table'?"),
        (12, "but got 'nim'. Did you mean 'nmi'?"),
        (12, "'trainings' must be of five, one, three, two, but got 'four'"),
        (12, "a view of kind 'table' has no use for 'epochs'"),
        (13, "a sweep shows trainings that vary something, but 'five' varies nothing"),
        (15, "there is no protocol letter 'x'"),
        (15, "a published value needs 'source'"),
    ):
        assert re.search(rf"bad\.yaml:{line}: [^\n]*{re.escape(says)}", err), (line, says, err)


WORSE = """title: [Worse]
digits: {data: [digits], seeds: 1}
paper: [mnist]
trainings:
  one: kmeans
  two: {parameters: {hidden: 3}}
  three: {model: dec, vary: {hidden: [8, 16], latent_dim: [2, 3]}}
  a b: {model: kmeans}
  a-b: {model: kmeans}
  four: {model: dec, parameters: 3, surprise: 1}
views:
  - pictures
  - {kind: epochs, title: T, metrics: [acc], epochs: [one]}
  - {kind: table, metrics: acc}
published:
  - {metric: acc, value: 90, letters: h, data: mnist, source: S}
  - {training: four, system: Other, metric: acc, value: 90, letters: h, data: mnist, source: S}
  - 90
"""


def test_what_has_another_form_in_a_recipe_is_named_once_with_the_form_that_it_needs(tmp_path: Path, tuner: Any) -> None:
    file = tmp_path / "worse.yaml"
    file.write_text(WORSE)
    code, out, err = tuner("reproduce", str(file))
    expected = (
        ("", "'source' is missing."),
        (":1", "'title' must be a text, but got a list."),
        (":3", "'paper' must be a mapping, but got a list."),
        (":5", "the training 'one' must be a mapping with a model, but got 'kmeans'."),
        (":6", "the training 'two' has no 'model'. `tuner models` lists them."),
        (":7", "'vary' takes one parameter: write a training for each other one."),
        (":8", "two trainings of 'digits' have files of one name, 'a-b.digits.0': rename one."),
        (":9", "two trainings of 'digits' have files of one name, 'a-b.digits.0': rename one."),
        (":10", "'parameters' must be a mapping, but got 3."),
        (":10", "the training 'four' has no key 'surprise'. Known are model, parameters, digits, paper, on, vary."),
        (":12", "a view must be a mapping, but got 'pictures'."),
        (":13", "'epochs' must be a list of whole numbers of 1 or more."),
        (":14", "'metrics' must be a list with something in it, but got 'acc'."),
        (":16", "a published value is of a 'training' of the recipe, or of a 'system' that has none: say one."),
        (":17", "a published value is of a 'training' of the recipe, or of a 'system' that has none: say one."),
        (":18", "a published value must be a mapping, but got 90."),
    )
    assert code == 2 and out == ""
    assert sorted(err.splitlines()[1:]) == sorted(f"  worse.yaml{at}: {says}" for at, says in expected)


def documented(tmp_path: Path) -> Recipe:
    """The recipe of the documentation: it has a view of every kind."""
    page = (layout.ROOT / "docs/reproduce.md").read_text()
    (text,) = re.findall(r"```text\n(title: .*?)```", page, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    return read_recipe(str(tmp_path / "mine.yaml"))


def test_the_documentation_names_every_recipe_and_letter_and_its_own_recipe_holds(tmp_path: Path) -> None:
    page = (layout.ROOT / "docs/reproduce.md").read_text()
    assert {name for name in recipe_names() if f"`{name}`" not in page} == set()
    assert {letter for letter in LETTERS if f"| {letter} |" not in page} == set()
    recipe = documented(tmp_path)
    assert {view.kind for view in recipe.views} == set(VIEWS)
    assert [len(recipe.asked(Asked(size=size))) for size in SIZES] == [5 * 3, 5 * 2 * 5]
    found = reproduce(recipe, SMALL, tmp_path, quiet())
    whole(recipe, found.page.read_text(), found.text.read_text())


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.slow
def test_a_browser_draws_the_page_without_an_error_or_a_request(tmp_path: Path) -> None:
    page = reproduce(documented(tmp_path), SMALL, tmp_path, quiet()).page

    async def use(tab: Tab) -> None:
        for width, dark in ((1280, False), (390, True)):
            await tab.open(page, width, dark=dark)
            assert await tab.run("document.documentElement.scrollWidth") == width  # nothing hangs over
            assert await tab.run("[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))")
        assert tab.errors == []
        assert {re.sub(":.*", "", url) for url in tab.asked} <= {"file", "data", "blob"}

    in_browser(tmp_path, use)


def test_what_the_machine_cannot_hold_is_refused_with_figures_before_anything_is_trained(
    tmp_path: Path, tuner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "of_machine", lambda: 500_000_000)
    code, _, error = tuner("reproduce", FIRST, "--out", str(tmp_path))
    assert code == 2 and re.search(r"would need about [0-9.]+ GB of memory \(1,797 samples .*, and this machine has 0\.5 GB", error), error
    assert not list(tmp_path.rglob("trainings"))


def test_the_command_lists_makes_and_refuses(tmp_path: Path, tuner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = tuner("reproduce", "--list")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == recipe_names()
    small = ("--seeds", "1", "--epochs", "1", "--limit", "200", "--set", "hidden=16")
    code, out, _ = tuner("reproduce", FIRST, *small)
    assert code == 0 and "1/1  all weights 1 on digits, seed 0" in out and out.endswith(f"and reproduced/{FIRST}/{FIRST}.md\n")
    assert "--epochs 1" in Path(f"reproduced/{FIRST}/{FIRST}.md").read_text()
    for words, says in (
        (("all_weight_one",), "There is no recipe 'all_weight_one'. Did you mean 'all_weights_one'?"),
        ((FIRST, "--set", "hiden=3"), f"No model of the recipe {FIRST} has 'hiden'"),
        ((FIRST, "--set", "hidden=1"), "'hidden' must stay within"),
        ((FIRST, "--limit", "1"), "'limit' must stay within"),
    ):
        code, _, err = tuner("reproduce", *words)
        assert code == 2 and says in err, err


def test_python_makes_what_the_command_makes(tmp_path: Path) -> None:
    assert list(api.recipes()) == recipe_names()
    made = api.reproduce(FIRST, seeds=1, epochs=1, limit=200, set={"hidden": 16}, out=tmp_path)
    assert made.page == tmp_path / FIRST / f"{FIRST}.html" and "--epochs 1 --limit 200 --set hidden=16" in made.text.read_text()
    with pytest.raises(UserError, match="'seeds' must be at least 1"):
        api.reproduce(FIRST, seeds=0, out=tmp_path)
