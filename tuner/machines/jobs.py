"""`tuner submit` and what follows a submitted search: Ray Jobs, asked through the dashboard. The search itself runs on the cluster."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import __version__
from tuner.errors import UserError, did_you_mean
from tuner.names import check_name
from tuner.own_models import MODELS, keep, read_own
from tuner.stores.store import is_uri

from .dashboard import connected

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

    from tuner.space.reader import Options


READY_S, BEGIN_S, STOP_S, POLL_S = 60, 180, 60, 0.5
STATES = {"PENDING": "waiting", "RUNNING": "running", "SUCCEEDED": "done", "FAILED": "failed", "STOPPED": "stopped"}
_TELLING = re.compile(r"\[[\d:]+\] |[\d,]+ trials?: |error: ")  # a trial's end, the sum at the end, what went wrong
# What is said to the search of this machine's environment. Never a key: whoever sees the dashboard sees these.
_PASSED = ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_MODE", "WANDB_BASE_URL")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A search to be run on the cluster. `out` and `data_root` are paths there, or `out` is a URI; `words`: more options of the search."""

    space: str
    options: Options
    out: str
    data_root: str | None = None
    words: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Job:
    """A submitted search. `state`: one of the values of `STATES`; `out`: its runs' folder on the cluster; times in seconds."""

    name: str
    state: str
    out: str
    began: float
    ended: float | None
    exit_code: int | None


# --- submitting --------------------------------------------------------------------------------------------------------


def submit(what: Submission, address: str) -> str:
    """Hands the search in, and returns its name once it has begun.

    Raises:
        UserError: the space cannot be used, here or there; the cluster cannot be reached, or refuses.
    """
    from tuner.space.reader import space_path

    path = space_path(what.space)
    name = what.options.name or f"{path.stem}-{time.strftime('%m%d-%H%M%S')}"
    check_name(name)
    for option, value in (("--out", what.out), ("--data-root", what.data_root)):
        if value is not None and not value.startswith(("/", "~")) and not (option == "--out" and is_uri(value)):
            raise UserError(f"{option} {value} is relative, and the search runs in another folder, on the cluster. Give it from the root.")
    _check_here(what)
    words = ["exec", "python", "-m", "tuner.cli", "search", f"--space={path.name}", f"--name={name}", f"--out={what.out}"]
    words += [f"--data-root={what.data_root}"] if what.data_root else []
    words += [f"--models={MODELS}"] if what.options.models else []
    with connected(address) as client, tempfile.TemporaryDirectory(prefix="tuner-submit-") as folder:
        taken = {job.name for job in _jobs(client)}
        if name in taken:
            raise UserError(f"A search '{name}' was submitted to this cluster already. Choose another --name, or leave it out.")
        shutil.copyfile(path, Path(folder) / path.name)
        for source in read_own(what.options.models).sources.values():
            keep(source, Path(folder))
        _hand_in(
            client,
            submission_id=name,
            entrypoint=shlex.join([*words, *what.words]),
            runtime_env={"working_dir": folder, "env_vars": _environment()},
            metadata={"tuner": __version__, "out": what.out},
        )
        _wait_until_it_begins(client, name)
    return name


def _hand_in(client: JobSubmissionClient, **job: Any) -> None:
    end = time.monotonic() + READY_S
    while True:
        try:
            client.submit_job(**job)
        except RuntimeError as error:
            # A head takes jobs some seconds after its dashboard answers.
            if "No available agent" not in str(error):
                raise
            if time.monotonic() > end:
                raise UserError(
                    "The cluster's head takes no jobs. Often another Ray on its machine has the port that this needs: start the head with "
                    "--dashboard-agent-listen-port=PORT, another one than 52365."
                ) from error
            time.sleep(POLL_S)
        else:
            return


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED if os.environ.get(name)}
    # A search that is stopped writes down how its trials ended; Ray would kill it after 3 s.
    return {**passed, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S)}


def _check_here(what: Submission) -> None:
    """Finds what is wrong with the space before anything is sent, where this machine has its data. The cluster checks it anyway."""
    import yaml

    from tuner.space.reader import read_space, space_path

    from .doctor import Checkup, data_files

    dataset: Any = what.options.dataset
    if dataset is None:
        with contextlib.suppress(OSError, ValueError, RecursionError, yaml.YAMLError):  # `read_space` says it better
            content = yaml.safe_load(space_path(what.space).read_text(encoding="utf-8-sig"))
            dataset = content.get("dataset") if isinstance(content, dict) else None
            dataset = dataset.get("name") if isinstance(dataset, dict) else dataset
    root = Path(what.data_root) if what.data_root else None
    with contextlib.suppress(UserError):  # no such data set: `read_space` says where
        if isinstance(dataset, str) and not all(Path(file).is_file() for file in data_files(Checkup(dataset=dataset, data_root=root))):
            return
    read_space(what.space, options=what.options)


def _wait_until_it_begins(client: JobSubmissionClient, name: str) -> None:
    """Returns when the search says what it does. What keeps it from that, the cluster's data for instance, is told here."""
    end = time.monotonic() + BEGIN_S
    while time.monotonic() < end:
        job, log = _job(client, name), client.get_job_logs(name)
        if re.search(rf"^{re.escape(name)}: ", log, re.M) or job.state in ("done", "stopped"):
            return
        if job.state == "failed":
            reason = log[log.index("error: ") + len("error: ") :].strip() if "error: " in log else "\n".join(log.strip().splitlines()[-10:])
            raise UserError(f"The search ended on the cluster before it began: {reason or client.get_job_info(name).message}")
        time.sleep(POLL_S)


def search_words(given: Mapping[str, Any]) -> list[str]:
    """Options of `tuner search` as they are typed; what is None was not given."""
    words: list[str] = []
    for name, value in given.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, bool):
                words.append(f"--{name}" if each else f"--no-{name}")
            elif each is not None:
                words.append(f"--{name}={each}")
    return words


# --- following ---------------------------------------------------------------------------------------------------------


def jobs(address: str) -> list[Job]:
    """The searches that were submitted to the cluster, the newest first."""
    with connected(address) as client:
        return _jobs(client)


def job(name: str, address: str) -> Job:
    """One of them."""
    with connected(address) as client:
        return _job(client, name)


def last_words(name: str, address: str) -> str:
    """The last line of a search's that says how far it is, or else the last that it printed."""
    with connected(address) as client:
        lines = [line for line in client.get_job_logs(name).splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.match(line)]
    return (telling or lines or [""])[-1].strip()


def logs(name: str, address: str, *, follow: bool = False) -> Iterator[str]:
    """What a search has printed; with `follow`, what it prints until it ends."""
    with connected(address) as client:
        shown = 0
        while True:
            job = _job(client, name)  # before the log: what is printed in between is then not missed
            log = client.get_job_logs(name)
            yield log[shown:]
            shown = len(log)
            if not follow or job.state not in ("waiting", "running"):
                return
            time.sleep(POLL_S)


def stop(name: str, address: str) -> Job:
    """Asks a search to end, and waits until it has: how its trials ended is written down. Its state afterwards."""
    with connected(address) as client:
        job = _job(client, name)
        if job.state not in ("waiting", "running"):
            return job
        client.stop_job(name)
        end = time.monotonic() + STOP_S + 10
        while job.state in ("waiting", "running") and time.monotonic() < end:
            time.sleep(POLL_S)
            job = _job(client, name)
        return job


def order(name: str, address: str, words: Sequence[str]) -> str:
    """Runs `tuner WORDS` for a search where it runs, in a job of its own, and returns what it said.

    Raises:
        UserError: what it said where it refused.
    """
    with connected(address) as client:
        out, mine = _job(client, name).out, f"{name}-order-{time.time_ns()}"
        command = ["exec", "python", "-m", "tuner.cli", words[0], name, f"--out={out}", *words[1:]]
        _hand_in(client, submission_id=mine, entrypoint=shlex.join(command), runtime_env={"env_vars": {"RAY_API_SERVER_ADDRESS": ""}})
        try:
            end = time.monotonic() + BEGIN_S
            while not (details := client.get_job_info(mine)).status.is_terminal():
                if time.monotonic() > end:
                    raise UserError(f"The cluster has not run `tuner {words[0]}` for {BEGIN_S} s. Its head may have no room for it.")
                time.sleep(POLL_S)
            log = client.get_job_logs(mine)
        finally:
            with contextlib.suppress(RuntimeError):  # it is not over
                client.delete_job(mine)
    if "error: " in log:
        raise UserError(log[log.index("error: ") + len("error: ") :].strip())
    lines = [line for line in log.splitlines() if line.strip()]
    if details.driver_exit_code != 0 or not lines:
        raise UserError(f"The cluster could not run `tuner {words[0]}`: {lines[-1] if lines else details.message}")
    return lines[-1]


def _jobs(client: JobSubmissionClient) -> list[Job]:
    ours = [each for each in client.list_jobs() if each.submission_id and "tuner" in (each.metadata or {})]
    return sorted(map(_read, ours), key=lambda job: -job.began)


def _job(client: JobSubmissionClient, name: str) -> Job:
    known = [each for each in client.list_jobs() if each.submission_id and "tuner" in (each.metadata or {})]
    for each in known:
        if each.submission_id == name:
            return _read(each)
    names = [str(each.submission_id) for each in known]
    raise UserError(f"No search '{name}' was submitted to this cluster.{did_you_mean(name, names)} `tuner status --address` lists them.")


def _read(details: Any) -> Job:
    return Job(
        name=str(details.submission_id),
        state=STATES[str(details.status.value)],
        out=details.metadata.get("out", ""),
        began=(details.start_time or 0) / 1000,
        ended=details.end_time / 1000 if details.end_time else None,
        exit_code=details.driver_exit_code,
    )
