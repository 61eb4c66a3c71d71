"""What the page says in sentences and tables: what was asked, the verdict, the best, the labels, the cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from tuner.errors import readable
from tuner.evidence.sentences import failures, in_sentences
from tuner.metrics import METRICS, uses_labels
from tuner.runs.configurations import Configuration
from tuner.runs.ledger import QUESTIONS, in_words
from tuner.space.scores import SCORES
from tuner.space.warm import WARM_FILE
from tuner.text import counted, duration, number, setting

from .curves import occupancy
from .figure import Table
from .material import Material

_RULES = {"allowed": "may decide what is tried, stopped and chosen", "never": "decide nothing; metrics that look at them are only reported"}
TOP = 10
REASONS = 5


def asked(material: Material) -> list[tuple[str, str]]:
    """What was asked, and of what machine."""
    about, results = material.about, material.results
    data: Mapping[str, Any] = about.get("dataset", {})
    rows, columns = (about.get("data", {}).get(key) for key in ("rows", "columns"))
    size = f", {rows:,} samples of {columns:,} values" if rows and columns else ""
    limit = f", the first {data['limit']:,} chosen" if data.get("limit") and not rows else ""
    seeds = "" if results.seeds.single else f", each configuration on up to {results.seeds.most} seeds"
    scaled = f", scaled by {data['scale']}" if data.get("scale") else ""
    goals = " and ".join(f"{metric.name} ({'larger' if metric.goal == 'maximize' else 'smaller'} is better)" for metric in results.metrics)
    found = [
        ("model", str(about.get("model", "–"))),
        ("data", f"{data.get('name', '–')}{scaled}{size}{limit}"),
        ("metric", f"{goals}, {SCORES[results.score].words if results.score in SCORES else results.score}"),
        (
            "search",
            f"{counted(int(about.get('trials', len(material.trials))), 'trial')} by {about.get('method', '–')}, "
            f"seed {about.get('seed', '–')}, "
            f"up to {about.get('epochs', '–')} epochs each{seeds}",
        ),
        ("stopped early", _asha(about.get("early_terminate"))),
        ("labels", _RULES.get(results.labels.rule, results.labels.rule) if results.labels.epochs else "none were looked at"),
        ("run", f"{results.name}, {results.status}, started {about.get('started', '–')}"),
        ("machine", _machine(about.get("hardware"))),
        ("versions", ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items()) or "–"),
    ]
    return found if not about.get("commit") else [*found, ("commit", str(about["commit"]))]


def _asha(found: Any) -> str:
    if not isinstance(found, dict):
        return "no trial"
    return f"by ASHA, from epoch {found.get('grace')} on, the best 1/{found.get('reduction')} go on at each rung"


def _machine(found: Any) -> str:
    if not isinstance(found, dict):
        return "–"
    gpus = (
        f", {counted(int(found['gpus']), 'GPU')} {' '.join(map(str, found.get('gpu_types') or []))}".rstrip()
        if found.get("gpus")
        else ", no GPU"
    )
    nodes, cpus = (counted(int(found.get(key, 0)), noun) for key, noun in (("nodes", "node"), ("cpus", "CPU")))
    return f"{nodes}, {cpus}{gpus}, {found.get('memory_gb', '–')} GB"


# --- the verdict -------------------------------------------------------------------------------------------------------


def headline(material: Material) -> tuple[str, str]:
    """The one figure, and what it is: on fresh seeds where there are some."""
    found, best, metric = material.confirmed, material.best, material.results.metric
    if found is not None and found.winner is not None and found.winner.summary is not None:
        figures = found.winner.summary
        interval = f" (95 % interval {figures.interval.low:.3f} to {figures.interval.high:.3f})" if figures.interval else ""
        who = "the model's default" if found.winner.configuration.is_default else found.winner.name
        return f"{metric} {figures.mean:.3f}", f"the mean of {who} on {counted(figures.n, 'fresh seed')}{interval}"
    if best is None:
        return "no result", "no trial was completed, so there is no best one"
    n = len(material.results.ranked())
    rank = "the only complete trial" if n == 1 else f"the best of {counted(n, 'complete trial')}"
    others = [f"its {one.name} is {number(best.metrics.get(one.name), one.name)}" for one in material.results.metrics[1:]]
    if others and n > 1:
        rank = f"the best by {metric} of those on the front"
    return f"{metric} {number(best.score, metric)}", "; ".join([f"of trial {best.trial}, {rank}", *others])


def in_one_line(material: Material) -> str:
    """Both."""
    figure, what = headline(material)
    return f"{figure}: {what}" if material.best is None else f"{figure} {what}" if what.startswith("of ") else f"{figure}, {what}"


def verdict(material: Material) -> list[str]:
    """The sentences of the one paragraph."""
    found, best, results = material.confirmed, material.best, material.results
    if best is None:
        return [f"No trial of {counted(len(material.trials), 'trial')} was completed, so there is no best one."]
    said = [f"{in_one_line(material)}."]
    if found is not None and found.winner is not None:
        said += list(in_sentences(found))
    else:
        said.append(
            f"It is the best of several on the seed that it was chosen on, so expect worse on another one: tuner confirm {results.name} "
            "says what it is worth on fresh seeds, and whether it beats the model's default and k-means."
            if len(results.ranked()) > 1
            else f"It is one training on one seed: tuner confirm {results.name} says how much others differ."
        )
    said += list(_labels(material))
    return said


def _labels(material: Material) -> Iterator[str]:
    """Which numbers used labels, and what a choice without them would have come to."""
    results = material.results
    deciding = [metric.name for metric in results.metrics if uses_labels(metric.name)]
    if deciding:
        names = " and ".join(deciding)
        verb = "compares" if len(deciding) == 1 else "compare"
        yield f"{names} {verb} clusters with the labels, so this choice used labels."
        free = label_free(material)
        if free is not None:
            yield free
    elif results.labels.epochs:
        yield f"The choice used no labels: {results.metric} needs none; what compares with labels was only reported."
    else:
        yield "No labels were looked at."


def label_free(material: Material) -> str | None:
    """What the trial is worth that the silhouette of the codes would have chosen; None where it was not measured."""
    ends = [end for end in material.trials if end.state == "complete" and "silhouette" in end.metrics and end.score is not None]
    if len(ends) < 2:
        return None
    chosen = max(ends, key=lambda end: end.metrics["silhouette"])
    best, metric = material.results.best(), material.results.metric
    too = " as well" if best is not None and best.trial == chosen.trial else ""
    worth = f"{metric} {number(chosen.score, metric)}"
    return f"Chosen without labels, by the silhouette of the codes, it would have been trial {chosen.trial}{too}, with {worth}."


# --- tables ------------------------------------------------------------------------------------------------------------


def top(material: Material) -> Table | None:
    """The best configurations: a row each."""
    found = material.results.configurations()[:TOP]
    if not found:
        return None
    results = material.results
    deciding = [metric.name for metric in results.metrics]
    others = [
        name
        for name, measure in METRICS.items()
        if measure.shown and name not in deciding and any(name in one.end.metrics for one in found)
    ]
    single = results.seeds.single
    head = ["trial" if single else "configuration", *deciding, *others, *([] if single else ["seeds"]), "epochs", *material.searched]
    rows = []
    for one in found:
        figures = [_spread(one, deciding[0], score=True), *(_spread(one, name) for name in (*deciding[1:], *others))]
        values = [setting(one.end.config.get(name)) if material.active(name, one.end.config) else "–" for name in material.searched]
        rows.append([str(one.number), *figures, *([] if single else [str(one.n)]), str(one.end.epochs), *values])
    n = len(results.configurations())
    order = "front after front" if len(deciding) > 1 else f"by {deciding[0]}"
    caption = f"The best {len(rows)} of {n:,}, {order}{'' if single else ', mean ± sd over seeds'}."
    return Table(head=head, rows=rows, caption=caption if n > 1 else "")


def _spread(one: Configuration, name: str, *, score: bool = False) -> str:
    value, sd = (one.end.score, one.sd.get("score")) if score else (one.end.metrics.get(name), one.sd.get(name))
    return number(value, name) if sd is None or value is None else f"{number(value, name)} ± {sd:.2g}"


def from_default(material: Material) -> Table | None:
    """Where the confirmed winner, or the search's best, differs from the model's default; None where that was not confirmed."""
    found = material.confirmed
    default = None if found is None else next((one for one in found.configurations if one.configuration.is_default), None)
    if found is None or default is None or found.tuned is None:
        return None
    ours, theirs = found.tuned.configuration.config, default.configuration.config
    names = [name for name in ours if theirs.get(name) is not None and ours[name] != theirs[name]]
    rows = [[name, setting(theirs[name]), setting(ours[name])] for name in names]
    caption = f"What {found.tuned.name} changes of the model's default."
    return Table(head=["", "default", found.tuned.name], rows=rows, caption=caption) if rows else None


def warm(material: Material) -> Table | None:
    """The trials that started from another's weights: no other table or figure of scores has them."""
    metric, found = material.results.metric, material.results.warm()
    rows = [
        [
            str(end.trial),
            str(end.warm),
            str(end.config.get(WARM_FILE, "–")),
            end.state,
            str(end.epochs),
            number(material.score(end), metric),
        ]
        for end in found
    ]
    caption = "Warm-started: they began with another trial's weights, so their figures are not comparable with those of the others."
    return Table(head=["trial", "weights of trial", "file", "ended", "epochs", metric], rows=rows, caption=caption) if rows else None


def confirmed_table(material: Material) -> Table | None:
    """The figures of each configuration that was confirmed."""
    found = material.confirmed
    if found is None or found.winner is None:
        return None
    rows = []
    for one in found.ranked:
        assert one.summary is not None
        figures = one.summary
        interval = f"{figures.interval.low:.3f} to {figures.interval.high:.3f}" if figures.interval else "–"
        searched = "–" if one.configuration.figure is None else f"{one.configuration.figure:.3f}"
        sd = "–" if figures.sd is None else f"{figures.sd:.3f}"
        rows.append([one.name, searched, f"{figures.mean:.3f}", sd, interval, f"{figures.median:.3f}", str(figures.n)])
    return Table(head=["", "search", "mean", "sd", "95 % interval", "median", "seeds"], rows=rows)


def not_counted(material: Material) -> list[str]:
    """Which trainings of the confirmation are left or do not count."""
    found = material.confirmed
    if found is None:
        return []
    left = (
        [f"{counted(found.left, 'training')} of {len(found.plan.requested())} left: the figures are of those that are over."]
        if found.left
        else []
    )
    return [*left, *(f"Does not count: {line}." for line in failures(found.configurations))]


def ledger(material: Material) -> tuple[list[str], Table | None]:
    """How often labels were looked at."""
    found = material.results.labels
    said = in_words(found)
    if said is None:
        return ["No metric of this search compared clusters with labels."], None
    rows = [[f"{name}, reported", counted(n, "epoch")] for name, n in found.reported.items()]
    rows += [[f"{QUESTIONS[what]}, decided", counted(n, "time")] for what, n in found.decided.items()]
    return [said], Table(head=["", "labels looked at"], rows=rows)


def ends(material: Material) -> list[str]:
    """How the trials ended, and why some failed."""
    counts: dict[str, int] = {}
    for end in material.results.trials:
        counts[end.state] = counts.get(end.state, 0) + 1
    states = ", ".join(f"{n} {state}" for state, n in sorted(counts.items(), key=lambda one: -one[1]))
    said = [f"{counted(len(material.results.trials), 'trial')}: {states}." if counts else "No trial has reported yet."]
    said += material.results.in_sentences()
    reasons: dict[str, list[int]] = {}
    for end in material.results.trials:
        if end.state == "failed" and end.reason:
            reasons.setdefault(readable(end.reason), []).append(end.trial)
    for reason, trials in list(reasons.items())[:REASONS]:
        who = f"Trial{'s' * (len(trials) > 1)} {', '.join(map(str, trials[:5]))}{f' and {len(trials) - 5} more' if len(trials) > 5 else ''}"
        said.append(f"{who} failed: {reason}")
    if len(reasons) > REASONS:
        said.append(f"There are {len(reasons) - REASONS} other reasons; results.jsonl has them.")
    return said


def cost(material: Material) -> list[str]:
    """Time, cost and occupancy."""
    results = material.results
    used = sum(end.seconds for end in material.results.trials)
    said = [
        f"{counted(results.epochs, 'epoch')} in {duration(results.seconds)} of wall-clock time; the trials took {duration(used)} in all."
    ]
    share = occupancy(material)
    if share is not None:
        said.append(f"Of the places that the search had, {share:.0%} were in use on average.")
    if material.confirmed is not None:
        trained = material.confirmed.results
        said.append(f"The confirmation took {duration(trained.seconds)} more, {counted(trained.epochs, 'epoch')}.")
    return said


def made() -> str:
    """When the page was made."""
    from tuner import __version__

    return f"Made by tuner {__version__} on {time.strftime('%Y-%m-%d %H:%M')}."
