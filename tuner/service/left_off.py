"""Where a run was left off, by its study and its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial
from ray.tune.schedulers import TrialScheduler

from tuner.errors import UserError
from tuner.runs.events import Past
from tuner.runs.paths import STUDY
from tuner.search.history import Scores, past_of
from tuner.search.seeds import SeedPlan, configuration_of, plan_of
from tuner.search.study import asked_in, check_proposed
from tuner.space.spec import Spec
from tuner.tune.asha import Halving, scheduler


@dataclass(frozen=True, kw_only=True)
class LeftOff:
    """`asked`: the trials of the study; `scores`: theirs, by clustering epoch; `scheduler`: with these entered at its rungs."""

    asked: Sequence[FrozenTrial]
    scheduler: TrialScheduler
    past: Past
    scores: Scores
    plan: SeedPlan


def left_off(folder: Path, spec: Spec, name: str) -> LeftOff:
    """`spec`: with as many trials as the run is to have; `name`: of its study.

    Raises:
        UserError: study or journal is damaged, or the run has more trials already.
    """
    asked, rungs = asked_in(folder, name), scheduler(spec)
    check_proposed(asked, spec, folder / STUDY)
    if isinstance(rungs, Halving):
        for trial in asked:
            rungs.belongs(trial.number, configuration_of(trial))
    judge = rungs.replay if isinstance(rungs, Halving) else lambda *_: False
    past, scores = past_of(folder, spec, asked, judge)
    plan = plan_of(spec, asked, past)
    if spec.trials < plan.configurations:
        what = "trials" if spec.seeds.single else "configurations"
        raise UserError(f"{name} has {plan.configurations} {what} already. Say --trials +50 for 50 more.")
    return LeftOff(asked=asked, scheduler=rungs, past=past, scores=scores, plan=plan)
