"""What a user did that cannot be, said in one message: the rule, the value, the place, the next step."""

from collections.abc import Iterable
from difflib import get_close_matches

_MOST_LINE = 500  # characters; a message quotes files, and a file may hold anything


class UserError(ValueError):
    """Bad input. The command line prints it without a traceback and exits with 2."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`" Did you mean 'weights.cyclic'?"`, or nothing where no known name is near."""
    near = get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def first_line(error: BaseException) -> str:
    """Of its message, without the full stop: for a message that quotes it. The error's type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def readable(message: str) -> str:
    """The message as a terminal may be given it: what it quotes can neither move the cursor nor fill the screen."""
    lines = ("".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in message.split("\n"))
    return "\n".join(line if len(line) <= _MOST_LINE else f"{line[: _MOST_LINE // 2]} … {line[-_MOST_LINE // 4 :]}" for line in lines)
