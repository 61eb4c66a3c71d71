"""What `tuner doctor` finds out on every node. Sent there by value, and only the standard library is imported: the node may lack tuner."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("ray", "torch", "numpy", "scipy", "scikit-learn", "optuna", "safetensors")
GPU_S, CONNECT_S = 60, 5

# In a process of its own, as Ray hides the GPUs from a task that asks for none. 64 MB: the least that any training takes.
_GPU = """
import json, torch
found = []
for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    try:
        torch.empty(1 << 26, dtype=torch.uint8, device=f"cuda:{i}").fill_(1)
        torch.cuda.synchronize(i)
        free, total = torch.cuda.mem_get_info(i)
        found.append({"name": torch.cuda.get_device_name(i), "free": free, "total": total})
    except RuntimeError as error:
        found.append({"error": str(error).splitlines()[0]})
print(json.dumps({"gpus": found, "built": torch.version.cuda}))
"""


def look(questions: dict[str, Any]) -> dict[str, Any]:
    """The facts of this node.

    `questions`: `storage` = {folder, key, name}, `files` = paths, `peers` = [host, port], `gpu` = whether to try the GPUs.
    """
    found: dict[str, Any] = {
        "host": platform.node(),
        "auth": os.environ.get("RAY_AUTH_MODE", "").lower(),
        "versions": versions(),
        "storage": storage(**questions["storage"]) if questions.get("storage") else None,
        "files": {path: fingerprint(path) for path in questions.get("files", ())},
        "closed": [[host, port] for host, port in questions.get("peers", ()) if not answers(host, port)],
    }
    if questions.get("gpu"):
        found["gpu"] = gpus()
    return found


def versions(also: tuple[str, ...] = ()) -> dict[str, str | None]:
    """Of Python, of the packages that results depend on, and of those in `also`; None where one is absent.

    Of tuner a hash of its code: the same version may have been edited.
    """
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in (*PACKAGES, *also):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    found["tuner"] = code()
    return found


def code() -> str | None:
    """A few letters that differ where tuner's or a model's code does; None where there is no tuner."""
    spec = importlib.util.find_spec("tuner")
    if spec is None or not spec.origin:
        return None
    package = Path(spec.origin).parent
    models = package / "models" if (package / "models").is_dir() else package.parent / "models"
    digest = hashlib.sha256()
    ours = sorted(path for path in package.rglob("*.py") if models not in path.parents)
    for path in ours + sorted(models.glob("*.py")):  # in this order installed and in a checkout
        digest.update(f"{path.parent.name}/{path.name}".encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


def storage(folder: str, key: str, name: str) -> dict[str, Any]:
    """Whether the driver's file is seen in `folder`, and whether one of this node's own can be left there for the driver."""
    try:
        seen = (Path(folder) / "driver").read_text() == key
    except OSError as error:
        return {"seen": False, "error": error.strerror or str(error)}
    try:
        (Path(folder) / name).write_text(key)
    except OSError as error:
        return {"seen": seen, "error": error.strerror or str(error)}
    return {"seen": seen, "error": None}


def fingerprint(path: str) -> str | None:
    """Size and content of a file, of a large one both ends; None where it cannot be read."""
    end = 1 << 20
    try:
        size = Path(path).stat().st_size
        with Path(path).open("rb") as file:
            digest = hashlib.sha256(file.read(end))
            file.seek(max(0, size - end))
            digest.update(file.read(end))
    except OSError:
        return None
    return f"{size} bytes, {digest.hexdigest()[:8]}"


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def gpus() -> dict[str, Any]:
    """What torch can do on this node's GPUs: `gpus` = [{name, free, total}] in bytes, or `error`."""
    environment = dict(os.environ)
    if not environment.get("CUDA_VISIBLE_DEVICES", "all").strip():
        del environment["CUDA_VISIBLE_DEVICES"]  # empty: by Ray, for a task that asked for none
    try:
        done = subprocess.run([sys.executable, "-c", _GPU], env=environment, capture_output=True, text=True, timeout=GPU_S, check=False)
    except subprocess.TimeoutExpired:
        return {"gpus": [], "error": f"torch did not answer within {GPU_S} s"}
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"gpus": [], "error": (done.stderr.strip().splitlines() or ["torch ended without a message"])[-1]}
    return found
