"""Login, network and the registration of a sweep, in a process of its own: there W&B may print, retry and hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from tuner import layout
from tuner.errors import first_line

from .wandb_recorded import project

REGISTER_S = 40  # login, network and sweep together may take so long before the runs are recorded offline instead


def why_offline() -> str | None:
    """Why a search that starts now would be recorded offline; None where it would be online."""
    answer = ask_the_cloud(None)
    return answer.get("why")


def ask_the_cloud(sweep: Mapping[str, Any] | None) -> dict[str, Any]:
    """`{"id", "url"}` of the newly registered sweep, or `{"why"}` there is none. Without a sweep nothing is registered."""
    return asked("tuner.trackers.wandb_login", sweep, REGISTER_S)


def asked(module: str, given: Mapping[str, Any] | None, seconds: int) -> dict[str, Any]:
    """What a module answers that is run in a process of its own, or `{"why"}` it does not."""
    root = str(layout.ROOT)
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(given and dict(given)),
            capture_output=True,
            text=True,
            timeout=seconds,
            env={**os.environ, "PYTHONPATH": path, "WANDB_SILENT": "true"},
            start_new_session=True,  # Ctrl-C is for the search
        )
    except subprocess.TimeoutExpired:
        return {"why": f"no answer within {seconds} s"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return {"why": (done.stderr.strip().splitlines() or [f"wandb ended with {done.returncode}"])[-1]}
    return answer


def _register_sweep(sweep: dict[str, Any] | None) -> dict[str, Any]:
    import wandb

    host = wandb.setup(settings=wandb.Settings(silent=True)).settings.base_url
    if not wandb.login(prompt=False, verify=False):
        return {"why": "no login on this machine"}
    try:
        urllib.request.urlopen(urllib.request.Request(host, method="HEAD"), timeout=8).close()
    except urllib.error.HTTPError:
        pass  # an answer, if not the one to HEAD
    except OSError:
        return {"why": f"{host} cannot be reached"}
    try:
        wandb.login(prompt=False, verify=True)
    except wandb.errors.AuthenticationError:
        return {"why": f"{host} does not accept the login"}
    if sweep is None:
        return {}
    entity = os.environ.get("WANDB_ENTITY")
    sweep_id = wandb.sweep(sweep, project=project(), entity=entity)
    api = wandb.Api()
    app = wandb.setup().settings.app_url
    return {"id": sweep_id, "url": f"{app}/{entity or api.default_entity}/{project()}/sweeps/{sweep_id}"}


if __name__ == "__main__":
    try:
        print(json.dumps(_register_sweep(json.load(sys.stdin))))
    except Exception as error:  # the search is recorded offline, with this as the reason
        print(json.dumps({"why": first_line(error)}))
