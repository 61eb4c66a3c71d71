"""What the files of a run hold, and what can be wrong with them: whoever reads them after this may rely on their values.

Each function says what is wrong, or gives None. Only what somebody reads is looked at, and what an older tuner did not write may be absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tuner.names import NAME, NAME_RULE
from tuner.plain_json import is_number, is_whole
from tuner.space.scores import SCORES

STATES = ("complete", "pruned", "stopped", "failed", "diverged", "collapsed")  # how a trial ends

Rule = tuple[str, Callable[[Any], bool]]


def _is_mapping(value: Any, each: Callable[[Any], bool] = lambda value: True) -> bool:
    return isinstance(value, dict) and all(map(each, value.values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _or_none(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_right(value)


def _is_dataset(value: Any) -> bool:
    return (
        _is_mapping(value)
        and _is_text(value.get("name"))
        and _or_none(is_whole)(value.get("limit"))
        and _or_none(_is_text)(value.get("scale"))
    )


def _is_metric(value: Any) -> bool:
    return _is_mapping(value, _is_text) and {"name", "goal"} <= value.keys() and value["goal"] in ("maximize", "minimize")


_NUMBER: Rule = ("a number", is_number)
_TEXT: Rule = ("a line of text", _is_text)
_TEXT_OR_NONE: Rule = ("a line of text or null", _or_none(_is_text))
_LINES_OR_NONE: Rule = ("a text or null", lambda value: value is None or isinstance(value, str))
_MAPPING: Rule = ("a mapping", _is_mapping)
_ABOUT: dict[str, Rule] = {
    "name": (f"a run's name ({NAME_RULE})", lambda value: _is_text(value) and NAME.fullmatch(value) is not None),
    "model": _TEXT,
    "dataset": ("{name: a text, limit: a whole number or null, scale: a text or null}", _is_dataset),
    "metric": ("{name: a text, goal: maximize or minimize}", _is_metric),
    "score": (f"one of {', '.join(SCORES)}", lambda value: value in SCORES),
    "method": _TEXT,
    "trials": ("a whole number from 1 on", lambda value: is_whole(value, 1)),
    "seed": ("a whole number from 0 on", is_whole),
    "parameters": ("a mapping of mappings", lambda value: _is_mapping(value, _is_mapping)),
    "options": ("a mapping, with a list of texts as `set`", lambda value: _is_mapping(value) and _are_texts(value.get("set", []))),
    "filled": _MAPPING,
    "space": _TEXT,
    "dataset_at": _TEXT,
    "data_root": _TEXT_OR_NONE,
    "id": ("16 hexadecimal digits", lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16}", value) is not None),
    "checkpoints": _NUMBER,
    "address": _TEXT_OR_NONE,
    "uri": _TEXT_OR_NONE,
    "wandb": ("online, offline, disabled or null", lambda value: value in ("online", "offline", "disabled", None)),
    "share": _MAPPING,
    "versions": _MAPPING,
    "resumed": ("a list of mappings", lambda value: isinstance(value, list) and all(map(_is_mapping, value))),
}
_STATUS: dict[str, Rule] = {
    "status": ("running, done, stopped or failed", lambda value: value in ("running", "done", "stopped", "failed")),
    "host": _TEXT,
    "pid": ("the number of a process", lambda value: is_whole(value, 1, 2**31)),
    **dict.fromkeys(("started", "since", "before", "ended", "seconds"), _NUMBER),
}
_ALWAYS: dict[str, Rule] = {
    "metrics": ("a mapping of numbers", lambda value: _is_mapping(value, is_number)),
    "time": _NUMBER,
}
_EPOCH: dict[str, Rule] = {
    "epoch": ("a whole number from 1 on", lambda value: is_whole(value, 1)),
    "cluster_epoch": ("a whole number from 1 on or null", _or_none(lambda value: is_whole(value, 1))),
    "phase": _TEXT,
    "ended": ("complete, collapsed or diverged", lambda value: value in ("complete", "collapsed", "diverged")),
}
_END: dict[str, Rule] = {
    "score": ("a number or null", _or_none(is_number)),
    "epochs": ("a whole number from 0 on", is_whole),
    "seconds": _NUMBER,
    "reason": _LINES_OR_NONE,
    "traceback": _LINES_OR_NONE,
}


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def wrong_about(about: Mapping[str, Any]) -> str | None:
    """Of `spec.json`."""
    return "it names no metric" if "metric" not in about else _wrong(about, _ABOUT)


def wrong_status(status: Mapping[str, Any]) -> str | None:
    """Of `status.json`."""
    return "'pid' is missing" if status.get("status") == "running" and "pid" not in status else _wrong(status, _STATUS)


def wrong_line(line: object) -> str | None:
    """Of a line of the journal."""
    if not isinstance(line, dict):
        return "this is no line of JSON with a trial in it"
    if not is_whole(line.get("trial")):
        return "it names no trial"
    if not isinstance(line.get("metrics"), dict):
        return "it has no metrics"
    if "state" in line:
        sound = line["state"] in STATES and isinstance(line.get("config"), dict)
        return _wrong(line, _ALWAYS | _END) if sound else "it ends a trial without a known state and a configuration"
    return _wrong(line, _ALWAYS | _EPOCH) if "epoch" in line else "it is neither an epoch nor the end of a trial"


def _wrong(content: Mapping[str, Any], rules: Mapping[str, Rule]) -> str | None:
    for key, (rule, is_right) in rules.items():
        if key in content and not is_right(content[key]):
            return f"'{key}' must be {rule}, but is {_short(content[key])}"
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
