"""A recipe's YAML becomes a checked `Recipe`, or a list of all its mistakes with lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.data.datasets import DatasetSpec, check_named
from tuner.errors import UserError, did_you_mean
from tuner.metrics import METRICS
from tuner.model import Model
from tuner.space.entries import read_fixed
from tuner.space.keys import read_key
from tuner.space.located import Located, Problems
from tuner.space.reading import Reading
from tuner.space.yaml_lines import parse, read_text

from .recipe import LETTERS, SIZES, Job, Published, Recipe, View
from .shelf import RECIPES, recipe_names
from .views import FIGURES, NEEDS

_KEYS = ("title", "source", "says", *SIZES, "trainings", "views", "published")
_TRAINING = ("model", "parameters", *SIZES, "on", "vary")
_VIEW = ("kind", "title", "trainings", "metrics", "epochs", "figures")
_PUBLISHED = ("training", "system", "metric", "value", "letters", "data", "epoch", "source")
_NOTHING: Mapping[str, Located] = {}


def read_recipe(what: str) -> Recipe:
    """`what`: a recipe's name, or the path of a recipe of your own.

    Raises:
        UserError: there is none, or everything that is wrong with it, each with its line.
    """
    path = Path(what) if what.endswith((".yaml", ".yml")) else RECIPES / f"{what}.yaml"
    if path.parent == RECIPES and what not in recipe_names():
        raise UserError(f"There is no recipe '{what}'.{did_you_mean(what, recipe_names())} `tuner reproduce --list` lists them.")
    return _Reader(path, read_text(path, what)).read()


class _Reader:
    def __init__(self, path: Path, text: str) -> None:
        title = path.name if path.parent == RECIPES else str(path)
        self.path, self.problems = path, Problems(title=title, file=path.name, what="a recipe")
        self.nodes = parse(text, self.problems)
        self.reading = Reading(nodes={}, problems=self.problems)

    def read(self) -> Recipe:
        self._only("a recipe", self.nodes, _KEYS)
        for key in ("title", "source", *SIZES, "trainings", "views"):
            if key not in self.nodes:
                self.problems.at(None, f"'{key}' is missing.")
        groups = self._mapping("trainings", self.nodes)
        self._check_on(groups)
        jobs = {size: [job for name, node in groups.items() for job in self._jobs(size, name, node)] for size in SIZES}
        for size in SIZES:
            stems = [job.stem for job in jobs[size]]
            for job in jobs[size]:
                if stems.count(job.stem) > 1:
                    self.problems.at(groups[job.group], f"two trainings of '{size}' have files of one name, '{job.stem}': rename one.")
        recipe = Recipe(
            name=re.sub(r"[^\w.-]+", "-", self.path.stem),
            title=self._text("title", self.nodes),
            source=self._text("source", self.nodes),
            says=" ".join(self._text("says", self.nodes).split()),
            jobs=jobs,
            seeds={size: self.reading.whole_in(self._mapping(size, self.nodes), "seeds", 1, 1) for size in SIZES},
            views=[self._view(node, groups) for node in self._mappings("views", "a view")],
            published=[
                self._published(node, {job.training for job in jobs[SIZES[1]]}) for node in self._mappings("published", "a published value")
            ],
        )
        self.problems.raise_if_any()
        return recipe

    # --- trainings -----------------------------------------------------------------------------------------------------

    def _jobs(self, size: str, group: str, node: Located) -> list[Job]:
        """Of one training at one size, on all data sets, seed 0."""
        if not isinstance(node.value, dict):
            self.problems.at(node, f"the training '{group}' must be a mapping with a model, but got {node.shown}.")
            return []
        said, whole = node.value, self._mapping(size, self.nodes)
        self._only(f"the training '{group}'", said, _TRAINING)
        self._only(f"'{size}'", whole, ("data", "seeds", "parameters"))
        model = self._model(group, node)
        if model is None:
            return []
        values: dict[str, Any] = {}
        for section in (self._mapping("parameters", said), self._mapping("parameters", whole), self._mapping(size, said)):
            values |= self._values(section, model)
        jobs = []
        for place in self._list("data", whole):
            data = self._data(place)
            on = self._mapping("on", said).get(data.name)
            own = self._values(on.value, model) if on is not None and isinstance(on.value, dict) else {}
            for at, varied in self._varied(said, model):
                jobs.append(Job(group=group, at=at, model=model, data=data, values={**values, **own, **varied}))
        return jobs

    def _check_on(self, groups: Mapping[str, Located]) -> None:
        """That `on` names data of the recipe: it would do nothing otherwise."""
        places = [place for size in SIZES for place in self._list("data", self._mapping(size, self.nodes))]
        known = {self._data(place).name for place in places}
        for group in groups.values():
            for name, node in self._mapping("on", group.value).items() if isinstance(group.value, dict) else ():
                if name not in known:
                    nearest = did_you_mean(name, known)
                    self.problems.at(node, f"'on' names '{name}', but the recipe's data are {', '.join(sorted(known))}.{nearest}")

    def _model(self, group: str, node: Located) -> Model | None:
        reading = Reading(nodes={key: one for key, one in node.value.items() if key == "model"}, problems=self.problems)
        if "model" not in node.value:
            self.problems.at(node, f"the training '{group}' has no 'model'. `tuner models` lists them.")
        read_key(reading, "model")
        return reading.model

    def _varied(self, said: Mapping[str, Located], model: Model) -> list[tuple[Any, dict[str, Any]]]:
        """Each value of the varied parameter, and what it sets; one without, where nothing is varied."""
        vary = self._mapping("vary", said)
        if not vary:
            return [(None, {})]
        if len(vary) > 1:
            self.problems.at(said["vary"], "'vary' takes one parameter: write a training for each other one.")
        name, node = next(iter(vary.items()))
        if not isinstance(node.value, list) or not node.value:
            self.problems.at(node, f"'vary' must give '{name}' a list of values, but got {node.shown}.")
            return []
        found = [self._values({name: item}, model) for item in node.value]
        return [(one[name], one) for one in found if one]

    def _values(self, section: Mapping[str, Located], model: Model) -> dict[str, Any]:
        known, values = model.parameters(), {}
        for name, node in section.items():
            if name not in known:
                self.problems.at(node, model.unknown(name))
            elif (found := read_fixed(name, node, known[name], self.problems)) is not None:
                values[name] = found.value
        return values

    def _data(self, node: Located) -> DatasetSpec:
        found: DatasetSpec = read_key(Reading(nodes={"dataset": node}, problems=self.problems), "dataset")
        try:
            if found.name:
                check_named(found)
        except UserError as error:
            self.problems.at(node, str(error))
        return found

    # --- views, published values ---------------------------------------------------------------------------------------

    def _view(self, node: Located, groups: Mapping[str, Located]) -> View:
        said = node.value
        self._only("a view", said, _VIEW)
        kind = self._one_of("kind", node, NEEDS)
        needs = NEEDS.get(kind, ())
        for key in ("metrics", "epochs", "figures"):
            if (key in said) != (key in needs) and kind:
                verb = "needs" if key in needs else "has no use for"
                self.problems.at(said.get(key, node), f"a view of kind '{kind}' {verb} '{key}'.")
        epochs = [one.value for one in self._list("epochs", said)]
        if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in epochs):
            self.problems.at(said["epochs"], "'epochs' must be a list of whole numbers of 1 or more.")
        shown = self._words("trainings", said, groups)
        for name in (shown or groups) if kind == "sweep" else ():
            if isinstance(groups[name].value, dict) and "vary" not in groups[name].value:
                self.problems.at(node, f"a sweep shows trainings that vary something, but '{name}' varies nothing.")
        return View(
            kind=kind,
            title=self._text("title", said),
            groups=shown,
            metrics=self._words("metrics", said, METRICS),
            epochs=epochs,
            figures=self._words("figures", said, FIGURES),
        )

    def _published(self, node: Located, trainings: set[str]) -> Published:
        said = node.value
        self._only("a published value", said, _PUBLISHED)
        if ("training" in said) == ("system" in said):
            self.problems.at(node, "a published value is of a 'training' of the recipe, or of a 'system' that has none: say one.")
        for key in ("value", "letters", "data", "source"):
            if key not in said:
                self.problems.at(node, f"a published value needs '{key}'.")
        letters = self._text("letters", said).replace(" ", "")
        for letter in letters:
            if letter not in LETTERS:
                self.problems.at(said["letters"], f"there is no protocol letter '{letter}'. Known are {', '.join(LETTERS)}.")
        epoch = said.get("epoch")
        return Published(
            training=self._one_of("training", node, trainings) if "training" in said else None,
            system=self._text("system", said) or None,
            metric=self._one_of("metric", node, METRICS),
            value=self._text("value", said),
            letters=letters,
            data=self._text("data", said),
            source=self._text("source", said),
            epoch=None if epoch is None else self.reading.whole_in(said, "published.epoch", 1, 1),
        )

    # --- values --------------------------------------------------------------------------------------------------------

    def _only(self, what: str, nodes: Mapping[str, Located], known: tuple[str, ...]) -> None:
        self.reading.only(what, nodes, known)

    def _text(self, key: str, nodes: Mapping[str, Located]) -> str:
        node = nodes.get(key)
        if node is not None and node.word is None:
            self.problems.at(node, f"'{key}' must be a text, but got {node.shown}.")
        return (node.word or "") if node is not None else ""

    def _mapping(self, key: str, nodes: Mapping[str, Located]) -> Mapping[str, Located]:
        node = nodes.get(key)
        if node is not None and not isinstance(node.value, dict):
            self.problems.at(node, f"'{key}' must be a mapping, but got {node.shown}.")
        return node.value if node is not None and isinstance(node.value, dict) else _NOTHING

    def _list(self, key: str, nodes: Mapping[str, Located]) -> list[Located]:
        node = nodes.get(key)
        if node is not None and (not isinstance(node.value, list) or not node.value):
            self.problems.at(node, f"'{key}' must be a list with something in it, but got {node.shown}.")
        return node.value if node is not None and isinstance(node.value, list) else []

    def _mappings(self, key: str, what: str) -> list[Located]:
        """The items of a list that are mappings; what else is in it is named."""
        items = self._list(key, self.nodes)
        for node in items:
            if not isinstance(node.value, dict):
                self.problems.at(node, f"{what} must be a mapping, but got {node.shown}.")
        return [node for node in items if isinstance(node.value, dict)]

    def _words(self, key: str, nodes: Mapping[str, Located], known: Any) -> list[str]:
        found = []
        for node in self._list(key, nodes):
            if node.word not in known:
                nearest = did_you_mean(node.word, known)
                self.problems.at(node, f"'{key}' must be of {', '.join(sorted(known))}, but got {node.shown}.{nearest}")
            else:
                found.append(str(node.word))
        return found

    def _one_of(self, key: str, node: Located, known: Any) -> str:
        """Nothing is said where nothing is known: what should be known is wrong then, and was named."""
        one = node.value.get(key)
        if not known:
            return ""
        if one is None or one.word not in known:
            got, nearest = ("nothing", "") if one is None else (one.shown, did_you_mean(one.word, known))
            self.problems.at(one or node, f"'{key}' must be one of {', '.join(sorted(known))}, but got {got}.{nearest}")
            return ""
        return str(one.word)
