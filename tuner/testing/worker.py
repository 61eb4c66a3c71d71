"""Imports and trains a model as a worker does: in a process of its own, in another folder, from its text alone."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import tuner
from tuner.errors import UserError, first_line
from tuner.model import Model, load_source
from tuner.own_import import is_own, texts_of
from tuner.own_models import Source

from .data import blobs
from .found import Broken
from .places import Place, of_error, of_import
from .runs import run_again
from .tiny import short

_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from tuner.testing.worker import main; main()"
_ENDS_S = 600.0


def imports_elsewhere(model: Model) -> None:
    """Raises Broken where a worker could not import the model, or fails at what this process can do."""
    module = type(model).__module__
    if not is_own(module):
        return  # it comes with tuner, or with a package
    kept = texts_of(module)
    source = Source(name=module.rpartition(".")[2], files=kept.files, folder=kept.folder, attribute=type(model).__qualname__)
    with tempfile.TemporaryDirectory() as empty:
        elsewhere = replace(source, folder=str(Path(empty) / "absent"))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(Path(tuner.__file__).parent.parent)],
            input=json.dumps(asdict(elsewhere)).encode(),
            cwd=empty,
            env=environment,
            capture_output=True,
            timeout=_ENDS_S,
            check=False,
        )
    if done.returncode != 0:
        raise Broken(f"A process of its own ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    said = json.loads(done.stdout.decode().splitlines()[-1])
    if said is not None:
        raise _broken(said, source, model)


def _broken(said: dict[str, str | int], source: Source, model: Model) -> Broken:
    """What is said of an error that a worker had and this process has not."""
    kind, what, missing = str(said["kind"]), str(said["what"]), str(said["missing"])
    place = Place(str(Path(source.folder) / str(said["file"])), int(said["line"]), "", str(said["text"])) if said["file"] else None
    if missing:
        at = importlib.util.find_spec(missing)
        beside = f" Here it is {at.origin}, which is no part of the model." if at is not None and at.origin else ""
        remedy = (
            f"A file of your own: name it _{missing}.py, put it beside the model, and write `from ._{missing} import …`: it then goes "
            "wherever the model goes. A library: install it on every machine that trains."
        )
        return Broken(f"A worker cannot import {missing}.{beside}", place=place or of_import(model, missing), remedy=remedy)
    if kind in ("FileNotFoundError", "NotADirectoryError", "OSError"):
        remedy = "Put its values into the model's file, or into _NAME.py beside it: `from ._NAME import …`. Data belong into the data set."
        return Broken(f"A worker does not have a file that the model reads: {what}.", place=place, remedy=remedy)
    return Broken(f"It fails in a process of its own: {kind}: {what}.", place=place)


def main() -> None:
    """The other process: prints what went wrong as JSON, or null. What this process cannot do either is for other checks."""
    source = Source(**json.loads(sys.stdin.read()))
    trouble: BaseException | None = None
    try:
        model = load_source(source)
        run_again(model, short(model), blobs(), 1)
    except UserError as error:
        trouble = error.__cause__ or error
    except Exception as error:
        trouble = error
    if trouble is None or not isinstance(trouble, ImportError | OSError | UserError):
        print("null")
        return
    found = of_error(trouble)
    place = (
        {"file": Path(found[0].file).name, "line": found[0].line, "text": found[0].text} if found else {"file": "", "line": 0, "text": ""}
    )
    missing = trouble.name.partition(".")[0] if isinstance(trouble, ImportError) and trouble.name else ""
    print(json.dumps({**place, "kind": type(trouble).__name__, "what": first_line(trouble), "missing": missing}))
