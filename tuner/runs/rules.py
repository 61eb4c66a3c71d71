"""Rules for what stands in a run's files, and the one check of them.

A record is a type whose keys are annotated with a rule each: `epoch: Annotated[int, FROM_1]`. A key may be absent, for an older tuner
did not write all of them; a key without a rule is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NotRequired, get_args, get_origin, get_type_hints

from tuner.names import NAME, NAME_RULE
from tuner.plain_json import is_number, is_whole

Holds = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """`words` complete the sentence "'epoch' must be …"."""

    words: str
    holds: Holds


def wrong(content: Mapping[str, Any], record: type) -> str | None:
    """The first value of `content` that breaks its rule in `record`, in words; None if there is none."""
    for key, words, holds in _rules(record):
        if key in content and not holds(content[key]):
            text = repr(content[key])
            return f"'{key}' must be {words}, but is {text if len(text) <= 60 else f'{text[:57]}...'}"
    return None


@cache
def _rules(record: type) -> tuple[tuple[str, str, Holds], ...]:
    hints = get_type_hints(record, include_extras=True)
    bare = {key: get_args(hint)[0] if get_origin(hint) is NotRequired else hint for key, hint in hints.items()}
    found = ((key, part) for key, hint in bare.items() for part in getattr(hint, "__metadata__", ()) if isinstance(part, Rule))
    return tuple((key, rule.words, rule.holds) for key, rule in found)


# --- the rules ---------------------------------------------------------------------------------------------------------


def is_mapping(value: Any, each: Holds | None = None) -> bool:
    return isinstance(value, dict) and (each is None or all(map(each, value.values())))


def is_text(value: Any) -> bool:
    """One line that a terminal may be given."""
    return isinstance(value, str) and value.isprintable()


def _or_null(rule: Rule) -> Rule:
    return Rule(f"{rule.words} or null", lambda value: value is None or rule.holds(value))


def one_of(*words: str | None) -> Rule:
    shown = ["null" if word is None else word for word in words]
    return Rule(f"{', '.join(shown[:-1])} or {shown[-1]}", lambda value: value in words)


def _is_dataset(value: Any) -> bool:
    limit, scale = (value.get("limit"), value.get("scale")) if is_mapping(value) else (None, None)
    return is_mapping(value) and is_text(value.get("name")) and WHOLE_OR_NULL.holds(limit) and TEXT_OR_NULL.holds(scale)


def _is_seeds(value: Any) -> bool:
    known = ("repeat", "race", "reduction")
    return is_mapping(value, lambda n: is_whole(n, 1, 2**31)) and set(value) <= set(known) and value.get("reduction", 2) >= 2


def _is_metric(value: Any) -> bool:
    return is_mapping(value, is_text) and "name" in value and value.get("goal") in ("maximize", "minimize")


def _are_metrics(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) > 1 and all(map(_is_metric, value)))


def _is_renewed(value: Any) -> bool:
    return is_mapping(value) and set(value) == {"ends", "seconds"} and is_whole(value["ends"]) and is_number(value["seconds"])


def _is_earlier(value: Any) -> bool:
    """See `Earlier` in tuner/space/earlier.py."""
    if not is_mapping(value) or set(value) != {"runs", "trials"} or not all(isinstance(part, list) for part in value.values()):
        return False
    runs = (set(run) == {"run", "told", "left_out", "why"} and is_whole(run["told"]) and is_text(run["run"]) for run in value["runs"])
    return all(map(is_mapping, (*value["runs"], *value["trials"]))) and all(runs) and all(map(_is_told, value["trials"]))


def _is_told(trial: Mapping[str, Any]) -> bool:
    if set(trial) != {"run", "trial", "chosen", "values"} or not isinstance(trial["values"], list):
        return False
    return is_whole(trial["trial"]) and is_mapping(trial["chosen"]) and bool(trial["values"]) and all(map(is_number, trial["values"]))


METRICS_OR_NULL = Rule("a list of mappings of a metric's name and goal, or null", _are_metrics)
NUMBER = Rule("a number", is_number)
NUMBER_OR_NULL = _or_null(NUMBER)
NUMBERS = Rule("a mapping of numbers", lambda value: is_mapping(value, is_number))
WHOLE = Rule("a whole number from 0 on", is_whole)
SEEDS = Rule("a mapping of repeat, or of race and reduction, to whole numbers", _is_seeds)
EARLIER = Rule("a mapping of runs, and of trials with their values", _is_earlier)
RENEWED = Rule("a mapping of ends and seconds to numbers", _is_renewed)
WHOLE_OR_NULL = _or_null(WHOLE)
FROM_1 = Rule("a whole number from 1 on", lambda value: is_whole(value, 1))
FROM_1_OR_NULL = _or_null(FROM_1)
PID = Rule("the number of a process", lambda value: is_whole(value, 1, 2**31))
TRUTH = Rule("true or false", lambda value: isinstance(value, bool))
TEXT = Rule("a line of text", is_text)
TEXT_OR_NULL = _or_null(TEXT)
LINES_OR_NULL = Rule("a text or null", lambda value: value is None or isinstance(value, str))
TEXTS = Rule("a list of texts", lambda value: isinstance(value, list) and all(map(is_text, value)))
MAPPING = Rule("a mapping", is_mapping)
MAPPINGS = Rule("a mapping of mappings", lambda value: is_mapping(value, is_mapping))
LIST_OF_MAPPINGS = Rule("a list of mappings", lambda value: isinstance(value, list) and all(map(is_mapping, value)))
RUN_NAME = Rule(f"a run's name ({NAME_RULE})", lambda value: is_text(value) and NAME.fullmatch(value) is not None)
RUN_ID = Rule("16 hexadecimal digits", lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16}", value) is not None)
DATASET = Rule("{name: a text, limit: a whole number or null, scale: a text or null}", _is_dataset)
METRIC = Rule("{name: a text, goal: maximize or minimize}", _is_metric)
OPTIONS = Rule("a mapping, with a list of texts as `set`", lambda value: is_mapping(value) and TEXTS.holds(value.get("set", [])))
