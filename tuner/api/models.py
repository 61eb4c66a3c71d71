"""What is in a model, and in a space."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner import shipped
from tuner.data.datasets import DatasetSpec
from tuner.data.examine import Findings, examine
from tuner.data.raw import WHATEVER
from tuner.model import DataSpec, Descend, Hyper, Parameter, Phase, Term, load_model
from tuner.own_given import Models, name_of, with_itself
from tuner.own_models import read_own
from tuner.space.parameters import set_values
from tuner.space.spec import Spec
from tuner.text import setting
from tuner.training.dryrun import owned_terms

from .arguments import Named, Place, Settings, Space, columns_of, of_space, options, read_spec, settings
from .known import title_of_own


@dataclass(frozen=True, kw_only=True)
class Description:
    """A model. `parameters`: every name that may be set, `weights.<term>` included, with default, legal range and meaning. `terms`: of the
    loss, with their formulas. `phases`: of training, with what each step trains. Printed, it is a text."""

    name: str
    title: str
    parameters: Mapping[str, Parameter]
    terms: Mapping[str, Term]
    phases: Sequence[Phase]
    hyper: Hyper
    owned: Mapping[str, Sequence[str]]  # the terms of each step, by its name

    def __str__(self) -> str:
        lines = [self.title, "", "Hyper-parameters: default, legal range, meaning"]
        lines += [f"  {p.name} = {setting(p.default)}  {p.range}  {p.doc}".rstrip() for p in self.parameters.values() if p.term is None]
        lines += ["", "Loss terms: weight, formula"] if self.terms else []
        lines += [f"  {term} = {'–' if what.weight is None else setting(what.weight)}  {what.doc}" for term, what in self.terms.items()]
        for phase in self.phases:
            lines += ["", f"Phase {phase.name}: {phase.epochs} = {getattr(self.hyper, phase.epochs)}"]
            for update in phase.updates:
                trains = f" trains {', '.join(update.rates())}" if isinstance(update, Descend) else ""
                lines.append(f"  {update.name}: {' + '.join(self.owned.get(update.name, ()))}{trains}")
        return "\n".join(lines)

    __repr__ = __str__


def describe(model: Named, *, models: Models = (), set: Settings = ()) -> Description:  # noqa: A002 - the flag's name
    """What a model is made of; spaces use these names. `model`: its name, or one of your own, a class, itself. `models`: of your own, as
    for `search`. `set`: choices that change its steps, such as `{"updates": "separate"}`.

    Raises:
        UserError: no such model, name or value.
    """
    own, name = read_own(with_itself(model, models)), name_of(model)
    found, source = load_model(name, own), own.get(name)
    h = found.hyper(set_values(found, settings(set)))
    return Description(
        name=found.name,
        title=title_of_own(source) if source else shipped.models()[found.name],
        parameters=found.parameters(),
        terms=found.terms,
        phases=found.phases(h),
        hyper=h,
        owned=owned_terms(found, h, DataSpec(n_samples=64, shape=(8, 8), n_classes=10)),
    )


def data(dataset: Place, *, data_root: Place | None = None, **of_file: Any) -> Findings:
    """What a file, or a data set, holds, and what in it may be meant otherwise: as `tuner data`. `of_file`: scale, limit, label, drop, id,
    header, samples, size and colours.

    Raises:
        UserError: it cannot be used.
    """
    given = options(data_root=data_root, **of_file)
    columns = columns_of(given, WHATEVER)
    return examine(DatasetSpec(name=os.fspath(dataset), scale=given.scale, limit=given.limit, columns=columns), given.data_root)


def check(space: Space, **given: Any) -> Spec:
    """A search space, checked as a whole without starting anything. `given`: dataset, scale, limit, trials, epochs, seed, data_root,
    no_confirm, no_report, mlflow, models, set, and label, drop, id, header, samples, size and colours of a file of data.

    Raises:
        UserError: everything that is wrong with it, in one message.
    """
    given["models"] = of_space(space, given.get("models") or ())
    return read_spec(space, options(**given))
