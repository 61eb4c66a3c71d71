"""How often a run looked at labels, and what for: counted from its journal, which is the truth of every other figure, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tuner.plain_json import is_whole
from tuner.text import counted

from .records import About, EndLine, EpochLine
from .states import STATES

_LONGEST = 10**6  # clustering epochs; no trial has more
QUESTIONS = {
    "proposing": "what to try next",
    "stopping": "what to stop",
    "choosing epochs": "which epoch counts",
    "ranking": "how trials rank",
}
LOOKING = ("tpe", "gp", "cmaes")  # the methods that propose by the scores so far


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """`rule`: what the space allows, `never` or `allowed`. `epochs`: in which some metric compared the clusters with labels.
    `reported`: in how many of them, by metric. `decided`: how often a metric that uses labels decided, by what it decided: `proposing`
    (ends that the sampler was told), `stopping` (scores at ASHA's rungs), `choosing epochs` (with score: max), `ranking` (complete
    trials). `trained`: trials whose model was given labels."""

    rule: str = "allowed"
    epochs: int = 0
    reported: Mapping[str, int] = field(default_factory=dict)
    decided: Mapping[str, int] = field(default_factory=dict)
    trained: int = 0

    def summary(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


class LedgerCount:
    """Counts as the journal's lines are read."""

    def __init__(self, about: About) -> None:
        from tuner.metrics import METRICS  # not above: it imports numpy, which quick commands do not need before they read a run

        self._labelled = {name for name, measure in METRICS.items() if measure.uses_labels}
        self._given = {name for name, measure in METRICS.items() if measure.needs == "some labels"}
        self._about = about
        deciding = about.get("metrics") or [about["metric"]]
        self._decides = any(metric["name"] in self._labelled for metric in deciding)
        self._rungs = _rungs(about)
        self._reported: Counter[str] = Counter()
        self._decided: Counter[str] = Counter()
        self._trained: set[int] = set()
        self._epochs = 0

    def add(self, line: EpochLine | EndLine) -> None:
        """Takes a line of the journal in. A metric in the line of an end was counted with its epoch."""
        if "state" in line:
            if self._decides:
                self._ended(line)
            return
        looked = self._labelled & line["metrics"].keys()
        self._epochs += bool(looked)
        self._reported.update(looked)
        if self._given & looked:
            self._trained.add(line["trial"])
        if self._decides and line.get("cluster_epoch") is not None:
            self._decided["stopping"] += line["cluster_epoch"] in self._rungs
            self._decided["choosing epochs"] += self._about.get("score") == "max"

    def _ended(self, line: EndLine) -> None:
        self._decided["proposing"] += STATES[line["state"]].optuna != "FAIL" and self._about.get("method") in LOOKING
        self._decided["ranking"] += line["state"] == "complete"

    def ledger(self) -> Ledger:
        select: Mapping[str, Any] = self._about.get("select", {})
        return Ledger(
            rule=str(select.get("labels", "allowed")),
            epochs=self._epochs,
            reported=dict(sorted(self._reported.items())),
            decided={what: count for what, count in self._decided.items() if count},
            trained=len(self._trained),
        )


def _rungs(about: About) -> set[int]:
    """The clustering epochs at which ASHA compares trials."""
    asha = about.get("early_terminate")
    grace: Any
    reduction: Any
    grace, reduction = (asha.get("grace"), asha.get("reduction")) if isinstance(asha, dict) else (None, None)
    if not (is_whole(grace, 1) and is_whole(reduction, 2)):
        return set()
    found, rung = set(), grace
    while rung <= _LONGEST:
        found.add(rung)
        rung *= reduction
    return found


def in_words(ledger: Ledger) -> str | None:
    """A line for `tuner show`; None where there were no labels to look at."""
    if not ledger.epochs:
        return None
    were = "trial was" if ledger.trained == 1 else "trials were"
    trained = f"{ledger.trained:,} {were} given some to train on; " if ledger.trained else ""
    head = f"Labels: {trained}metrics looked at them in {counted(ledger.epochs, 'epoch')}"
    if not ledger.decided:
        rule = ", as select: {labels: never} says" if ledger.rule == "never" else ""
        return f"{head}, and were only reported; nothing was chosen, stopped or ranked by them{rule}."
    return f"{head}. They decided {', '.join(f'{QUESTIONS[what]} ({count:,}×)' for what, count in ledger.decided.items())}."
