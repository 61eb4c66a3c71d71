"""What reading a large csv costs, beside pandas with pyarrow: `python benchmarks/read_csv.py [--rows 1000000] [--rounds 3]`.

Both read the same file, 64 columns of floats and a column of labels, into one float64 array of (rows, 64) and the labels; the readers
take turns, and each round is a process of its own, whose time is that of the reading alone and whose peak of memory is the process's.
Target: no longer than pandas.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
COLUMNS = 64


def write(path: Path, rows: int) -> None:
    import pyarrow
    from pyarrow import csv

    r = np.random.default_rng(0)
    with path.open("wb") as file:
        for i in range(0, rows, 50_000):
            n = min(50_000, rows - i)
            table = {f"f{j}": r.normal(size=n) for j in range(COLUMNS)} | {"label": r.integers(0, 10, n)}
            csv.write_csv(pyarrow.table(table), file, csv.WriteOptions(include_header=i == 0))


def read(who: str, path: Path) -> dict[str, float]:
    """Seconds, and the process's peak in GB."""
    if who == "tuner":
        from tuner.data.files import read_file
    else:
        import pandas as pd
    start = time.perf_counter()
    if who == "tuner":
        raw = read_file(f"csv:{path}", None)
        x_ND, y_N = raw.x_N, raw.y_N
    else:
        frame = pd.read_csv(path, engine="pyarrow")
        y_N = frame.pop("label").to_numpy()
        x_ND = frame.to_numpy()
    seconds = time.perf_counter() - start
    assert y_N is not None and x_ND.shape == (len(y_N), COLUMNS)
    return {"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        print(json.dumps(read(given.read[0], Path(given.read[1]))))
        return
    found: dict[str, list[dict[str, float]]] = {"pandas": [], "tuner": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.csv"
        write(path, given.rows)
        print(f"{given.rows:,} rows of {COLUMNS} columns, {path.stat().st_size / 1e9:.2f} GB")
        for _ in range(given.rounds):
            for who in found:
                done = subprocess.run([sys.executable, __file__, "--read", who, str(path)], capture_output=True, text=True, check=True)
                found[who].append(json.loads(done.stdout))
    for who, rounds in found.items():
        print(f"{who:8} {statistics.median(one['seconds'] for one in rounds):6.2f} s, peak {max(one['peak'] for one in rounds):.2f} GB")
    print(f"ratio    {statistics.median(t['seconds'] / p['seconds'] for p, t in zip(found['pandas'], found['tuner'], strict=True)):6.2f}")


if __name__ == "__main__":
    main()
