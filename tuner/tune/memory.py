"""Out of memory, on a GPU or on a machine: how it is recognised, and what is reported.

By names and words, as neither torch nor Ray need be there: torch raises an error of its own on a GPU and a plain RuntimeError on a
CPU; Ray kills a worker where a machine runs out of memory, and reports it as an error of its own or as the death of an actor.
"""

from __future__ import annotations

import re

_ON_GPU = re.compile(r"CUDA( error:)? out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED")
_ON_MACHINE = re.compile(r"can't allocate memory|node running low on memory")
_LARGER = "make 'batch_size' or the networks smaller"


def reason_of(error: BaseException | None) -> str | None:
    """What happened and what to do, in one line; None if the error is not about memory."""
    while error is not None:
        if getattr(error, "cause", None) is not None:  # Ray's, whose text is a traceback with the source's lines in it
            error = error.cause  # type: ignore[attr-defined]
            continue
        kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__).rstrip(".") + "."
        if "torch.OutOfMemoryError" in kinds or _ON_GPU.search(str(error)):
            fewer = "let fewer trials share it ('gpu' under 'resources' larger, 'pack' smaller)"
            return f"out of memory on the GPU: {_found(_ON_GPU, error) or first} To do: {fewer}, or {_LARGER}."
        if kinds & {"ray.OutOfMemoryError", "builtins.MemoryError"} or _ON_MACHINE.search(str(error)):
            fewer = "let fewer trials run there at once ('cpu' under 'resources' larger)"
            return f"out of memory on the machine: {_found(_ON_MACHINE, error) or first} To do: {fewer}, or {_LARGER}."
        error = error.__cause__
    return None


def _found(words: re.Pattern[str], error: BaseException) -> str | None:
    """The line that says it, as a sentence."""
    line = next((line.strip() for line in str(error).splitlines() if words.search(line)), None)
    return line and line.rstrip(".") + "."
