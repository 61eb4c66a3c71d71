"""What the files of a run hold, as types: each key with the rule that its value keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict, final

from tuner.space.scores import SCORES

from .rules import (
    DATASET,
    EARLIER,
    FROM_1,
    FROM_1_OR_NULL,
    LINES_OR_NULL,
    LIST_OF_MAPPINGS,
    MAPPING,
    MAPPINGS,
    METRIC,
    METRICS_OR_NULL,
    NUMBER,
    NUMBER_OR_NULL,
    NUMBERS,
    OPTIONS,
    PID,
    RENEWED,
    RUN_ID,
    RUN_NAME,
    SEEDS,
    TEXT,
    TEXT_OR_NULL,
    TRUTH,
    WHOLE,
    one_of,
    wrong,
)
from .states import BY_ITSELF, STATES


@final
class EpochLine(TypedDict):
    """The journal's line of an epoch. `epoch`: of the trial, from 1 on. `cluster_epoch`: None in pre-training. `ended`: how the trial
    ends with this epoch, where it does. `warm`: the trial from whose weights it started, where it did. `time`: when the driver journalled
    it, in seconds since 1970."""

    trial: Annotated[int, WHOLE]
    epoch: Annotated[int, FROM_1]
    phase: Annotated[str, TEXT]
    cluster_epoch: Annotated[int | None, FROM_1_OR_NULL]
    metrics: Annotated[Mapping[str, float], NUMBERS]
    ended: NotRequired[Annotated[str, one_of(*BY_ITSELF)]]
    warm: NotRequired[Annotated[int, WHOLE]]
    time: NotRequired[Annotated[float, NUMBER]]


@final
class EndLine(TypedDict):
    """The journal's line of a trial's end: see `TrialEnd`, whose fields these are."""

    trial: Annotated[int, WHOLE]
    state: Annotated[str, one_of(*STATES)]
    config: Annotated[dict[str, Any], MAPPING]
    score: Annotated[float | None, NUMBER_OR_NULL]
    metrics: Annotated[Mapping[str, float], NUMBERS]
    epochs: Annotated[int, WHOLE]
    seconds: Annotated[float, NUMBER]
    reason: Annotated[str | None, LINES_OR_NULL]
    time: Annotated[float, NUMBER]
    traceback: NotRequired[Annotated[str, LINES_OR_NULL]]
    asked_for: NotRequired[Annotated[bool, TRUTH]]
    for_good: NotRequired[Annotated[bool, TRUTH]]
    configuration: NotRequired[Annotated[int, WHOLE]]


class Status(TypedDict, total=False):
    """`status.json`. Times in seconds since 1970. `started`: by the first driver; `since`: by this one; `before`: seconds that earlier
    ones took; `seconds`: all of them together, when it has ended. `because`: what the rule of the space saw that ended it."""

    status: Annotated[str, one_of("running", "done", "stopped", "failed")]
    host: Annotated[str, TEXT]
    pid: Annotated[int, PID]
    started: Annotated[float, NUMBER]
    since: Annotated[float, NUMBER]
    before: Annotated[float, NUMBER]
    ended: Annotated[float, NUMBER]
    seconds: Annotated[float, NUMBER]
    because: Annotated[str, TEXT]


class MetricKey(TypedDict):
    name: str
    goal: Literal["maximize", "minimize"]


class About(TypedDict, total=False):
    """`spec.json`: the space with all defaults, what the command line gave, and what the search runs on. What else stands there is kept
    and shown, but nothing depends on it."""

    name: Annotated[str, RUN_NAME]
    model: Annotated[str, TEXT]
    dataset: Annotated[dict[str, Any], DATASET]
    metric: Annotated[MetricKey, METRIC]
    score: Annotated[str, one_of(*SCORES)]
    method: Annotated[str, TEXT]
    trials: Annotated[int, FROM_1]
    seed: Annotated[int, WHOLE]
    parameters: Annotated[dict[str, dict[str, Any]], MAPPINGS]
    options: Annotated[dict[str, Any], OPTIONS]
    filled: Annotated[dict[str, Any], MAPPING]
    space: Annotated[str, TEXT]
    dataset_at: Annotated[str, TEXT]
    data: Annotated[dict[str, Any], MAPPING]
    model_source: Annotated[dict[str, Any], MAPPING]
    data_root: Annotated[str | None, TEXT_OR_NULL]
    id: Annotated[str, RUN_ID]
    checkpoints: Annotated[float, NUMBER]
    address: Annotated[str | None, TEXT_OR_NULL]
    uri: Annotated[str | None, TEXT_OR_NULL]
    wandb: Annotated[str | None, one_of("online", "offline", "disabled", None)]
    share: Annotated[dict[str, Any], MAPPING]
    versions: Annotated[dict[str, Any], MAPPING]
    resumed: Annotated[list[dict[str, Any]], LIST_OF_MAPPINGS]
    report: Annotated[bool, TRUTH]
    confirms: Annotated[str, TEXT]
    simulated: Annotated[dict[str, Any], MAPPING]
    commit: str | None
    pack: int
    select: Annotated[dict[str, Any], MAPPING]
    early_terminate: dict[str, Any] | str
    metrics: Annotated[list[MetricKey] | None, METRICS_OR_NULL]
    seeds: Annotated[dict[str, int], SEEDS]
    stop: dict[str, Any] | str
    earlier: Annotated[dict[str, Any], EARLIER]
    renewed: Annotated[dict[str, Any], RENEWED]


_STATE = one_of(*STATES)


def wrong_about(about: Mapping[str, Any]) -> str | None:
    """Of `spec.json`."""
    return "it names no metric" if "metric" not in about else wrong(about, About)


def wrong_status(status: Mapping[str, Any]) -> str | None:
    """Of `status.json`."""
    return "'pid' is missing" if status.get("status") == "running" and "pid" not in status else wrong(status, Status)


def wrong_line(line: object) -> str | None:
    """Of a line of the journal."""
    if not isinstance(line, dict):
        return "this is no line of JSON with a trial in it"
    if not WHOLE.holds(line.get("trial")):
        return "it names no trial"
    if not isinstance(line.get("metrics"), dict):
        return "it has no metrics"
    if "state" in line:
        sound = _STATE.holds(line["state"]) and isinstance(line.get("config"), dict)
        return wrong(line, EndLine) if sound else "it ends a trial without a known state and a configuration"
    return wrong(line, EpochLine) if "epoch" in line else "it is neither an epoch nor the end of a trial"
