"""A model that an estimator has trained: probabilities and codes for rows, as training evaluates them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tuner.data.scaling import Intake
from tuner.model import Model, Net, Values, load_model, load_source
from tuner.nn import by_slices, slice_of
from tuner.own_models import Source
from tuner.training.checkpoint import Snapshot
from tuner.training.restored import restored


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A trained model, ready to be asked. `x_ND` below is scaled as in training; what is given back lies on the CPU."""

    model: Model
    net: Net
    values: Values
    device: str

    @staticmethod
    def of(snapshot: Snapshot, intake: Intake, device: str, source: Source | None = None) -> Fitted:
        """`source`: of a model of the user's own."""
        model = load_model(snapshot.model) if source is None else load_source(source)
        parts = restored(model, model.hyper(snapshot.config), intake.spec, snapshot, torch.empty((), device=device))
        return Fitted(model=model, net=parts.evaluating(), values=parts.values, device=device)

    def probabilities(self, x_ND: Tensor) -> Tensor:
        """(N, K): of each cluster; argmax is the cluster. Rows that training had not seen."""
        return self._by_slices(x_ND, lambda part: self.model.assign(self.net, x_ND[part].to(self.device), self.values))

    def probabilities_of_rows(self, x_ND: Tensor) -> Tensor:
        """As `probabilities`, of the very rows that the model was trained on, in their order."""

        def assign(part: slice) -> Tensor:
            rows_B = torch.arange(part.start, part.stop, device=self.device)
            return self.model.assign_rows(self.net, x_ND[part].to(self.device), rows_B, self.values)

        return self._by_slices(x_ND, assign)

    def codes(self, x_ND: Tensor) -> Tensor:
        """(N, Z): the latent."""
        return self._by_slices(x_ND, lambda part: self.model.embed(self.net, x_ND[part].to(self.device), self.values))

    @torch.no_grad()
    def _by_slices(self, x_ND: Tensor, f: Callable[[slice], Tensor]) -> Tensor:
        rows = self.model.eval_rows or slice_of(torch.empty((), device=self.device))
        return by_slices(lambda part: f(part).cpu(), len(x_ND), rows)
