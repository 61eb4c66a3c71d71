"""Ray for a search: started in this process, or joined where it runs already; never stopped unless it was started here."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import layout
from tuner.environment import switched_on
from tuner.errors import UserError, first_line

from .late_dashboard import LateDashboard
from .surroundings import check_loopback, short_folder, short_temporary
from .token import protect_token, token_file

if TYPE_CHECKING:
    from tuner.space.spec import Resources


_OBJECT_STORE_BYTES = 200_000_000  # trials exchange numbers; Ray would reserve 30 % of the memory
_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a warning about a future version
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints a table even when told to be silent
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # else the driver's terminal gets a page for every worker that dies
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONSAFEPATH": "1",  # Ray starts helpers by `python -c`, which imports from the current folder
    # One worker per core would be started and wait for tasks that never come: a trial's worker has an environment of its own.
    "RAY_prestart_worker_first_driver": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # they import torch and tensorboardX, and cost 3 s
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours lets everybody know how trials ended
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # nobody restores from Tune's snapshots: the journal and the study are the truth
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


@dataclass(frozen=True, kw_only=True)
class Share:
    """What every trial is given, and how many trials that leaves room for at once."""

    cpu: float
    gpu: float
    slots: int

    @property
    def threads(self) -> int:
        """For torch, in one trial."""
        return max(1, int(self.cpu))


class _WorkerPath(list[str]):
    """What Ray puts in front of its workers' `sys.path`: what a plain checkout needs, and not the driver's current folder, which Ray adds.

    A `tuner.py` or `models.py` of the user's may lie there, and every trial's process would import that one.
    """

    def __init__(self) -> None:
        super().__init__([] if layout.ROOT.name in ("site-packages", "dist-packages") else [str(layout.ROOT)])

    def extend(self, paths: Iterable[str]) -> None:
        super().extend(path for path in paths if path != str(Path.cwd()))


def job_config() -> Any:
    """What Ray's processes are told of this one. Ray adds to it, when it is joined, where they may import from."""
    from ray.job_config import JobConfig

    job = JobConfig()
    job._py_driver_sys_path = _WorkerPath()  # given as an argument, an empty one would be replaced by a plain list
    return job


class Cluster:
    """A Ray cluster that is being started or joined. `wait` returns once it can be used."""

    def __init__(self, address: str | None) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS")
        self._by_environment = not address
        self._url: str | None = None
        self._ours = False
        self._error: BaseException | None = None
        self._ready, self._over = threading.Event(), threading.Event()
        self._dashboard = LateDashboard()
        _set_environment(self.address)
        # Not in the thread: Ray's packages import each other in circles, and of two threads that do so each may wait for the other.
        import ray  # noqa: F401

        # Ray's processes die with the *thread* that started them: this one stays until the end.
        self._thread = threading.Thread(target=self._start, name="ray", daemon=True)
        self._thread.start()

    def _start(self) -> None:
        try:
            self._connect()
        except BaseException as error:  # raised again where somebody waits for it
            self._error = error
        self._ready.set()
        if self._error is None:
            self._dashboard.start()
        self._over.wait()

    def _connect(self) -> None:
        if self.address is None:
            protect_token()
            check_loopback()
        else:
            _knock(self.address, named=f"RAY_ADDRESS={self.address}" if self._by_environment else f"--address {self.address}")
        import ray

        if ray.is_initialized():  # by whoever runs this process: theirs to stop, and to say where its dashboard is
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
        quiet["job_config"] = job_config()
        if self.address is not None:
            context = ray.init(address=self.address, **quiet)
        else:
            # `local`: without it Ray would join whatever `ray start` began on this machine.
            own: dict[str, Any] = {"address": "local", "dashboard_host": "127.0.0.1", "object_store_memory": _OBJECT_STORE_BYTES}
            own |= {} if (short := short_folder()) is None else {"_temp_dir": short}
            with short_temporary() as temporary:
                if temporary is not None:
                    quiet["job_config"].set_runtime_env({"env_vars": {"TMPDIR": temporary}})
                with self._dashboard.awaited():
                    context = ray.init(include_dashboard=not switched_on("TUNER_NO_DASHBOARD"), **own, **quiet)
            protect_token()
        self._ours = True
        self._url = context.dashboard_url

    def wait(self) -> Cluster:
        """Returns when Ray can be used.

        Raises:
            UserError: no cluster answers at the address, or it may not be joined; or one did not start here in time.
        """
        self._ready.wait()
        if self._error is None:
            for name in ("ray", "ray.tune", "ray.train"):
                logging.getLogger(name).setLevel(logging.CRITICAL)  # what fails is told by the journal and the display
            return self
        self.close()
        if isinstance(self._error, UserError):
            raise self._error
        if self.address is None:
            if "timed out during startup" not in str(self._error):  # it says so in words only
                raise self._error
            raise UserError(
                "Ray did not start within 30 seconds: this machine is too busy for it. Try again when less runs here. Or start Ray once, "
                "and keep it: `ray start --head`, then --address 127.0.0.1:6379."
            ) from self._error
        if _is_refusal(self._error):
            raise UserError(
                f"The Ray cluster at {self.address} refuses: it asks for a token, and this machine's is another or absent. "
                "Copy the file ~/.ray/auth_token of its head here, readable to you alone, or set RAY_AUTH_TOKEN."
            ) from self._error
        if isinstance(self._error, OSError | RuntimeError | ValueError):
            reason = getattr(self._error, "strerror", None) or first_line(self._error)
            by = " (RAY_ADDRESS in the environment names it.)" if self._by_environment else ""
            raise UserError(f"The Ray cluster at {self.address} cannot be joined: {reason}{by}") from self._error
        raise self._error

    def dashboard(self) -> dict[str, str] | None:
        """`{"url", "login"}` of Ray's dashboard, `login` saying how; None where there is none."""
        if not self._url:
            return None
        token = os.environ.get("RAY_AUTH_MODE", "token").lower() == "token"
        login = "log in with the token that `ray get-auth-token` prints" if token else "no login"
        return {"url": f"http://{self._url}", "login": login}

    def share(self, resources: Resources) -> Share:
        """A trial's share of this cluster.

        Raises:
            UserError: no node could ever give it.
        """
        import ray

        nodes: list[Mapping[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        has_gpu = any(node.get("GPU", 0) >= 1 for node in nodes)
        gpu = float(has_gpu) if resources.gpu == "auto" else float(resources.gpu)
        slots = sum(room(node, resources.cpu, gpu) for node in nodes)
        if slots == 0:
            most = [f"{node.get('CPU', 0):g} cpu and {node.get('GPU', 0):g} gpu" for node in nodes]
            where = "this machine has" if self.address is None else "the cluster's nodes have"
            raise UserError(
                f"'resources' asks for {resources.cpu:g} cpu and {gpu:g} gpu for a trial, which no node can ever give: "
                f"{where} {'; '.join(sorted(set(most)))}. Ask for less, or join a cluster that has it with --address."
            )
        return Share(cpu=resources.cpu, gpu=gpu, slots=slots)

    def close(self) -> None:
        """Shuts down what was started here; leaves a cluster that was joined as it is."""
        self._ready.wait()
        self._dashboard.close()
        if self._ours:
            import ray

            ray.shutdown()
            self._ours = False
        self._over.set()
        _early.pop(self.address, None)


_early: dict[str | None, Cluster] = {}  # started before anybody needed it, by address


def start_ray_early(address: str | None = None) -> None:
    """Begins to start or join Ray in the background. `join` finds it; a process that ends before leaves nothing behind."""
    cluster = Cluster(address)
    _early[cluster.address] = cluster


def address_again(address: str | None, about: Mapping[str, Any]) -> str | None:
    """Of the cluster on which a run goes on: `address`, else the one on which it began. `about`: the run's spec.json."""
    return None if address == "local" else address or about.get("address")


def join(address: str | None) -> Cluster:
    """The cluster at `address`, or one in this process, ready to be used.

    Raises:
        UserError: it cannot be joined.
    """
    early = _early.get(address or os.environ.get("RAY_ADDRESS"))
    return (early or Cluster(address)).wait()


def _set_environment(address: str | None) -> None:
    """What Ray reads when it is imported or started."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address is None:
        if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
            del os.environ["RAY_AUTH_MODE"]  # a Ray of our own listens on all interfaces: only its token, its default, keeps others out
    else:
        if os.environ.get("RAY_AUTH_TOKEN") or token_file().is_file():
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray shows a token only where it is told that there are tokens
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "5")  # one a second, with a line each: it answers the knock first


def _knock(address: str, *, named: str) -> None:
    """Ray itself would try for minutes where nobody answers."""
    if "://" in address:
        raise UserError(
            f"{named} is no node of a Ray cluster: give the host and port of its head, such as 10.0.0.1:6379, "
            "on a machine that belongs to it."
        )
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _is_refusal(error: BaseException | None) -> bool:
    """Whether a token was the matter. Ray says so in words only, of the first of several errors."""
    while error is not None:
        if "AuthenticationError" in f"{type(error).__name__} {error}":
            return True
        error = error.__cause__ or error.__context__
    return False


def room(node: Mapping[str, float], cpu: float, gpu: float) -> int:
    """How many trials fit on a node. A GPU is shared by whole trials: two shares of 0.6 need two GPUs."""
    by_cpu = int(node.get("CPU", 0) / cpu + 1e-9)
    if gpu == 0:
        return by_cpu
    gpus = node.get("GPU", 0)
    by_gpu = int(gpus) * int(1 / gpu + 1e-9) if gpu < 1 else int(gpus / gpu + 1e-9)
    return min(by_cpu, by_gpu)
