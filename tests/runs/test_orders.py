"""Orders to a search that runs: what becomes of one that is not answered, that nobody of ours wrote, or that comes too early."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tuner.errors import UserError
from tuner.runs import orders
from tuner.runs.lock import RunLock
from tuner.runs.orders import Inbox, NotNow, Order, give, keep, waiting


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_EVERY_S", "POLL_S", "ALIVE_EVERY_S"):
        monkeypatch.setattr(orders, name, 0.01)


@pytest.fixture
def driven(tmp_path: Path) -> Iterator[Path]:
    """A run whose driver is this process, which looks at no order by itself."""
    with RunLock(tmp_path):
        yield tmp_path


def looking(folder: Path, take: Callable[[Order], str]) -> threading.Thread:
    """A driver that looks until it has taken up one order."""
    taken = threading.Event()

    def takes(order: Order) -> str:
        taken.set()  # told by the order itself: one may come at any moment, also between two looks
        return take(order)

    inbox = Inbox(folder, takes)

    def look() -> None:
        while not taken.is_set():
            inbox.look()
            time.sleep(0.001)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    return thread


def nothing_is_left(folder: Path) -> bool:
    return not (folder / orders.ORDERS).exists()


def test_an_order_is_answered_and_nothing_of_it_is_left(driven: Path) -> None:
    thread = looking(driven, lambda order: f"copied {order.like} with {order.set}")
    assert give(driven, Order(do="enqueue", like=3, set=("lr=1e-3",))) == "copied 3 with ('lr=1e-3',)"
    thread.join()
    assert nothing_is_left(driven)


def test_what_its_driver_refuses_is_said_to_whoever_gave_it(driven: Path) -> None:
    def refuses(order: Order) -> str:
        raise UserError("Trial 7 has ended already.")

    thread = looking(driven, refuses)
    with pytest.raises(UserError, match=r"Trial 7 has ended already\."):
        give(driven, Order(do="enqueue", set=("lr=1",)))
    thread.join()
    assert nothing_is_left(driven)


def test_where_no_driver_runs_nothing_is_written(tmp_path: Path) -> None:
    assert give(tmp_path, Order(do="stop")) is None and nothing_is_left(tmp_path)


def test_an_order_is_withdrawn_when_its_driver_ends_meanwhile(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    lock.acquire()
    answers: list[str | None] = []
    asking = threading.Thread(target=lambda: answers.append(give(tmp_path, Order(do="stop"))))
    asking.start()
    while not waiting(tmp_path):
        pass
    lock.release()
    asking.join()
    assert answers == [None] and nothing_is_left(tmp_path)


def test_an_order_that_is_not_answered_is_withdrawn_and_that_is_said(driven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "ANSWER_S", 0.05)
    with pytest.raises(UserError, match=r"has not answered for .* the order is withdrawn\. Try again\."):
        give(driven, Order(do="stop"))
    assert nothing_is_left(driven)


def test_a_folder_that_takes_no_order_is_named(driven: Path) -> None:
    (driven / orders.ORDERS).write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"orders cannot be written: "):
        give(driven, Order(do="stop"))


UNSOUND = {
    "no JSON": "stop",
    "no order": json.dumps({"please": "stop"}),
    "another verb": json.dumps({"do": "delete", "set": []}),
    "a number that is a text": json.dumps({"do": "stop", "set": [], "trial": "3"}),
    "warm after nobody": json.dumps({"do": "enqueue", "set": [], "warm": True}),
}


@pytest.mark.parametrize("content", UNSOUND.values(), ids=UNSOUND)
def test_a_file_that_is_no_order_is_put_aside_and_the_search_goes_on(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / orders.ORDERS).mkdir()
    (tmp_path / orders.ORDERS / "1-me.json").write_text(content)
    with caplog.at_level(logging.WARNING, "tuner"):
        Inbox(tmp_path, lambda order: pytest.fail(f"it was taken for {order}")).look()
    assert "1-me.json is no order of tuner's." in caplog.text and nothing_is_left(tmp_path)


def test_an_order_to_stop_that_was_for_the_driver_before_is_refused(tmp_path: Path) -> None:
    keep(tmp_path, Order(do="stop", id="1-me"))
    (tmp_path / orders.ORDERS / "0-you.answer").write_text("to somebody who did not wait")
    Inbox(tmp_path, lambda order: pytest.fail("it stopped")).look()
    answer = json.loads((tmp_path / orders.ORDERS / "1-me.answer").read_text())
    assert answer["taken"] is False and "has only just begun, and that was for its driver before" in answer["said"]
    assert [path.name for path in (tmp_path / orders.ORDERS).iterdir()] == ["1-me.answer"]


def test_what_was_kept_is_kept_again_when_it_is_too_early_and_refused_aloud_when_it_is_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    early, wrong = Order(do="enqueue", like=0, kept=True, id="1-me"), Order(do="enqueue", like=9, kept=True, id="2-me")

    def take(order: Order) -> str:
        raise NotNow("Trial 0 still trains.") if order.like == 0 else UserError("There is no trial 9.")

    keep(tmp_path, early)
    keep(tmp_path, wrong)
    with caplog.at_level(logging.WARNING, "tuner"):
        Inbox(tmp_path, take).look()
    assert [path.stem for path in waiting(tmp_path)] == [early.id]
    assert "What was enqueued while no driver ran is refused: There is no trial 9." in caplog.text and "Trial 0" not in caplog.text


def test_an_order_that_is_withdrawn_while_it_is_taken_up_is_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, Order(do="enqueue", set=("lr=1",)))
    found = waiting(tmp_path)
    monkeypatch.setattr(orders, "waiting", lambda folder: found)
    found[0].unlink()
    Inbox(tmp_path, lambda order: pytest.fail("it was taken")).look()
