"""Trial-epochs per hour of the adversarial auto-encoder on MNIST: one trial at a time, by hand and by our engine, and in packs.

    python benchmarks/packs.py --data-root DIR                 # on the GPU where there is one; prints ratios, writes packs.json
    python benchmarks/packs.py --data-root DIR --hidden 500 --widths 2 4 8 --steps 5         # something that a CPU can do

(a) a plain PyTorch loop with a torchvision DataLoader: what a Ray Tune user writes
(b) the same with the data resident on the device and Adam(fused=True): what a careful one writes
(c) our solo engine; on a GPU also as a pack of one, whose step is a CUDA graph
(d) packs of 4 to 64 trials
(e) with --search: a whole `tuner search` of the shipped MNIST space, whose shapes mix

All take turns in one process, a stretch of steps at a time; each figure is the median of the rounds. An epoch is 700 steps of 100
images. DIR holds MNIST/raw/ as torchvision lays it out; `.gz` files are unpacked aside. (a) to (d) need torch, torchvision, scipy
and scikit-learn only.
"""

import argparse
import gzip
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from contenders import B, by_engine, by_hand, resident
from launches import steps
from torch.utils.flop_counter import FlopCounterMode

from tuner import layout
from tuner.data.datasets import DatasetSpec, load
from tuner.model import load_model

STEPS_PER_EPOCH = 700
PARAMETERS_MOVED = {
    "reconstruct": ("encoder", "decoder", "mode_decoder"),
    "deceive": ("encoder",),
    "discriminate": ("critic_y", "critic_z"),
}


def unpacked(root, scratch):
    """A folder in which torchvision finds MNIST, from one that may hold it as `.gz` only."""
    raw = scratch / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (root / "MNIST" / "raw").glob("*-ubyte*"):
        if path.suffix == ".gz" and not path.with_suffix("").exists():
            with gzip.open(path) as packed, (raw / path.stem).open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        elif path.suffix != ".gz":
            (raw / path.name).symlink_to(path.absolute())
    return scratch


def loaded(root, n_steps, device, workers):
    """Batches from a torchvision DataLoader; a stretch continues where the last one stopped."""
    from torchvision import transforms
    from torchvision.datasets import MNIST

    images = MNIST(root, train=True, transform=transforms.Compose([transforms.ToTensor(), torch.flatten]))
    loader = torch.utils.data.DataLoader(
        images, batch_size=B, shuffle=True, drop_last=True, num_workers=workers, pin_memory=device != "cpu"
    )
    batches = (x.to(device, non_blocking=True) for _ in itertools.count() for x, _ in loader)
    while True:
        yield itertools.islice(batches, n_steps)


def matmul_rate(device, precision):
    """Measured FLOP/s of a large square product."""
    torch.set_float32_matmul_precision(precision)
    n = 8192 if device != "cpu" else 1024
    a = torch.randn(n, n, device=device)
    rates = []
    for _ in range(6):
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        rates.append(2 * n**3 / (time.perf_counter() - began))
    return statistics.median(rates[1:])


def flop_per_step(x, hidden):
    """Of the matrix products of one step of one trial, forwards and backwards."""
    with FlopCounterMode(display=False) as counter:
        next(by_engine(x.cpu(), hidden, 1))
    return counter.get_total_flops()


def launch_time(device):
    """Seconds for one of a row of operators that have next to nothing to compute."""
    x, times = torch.zeros(8, device=device), []
    for _ in range(6):
        began = time.perf_counter()
        for _ in range(1000):
            x.add_(1)
        x[0].item()
        times.append((time.perf_counter() - began) / 1000)
    return statistics.median(times[1:])


def bytes_per_step(hidden, n_features):
    """Of the fused Adam of one step of one trial: each parameter's value and moments are read and written, its gradient is read."""
    from tuner.model import DataSpec

    model = load_model("aae_unsup")
    with torch.device("meta"):
        networks = model.networks(model.hyper({"hidden": hidden}), DataSpec(B, (n_features,)))
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    return 4 * 7 * sum(sizes[name] for names in PARAMETERS_MOVED.values() for name in names)


def measure(args, root):
    data = load(DatasetSpec(name="mnist"), root).to(args.device)
    x, n_features = data.x_ND, data.spec.n_features
    runs = {
        "a by hand, DataLoader": by_hand(loaded(root, args.steps, args.device, args.workers), n_features, args.hidden, args.device),
        "b by hand, resident": by_hand(resident(x, args.steps), n_features, args.hidden, args.device),
        "c solo engine": by_engine(x, args.hidden, args.steps),
    }
    if args.device != "cpu":
        runs["c solo, CUDA graph"] = by_engine(x, args.hidden, args.steps, lanes=1)
    runs |= {f"d pack of {width}": by_engine(x, args.hidden, args.steps, lanes=width) for width in args.widths}
    seconds = {name: [] for name in runs}
    for round_ in range(args.rounds + 1):
        for name, run in list(runs.items()):
            try:
                took = next(run)
            except torch.OutOfMemoryError:
                print(f"{name}: out of memory, left out")
                del runs[name], seconds[name]
                torch.cuda.empty_cache()
                continue
            if round_:  # the first warms up
                seconds[name].append(took)
    return {name: statistics.median(each) for name, each in seconds.items()}, {name: [min(e), max(e)] for name, e in seconds.items()}, x


def search(args, root):
    """Trial-epochs per hour of a whole search, from its first journalled epoch to its last."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            "search",
            "--space",
            str(layout.folder("search_spaces") / "aae_unsup_mnist.yaml"),
            "--trials",
            str(args.search),
            "--epochs",
            "3",
        ]
        settings = ["--set", f"hidden={args.hidden}", "--data-root", str(root), "--out", out, "--wandb", "disabled", "--name", "packs"]
        subprocess.run([sys.executable, "-m", "tuner.cli", *command, *settings], check=True)
        lines = [json.loads(line) for line in (Path(out) / "packs" / "results.jsonl").read_text().splitlines()]
    times = sorted(line["time"] for line in lines if "epoch" in line)
    return 3600 * (len(times) - 1) / (times[-1] - times[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=os.environ.get("TUNER_DATA"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--hidden", type=int, default=1000)
    parser.add_argument("--widths", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    parser.add_argument("--steps", type=int, default=100, help="per stretch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader")
    parser.add_argument("--tf32", action="store_true", help="TF32 products for every contender")
    parser.add_argument("--search", type=int, default=0, metavar="TRIALS", help="also run a whole search")
    parser.add_argument("--out", type=Path, default=Path("packs.json"))
    args = parser.parse_args()
    if args.data_root is None:
        parser.error("say with --data-root or TUNER_DATA where MNIST lies")
    hardware = (
        torch.cuda.get_device_name() if args.device != "cpu" else f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    )
    precision = "high" if args.tf32 else "highest"
    with tempfile.TemporaryDirectory() as scratch:
        root = unpacked(args.data_root, Path(scratch))
        torch.set_float32_matmul_precision(precision)
        medians, spread, x = measure(args, root)
        whole = search(args, root) if args.search and find_spec("ray") and find_spec("optuna") else None
    rate, flop, moved = matmul_rate(args.device, precision), flop_per_step(x, args.hidden), bytes_per_step(args.hidden, x.shape[1])
    print(f"{hardware}, torch {torch.__version__}, hidden {args.hidden}, batch {B}, {'TF32' if args.tf32 else 'FP32'}")
    print(f"a step of a trial: {flop / 1e9:.1f} GFLOP = {1e3 * flop / rate:.3f} ms at the measured {rate / 1e12:.2f} TFLOP/s;")
    model, took = load_model("aae_unsup"), launch_time(args.device)
    (launched,) = steps(model, model.hyper({"hidden": args.hidden})).values()
    print(
        f"it launches {launched.alone} kernels alone, {launched.shared} and {launched.lane} a lane in a pack; at {1e6 * took:.1f} us each"
    )
    print(f"that is, without a graph, alone {1e3 * took * launched.alone:.2f} ms; ", end="")
    print(", ".join(f"{1e3 * took * launched.alone / launched.gain(width):.2f} ms in a pack of {width}" for width in args.widths))
    print(f"its Adam moves {moved / 1e6:.0f} MB. Medians of {args.rounds} rounds of {args.steps} steps:")
    for name, each in medians.items():
        per_hour = 3600 / (each * STEPS_PER_EPOCH)
        ratios = [f"{medians[base] / each:6.2f} x ({base[0]})" for base in list(medians)[:2]]
        share = f"{flop / each / rate:6.1%} of the matmul rate"
        print(f"  {name:24s} {1e3 * each:8.3f} ms  {per_hour:8.1f} trial-epochs/h  {'  '.join(ratios)}  {share}")
    if whole is not None:
        best = max(3600 / (each * STEPS_PER_EPOCH) for name, each in medians.items() if name.startswith("d"))
        print(f"  e whole search of {args.search} trials: {whole:.1f} trial-epochs/h, {whole / best:.2f} of the best pack")
    elif args.search:
        print("  e left out: ray and optuna are not installed")
    result = {
        "hardware": hardware,
        "torch": torch.__version__,
        "hidden": args.hidden,
        "tf32": args.tf32,
        "steps": args.steps,
        "rounds": args.rounds,
    }
    result |= {"seconds_per_step": medians, "spread": spread, "flop_per_step": flop, "adam_bytes_per_step": moved, "matmul_flops": rate}
    args.out.write_text(json.dumps(result | {"search_trial_epochs_per_hour": whole}, indent=1) + "\n")


if __name__ == "__main__":
    main()
