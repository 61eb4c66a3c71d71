"""What a user did that cannot be, said in one message: the rule, the value, the place, the next step."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Bad input. The command line prints it without a traceback and exits with 2."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`" Did you mean 'weights.cyclic'?"`, or nothing where no known name is near."""
    near = get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
