"""`tuner.TunedDeepClustering`: a whole search behind scikit-learn's interface."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from tuner.data.dense import dense
from tuner.errors import UserError, did_you_mean
from tuner.inference.estimator import DeepClustering
from tuner.inference.load import load_trained, training_data
from tuner.metrics import METRICS
from tuner.own_given import Models, source_of
from tuner.own_import import is_own
from tuner.space.reader import space_path

from .arguments import Place, Settings, Space
from .run import Run
from .search import search


class TunedDeepClustering(DeepClustering):
    """A search for a model's hyper-parameters, and its winner as an estimator. Trials run through Ray, as those of `tuner.search`.

    Shapes: N samples, D features, K clusters, Z code.

    Parameters
    ----------
    space : str, path or dict
        What is searched: the name of a space (every model has one of its name), a file, or a dict with a space's keys, which may hold a
        model of your own, a class, under `model`.
    n_clusters : int or None
        K; None: as the space says.
    metric : str
        Trials are compared by it; `docs/metrics.md` lists them. `silhouette` needs no labels; one that does, such as `acc`, needs `y`.
    trials, epochs : int or None
        How many configurations are tried, and for how many clustering epochs at most; None: as the space says.
    scale : {"none", "minmax", "standard"}
        As for `DeepClustering`.
    random_state : int
        The search's seed.
    set : dict or list of str
        Parameters pinned to one value: `{"latent_dim": 5}`.
    confirm : bool
        End as the space asks: with the best and the model's default on fresh seeds, which may name another winner. It takes about as long
        again.
    out : path or None
        Where the run is kept, for `tuner.load`. None: in a temporary folder, which goes when the search has ended.
    device : str
        Of the winner; trials take a GPU where there is one.
    display : bool
        Show how the search goes.
    models : path, type or list of them
        Models of your own, as for `tuner.search`.

    Attributes
    ----------
    best_params_ : dict
        The winner's hyper-parameters and weights by name.
    best_score_ : float
        Its metric in the search. It was chosen for it: `Run.confirm` says what it is worth.
    trials_ : pandas.DataFrame
        A row for each trial, as `Run.trials`.
    run_ : Run or None
        The run, where `out` keeps it.
    labels_, hyper_, state_, source_, n_features_in_, feature_names_in_
        As of `DeepClustering`.
    """

    def __init__(  # scikit-learn reads the parameters from here
        self,
        space: Space = "idec",
        n_clusters: int | None = None,
        *,
        metric: str = "silhouette",
        trials: int | None = None,
        epochs: int | None = None,
        scale: str = "none",
        random_state: int = 0,
        set: Settings = (),  # noqa: A002 - the flag's name
        confirm: bool = False,
        out: Place | None = None,
        device: str = "auto",
        display: bool = False,
        models: Models = (),
    ) -> None:
        self.space = space
        self.n_clusters = n_clusters  # type: ignore[assignment]  # here the space may say it
        self.metric = metric
        self.trials = trials
        self.epochs = epochs
        self.scale = scale
        self.random_state = random_state
        self.set = set
        self.confirm = confirm
        self.out = out
        self.device = device
        self.display = display
        self.models = models
        self.hyper = None  # a search has none of its own: `set` pins them

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments by name."""
        return dict(BaseEstimator.get_params(self, deep))

    def set_params(self, **params: Any) -> TunedDeepClustering:
        """Sets arguments. Raises ValueError where there is none of that name."""
        BaseEstimator.set_params(self, **params)
        return self

    def fit(self, X: Any, y: Any = None) -> TunedDeepClustering:
        """Searches, and keeps the best trial's model.

        Parameters
        ----------
        X : (N, D) numbers
            As `DeepClustering.fit` takes it.
        y : (N,) or None
            The class of each row: only a metric that needs labels looks at it, and a model that learns from some.

        Raises
        ------
        tuner.UserError
            The space, the data or the metric cannot be used, or no trial was complete.
        """
        x_ND = validate_data(self, dense(X), dtype=np.float32, ensure_min_samples=2, order="C")
        with tempfile.TemporaryDirectory(prefix="tuner-tuned-") as folder:
            run = search(
                self._content(),
                data=x_ND,
                labels=y,
                scale=self.scale,
                trials=self.trials,
                epochs=self.epochs,
                seed=int(self.random_state),
                set=_with(self.set, self.n_clusters),
                no_confirm=not self.confirm,
                out=folder if self.out is None else self.out,
                wandb="disabled",
                display=self.display,
                models=self.models,
            )
            self._keep_run(run)
        self.run_ = None if self.out is None else run
        return self

    def _content(self) -> dict[str, Any]:
        """The space with the metric in place of its own."""
        if self.metric not in METRICS:
            raise UserError(f"There is no metric '{self.metric}'.{did_you_mean(self.metric, METRICS)} Known are {', '.join(METRICS)}.")
        if isinstance(self.space, Mapping):
            content = dict(self.space)
        else:
            content = yaml.safe_load(space_path(str(self.space)).read_text(encoding="utf-8"))
            content.setdefault("name", Path(str(self.space)).stem)
        return {**content, "metric": {"name": self.metric, "goal": METRICS[self.metric].goal}}

    def _keep_run(self, run: Run) -> None:
        best = run.best
        if best is None or best.score is None:
            reasons = sorted({str(end.reason) for end in run.results.trials if end.reason})
            raise UserError(f"No trial was complete: {'; '.join(reasons) or run.reason or run.status}.")
        trained = load_trained(run.folder, device=self._device())
        data = training_data(trained)
        kind = type(trained.recipe.model)
        self.source_ = source_of(kind) if is_own(kind.__module__) else None
        self.scaling_ = trained.assigner.intake.scaling
        self.best_params_, self.best_score_, self.trials_ = dict(best.config), best.score, run.trials
        self.n_iter_ = best.epochs
        self._keep_trained(trained.snapshot, trained.assigner.h, data)


def _with(given: Settings, n_clusters: int | None) -> Settings:
    if n_clusters is None:
        return given
    return {**given, "n_clusters": n_clusters} if isinstance(given, Mapping) else [*given, f"n_clusters={n_clusters}"]
