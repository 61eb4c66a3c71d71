"""The models as scikit-learn's estimators: `DeepClustering(model="idec", n_clusters=10).fit_predict(X)`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from tuner.data.datasets import Data
from tuner.data.dense import dense
from tuner.data.scaling import SCALES, Intake, Scaling
from tuner.errors import UserError, did_you_mean
from tuner.metrics import evaluate
from tuner.model import DataSpec, Hyper, Model, load_model
from tuner.own_given import Models, name_of, portable, with_itself
from tuner.own_models import Source, read_own
from tuner.training.checkpoint import Snapshot
from tuner.training.engine import best_device
from tuner.training.loop import Epoch, train
from tuner.training.neighbours import silhouette_of

from .fitted import Fitted

_OWN = ("n_clusters", "epochs")  # hyper-parameters of the models that are arguments of their own


class DeepClustering(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """A clustering model, trained in this process: no Ray, no files.

    Shapes: N samples, D features, K clusters, Z code.

    Parameters
    ----------
    model : str or type
        Its name; `tuner.models()` lists them, and `tuner.describe(model)` its hyper-parameters. Or one of your own: a subclass of
        `tuner.model.Model` that stands in a file.
    n_clusters : int
        K. For a model that learns from some labels: the number of classes.
    epochs : int or None
        Clustering epochs, at most; None: the model's default. Pre-training has `pretrain_epochs`, one of the model's own.
    scale : {"none", "minmax", "minmax_all", "standard", "robust", "log1p", "lognorm"}
        What is done to the values first; learned in `fit`, and done to later rows alike. `minmax`: every column to [0, 1], or with a
        `shape` all values together, as `minmax_all` always does. `standard`: mean 0 and deviation 1 for every feature.
    random_state : int, RandomState or None
        Everything random follows from it: an int gives what `tuner train --seed` gives on the same data.
    device : str
        `auto`: a GPU where there is one; or torch's name of one.
    shape : tuple of int or None
        One sample's natural shape, such as (28, 28), whose product is D, for `network="conv"`.
    hyper : dict or None
        The model's own hyper-parameters and weights of loss terms, by name: `{"latent_dim": 5, "weights.recon": 0.1}`.
    models : path, type or list of them
        Files and folders with models of your own, by whose names `model` may then call them, as for `tuner.search`.
    **kwargs
        The same, as arguments: `latent_dim=5`. They stand in `hyper` afterwards; `set_params`, and so `GridSearchCV`, take them too.

    Attributes
    ----------
    labels_ : ndarray of int64, (N,)
        The cluster of each row that `fit` was given.
    n_features_in_, feature_names_in_
        D, and the names of the columns where X has names.
    n_iter_ : int
        Epochs that were trained, those of pre-training included.
    history_ : list of dict
        Of each epoch `epoch`, `phase`, `cluster_epoch` and its `metrics`, as `tuner train` prints them.
    hyper_ : dict
        Every hyper-parameter and weight as it was used. `batch_size` is the number of samples where that is less than the model's default.
    classes_ : ndarray, (K,)
        Of a model that learns from some labels: cluster k is class `classes_[k]`.
    state_ : dict of ndarray
        The weights. A pickle holds these and plain values, none of the model's code.
    source_ : Source or None
        The text of a model of your own, which a pickle holds, too: its file need not be where it is unpickled.

    Raises
    ------
    tuner.UserError
        A ValueError: no such model or hyper-parameter, a value outside its legal range, data that do not fit the model, or a training that
        diverged.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from tuner import DeepClustering
    >>> X = load_digits().data
    >>> DeepClustering("kmeans", n_clusters=10, epochs=5).fit_predict(X).shape
    (1797,)
    """

    def __init__(  # scikit-learn reads the parameters from here
        self,
        model: str | type | Source = "idec",
        n_clusters: int = 10,
        *,
        epochs: int | None = None,
        scale: str = "none",
        random_state: Any = 0,
        device: str = "auto",
        shape: tuple[int, ...] | None = None,
        hyper: Mapping[str, Any] | None = None,
        models: Models = (),
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.n_clusters = n_clusters
        self.epochs = epochs
        self.scale = scale
        self.random_state = random_state
        self.device = device
        self.shape = shape
        self.models = models
        self.hyper = hyper  # as it was given, or `clone` refuses
        if kwargs and isinstance(hyper, Mapping | None):
            self.hyper = {**(hyper or {}), **kwargs}

    # --- what scikit-learn asks for ---

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments by name; `deep`: those in `hyper` by their own names, too."""
        params: dict[str, Any] = super().get_params(deep=False)
        return {**self.hyper, **params} if deep and isinstance(self.hyper, Mapping) else params

    def set_params(self, **params: Any) -> DeepClustering:
        """Sets arguments, and the model's own hyper-parameters by their names: `set_params(latent_dim=5)`. `fit` checks them."""
        known = super().get_params(deep=False)
        own = {name: value for name, value in params.items() if name in known}
        super().set_params(**own)
        rest = {name: value for name, value in params.items() if name not in own}
        if rest and isinstance(self.hyper, Mapping | None):
            self.hyper = {**(self.hyper or {}), **rest}
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True  # it is filled up with its zeros
        tags.transformer_tags.preserves_dtype = ["float32"]  # what networks compute in
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """With the text of a file in place of a class of your own, which may be unknown where it is unpickled."""
        state: dict[str, Any] = super().__getstate__()
        return state | {name: portable(state[name]) for name in ("model", "models") if name in state}

    @property
    def _n_features_out(self) -> int:
        return int(self.code_width_)

    # --- training ---

    def fit(self, X: Any, y: Any = None) -> DeepClustering:
        """Trains the model.

        Parameters
        ----------
        X : (N, D) numbers
            A numpy array, a pandas or pyarrow table, a torch tensor, a sparse matrix or a list of rows.
        y : (N,) or None
            The class of each row. A model that learns from some labels takes `n_labels` of them; every other model ignores it.
        """
        own, name = read_own(with_itself(self.model, self.models)), name_of(self.model)
        model, self.source_ = load_model(name, own), own.get(name)
        x_ND = validate_data(self, dense(X), dtype=[np.float64, np.float32], ensure_min_samples=2, order="C")
        data = self._data(model, x_ND, y)
        h = self._checked(model, data)
        self._keep(model, h, data, self._train(model, h, data))
        return self

    def _data(self, model: Model, x_ND: NDArray[Any], y: Any) -> Data:
        if self.scale not in SCALES:
            raise UserError(f"'scale' must be one of {' | '.join(SCALES)}, but is {self.scale!r}.{did_you_mean(self.scale, SCALES)}")
        shape = (x_ND.shape[1],) if self.shape is None else tuple(self.shape)
        if math.prod(shape) != x_ND.shape[1]:
            raise UserError(f"'shape' is {shape}, {math.prod(shape)} values, but X has n_features = {x_ND.shape[1]}.")
        y_N = None
        if model.labels == "partial" and y is not None:
            self.classes_, found_N = np.unique(column_or_1d(y, warn=True), return_inverse=True)
            y_N = torch.from_numpy(found_N.astype(np.int64))
        self.scaling_ = Scaling.fit(self.scale, x_ND, table=self.shape is None)
        return Data(name="X", x_ND=torch.tensor(self.scaling_.apply(x_ND)), y_N=y_N, shape=shape, scaling=self.scaling_)

    def _checked(self, model: Model, data: Data) -> Hyper:
        """The hyper-parameters. A batch of the default's size is as large as the data, where these are fewer."""
        if not isinstance(self.hyper, Mapping | None):
            raise UserError(f"'hyper' must be a dict of names to values, but is {self.hyper!r}.")
        values = dict(self.hyper or {})
        twice = [name for name in _OWN if name in values]
        if twice:
            raise UserError(f"'{twice[0]}' is an argument of its own: leave it out of 'hyper'.")
        values["n_clusters"] = self.n_clusters
        if self.epochs is not None:
            values["epochs"] = self.epochs
        known = model.parameters()
        if "batch_size" in known and "batch_size" not in values:
            values["batch_size"] = min(known["batch_size"].default, data.n_samples)
        h: Hyper = model.hyper({name: _plain(value) for name, value in values.items()})
        return h

    def _train(self, model: Model, h: Hyper, data: Data) -> Epoch:
        """The last epoch."""
        self.history_: list[dict[str, Any]] = []
        seed = self.random_state
        seed = int(seed) if isinstance(seed, int | np.integer) else int(check_random_state(seed).randint(np.iinfo(np.int32).max))
        last: Epoch | None = None
        for last in train(model, h, data, seed=seed, device=self._device()):
            line = {"epoch": last.epoch, "phase": last.phase, "cluster_epoch": last.cluster_epoch, "metrics": last.metrics}
            self.history_.append(line)
        assert last is not None, "every model has at least one epoch"
        return last

    def _keep(self, model: Model, h: Hyper, data: Data, last: Epoch) -> None:
        """What later calls need."""
        if last.ended == "diverged":
            raise UserError(f"{model.name} diverged: {last.reason}. Try smaller rates, or another scale.")
        if last.ended == "collapsed":
            warnings.warn(f"{model.name} collapsed: {last.reason}.", ConvergenceWarning, stacklevel=3)
        self.n_iter_ = last.epoch
        self._keep_trained(last.snapshot(), h, data)

    def _keep_trained(self, snapshot: Snapshot, h: Hyper, data: Data) -> None:
        """The weights as plain arrays, and what follows from them for the rows that were trained on."""
        self.hyper_ = h.flat()
        self.spec_ = vars(data.spec)
        self.state_ = {name: t.cpu().numpy() for name, t in snapshot.weights().items()}
        self.place_ = {name: value for name, value in vars(snapshot).items() if name not in ("config", "tensors", "values", "intake")}
        fitted = self._fitted()
        self.labels_ = fitted.probabilities_of_rows(data.x_ND).argmax(1).numpy()
        self.code_width_ = fitted.codes(data.x_ND[:2]).shape[1]

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.int64]:
        """(N,): trains the model, and gives the cluster of each row, 0 to K-1."""
        labels: NDArray[np.int64] = self.fit(X, y).labels_
        return labels

    # --- what a trained model gives ---

    def predict(self, X: Any) -> NDArray[np.int64]:
        """(N,): the cluster of each row, 0 to K-1. `X`: as `fit`'s."""
        labels_N: NDArray[np.int64] = self.predict_proba(X).argmax(axis=1)
        return labels_N

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """(N, K): how probable each cluster is; 0 and 1 where the model's assignment is hard. `X`: as `fit`'s."""
        fitted, x_ND = self._asked(X)
        p_NK: NDArray[np.float32] = fitted.probabilities(x_ND).numpy()
        return p_NK

    def transform(self, X: Any) -> NDArray[np.float32]:
        """(N, Z): the model's codes. `X`: as `fit`'s."""
        fitted, x_ND = self._asked(X)
        z_NZ: NDArray[np.float32] = fitted.codes(x_ND).numpy()
        return z_NZ

    def score(self, X: Any, y: Any = None) -> float:
        """Higher is better. With labels `y` (N,): the share of rows in the right class, clusters matched to classes one to one
        (`acc`). Without: the silhouette of the codes, -1 to 1, which needs no labels.

        A search that goes by it, such as `GridSearchCV`, uses the labels if it is given some: leave `y` out where it must not.
        """
        fitted, x_ND = self._asked(X)
        p_NK = fitted.probabilities(x_ND)
        if y is None:
            return silhouette_of(lambda rows_R: fitted.codes(x_ND[rows_R]), p_NK.argmax(1))
        _, y_N = np.unique(column_or_1d(y), return_inverse=True)
        if len(y_N) != len(p_NK):
            raise UserError(f"y must hold one label for each of the {len(p_NK)} rows of X, but holds {len(y_N)}.")
        return evaluate(p_NK, torch.from_numpy(y_N.astype(np.int64)))["acc"]

    def _asked(self, X: Any) -> tuple[Fitted, torch.Tensor]:
        check_is_fitted(self, "state_")
        x_ND = validate_data(self, dense(X), dtype=[np.float64, np.float32], order="C", reset=False)
        return self._fitted(), torch.tensor(self.scaling_.apply(x_ND))

    def _fitted(self) -> Fitted:
        tensors = {name: torch.from_numpy(t) for name, t in self.state_.items()}
        snapshot = Snapshot(**self.place_, config=self.hyper_, tensors=tensors)
        return Fitted.of(snapshot, Intake(spec=DataSpec(**self.spec_), scaling=self.scaling_), self._device(), self.source_)

    def _device(self) -> str:
        try:
            torch.empty((), device=best_device() if self.device == "auto" else self.device)
        except (RuntimeError, AssertionError) as error:  # a word that torch does not know, or a device that is not here
            raise UserError(f"'device' must be auto, cpu or a device that torch has here, such as cuda, but is {self.device!r}.") from error
        return best_device() if self.device == "auto" else self.device


def _plain(value: Any) -> Any:
    """A number of numpy's, as a grid of parameters holds it, as Python's."""
    return value.item() if isinstance(value, np.generic) else value
