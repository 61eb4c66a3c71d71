"""Pre-training epochs on their way to the driver. Ray calls an actor's method again where its answer was lost."""

from __future__ import annotations

from tuner.tune.mailbox import Mail, Mailbox


def mail(trial: int, epoch: int) -> Mail:
    line = {"trial": trial, "epoch": epoch, "phase": "pretrain", "cluster_epoch": None, "metrics": {}}
    return Mail(line=line, captured=(), key=f"{trial} {epoch}")


def test_an_answer_that_was_lost_is_given_again() -> None:
    mailbox, first, second, third = Mailbox(), mail(0, 1), mail(1, 1), mail(0, 2)
    mailbox.put(first)
    mailbox.put(second)
    assert list(mailbox.take(None)) == [first, second]
    assert list(mailbox.take(None)) == [first, second], "nobody has said that they arrived"
    mailbox.put(third)
    assert list(mailbox.take(second.key)) == [third]
    assert list(mailbox.take(second.key)) == [third]
    assert list(mailbox.take(third.key)) == []


def test_a_mail_that_is_put_again_comes_once() -> None:
    mailbox, first, other = Mailbox(), mail(0, 1), mail(1, 1)
    assert mailbox.put(first)
    mailbox.put(other)
    assert mailbox.put(first)
    assert list(mailbox.take(None)) == [first, other]
    assert mailbox.put(first), "its answer was lost, and the driver was quicker than the second call"
    assert list(mailbox.take(other.key)) == []
    mailbox.stop(0)
    assert not mailbox.put(mail(0, 2))


def test_a_mailbox_that_was_started_again_knows_no_mail_of_before() -> None:
    mailbox, second = Mailbox(), mail(0, 2)
    mailbox.put(second)
    assert list(mailbox.take("0 1")) == [second]
