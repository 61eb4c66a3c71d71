"""A run as an object: what its folder says, and what may be done to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import UserError
from tuner.own_given import Models, brought
from tuner.runs import orders
from tuner.runs.events import Listener, TrialEnd
from tuner.runs.journal import read_lines
from tuner.runs.orders import Order
from tuner.runs.paths import JOURNAL, SPEC
from tuner.runs.results import Results, list_runs, no_such_run, read_run
from tuner.runs.standing import Progress, progress_of
from tuner.runs.trial_logs import read_log
from tuner.stores.lookup import RUNS, folder_and_uri, run_folder

from .arguments import Place, Settings, at_least, path_or_none, settings
from .best import Best, Winner
from .display import heard_by, print_said, shown
from .frames import frame
from .one_at_a_time import one_search
from .reported import Reported

if TYPE_CHECKING:
    import optuna
    import pandas

    from tuner.evidence.report import Confirmation
    from tuner.evidence.selection import Judged


class Run(Winner, Reported):
    """A search that runs or has run, read from its folder whenever it is asked. `reason`: why it was given up, where it was here."""

    def __init__(self, folder: Place, *, reason: str | None = None, models: Models = ()) -> None:
        self.folder = self._trained_in = Path(folder).expanduser().absolute()
        self.reason, self._models = reason, models
        if not (self.folder / SPEC).is_file():
            raise no_such_run(self.folder)

    # --- what it has come to ---

    @property
    def results(self) -> Results:
        """Everything, as plain objects. Raises UserError where a file is damaged."""
        return read_run(self.folder)

    @property
    def name(self) -> str:
        """Of the run, which is also its folder's, unless that was moved."""
        return self.results.name

    @property
    def status(self) -> str:
        """running | done | stopped | failed"""
        return self.results.status

    @property
    def best(self) -> TrialEnd | None:
        """The best complete trial, with its number, `score`, `metrics` and `config`; None where none is complete yet."""
        return self.results.best()

    @property
    def trials(self) -> pandas.DataFrame:
        """A row for each trial, with how it ended, its score, `metrics.<name>`, and each value of its configuration under its own name.

        Raises:
            UserError: pandas is absent. `results.trials` has the same without it.
        """
        rows = []
        for end in self.results.trials:
            about = {"trial": end.trial, "state": end.state, "score": end.score, "epochs": end.epochs, "seconds": end.seconds}
            about |= {"reason": end.reason} | {f"metrics.{name}": value for name, value in end.metrics.items()}
            rows.append({**about, **{name if name not in about else f"config.{name}": value for name, value in end.config.items()}})
        return frame(rows, ("trial", "state", "score", "epochs", "seconds", "reason"))

    @property
    def epochs(self) -> pandas.DataFrame:
        """A row for each epoch of each trial, with `trial`, `epoch`, `phase`, `cluster_epoch` and `metrics.<name>`."""
        columns = ("trial", "epoch", "phase", "cluster_epoch")
        path = self.folder / JOURNAL
        rows = []
        for line in read_lines(path) if path.exists() else ():
            if "epoch" in line:
                about = {name: line[name] for name in columns}  # type: ignore[literal-required]  # its keys
                rows.append({**about, **{f"metrics.{name}": value for name, value in line["metrics"].items()}})
        return frame(rows, columns)

    @property
    def study(self) -> optuna.Study:
        """Optuna's study of the search, for its own tools. Raises UserError where there is none yet."""
        from tuner.search.study import study_of

        return study_of(self.folder, self.name)

    @property
    def confirmed(self) -> Confirmation | None:
        """What `confirm` has found; None where it never ran. `summary()` has the figures as plain values."""
        from tuner.evidence.report import confirmation_of

        return confirmation_of(self.results)

    def summary(self) -> dict[str, Any]:
        """As `tuner show --json`."""
        confirmed = self.confirmed
        return self.results.summary() | ({"confirmed": confirmed.summary()} if confirmed else {})

    def progress(self) -> Progress:
        """How far it is, and who drives it: as `tuner status RUN`."""
        return progress_of(self.folder)

    def ranked(self, by: str | Sequence[str]) -> list[Judged]:
        """The complete trials, or configurations, by criteria that look at no labels, best first: as `tuner show RUN --by NAMES`.

        Raises:
            UserError: there is no such criterion, or the run lacks what it needs.
        """
        from tuner.evidence.selection import judged

        return judged(self.results, [by] if isinstance(by, str) else list(by))

    def log(self, trial: int) -> list[Any]:
        """What happened to a trial, and what its process printed: as `tuner show RUN --trial N --json`.

        Raises:
            UserError: there is no such trial.
        """
        return list(read_log(self.folder, trial))

    # --- what may be done to it ---

    def resume(
        self,
        *,
        trials: int | str | None = None,
        hours: float | None = None,
        address: str | None = None,
        wandb: str | None = None,
        data_root: Place | None = None,
        dataset: str | None = None,
        models: Models = (),
        listeners: Sequence[Listener] = (),
        display: bool = True,
    ) -> Run:
        """Goes on where it was interrupted, or with more trials, and returns at its end. `trials`: in all, or "+50" for 50 more.
        `hours`: it may take so many from now on, after which it is interrupted.

        Raises:
            UserError: it cannot go on. Nothing has been changed then.
        """
        from tuner.service.resume import ResumeOptions
        from tuner.service.resume import resume as go_on

        to_be = None if trials is None else str(trials)
        if self.results.spec_json.get("simulated"):
            from tuner.service.simulate import resume_simulated

            self.reason = resume_simulated(self.folder, to_be, listeners, hours).reason
            return self
        mode = wandb or self.results.spec_json.get("wandb")
        given = ResumeOptions(
            trials=to_be,
            hours=hours,
            address=address,
            data_root=path_or_none(data_root),
            dataset=dataset,
            models=brought(models),
            listeners=heard_by(listeners, mode, display=display),
            confirm_listeners=shown(display=display),
            report=True,
            wandb=mode,
        )
        with one_search():
            outcome = go_on(self.folder, given)
        print_said(outcome.page, display=display)
        self.reason = outcome.reason
        return self

    def confirm(
        self,
        *,
        top: int | None = None,
        seeds: int | None = None,
        address: str | None = None,
        data_root: Place | None = None,
        dataset: str | None = None,
        listeners: Sequence[Listener] = (),
        display: bool = True,
    ) -> Confirmation:
        """Trains the `top` best configurations, and the model's default, on fresh `seeds`, and says what the winner is worth: as
        `tuner confirm`. What was trained already is not trained again.

        Raises:
            UserError: the search runs, has no complete trial, or has other data now. Nothing has been changed then.
        """
        from tuner.service.confirm import ConfirmOptions
        from tuner.service.confirm import confirm as run_confirm

        given = ConfirmOptions(
            top=at_least(1, top, "top"),
            seeds=at_least(2, seeds, "seeds"),
            address=address,
            data_root=path_or_none(data_root),
            dataset=dataset,
            listeners=[*shown(display=display), *listeners],
            report=True,
        )
        with one_search():
            outcome = run_confirm(self.folder, given)
        self.reason = outcome.reason
        return outcome.found

    def stop(self, trial: int | None = None) -> str:
        """Stops the search where it runs, in this process or another, and returns when it has ended; or one of its trials, for good.

        Raises:
            UserError: it does not run, or there is no such trial.
        """
        answer = orders.give(self.folder, Order(do="stop", trial=trial))
        if answer is None:
            raise UserError(f"{self.name} does not run: it is {self.status}.")
        if trial is None:
            orders.wait_for_end(self.folder)
        return answer

    def enqueue(self, *, like: int | None = None, set: Settings = (), warm: bool = False) -> str:  # noqa: A002 - the flag's name
        """Hands the search a configuration to try next: a copy of the trial `like` with what `set` says, or a whole one. Where the search
        does not run it is kept for `resume`. `warm`: its training starts from the weights that `like` has kept.

        Raises:
            UserError: the configuration cannot be, or there are no weights to start from.
        """
        texts = tuple(settings(set))
        if warm and like is None:
            raise UserError("warm=True starts from a trial's weights. Say whose: like=TRIAL.")
        if like is None and not texts:
            raise UserError("Say what is to be tried: like=TRIAL, set={...}, or both.")
        order = Order(do="enqueue", like=like, set=texts, warm=warm)
        answer = orders.give(self.folder, order)
        if answer is not None:
            return answer
        from tuner.service.steering import keep_for_resume

        missing = keep_for_resume(self.folder, order)
        more = f"trials='+{missing}'" if missing else ""
        return f"{self.name} does not run. This is kept, and tried first by resume({more})."

    def clean(self, *, dry_run: bool = False) -> list[Path]:
        """Removes what is not needed to show it, to resume it or to use its winner; the files that this is. `dry_run`: removes nothing.

        Raises:
            UserError: it runs, or is damaged.
        """
        from tuner.runs import clean as cleaning

        return [path for one in cleaning.clean([self.folder], dry_run=dry_run) for _, path, _ in one.found]

    def __repr__(self) -> str:
        results = self.results
        best = results.best()
        score = "" if best is None else f", {results.metric} {best.score:.4f} in trial {best.trial}"
        return f"Run({results.name!r}: {results.status}, {len(results.trials)} trials{score})"


def load(run: Place, *, out: Place | None = None, models: Models = ()) -> Run | Best:
    """A run by its name, folder or URI, as commands take it; or the configuration in a best.yaml. `out`: where runs are kept; `runs` by
    default. `models`: of your own, as for `search`, for a best.yaml away from its run, which has a copy. A run in a store is brought here,
    with all that going on with it needs.

    Raises:
        UserError: there is none.
    """
    text = os.fspath(run)
    if text.endswith((".yaml", ".yml")):
        if not Path(text).is_file():
            raise UserError(f"There is no file {text}.")
        return Best(Path(text), models)
    return Run(run_folder(text, None if out is None else os.fspath(out), whole=True), models=models)


def runs(out: Place = RUNS) -> list[Run]:
    """All runs of a folder or a URI, oldest first; a run that is damaged is left out. `tuner ls` lists them, and names the damaged."""
    folder, uri = folder_and_uri(os.fspath(out))
    if uri is not None:
        from tuner.stores.downloads import bring_all

        bring_all(uri)
    return [Run(found.folder) for found in list_runs(folder)[0]]
