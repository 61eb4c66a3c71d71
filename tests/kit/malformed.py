"""Malformed input as hypothesis strategies: what somebody may type, write or damage, each of it wrong beyond doubt."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import load, save

from tuner.model import model_names

Legal = Callable[[Any], bool]


@dataclass(frozen=True)
class Case:
    """A command and the files that it finds. `said`: what its message must contain: where the mistake is."""

    words: tuple[str, ...]
    files: Mapping[str, bytes | None] = field(default_factory=dict)  # None: a folder
    said: str = ""


@dataclass(frozen=True)
class Damage:
    """Something done to a file of a run."""

    file: str
    what: str
    done: Callable[[bytes], bytes] = field(repr=False)
    said: str = ""


NASTY = ["\x1b[2J", "\x00", "\ud800", "\u202e", "\n", "../..", "/etc/passwd", "~", "%s", "[bold]", "é" * 300, "x" * 5000, "-1", "💥", " "]
WORDS = st.sampled_from(NASTY) | st.text(max_size=20)
HUGE = st.sampled_from([10**18, -(10**30), 10**400, 2**63, 1e308, -1e308, float("inf"), float("nan"), 1e-320])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | HUGE | WORDS
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6)


def wrong(legal: Legal) -> st.SearchStrategy[Any]:
    return ANYTHING.filter(lambda value: not legal(value))


def never(value: Any) -> bool:
    return False


def whole(low: int, high: float = 10**18 - 1) -> Legal:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def number(low: float, high: float = float("inf")) -> Legal:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low < value < high


def is_name(value: Any) -> bool:
    text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, int | float) else ""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text) is not None


# --- search spaces -----------------------------------------------------------------------------------------------------

SPACE: dict[str, Any] = {
    "name": "my",
    "model": "kmeans",
    "dataset": {"name": "digits", "limit": 300},
    "score": "last",
    "method": "random",
    "trials": 3,
    "epochs": 6,
    "seed": 0,
    "pretrain_seed": 0,
    "precision": "fp32",
    "early_terminate": {"type": "asha", "grace": 2, "reduction": 2},
    "resources": {"cpu": 1, "gpu": 0, "pack": "off"},
    "retries": 0,
    "parameters": {"n_clusters": {"values": [5, 10, 15]}, "n_init": {"min": 1, "max": 4}},
    "metric": {"name": "acc", "goal": "maximize"},
}
_PLACES: dict[str, Legal] = {
    "name": is_name,
    "model": lambda value: value in model_names(),
    "dataset": lambda value: value == "digits",
    "dataset.name": lambda value: value == "digits",
    "dataset.limit": whole(2, 1797),
    "score": never,
    "method": never,
    "trials": whole(1),
    "epochs": whole(1, 100_000),
    "seed": whole(0, 2**32 - 1),
    "pretrain_seed": whole(0, 2**32 - 1),
    "precision": never,
    "early_terminate": never,
    "early_terminate.grace": whole(1),
    "early_terminate.reduction": whole(2),
    "resources": lambda value: value == {},
    "resources.cpu": number(0),
    "resources.gpu": lambda value: number(-1, 1)(value) or (number(0)(value) and value == int(value)) or value == 0,
    "resources.pack": whole(1, 1024),
    "retries": whole(0),
    "parameters": never,
    "parameters.n_clusters": never,
    "parameters.n_clusters.values": lambda value: isinstance(value, list) and value != [] and all(map(whole(2, 256), value)),
    "parameters.n_init.min": whole(1, 3),
    "parameters.n_init.max": whole(2, 1000),
    "metric": never,
    "metric.name": never,
    "metric.goal": never,
}


def written(space: Mapping[str, Any]) -> bytes:
    """JSON is YAML; one key to a line."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in space.items()).encode()


def put(content: Mapping[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The same with another value at `a.b.c`."""
    key, _, rest = place.partition(".")
    return {**content, key: put(content[key], rest, value) if rest else value}


def without(content: Mapping[str, Any], place: str) -> dict[str, Any]:
    key, _, rest = place.partition(".")
    return {**content, key: without(content[key], rest)} if rest else {name: value for name, value in content.items() if name != key}


@st.composite
def spaces(draw: st.DrawFn) -> Case:
    """A wrong value at a key's place, or a key that there is none of."""
    place = draw(st.sampled_from(sorted(_PLACES)))
    if draw(st.booleans()):
        space = put(SPACE, place, draw(wrong(_PLACES[place])))
    else:
        key = draw(st.text(alphabet="abcXYZ_-.ü \x7f", min_size=1).filter(lambda text: text.strip()))
        space = put(SPACE, f"{place.partition('.')[0]}", {}) | {"n" + json.dumps(key)[1:-1].strip(): draw(SCALARS)}
    return Case(("check", "bad.yaml"), {"bad.yaml": written(space)}, "bad.yaml")


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
_FILES: list[bytes | None] = [
    None,
    b"",
    b"\n\n# nothing\n",
    b"\x00\x01\x02",
    b"\xff\xfe" + "model: kmeans".encode("utf-16-le"),
    b"\xef\xbb\xbf",
    b"model: kmeans\x1b[31m\n",
    b"- model\n- kmeans\n",
    b"just words",
    b"model: {\n",
    b"model: kmeans\n\tdataset: digits\n",
    b"--- {}\n--- {}\n",
    b"%YAML 9.9\n---\nmodel: kmeans\n",
    b"? [model, name]\n: kmeans\n",
    b"<<: {model: kmeans}\n",
    b"&a [*a]\n",
    b"a: &a {b: *a}\n",
    b"[" * 100_000,
    b"a: " * 100_000,
    b"model: " + b"x" * 2_000_000,
    b"model: [" + b"1," * 20_000 + b"1]\n",
    b"trials: " + b"9" * 10_000 + b"\n",
    b"trials: 1" + b"_0" * 9_000 + b"\n",
    _BOMB.encode(),
    *(f"{tag} ['touch hacked']\n".encode() for tag in ("!!python/object/apply:os.system", "!!python/object/new:os.system", "!hacked")),
    written(SPACE) + b"trials: 3\n",
    written(SPACE) + b"date: 2001-99-99\n",
]


@st.composite
def yaml_files(draw: st.DrawFn) -> bytes | None:
    """What is no mapping of the keys that are needed, or not even YAML."""
    end = written(SPACE).rindex(b"}")
    torn = st.integers(0, end).map(lambda n: written(SPACE)[:n])
    tagged = st.sampled_from(sorted(SPACE)).map(
        lambda key: written(SPACE).replace(f"{key}: ".encode(), f"{key}: !!python/object/apply:os.system ".encode(), 1)
    )
    return draw(st.sampled_from(_FILES) | torn | tagged | st.binary(max_size=200) | st.text(max_size=200).map(_encoded))


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


@st.composite
def files_for(draw: st.DrawFn, *commands: tuple[str, ...]) -> Case:
    return Case((*draw(st.sampled_from(commands)), "bad.yaml"), {"bad.yaml": draw(yaml_files())}, "bad.yaml")


# --- configurations ----------------------------------------------------------------------------------------------------

CONFIGURATION: dict[str, Any] = {
    "model": "kmeans",
    "dataset": {"name": "digits", "limit": 300},
    "epochs": 2,
    "seed": 3,
    "pretrain_seed": 3,
    "precision": "fp32",
    "parameters": {"n_clusters": 4, "n_init": 1},
}
_CONFIGURED: dict[str, Legal] = {
    **{key: _PLACES[key] for key in ("model", "dataset", "dataset.name", "dataset.limit", "epochs", "seed", "precision")},
    "pretrain_seed": lambda value: value is None or whole(0, 2**32 - 1)(value),
    "parameters": lambda value: value == {},
    "parameters.n_clusters": whole(2, 256),
    "parameters.n_init": whole(1, 1000),
}


@st.composite
def configurations(draw: st.DrawFn) -> Case:
    """For `tuner train`: a wrong value at a key's place."""
    place = draw(st.sampled_from(sorted(_CONFIGURED)))
    return Case(("train", "bad.yaml"), {"bad.yaml": written(put(CONFIGURATION, place, draw(wrong(_CONFIGURED[place]))))}, "bad.yaml")


# --- data --------------------------------------------------------------------------------------------------------------


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})
    return file.getvalue()


class Hack:
    """What a pickle may do to whoever opens it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return __import__("os").system, ("touch hacked",)


_X = np.linspace(0, 1, 40, dtype=np.float32).reshape(20, 2)
_Y = np.arange(20) % 4
_ODD = st.sampled_from([np.nan, np.inf, -np.inf, 1e300])


def _with(value: float, at: int) -> Any:
    x = _X.astype(np.float64)
    x.flat[at] = value
    return x


@st.composite
def npz_files(draw: st.DrawFn) -> bytes:
    """An archive that is torn, holds pickles, or arrays that are no data set."""
    sound = npz(x=_X, y=_Y)
    shapes = st.sampled_from([(), (0,), (20,), (0, 2), (1, 2), (20, 0), (20, 2, 0), (2, 2, 2, 2)])
    kinds = st.sampled_from(["complex64", "U3", "S3", "datetime64[s]", "object", "V4"])
    header = io.BytesIO()
    np.save(header, _X)
    lying = io.BytesIO()
    with zipfile.ZipFile(lying, "w") as archive:
        archive.writestr("x.npy", header.getvalue().replace(b"(20, 2)", b"(20, 9)"))
    return draw(
        st.integers(0, len(sound) - 1).map(lambda n: sound[:n])
        | st.tuples(st.integers(60, 100), st.binary(min_size=8, max_size=8)).map(lambda two: sound[: two[0]] + two[1] + sound[two[0] + 8 :])
        | st.sampled_from([lying.getvalue(), header.getvalue(), pickle.dumps(Hack()), npz(z=_X), npz(X=_X), npz(y=_Y)])
        | shapes.map(lambda shape: npz(x=np.zeros(shape, "float32")))
        | kinds.map(lambda kind: npz(x=np.zeros((20, 2), kind)))
        | st.just(npz(x=np.array([[Hack()]] * 20)))
        | st.just(npz(x=_X, y=np.array([Hack()] * 20)))
        | st.tuples(_ODD, st.integers(0, 39)).map(lambda two: npz(x=_with(*two)))
        | st.integers(0, 40).filter(lambda n: n != 20).map(lambda n: npz(x=_X, y=np.zeros(n)))
        | st.sampled_from([[0.5] * 20, [[1]] * 20, [np.nan] * 20, [1j] * 20, 3]).map(lambda y: npz(x=_X, y=y))
    )


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """Rows that are no numbers, of different lengths, too few."""
    rows = ["a,b,label", *(f"{i},{i * i},{i % 3}" for i in range(9))]
    at = draw(st.integers(1, 9))
    cell = draw(st.sampled_from(["", "nan", "inf", "1e999", "x", "\x1b[2J", "1;2", "0x10", "1,2,3,4", '"', "é" * 300]))
    broken = "\n".join([*rows[:at], rows[at].replace(",", f",{cell},", 1), *rows[at + 1 :]]).encode()
    few = st.sampled_from([b"", b"a,b\n", b"a,b\n1,2\n", b"label\n1\n2\n", b",a\n1,2\n3,4\n", b"\xff\xfe\x00", b"a,b\n1,\x00\n2,3\n"])
    return draw(
        st.just(broken) | few | st.binary(max_size=30).filter(lambda raw: b"," not in raw and not any(c in b"0123456789" for c in raw))
    )


@st.composite
def data_files(draw: st.DrawFn) -> Case:
    """A user's file, given to whoever reads data."""
    kind = draw(st.sampled_from(["npz", "csv"]))
    content = draw(npz_files() if kind == "npz" else csv_files())
    words = draw(st.sampled_from([("train", "kmeans"), ("check", "kmeans")]))
    return Case((*words, "--dataset", f"{kind}:bad.{kind}"), {f"bad.{kind}": content}, f"bad.{kind}")


@st.composite
def published_files(draw: st.DrawFn) -> Case:
    """Files where torchvision puts those of MNIST and USPS, and other things in them."""
    name = draw(st.sampled_from(["mnist", "usps"]))
    raw = st.binary(max_size=100) | st.sampled_from(
        [b"\x00" * 20_000, b"BZh9" + b"\x00" * 100, b"1 1:nan\n", b"1 999999999999999999999:1\n"]
    )
    parts = [f"MNIST/raw/{part}-ubyte" for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")]
    files = {f"data/{file}": draw(raw) for file in (parts if name == "mnist" else ["usps.bz2", "usps.t.bz2"])}
    return Case(("train", "kmeans", "--dataset", name, "--data-root", "data"), files, name)


# --- a run's files -----------------------------------------------------------------------------------------------------


def _lines(change: Callable[[list[bytes]], Iterable[bytes]]) -> Callable[[bytes], bytes]:
    return lambda raw: b"".join(change(raw.splitlines(keepends=True)))


def _line(at: int, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """`at` counts from 0 and comes round: it is never the last line."""

    def changed(lines: list[bytes]) -> list[bytes]:
        i = at % (len(lines) - 1)
        return [*lines[:i], change(lines[i].rstrip(b"\n")) + b"\n", *lines[i + 1 :]]

    return _lines(changed)


def _edited(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Callable[[bytes], bytes]:
    return lambda raw: json.dumps(change(json.loads(raw))).encode()


_IN_LINES: dict[str, Legal] = {
    "trial": never,
    "metrics": lambda value: isinstance(value, dict) and all(map(number(-1e300, 1e300), value.values())),
    "time": number(-1e300, 1e300),
}
_IN_EPOCHS: dict[str, Legal] = {**_IN_LINES, "epoch": never, "cluster_epoch": lambda value: value is None or whole(1)(value)}


@st.composite
def journals(draw: st.DrawFn) -> Damage:
    """Damage before the last line. Anything but a torn, missing or repeated line is found without the study, too."""
    at, place = draw(st.integers(0, 20)), draw(st.sampled_from(sorted(_IN_EPOCHS)))
    value = draw(wrong(_IN_EPOCHS[place]))
    garbage = draw(
        st.binary(max_size=30).filter(lambda raw: b"\n" not in raw) | st.sampled_from([b"[" * 9_000, b"{}", b"NaN", b"1", b"\x00" * 99])
    )
    how = {
        f"{place} is {value!r}"[:99]: _line(at, _edited(lambda line: put(line, place, value))),
        "a metric is a word": _line(at, _edited(lambda line: put(line, "metrics", {"acc": "x"}))),
        "a metric is no number": _line(
            at, lambda raw: re.sub(rb'"acc": [0-9.]+|"n_used": [0-9.]+|"loss/[a-z_]+": [0-9.]+', b'"acc": NaN', raw)
        ),
        "a line is torn": _line(at, lambda raw: raw[: len(raw) // 2]),
        "something is put between": _line(at, lambda raw: garbage + b"\n" + raw),
        "a character is lost": _line(at, lambda raw: raw[:7] + raw[8:]),
    }
    what = draw(st.sampled_from(sorted(how)))
    return Damage("results.jsonl", what, how[what], "results.jsonl:")


@st.composite
def abouts(draw: st.DrawFn) -> Damage:
    """Damage to `spec.json`: no JSON, or a wrong value where one is read."""
    legal: dict[str, Legal] = {
        "name": is_name,
        "model": lambda value: value in model_names(),
        "dataset": never,
        "dataset.name": never,
        "metric": never,
        "metric.name": never,
        "metric.goal": never,
        "score": never,
        "method": never,
        "trials": whole(1),
        "seed": never,
        "parameters": never,
    }
    place = draw(st.sampled_from(sorted(legal)))
    value = draw(wrong(legal[place]))
    how = {
        f"{place} is {value!r}"[:99]: _edited(lambda about: put(about, place, value)),
        "torn": lambda raw: raw[: len(raw) // 2],
        "nothing": lambda raw: b"",
        "a list": lambda raw: b"[]",
        "nested": lambda raw: b"[" * 100_000,
        "binary": lambda raw: b"\xff\x00" + raw,
    }
    what = draw(st.sampled_from([next(iter(how))] * 5 + sorted(how)))
    return Damage("spec.json", what, how[what], "spec.json")


_STATUS: dict[str, Legal] = {
    "status": lambda value: value in ("done", "stopped", "failed"),
    **dict.fromkeys(("started", "seconds"), number(-1e300, 1e300)),
}


@st.composite
def statuses(draw: st.DrawFn) -> Damage:
    """Damage to `status.json`."""
    place = draw(st.sampled_from(sorted(_STATUS)))
    value = draw(wrong(_STATUS[place]))
    running = {"status": "running", "host": "here", "pid": draw(wrong(whole(1, 2**31 - 1)))}
    how = {
        f"{place} is {value!r}"[:99]: _edited(lambda status: put(status, place, value)),
        "running, and no process": _edited(lambda status: {**status, **running}),
        "torn": lambda raw: raw[: len(raw) // 2],
    }
    what = draw(st.sampled_from(sorted(how)))
    return Damage("status.json", what, how[what], "status.json")


@st.composite
def studies(draw: st.DrawFn) -> Damage:
    """Damage before the study's last line."""
    at = draw(st.integers(0, 20))
    value = draw(st.sampled_from([None, [], "x", -1, 10**30, {}]))
    how = {
        "a line is torn": _line(at, lambda raw: raw[: len(raw) // 2]),
        "a line is a number": _line(at, lambda raw: b"1"),
        "a line is binary": _line(at, lambda raw: b"\xff\xfe"),
        "a line has no code": _line(at, _edited(lambda line: without(line, "op_code"))),
        f"a line's code is {value!r}": _line(at, _edited(lambda line: put(line, "op_code", value))),
        "a line is gone": _line(at, lambda raw: b'{"op_code": 99, "worker_id": "x"}'),
    }
    what = draw(st.sampled_from(sorted(how)))
    return Damage("study.journal", what, how[what], "study.journal")


def _saved(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    """A checkpoint whose header and tensors were changed."""

    def changed(raw: bytes) -> bytes:
        size = int.from_bytes(raw[:8], "little")
        said = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["tuner"])
        tensors = load(raw)
        change(said, tensors)
        return save(tensors, metadata={"tuner": json.dumps(said)})

    return changed


@st.composite
def checkpoints(draw: st.DrawFn) -> Damage:
    """Damage to the state that a trial would go on from."""
    numbers = ("seed", "pretrain_seed", "phase", "phase_epoch", "phase_batches", "epoch", "cluster_epoch", "one_cluster_epochs")
    name, value = (
        draw(st.sampled_from([*numbers, "model", "config", "values"])),
        draw(wrong(never).filter(lambda v: v != [] and not whole(0)(v))),
    )
    at = draw(st.integers(0, 20))

    def tensor(change: Callable[[dict[str, Any], str], None]) -> Callable[[bytes], bytes]:
        return _saved(lambda said, tensors: change(tensors, sorted(tensors)[at % len(tensors)]))

    how = {
        f"{name} is {value!r}"[:99]: _saved(lambda said, tensors: said.update({name: value})),
        f"{name} is missing": _saved(lambda said, tensors: said.pop(name if name != "values" else "epoch")),
        "an unknown name": _saved(lambda said, tensors: said.update(hacked=1)),
        "one epoch too many": _saved(lambda said, tensors: said.update(phase_epoch=said["phase_epoch"] + 1)),
        "a tensor is missing": tensor(lambda tensors, name: tensors.pop(name)),
        "a tensor is longer": tensor(lambda tensors, name: tensors.update({name: torch.zeros(*tensors[name].shape, 2)})),
        "a tensor is one number": tensor(lambda tensors, name: tensors.update({name: torch.zeros(1, 1, 1, 1)})),
        "a tensor is not finite": tensor(lambda tensors, name: tensors.update({name: torch.full(tensors[name].shape, torch.nan)})),
        "another tensor": tensor(lambda tensors, name: tensors.update(hacked=torch.zeros(1))),
        "torn": lambda raw: raw[: len(raw) * at // 21],
        "a pickle": lambda raw: pickle.dumps(Hack()),
        "a length beyond all measure": lambda raw: b"\xff" * 8 + raw[8:],
        "a header that is no JSON": lambda raw: raw[:8] + b"[" + raw[9:],
    }
    what = draw(st.sampled_from(sorted(how)))
    return Damage("checkpoints/001.resume.safetensors", what, how[what], "001.resume.safetensors")


# --- what is typed -----------------------------------------------------------------------------------------------------


def _typed(text: str) -> bool:
    """Whether a shell could hand it over, and no command would take it for an option."""
    return "\x00" not in text and not text.startswith("-") and text.strip() != ""


@st.composite
def names(draw: st.DrawFn) -> Case:
    """Names of runs that cannot be, or that there are none of."""
    name = draw(WORDS.filter(lambda text: _typed(text) and not is_name(text)))
    missing = draw(
        st.sampled_from(
            [
                ("show", name),
                ("show", name, "--json"),
                ("resume", name),
                ("clean", name),
                ("stop", name),
                ("status", name),
                ("enqueue", name, "--set", "lr=1"),
                ("show", f"../{name}"),
                ("resume", f"no/{name}/x"),
            ]
        )
    )
    new = ("search", "--space", "my.yaml", "--name", name), ("submit", "--space", "my.yaml", "--name", name)
    return Case(draw(st.sampled_from([missing, *new])), {"my.yaml": written(SPACE)})


_OPTIONS: dict[str, tuple[Legal, tuple[str, ...]]] = {
    "--trials": (whole(1), ("check", "search", "submit", "resume")),
    "--epochs": (whole(1, 100_000), ("check", "search", "submit", "train")),
    "--seed": (whole(0, 2**32 - 1), ("check", "search", "submit", "train")),
    "--limit": (whole(2, 1797), ("check", "search", "train")),
    "--trial": (never, ("stop",)),
    "--like": (never, ("enqueue",)),
    "--nodes": (whole(1, 100_000), ("doctor",)),
    "--scale": (never, ("check", "search", "submit", "train")),
    "--dataset": (never, ("check", "search", "submit", "train", "doctor")),
    "--set": (never, ("check", "search", "submit", "train", "describe")),
    "--wandb": (never, ("search", "submit", "resume")),
    "--address": (never, ("submit", "status", "logs", "stop", "enqueue")),
    "--json": (never, ("ls", "check")),
    "--hacked": (never, ("check", "search", "submit", "train", "describe", "resume", "show", "ls", "models", "spaces", "doctor", "status")),
}
_NEEDED = {
    **{command: (command, "--space", "my.yaml") for command in ("search", "submit")},
    **{command: (command, "my.yaml") for command in ("check",)},
    **{command: (command, "kmeans") for command in ("train", "describe")},
    **{command: (command, "run") for command in ("resume", "show", "logs", "stop", "enqueue", "clean")},
}


def _as_number(text: str) -> Any:
    try:
        return int(float(text))  # typer takes 3.0 for a whole number
    except (ValueError, OverflowError):
        return text


@st.composite
def options(draw: st.DrawFn) -> Case:
    """A value that an option cannot have, in every command that has it."""
    option = draw(st.sampled_from(sorted(_OPTIONS)))
    legal, commands = _OPTIONS[option]
    command = draw(st.sampled_from(commands))
    values = WORDS | SCALARS.map(str) if option not in ("--scale", "--dataset", "--wandb", "--address", "--set") else WORDS
    value = draw(values.filter(lambda text: _typed(text.lstrip("-")) and not legal(_as_number(text))))
    return Case((*_NEEDED.get(command, (command,)), f"{option}={value}"), {"my.yaml": written(SPACE)})
