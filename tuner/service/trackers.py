"""The trackers that a space asks for."""

from __future__ import annotations

import importlib.util
import logging

from tuner.errors import UserError
from tuner.runs.events import Listener
from tuner.space.spec import Spec

logger = logging.getLogger("tuner")


def asked_for(spec: Spec) -> list[Listener]:
    """Those that hear of a search beside the ones that its caller brings.

    Raises:
        UserError: what one of them needs is not installed.
    """
    asked = spec.key("mlflow")
    if asked is None:
        return []
    if importlib.util.find_spec("mlflow") is None:
        raise UserError("The space asks for MLflow, which is not installed: pip install 'tuner[mlflow]', or leave its key 'mlflow' out.")
    from tuner.trackers.mlflow import MlflowRuns

    return [MlflowRuns(asked, say=lambda text: logger.warning("%s", text))]
