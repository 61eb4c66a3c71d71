"""The ledger: how often a run looked at labels, and by what, counted from its journal."""

from __future__ import annotations

from typing import Any

from tuner.runs.ledger import Ledger, LedgerCount, in_words
from tuner.runs.records import About, EndLine, EpochLine

LABELLED = {"acc": 0.5, "nmi": 0.5, "n_used": 9.0}


def epoch(trial: int, epoch: int, metrics: dict[str, float] | None = None, *, pretrains: bool = False) -> EpochLine:
    counted = None if pretrains else epoch
    return {"trial": trial, "epoch": epoch, "phase": "p", "cluster_epoch": counted, "metrics": LABELLED if metrics is None else metrics}


def end(trial: int, state: str) -> EndLine:
    return {
        "trial": trial,
        "state": state,
        "config": {},
        "score": 0.5,
        "metrics": LABELLED,
        "epochs": 1,
        "seconds": 1.0,
        "reason": None,
        "time": 1.0,
    }


def about(metric: str = "acc", **more: Any) -> About:
    found: dict[str, Any] = {"metric": {"name": metric, "goal": "maximize"}, "method": "tpe", "score": "last"}
    return found | {"early_terminate": {"type": "asha", "grace": 2, "reduction": 2}} | more  # type: ignore[return-value]


def counted(found: About, *lines: EpochLine | EndLine) -> Ledger:
    count = LedgerCount(found)
    for line in lines:
        count.add(line)
    return count.ledger()


def test_a_search_by_labels_counts_who_was_told_what() -> None:
    lines = [epoch(0, 1, {"loss/recon": 0.1}, pretrains=True), *(epoch(0, i) for i in (2, 3, 4)), end(0, "complete")]
    lines += [epoch(1, 2), end(1, "pruned"), end(2, "failed")]
    found = counted(about(), *lines)
    assert found.epochs == 4 and found.reported == {"acc": 4, "nmi": 4}
    assert found.decided == {"stopping": 3, "proposing": 2, "ranking": 1}, "rungs stand at 2, 4, 8; nobody is told of what failed"
    assert (
        in_words(found)
        == "Labels: metrics looked at them in 4 epochs. They decided what to stop (3×), what to try next (2×), how trials rank (1×)."
    )


def test_random_search_without_early_stopping_only_ranks() -> None:
    found = counted(about(method="random", early_terminate="none"), epoch(0, 1), epoch(0, 2), end(0, "complete"))
    assert found.decided == {"ranking": 1}


def test_the_best_epoch_is_a_choice_too() -> None:
    assert counted(about(score="max", early_terminate="none"), epoch(0, 1), epoch(0, 2)).decided == {"choosing epochs": 2}


def test_without_labels_in_the_choice_they_are_only_reported() -> None:
    found = counted(about("silhouette", select={"labels": "never"}), epoch(0, 2), end(0, "complete"))
    assert found == Ledger(rule="never", epochs=1, reported={"acc": 1, "nmi": 1})
    assert in_words(found) == (
        "Labels: metrics looked at them in 1 epoch, and were only reported; nothing was chosen, stopped or ranked by them, as select: "
        "{labels: never} says."
    )


def test_data_without_labels_have_nothing_to_tell() -> None:
    assert in_words(counted(about("silhouette"), epoch(0, 2, {"n_used": 9.0}), end(0, "complete"))) is None


def test_models_that_are_given_labels_are_counted() -> None:
    found = counted(about("error"), epoch(0, 1, {"error": 0.1}), epoch(1, 1, {"error": 0.1}), epoch(1, 2, {"error": 0.1}))
    assert found.trained == 2
    words = in_words(found)
    assert words is not None and words.startswith("Labels: 2 trials were given some to train on; metrics looked")


def test_a_run_of_an_older_tuner_has_a_ledger_too() -> None:
    old: Any = {"metric": {"name": "acc", "goal": "maximize"}, "early_terminate": {"grace": "x"}}
    assert counted(old, epoch(0, 1), end(0, "complete")).decided == {"ranking": 1}
