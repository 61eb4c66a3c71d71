"""Searches, confirmations and simulations in a process of their own that is killed at an epoch of a trial.

The process is forked from one that has imported what they import: the imports take longer than most of these searches."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from kit.resumed import Heard

Place = tuple[int, int]  # a trial and an epoch of it

_FORKED = multiprocessing.get_context("forkserver")
_IMPORTED = ["kit.killed", "tuner.service.resume", "tuner.service.simulate", "tuner.tune.actor", "tuner.tune.callback"]


def killed(space: Path, out: Path, place: Place, *, confirming: bool = False) -> None:
    """`space`: of a search that begins, on the session's Ray; one that has begun is resumed. Its run is `s` in `out`. `confirming`: the
    place is one of its confirmation."""
    run_until_killed(_search, space, out, _address(), place, "confirm_listeners" if confirming else "listeners")


def killed_confirmation(folder: Path, place: Place) -> None:
    """Of the two best of a run, on three seeds, on the session's Ray."""
    run_until_killed(_confirm, folder, _address(), place)


def killed_simulation(folder: Path, table: Path, place: Place, earlier: tuple[Path, ...] = ()) -> None:
    """Of `folder`'s space.yaml on eight lanes. Its run is `s` in `folder`/runs. `earlier`: runs that it is told of."""
    run_until_killed(_simulate, folder, table, place, earlier)


def _search(space: Path, out: Path, address: str, place: Place, part: str) -> None:
    from tuner.service.driver import SearchOptions, search
    from tuner.service.resume import ResumeOptions, resume
    from tuner.space.reader import read_space

    heard = {part: (Heard(place, signal.SIGKILL),)}
    if (out / "s").exists():
        resume(out / "s", ResumeOptions(**heard))
    else:
        search(read_space(str(space)), SearchOptions(out=out, name="s", address=address, **heard))


def _confirm(folder: Path, address: str, place: Place) -> None:
    from tuner.service.confirm import ConfirmOptions, confirm

    confirm(folder, ConfirmOptions(top=2, seeds=3, address=address, listeners=(Heard(place, signal.SIGKILL),)))


def _simulate(folder: Path, table: Path, place: Place, earlier: tuple[Path, ...]) -> None:
    from tuner.service.simulate import SimulateOptions, simulate
    from tuner.space.reader import read_space

    heard = (Heard(place, signal.SIGKILL),)
    options = SimulateOptions(table=table, out=folder / "runs", name="s", lanes=8, listeners=heard, earlier=earlier)
    simulate(read_space(str(folder / "space.yaml")), options)


def _address() -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


def run_until_killed(program: Callable[..., None], *arguments: object) -> None:
    """Runs a function of this module, which SIGKILLs its process, in a process of its own."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        process = _forking().Process(target=_in_a_fork, args=(program, arguments, dict(os.environ), output))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, output.read_text()
        process.close()


def _forking() -> multiprocessing.context.ForkServerContext:
    """Its server finds `kit` and tuner as this process does."""
    from multiprocessing import forkserver

    tests, found = Path(__file__).parent.parent, os.environ.get("PYTHONPATH")
    _FORKED.set_forkserver_preload(_IMPORTED)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(tests), str(tests.parent), *([found] if found else [])])
    try:
        forkserver.ensure_running()
    finally:
        if found is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = found
    return _FORKED


def _in_a_fork(program: Callable[..., None], arguments: tuple[object, ...], environment: dict[str, str], output: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with output.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    from tuner.search import trainer

    trainer.CHECKPOINT_EVERY_S = 0.0
    try:
        program(*arguments)
    except BaseException:
        traceback.print_exc()
        raise
