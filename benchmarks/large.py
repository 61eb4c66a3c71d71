"""How much memory does a training on a million rows take? `python benchmarks/large.py [--models idec gmm] [--clustpy PYTHON]`.

One epoch of each phase, at the model's defaults but for `CHANGED`, on 1,000,000 rows of 64 features in ten Gaussian clusters with labels,
scaled to [0, 1], in a process of its own. The peak is the largest resident set of that process, the imports (printed beside it) and the
data (0.24 GiB) included. Target: 6 GiB. `--clustpy`: ClustPy's model of the same name on the same data beside it; see
benchmarks/peers.py for its environment.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
MODELS = ("idec", "vade", "gmm", "aae_unsup")
TARGET = 6.0  # GiB
# Targets of all samples are renewed twice an epoch, as IDEC's authors do on MNIST: the default, every 30 batches, is 130 passes over the
# data in an epoch of a million rows, and two hours; the memory is the same.
CHANGED = {"idec": {"refresh_every": 2000}}


def peak() -> float:
    """GiB, of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write(path: Path, rows: int, features: int) -> None:
    """The data as npz, each column from 0 to 1; row after row in pieces: this process is to stay small."""
    import numpy as np

    g = np.random.default_rng(0)
    centers_KD = g.normal(0, 3, (10, features)).astype(np.float32)
    y_N = g.integers(0, 10, rows)
    x_ND = centers_KD[y_N]
    for start in range(0, rows, 100_000):
        x_ND[start : start + 100_000] += g.standard_normal(x_ND[start : start + 100_000].shape, dtype=np.float32)
    x_ND -= x_ND.min(0)
    x_ND /= x_ND.max(0)
    np.savez(path, x=x_ND, y=y_N)


def ours(name: str, path: Path) -> dict[str, float]:
    from tuner.data.datasets import DatasetSpec, load
    from tuner.model import load_model
    from tuner.training.loop import train

    model = load_model(name)
    imports = peak()
    data = load(DatasetSpec(name=f"npz:{path}", scale="none"))
    h = model.hyper({phase.epochs: 1 for phase in model.phases(model.hyper({}))} | CHANGED.get(name, {}))
    began = time.perf_counter()
    *_, last = train(model, h, data, seed=0)
    return {"imports": imports, "peak": peak(), "seconds": time.perf_counter() - began, "acc": last.metrics["acc"]}


def clustpy(python: str, name: str, path: Path) -> dict[str, float]:
    """The same with ClustPy, which answers to benchmarks/peers.py."""
    from peers import MODELS as PAIRS
    from peers import SHARED, THEIRS

    asked = {**SHARED, "model": name, "seed": 0, "epochs": 1, "pretrain_epochs": 1, **THEIRS, **PAIRS[name][1], "data": str(path)}
    began = time.perf_counter()
    side = [python, str(Path(__file__).with_name("clustpy_side.py"))]
    subprocess.run(side, input=json.dumps(asked) + "\n", stdout=subprocess.DEVNULL, text=True, check=True)
    return {"peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, "seconds": time.perf_counter() - began}


def apart(*words: str) -> dict[str, float]:
    """One measurement in a process of its own: a peak is a process's, and never sinks."""
    done = subprocess.run([sys.executable, __file__, "--one", *words], stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--clustpy", metavar="PYTHON", help="an interpreter that has ClustPy")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        side, name, path, *python = args.one
        print(json.dumps(ours(name, Path(path)) if side == "ours" else clustpy(python[0], name, Path(path))))
        return 0
    over = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blobs.npz"
        write(path, args.rows, args.features)
        for name in args.models:
            found = apart("ours", name, str(path))
            if not found:
                print(f"{name}: failed", flush=True)
                over.append(name)
                continue
            line = f"{name}: {found['peak']:.2f} GiB (imports {found['imports']:.2f}), {found['seconds']:.0f} s, acc {found['acc']:.3f}"
            if args.clustpy and name in ("dec", "idec", "dcn", "vade"):
                theirs = apart("clustpy", name, str(path), args.clustpy)
                line += f"; ClustPy {theirs['peak']:.2f} GiB, {theirs['seconds']:.0f} s" if theirs else "; ClustPy failed"
            print(line, flush=True)
            over += [name] if found["peak"] > TARGET else []
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
