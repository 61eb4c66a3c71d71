"""Does a change leave every number as it was? Trains every model and runs small searches at two commits, and compares to the last bit.

    python benchmarks/same_numbers.py record before.json     # in an environment whose `tuner` is a checkout of the commit before
    python benchmarks/same_numbers.py record after.json      # the same script in the environment of the changed checkout
    python benchmarks/same_numbers.py compare before.json after.json
    python benchmarks/same_numbers.py compare before.json after.json --but metrics/silhouette    # what a named change moves

Trainings: every model with its `tiny` hyper-parameters and all terms on, alone and in packs of three, in float64 and float32, and
every choice of every hyper-parameter for two epochs a phase, on one thread; after each epoch the metrics and all tensors, the
optimisers' moments included. Searches: see `SEARCHES`. `--models NAME...` and `--no-searches` record a part, which
`compare --partly` takes. Target: no difference; exit code 1 where there is one. A mended defect that moves numbers is named in its commit.
"""

import argparse
import ast
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import torch
import yaml
from optuna.storages.journal import JournalFileBackend
from safetensors.torch import load_file

import tuner

PACKAGE = Path(tuner.__file__).resolve().parent
Run = list[dict[str, Any]]  # what is recorded of a training or a trial, in order
ALONE = {"cpu": os.cpu_count(), "gpu": 0, "pack": "off"}  # a trial takes the whole machine: one trains at a time, and order is certain
SEARCHES = {  # a shipped space, and what is changed in it
    "six auto-encoders": ("aae_unsup", "{trials: 6, epochs: 6, early_terminate: {type: asha, grace: 2, reduction: 2}}", ALONE),
    # More trials than TPE draws at random before it models them, and some that share their pre-training.
    "fourteen of DEC": (
        "dec",
        """{trials: 14, epochs: 4, early_terminate: {type: asha, grace: 2, reduction: 2}, parameters: {hidden: {value: 50},
        batch_size: {value: 64}, pretrain_epochs: {values: [2, 3]}, latent_dim: {values: [5, 10]}, momentum: {min: 0.0, max: 0.95},
        lr: {distribution: log_uniform_values, min: 0.001, max: 0.1}}}""",
        ALONE,
    ),
    # Who meets whom in a pack is a matter of time, and moves the last bits: only what is drawn, and how trials end, is compared.
    "packs of three": ("aae_unsup", "{method: random, trials: 4, epochs: 2, early_terminate: none}", {"cpu": 1, "gpu": 0, "pack": 3}),
}


def public(name: str, *takes: str) -> Any:
    """What is defined under this name in a file of `tuner/`, wherever that lies, so that this script outlives moves. Found in the
    sources: to import all modules would be to import Ray. `takes`: the first parameters of a function whose name others bear, too."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                first = [arg.arg for arg in node.args.args[: len(takes)]] if isinstance(node, ast.FunctionDef) else []
                found += [path] if first == list(takes) else []
    if len(found) != 1:
        raise SystemExit(f"{name} must be defined in one file of {PACKAGE}, but is in {len(found)}: {', '.join(map(str, found))}.")
    module = ".".join(found[0].relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    return getattr(importlib.import_module(module), name)


# --- trainings -----------------------------------------------------------------------------------------------------------


def blobs(dtype: torch.dtype, n_samples: int = 150, n_features: int = 16) -> Any:
    """Three easy blobs in [0, 1], labelled, as images of 4 x 4; the last thirty are the test split."""
    g = torch.Generator().manual_seed(0)
    y_N = torch.arange(n_samples) % 3
    centers_KD = 0.15 + 0.7 * (torch.rand(3, n_features, generator=g, dtype=torch.float64) > 0.5)
    x_ND = (centers_KD[y_N] + 0.08 * torch.randn(n_samples, n_features, generator=g, dtype=torch.float64)).clamp(0, 1)
    return public("Data")(name="blobs", x_ND=x_ND.to(dtype), y_N=y_N, shape=(4, n_features // 4), test=slice(n_samples - 30, n_samples))


def crowd(model: Any) -> list[dict[str, Any]]:
    """Three configurations that may share a pack: `tiny` with all terms on, other rates and weights, and a shorter last phase."""
    parameters = model.parameters()
    weights = {name: p.default or 0.1 for name, p in parameters.items() if name.startswith("weights.")}
    tiny = weights | dict(model.tiny)
    rates = {name: p.default / 2 for name, p in parameters.items() if name.startswith("lr") and isinstance(p.default, float)}
    last = model.phases(model.hyper(tiny))[-1].epochs
    return [tiny, tiny | rates | {name: 2 * tiny[name] for name in weights}, tiny | {last: max(1, getattr(model.hyper(tiny), last) - 2)}]


def choices(model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every choice that is no default, one at a time, by what it is called; two epochs a phase."""
    tiny = crowd(model)[0]
    for p in model.parameters().values():
        for choice in set(p.choices or ()) - {tiny.get(p.name, p.default)}:
            h = model.hyper(tiny | {p.name: choice})
            lengths = {phase.epochs: min(2, getattr(h, phase.epochs)) for phase in model.phases(h)}
            yield f"{p.name}={choice}", tiny | {p.name: choice} | lengths


def fingerprint(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """A hash of names, types, shapes and values, and one without the names."""
    plain = {name: t.detach().cpu().contiguous() for name, t in sorted(tensors.items())}
    parts = {name: sha256(f"{t.dtype} {tuple(t.shape)} ".encode() + t.numpy().tobytes()).hexdigest() for name, t in plain.items()}
    lines = {"tensors": [f"{name} {part}" for name, part in parts.items()], "unnamed": sorted(parts.values())}
    return {kind: sha256("\n".join(of).encode()).hexdigest() for kind, of in lines.items()}


def steady(metrics: Mapping[str, float]) -> dict[str, float]:  # JSON writes a float with all its digits
    return {name: value for name, value in metrics.items() if name != "samples_per_s"}


def note(run: Run, epoch: Any) -> None:
    """Adds an epoch to a training's record; before the next one begins."""
    place = {"at": f"epoch {len(run) + 1}, {epoch.phase}", "cluster_epoch": epoch.cluster_epoch, "ended": epoch.ended}
    run.append(place | {"metrics": steady(epoch.metrics)} | fingerprint(epoch.snapshot().tensors))


def trainings(names: Sequence[str]) -> dict[str, Run]:
    """The record of each training, by model, precision, engine and trial."""
    load_model, train = public("load_model"), public("train", "model", "h", "data")
    runs: dict[str, Run] = {}

    def alone(key: str, h: Any, seed: int) -> None:
        for epoch in train(model, h, data, seed=seed):
            note(runs.setdefault(key, []), epoch)

    for name in names:
        model = load_model(name)
        for precision in ("float64", "float32"):
            data, before = blobs(getattr(torch, precision)), len(runs)
            pool = public("Pool")(model, data, public("Widths")(most=3, least=1, exact=False))
            for i, values in enumerate(crowd(model)):
                alone(f"{name}, {precision}, solo, trial {i}", model.hyper(values), 1 + i)
                pool.join(i, model.hyper(values), seed=1 + i)
            while pool.members:
                for i, epoch in pool.round():
                    note(runs.setdefault(f"{name}, {precision}, pack of 3, trial {i}", []), epoch)
            for choice, values in choices(model) if precision == "float64" else ():
                alone(f"{name}, {precision}, solo, {choice}", model.hyper(values), 1)
            print(f"{name}, {precision}: {len(runs) - before} trainings", flush=True)
    return runs


# --- searches ------------------------------------------------------------------------------------------------------------


def search(title: str, folder: Path) -> dict[str, Run]:
    """Runs a shipped space, cut short, as a user would, and returns what its folder tells of each trial."""
    shipped, changes, resources = SEARCHES[title]
    space = yaml.safe_load((PACKAGE.parent / "search_spaces" / f"{shipped}.yaml").read_text())
    space |= yaml.safe_load(changes) | {"resources": resources}
    space.pop("confirm", None)  # the search alone, as in versions that knew no other
    (folder / "space.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    command = [sys.executable, "-m", "tuner.cli", "search", "--space=space.yaml", "--name=s", "--wandb=disabled"]
    done = subprocess.run(command, cwd=folder, timeout=1800, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"The search '{title}' failed:\n{done.stdout}{done.stderr}")
    trials = left_in(folder / "runs" / "s", exact=resources is ALONE)
    states = [entry["state"] for run in trials.values() for entry in run if entry["at"] == "end"]
    print(f"{title}: {', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))}", flush=True)
    return {f"{title}, trial {number}": run for number, run in sorted(trials.items())}


def left_in(run: Path, exact: bool) -> dict[int, Run]:
    """Each trial's epochs and end in the journal, itself in Optuna's study, and the best one's weights; if `exact`, what was measured."""
    trials: dict[int, Run] = {}
    for line in map(json.loads, (run / "results.jsonl").read_text().splitlines()):
        kept = ["config", "state", "epochs", "phase", "cluster_epoch"] + ["score"] * exact
        entry = {"at": "end" if "state" in line else f"epoch {line['epoch']}"} | {key: line[key] for key in kept if key in line}
        trials.setdefault(line["trial"], []).append(entry | ({"metrics": steady(line["metrics"])} if exact else {}))
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(run / "study.journal")))
    for t in optuna.load_study(study_name=run.name, storage=storage).trials:
        entry = {"at": "study", "state": t.state.name, "params": t.params}
        measured = {"values": t.values, "at epochs": {str(k): v for k, v in t.intermediate_values.items()}} if exact else {}
        trials.setdefault(t.number, []).append(entry | measured)
    if exact:
        best = yaml.safe_load((run / "best.yaml").read_text())
        trials[best["trial"]].append({"at": "best.safetensors"} | fingerprint(load_file(run / "best.safetensors")))
    return trials


# --- two records ---------------------------------------------------------------------------------------------------------


def record(names: Sequence[str], searches: bool) -> dict[str, Any]:
    """All that is compared, and where it was recorded."""
    versions = {name: version(name) for name in ("torch", "numpy", "scikit-learn", "optuna", "ray")}
    machine = {"python": sys.version.split()[0], "cpus": os.cpu_count(), "vectors": torch.backends.cpu.get_cpu_capability()}
    git = ["git", "-C", str(PACKAGE.parent), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    print(f"commit {commit}, torch {versions['torch']}, {PACKAGE}", flush=True)
    torch.set_num_threads(1)
    runs, trials = trainings(names), {}
    for title in SEARCHES if searches else ():
        with tempfile.TemporaryDirectory() as folder:
            trials |= search(title, Path(folder))
    return {"commit": commit, "machine": versions | machine, "trainings": runs, "trials": trials}


def unlike(a: Any, b: Any, path: str = "") -> dict[str, str]:
    """Where two values differ, and how."""
    if isinstance(a, dict) and isinstance(b, dict):
        return {place: how for key in a | b for place, how in unlike(a.get(key), b.get(key), f"{path}/{key}").items()}
    return {} if a == b else {path[1:]: f"{str(a)[:24]} -> {str(b)[:24]}"}


def new_metrics(x: dict[str, Any], y: dict[str, Any]) -> set[str]:
    """Those that the later record alone holds."""
    return set(y.get("metrics", {})) - set(x.get("metrics", {}))


def without(metrics: set[str], y: dict[str, Any]) -> dict[str, Any]:
    return y | {"metrics": {name: value for name, value in y["metrics"].items() if name not in metrics}} if metrics else y


def first_difference(a: Run, b: Run, but: Sequence[str]) -> str | None:
    """The first record in which a training or a trial differs, and in what; None where all that `a` holds is equal. A metric that `b`
    alone measures is no difference, nor is what is named in `but`."""
    for x, y in zip(a, b, strict=False):
        if found := {place: how for place, how in unlike(x, without(new_metrics(x, y), y)).items() if place not in but}:
            if "tensors" in found:
                found["tensors"] = "other values" if found.pop("unnamed", None) else "the same under other names"
            return f"{x['at']}: {'; '.join(f'{place}: {how}' for place, how in found.items())}"
    return None if len(a) == len(b) else f"{len(a)} records -> {len(b)}"


def compare(a: dict[str, Any], b: dict[str, Any], partly: bool, but: Sequence[str]) -> int:
    """Prints the first difference of each training and trial; returns how many differ. What `b` alone holds is new, no difference."""
    if other := unlike(a["machine"], b["machine"]):
        raise SystemExit(f"Recorded in different environments, whose last bits need not agree: {other}.")
    print(f"commit {a['commit']} -> {b['commit']}, torch {a['machine']['torch']}")
    equal: dict[str, list[Run]] = {"trainings": [], "trials": []}
    differ, new = 0, set[str]()
    for kind, runs in equal.items():
        for key in [key for key in a[kind] if key in b[kind] or not partly]:
            after = b[kind].get(key, [])
            new |= set().union(*map(new_metrics, a[kind][key], after))
            if found := first_difference(a[kind][key], after, but):
                print(f"{key}: {found}")
                differ += 1
            else:
                runs.append(a[kind][key])
    if not differ and not any(equal.values()):
        raise SystemExit("The two records have nothing in common.")
    if new:
        print(f"new metrics, compared with nothing: {', '.join(sorted(new))}")
    counts = f"{len(equal['trainings'])} trainings, {sum(map(len, equal['trainings']))} epochs, {len(equal['trials'])} trials"
    print(f"{differ} differ; " * bool(differ) + f"equal: {counts}")
    return differ


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording, comparing = commands.add_parser("record"), commands.add_parser("compare")
    recording.add_argument("out", type=Path)
    recording.add_argument("--models", nargs="+", help="these only")
    recording.add_argument("--no-searches", action="store_true")
    comparing.add_argument("records", type=Path, nargs=2)
    comparing.add_argument("--partly", action="store_true", help="what the second does not hold was not asked for")
    comparing.add_argument("--but", nargs="+", default=[], metavar="PLACE", help="these may differ, as metrics/silhouette or config/boost")
    args = parser.parse_args()
    if args.command == "compare":
        sys.exit(min(1, compare(*(json.loads(path.read_text()) for path in args.records), args.partly, args.but)))
    args.out.write_text(json.dumps(record(args.models or public("model_names")(), not args.no_searches)))
