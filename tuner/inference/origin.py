"""How a model was chosen and what it is worth, for its card: the search, figures and the labels they looked at, confirmed figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tuner.evidence.report import Confirmation, confirmation_of
from tuner.evidence.sentences import in_sentences
from tuner.evidence.statistics import Summary
from tuner.metrics import METRICS, uses_labels
from tuner.plain_json import is_number
from tuner.runs.ledger import in_words
from tuner.runs.results import Results
from tuner.space.scores import SCORES
from tuner.text import counted, number

_OF_THE_MACHINE = "samples_per_s"  # says nothing of the model
_GOALS = {"maximize": ("highest", "higher"), "minimize": ("lowest", "lower")}


def origin(told: Mapping[str, Any], results: Results | None, seed: int) -> Iterator[str]:
    """The lines. `told`: what stands in the `best.yaml`, which a person may have written. `results`: of the run, where it is beside it.
    `seed`: of the training."""
    yield from ("## How it was chosen", "")
    yield from _search(told, results)
    if results is not None:
        yield from _protocol(told, results, seed)
    yield from ("## Figures", "")
    yield from _figures(_part(told, "metrics"))
    yield from ("## Confirmed figures", "")
    found = None if results is None else confirmation_of(results)
    named = _part(told, "confirmed")
    yield from _named(named) if found is None or found.winner is None else _confirmed(found, named=bool(named))


def _part(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Empty where it is not there, or is something else."""
    found = told.get(name)
    return dict(found) if isinstance(found, Mapping) else {}


# --- the search --------------------------------------------------------------------------------------------------------


def _search(told: Mapping[str, Any], results: Results | None) -> Iterator[str]:
    metric, score = _part(told, "metric"), _part(told, "score")
    name, goal, rule = metric.get("name"), _GOALS.get(str(metric.get("goal"))), SCORES.get(str(score.get("rule")))
    if name is None or goal is None or rule is None:
        yield from ("By no search that is known of: it is a single configuration.", "")
        return
    known = "" if results is not None else " The search's own files were not beside it when this was written."
    yield from (f"By the search `{told.get('search')}`: the {goal[0]} `{name}` {rule.words}{_labelled(str(name))}.{known}", "")


def _protocol(told: Mapping[str, Any], results: Results, seed: int) -> Iterator[str]:
    about = results.spec_json
    searched = [f"`{name}`" for name, parameter in about.get("parameters", {}).items() if "value" not in parameter]
    ends = ", ".join(f"{count:,} {state}" for state, count in results.counts().items() if count)
    yield from ("| | |", "|---|---|", f"| method | {about.get('method', '–')} |", f"| trials | {ends} |")
    if about.get("epochs"):
        yield f"| clustering epochs of a trial, at most | {about['epochs']} |"  # type: ignore[typeddict-item] # kept, not checked
    yield f"| stopped early | {_plain(about.get('early_terminate', 'none'))} |"
    yield f"| searched | {', '.join(searched) or 'nothing'} |"
    yield f"| seed of the search | {about.get('seed', '–')} |"
    yield f"| this is | {_which(told)} |"
    yield from (f"| its seed | {seed} |", "", in_words(results.labels) or "Labels: there were none to look at.", "")


def _which(told: Mapping[str, Any]) -> str:
    configuration = "the model's default" if told.get("trial") is None else f"trial {told['trial']}"
    again = _part(told, "confirmed").get("training") is not None
    return f"the configuration of {configuration}, trained again on a fresh seed" if again else configuration


def _plain(value: Any) -> str:
    return ", ".join(f"{name} {one}" for name, one in value.items()) if isinstance(value, Mapping) else str(value)


def _labelled(metric: str) -> str:
    return f", which looks at {'the' if uses_labels(metric) else 'no'} labels"


# --- figures -----------------------------------------------------------------------------------------------------------


def _figures(metrics: Mapping[str, Any]) -> Iterator[str]:
    known = {name: value for name, value in metrics.items() if is_number(value) and name != _OF_THE_MACHINE}
    if not known:
        yield from ("None were noted beside the weights.", "")
        return
    yield "Of this training alone, on the samples that it was trained on. A search picks the best of many figures, so they flatter."
    yield from ("", "| metric | value | better | labels | what |", "|---|---|---|---|---|")
    for name, value in known.items():
        measure = METRICS.get(name)
        better, doc = ("–", "a term of the loss") if measure is None else (_GOALS[measure.goal][1], measure.doc)
        yield f"| `{name}` | {number(value, name)} | {better} | {'used' if uses_labels(name) else 'not used'} | {doc} |"
    yield ""


def _named(confirmed: Mapping[str, Any]) -> Iterator[str]:
    """What the `best.yaml` alone says."""
    if not is_number(confirmed.get("mean")):
        yield from ("None: this configuration was not trained again on fresh seeds (`tuner confirm`).", "")
        return
    sd, interval = confirmed.get("sd"), confirmed.get("interval")
    spread = f" ± {sd:.4f}" if is_number(sd) else ""
    within = (
        f", 95 % interval {interval[0]:.4f} to {interval[1]:.4f}" if isinstance(interval, list) and all(map(is_number, interval)) else ""
    )
    yield from (f"{confirmed['mean']:.4f}{spread}: {confirmed.get('by')}{within}.", "")


def _confirmed(found: Confirmation, *, named: bool) -> Iterator[str]:
    """`named`: whether the weights are the confirmed winner's."""
    name = found.metric.name
    yield f"Trained again on seeds that played no part in choosing; `{name}`{_labelled(name)}."
    if found.left:
        yield f"{counted(found.left, 'training')} were still to come when this was written."
    yield from ("", "| configuration | seeds | mean ± sd | 95 % interval | median | min | max |", "|---|---|---|---|---|---|---|")
    for one in found.ranked:
        assert one.summary is not None
        yield f"| {one.name}{' (this one)' if named and one is found.winner else ''} | {_row(one.summary)} |"
    yield from ("", *(f"- {sentence}" for sentence in in_sentences(found)), "")


def _row(found: Summary) -> str:
    interval = "–" if found.interval is None else f"{found.interval.low:.4f} to {found.interval.high:.4f}"
    spread = "" if found.sd is None else f" ± {found.sd:.4f}"
    return f"{found.n} | {found.mean:.4f}{spread} | {interval} | {found.median:.4f} | {found.min:.4f} | {found.max:.4f}"
