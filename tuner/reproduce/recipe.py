"""What a recipe is: trainings, and views that are made of them, beside what was published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tuner.data.datasets import DatasetSpec
from tuner.errors import UserError
from tuner.model import Model
from tuner.space.parameters import set_values

SIZES = ("digits", "paper")  # minutes on a laptop; the sources' data, networks and lengths

# How a published value was measured: the protocol letters of docs/accuracy.md and two more.
LETTERS: Mapping[str, str] = {
    "h": "ACC by the best one-to-one map of clusters to classes (Hungarian), as ours",
    "v": "ACC by the class of each cluster's surest sample, acc_aae",
    "m": "ACC by majority vote, which rises with the number of clusters",
    "b": "the best of several runs",
    "r": "run again by another paper",
    "t": "error on the published test split",
    "u": "unverified: recalled, not seen in the source",
    "a": "worked out from other figures, not published as such",
}


def slug(text: str) -> str:
    """As a part of a file's name."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A value that a source states. `training`: ours that it stands beside, or a `system` that has no model here. `value`: as printed.
    `letters`: of LETTERS. `data`: what it was measured on. `epoch`: after which; None: at the end."""

    training: str | None
    system: str | None
    metric: str
    value: str
    letters: str
    data: str
    source: str
    epoch: int | None = None

    @property
    def shown(self) -> str:
        """`mnist 94.46 h b`"""
        return f"{self.data} {self.value} {' '.join(self.letters)}".rstrip()

    @property
    def verified(self) -> bool:
        return not set(self.letters) & {"u", "a"}

    @property
    def number(self) -> float | None:
        """Its value as a share; None of a bound, such as `< 30`."""
        found = re.match(r"[0-9.]+", self.value)
        return float(found[0]) / 100 if found else None


@dataclass(frozen=True, kw_only=True)
class View:
    """What is made of trainings. `kind`: one of VIEWS in views.py. `groups`: names of trainings; empty: all. `metrics`, `epochs`,
    `figures`: what its kind needs."""

    kind: str
    title: str
    groups: Sequence[str] = ()
    metrics: Sequence[str] = ()
    epochs: Sequence[int] = ()
    figures: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training with one seed. `group`: the training's name in the recipe; `at`: the varied parameter's value. `values`: what is not
    at its default."""

    group: str
    at: Any = None
    model: Model
    data: DatasetSpec
    values: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def training(self) -> str:
        """Its name: unique among a recipe's trainings."""
        return self.group if self.at is None else f"{self.group} {self.at:g}" if isinstance(self.at, float) else f"{self.group} {self.at}"

    @property
    def stem(self) -> str:
        """Of its files."""
        return f"{slug(self.training)}.{slug(self.data.name)}.{self.seed}"

    def hyper(self) -> Any:
        """Every seed of a semi-supervised model is given other labels."""
        labels = {"label_seed": self.seed} if self.model.labels == "partial" and "label_seed" not in self.values else {}
        return self.model.hyper({**self.values, **labels})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line says. `settings`: texts such as `hidden=50`, for every training whose model has the name."""

    size: str = SIZES[0]
    seeds: int | None = None
    epochs: int | None = None
    limit: int | None = None
    settings: Sequence[str] = ()

    @property
    def changes(self) -> list[str]:
        """What differs from the recipe, in words."""
        said = {"seeds": self.seeds, "epochs": self.epochs, "limit": self.limit}
        return [*(f"--{name} {value}" for name, value in said.items() if value is not None), *(f"--set {one}" for one in self.settings)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`says`: what the source says the figure shows. `jobs`: of each size, seed 0 alone; `seeds`: of each size, how many."""

    name: str
    title: str
    source: str
    says: str
    jobs: Mapping[str, Sequence[Job]]
    seeds: Mapping[str, int]
    views: Sequence[View]
    published: Sequence[Published]

    def asked(self, asked: Asked) -> list[Job]:
        """The trainings to be done, the first seed of everything first, so that a figure is soon there.

        Raises:
            UserError: a setting that no model has, or that a model cannot have.
        """
        return list(self._jobs(asked))

    def _jobs(self, asked: Asked) -> Iterator[Job]:
        first = self.jobs[asked.size]
        names = {text.partition("=")[0] for text in asked.settings}
        unknown = sorted(name for name in names if not any(name in job.model.parameters() for job in first))
        if unknown:
            raise UserError(f"No model of the recipe {self.name} has '{unknown[0]}'. `tuner describe MODEL` lists what a model has.")
        for seed in range(asked.seeds or self.seeds[asked.size]):
            for job in first:
                known = job.model.parameters()
                mine = [text for text in asked.settings if text.partition("=")[0] in known]
                said = {} if asked.epochs is None else {"epochs": asked.epochs}
                values = {**job.values, **said, **set_values(job.model, mine)}
                data = job.data if asked.limit is None else replace(job.data, limit=asked.limit)
                yield replace(job, values=values, data=data, seed=seed)

    def chosen(self, view: View, jobs: Sequence[Job]) -> list[Job]:
        """Those that a view shows."""
        return [job for job in jobs if not view.groups or job.group in view.groups]
