"""What orders do to the search that takes them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from tuner.errors import UserError
from tuner.runs.events import Run
from tuner.runs.orders import NotNow, Order, keep, waiting
from tuner.runs.paths import SPEC
from tuner.runs.results import read_run
from tuner.search.saved import check_beside, spec_of
from tuner.search.seeds import configuration_of
from tuner.search.study import asked_in
from tuner.search.warm import keep as keep_weights
from tuner.search.warm import weights_for
from tuner.space.request import ASKED_FOR, Wanted, read_wanted

if TYPE_CHECKING:
    from tuner.tune.callback import TuneCallback
    from tuner.tune.searcher import StudySearch


logger = logging.getLogger("tuner")


class Steering:
    """Takes the orders of one driver's time."""

    def __init__(self, run: Run, searcher: StudySearch, callback: TuneCallback) -> None:
        self._run, self._searcher, self._callback = run, searcher, callback

    def take(self, order: Order) -> str:
        """Does it, and says what comes of it.

        Raises:
            UserError: it cannot be done. Nothing has been changed then.
        """
        if order.do == "enqueue":
            return self._enqueue(order)
        if order.trial is not None:
            return self._stop(order.trial)
        self._callback.stop_search()
        return f"{self._run.name} ends. Everything finished is kept."

    def _stop(self, number: int) -> str:
        trial = _trial(self._searcher.study.get_trials(deepcopy=False), number, self._run.name)
        if trial.state.is_finished():
            raise UserError(f"Trial {number} of {self._run.name} has ended already: it is {trial.user_attrs.get('state')}.")
        never_begun = self._searcher.withdraw(number)
        if never_begun is not None:
            self._callback.withdraw(never_begun)
            return f"Trial {number} of {self._run.name} is stopped: it was waiting for its turn."
        self._callback.stop(number)
        return f"Trial {number} of {self._run.name} stops with the epoch that it is in. The search goes on."

    def _enqueue(self, order: Order) -> str:
        trials = self._searcher.study.get_trials(deepcopy=False)
        known = next((trial for trial in trials if trial.user_attrs.get(ASKED_FOR, {}).get("order") == order.id), None)
        if known is not None:  # its driver died before it could answer
            return _said(known.number, self._run.name)
        wanted = _wanted(order, self._run, trials)
        if self._searcher.full:
            what = f"{len(trials)} trials" if self._run.spec.seeds.single else f"{self._run.spec.trials} configurations"
            raise NotNow(
                f"{self._run.name} has begun all its {what}. When they have ended, enqueue this again, and: "
                f"tuner resume {self._run.name} --trials +1"
            )
        about: dict[str, Any] = {"order": order.id, "like": order.like, "set": list(order.set), "beside": dict(wanted.beside)}
        said = ""
        if order.like is not None and order.warm:
            found = weights_for(self._run, wanted, order.like)
            about["warm"] = keep_weights(self._run.folder, order.like, found.file, found.snapshot).entries()
            said = f" {found.said}"
        return _said(self._searcher.enqueue(wanted, about), self._run.name) + said


def keep_for_resume(folder: Path, order: Order) -> int:
    """Leaves an order to enqueue for when the run goes on. Gives how many trials, or configurations with several
    seeds each, it must then have more for this to be one of them.

    Raises:
        UserError: the configuration cannot be, or the run cannot be read.
    """
    spec = spec_of(folder, None, None)
    about = json.loads((folder / SPEC).read_text())
    trials = asked_in(folder, str(about["name"]))
    run = Run(name=folder.name, folder=folder, spec=spec, info=about)
    wanted = _wanted(order, run, trials)
    if order.like is not None and order.warm:
        found = weights_for(run, wanted, order.like)
        if not found.whole:
            logger.warning("%s", found.said)
    keep(folder, replace(order, kept=True))
    before = read_run(folder)
    if before.status == "done" and before.because is not None:  # a rule ended it, and it goes on with as many as are asked for
        return len(waiting(folder))
    return max(0, len({configuration_of(trial) for trial in trials}) + len(waiting(folder)) - spec.trials)


def _wanted(order: Order, run: Run, trials: Sequence[FrozenTrial]) -> Wanted:
    like = None if order.like is None else _trial(trials, order.like, run.name)
    wanted = read_wanted(run.spec, order.set, like)
    if wanted.beside:
        check_beside(run.folder, wanted.beside)
    return wanted


def _trial(trials: Sequence[FrozenTrial], number: int, name: str) -> FrozenTrial:
    if not 0 <= number < len(trials):
        begun = f"{name} has begun trials 0 to {len(trials) - 1}" if trials else f"{name} has begun none yet"
        raise UserError(f"There is no trial {number}: {begun}.")
    return trials[number]


def _said(number: int, name: str) -> str:
    return f"It is trial {number} of {name}, and begins as soon as there is room."
