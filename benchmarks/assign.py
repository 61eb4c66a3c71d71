"""What `tuner assign` needs for a million samples: `python benchmarks/assign.py [--rows 1000000] [--models idec kmeans]`.

For each model, trained for an epoch on digits, and each format of the input: the most memory that the process had in use beyond what it
had after its imports, in MiB, and how many samples it assigned in a second. The input is rows of digits with noise, 64 features in
float32; the output is of the input's format, npz for npy. Target: less than 1,024 MiB.

Each figure is of a process of its own. Its peak is the kernel's (VmHWM), set back after the imports.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

FORMATS = ("npy", "npz", "parquet", "csv")
OUTPUTS = {"npy": "npz"}
TARGET_MIB, AT_ONCE = 1024, 50_000


def train_one(model: str, folder: Path) -> Path:
    """The path of a `best.yaml` with its weights beside it."""
    from tuner.data.datasets import DatasetSpec, load
    from tuner.model import load_model
    from tuner.training import checkpoint
    from tuner.training.loop import train

    found = load_model(model)
    phases = {phase.epochs for phase in found.phases(found.hyper({}))}
    h = found.hyper(dict.fromkeys(phases, 1))
    *_, last = train(found, h, load(DatasetSpec(name="digits", scale="minmax")), seed=0)
    folder.mkdir()
    checkpoint.save(last.snapshot(), folder / "best.safetensors")
    parameters = json.dumps({name: value for name, value in h.flat().items() if name != "epochs"})
    text = f"model: {model}\ndataset: {{name: digits, scale: minmax}}\nepochs: {h.epochs}\nparameters: {parameters}\n"
    (folder / "best.yaml").write_text(text)
    return folder / "best.yaml"


def pieces(rows: int) -> Iterator[np.ndarray]:
    from sklearn.datasets import load_digits

    digits, rng = load_digits().data / 16, np.random.default_rng(0)
    for i in range(0, rows, AT_ONCE):
        some = digits[rng.integers(len(digits), size=min(AT_ONCE, rows - i))]
        yield np.clip(some + rng.normal(0, 0.02, some.shape), 0, 1).astype(np.float32)


def write(path: Path, rows: int) -> None:
    if path.suffix in (".npy", ".npz"):
        x_ND = np.concatenate(list(pieces(rows)))
        np.save(path, x_ND) if path.suffix == ".npy" else np.savez(path, x=x_ND)
        return
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    names = [f"f{i}" for i in range(64)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    writer = pa.csv.CSVWriter if path.suffix == ".csv" else pa.parquet.ParquetWriter
    with writer(path, schema) as out:
        for x_BD in pieces(rows):
            out.write_table(pa.table({name: x_BD[:, i] for i, name in enumerate(names)}, schema=schema))


def measure(best: Path, source: Path, output: Path) -> dict[str, Any]:
    """In a process of its own. `assign_to_file` is what the command calls."""
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401 - an import, not a need of the samples

    from tuner.inference.clusters import Request, assign_to_file
    from tuner.inference.load import load_trained

    Path("/proc/self/clear_refs").write_text("5")
    before, began = memory("VmRSS"), time.perf_counter()
    done = assign_to_file(load_trained(best, device="cpu"), Request(source=str(source)), output)
    seconds = time.perf_counter() - began
    return {"mib": (memory("VmHWM") - before) / 1024, "rows": done.rows, "seconds": seconds, "imports": before / 1024}


def memory(what: str) -> int:
    """kB"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--models", nargs="+", default=["kmeans", "idec"])
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--measure", nargs=3, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure)))
        return
    print("| model | input | MiB above the imports | samples per second |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        best = {model: train_one(model, Path(folder) / model) for model in given.models}
        for kind in given.formats:
            source, output = Path(folder) / f"in.{kind}", Path(folder) / f"out.{OUTPUTS.get(kind, kind)}"
            write(source, given.rows)
            for model in given.models:
                words = [sys.executable, __file__, "--measure", str(best[model]), str(source), str(output)]
                found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
                output.unlink()
                print(f"| {model} | {kind} | {found['mib']:.0f} | {found['rows'] / found['seconds']:,.0f} |", flush=True)
                assert found["rows"] == given.rows
            source.unlink()


if __name__ == "__main__":
    main()
