"""Which private names of other libraries tuner uses, and whether the installed versions still have them as they were read."""

from __future__ import annotations

import ast
import functools
import inspect
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from tuner import layout
from tuner.machines import ray_names
from tuner.tune import patches

FOREIGN = {"ray", "optuna", "torch"}
ALLOWED: Mapping[str, set[str]] = {
    "machines/ray_names": {*ray_names.PRIVATE},
    "machines/late_dashboard": {"node._ray_params", "node._webui_url"},
    "tune/patches": {"actor._actor_id", "ray._private.state.actors"},
    "nn": {"torch.nn.modules.batchnorm._BatchNorm"},
    "training/optimizers": {"torch._fused_adam_", "torch._fused_sgd_"},
}
PUBLIC = {"_fields", "_replace", "_asdict"}  # of every namedtuple
SOURCES = {
    str(path.relative_to(Path(layout.__file__).parent).with_suffix("")): path.read_text()
    for path in Path(layout.__file__).parent.rglob("*.py")
}


def private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def dotted(node: ast.AST) -> str | None:
    """`a.b.c` of names and attributes; None of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    before = dotted(node.value) if isinstance(node, ast.Attribute) else None
    return before and f"{before}.{node.attr}"  # type: ignore[attr-defined]


class Names(NamedTuple):
    """Of one file. `own`: what it defines or sets itself (`self._x`, `def _x`, `_x: int`), which every file of tuner may use of another's
    object. `known`: a name of the file, and what it was imported as. `imported`: in full. `used`: private attributes, dotted."""

    own: set[str]
    known: dict[str, str]
    imported: set[str]
    used: set[str]


@functools.cache
def names(text: str) -> Names:
    found = Names(set(), {}, set(), set())
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.own.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            found.own.add(node.attr if isinstance(node, ast.Attribute) else node.id)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found.known[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
                found.imported.add(alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.known.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
            found.imported.update(f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.Attribute) and private(node.attr):
            found.used.add(dotted(node) or f"….{node.attr}")
    return found


def foreign_private(files: Mapping[str, str]) -> dict[str, set[str]]:
    """By file: private names of foreign libraries, and private attributes that no file of tuner defines, so that they are foreign, too."""
    ours = set().union(*(names(text).own for text in files.values()))
    return {name: _of_file(names(text), ours) for name, text in files.items()}


def _of_file(file: Names, ours: set[str]) -> set[str]:
    found = {name for name in file.imported if name.split(".")[0] in FOREIGN and private(name)}
    for used in file.used:
        first, _, rest = used.partition(".")
        origin = file.known.get(first, "").split(".")[0]
        if origin in FOREIGN:
            found.add(f"{file.known[first]}.{rest}")
        elif not origin and used.rpartition(".")[2] not in ours | PUBLIC:
            found.add(used)
    return found


def unlisted(files: Mapping[str, str]) -> list[str]:
    found = foreign_private(files)
    return sorted(f"{name}: {one}" for name, names in found.items() for one in names if not listed(one, ALLOWED.get(name, set())))


def listed(name: str, allowed: set[str]) -> bool:
    """`ray._private.state` is part of the listed `ray._private.state.actors`."""
    return any(one == name or one.startswith(f"{name}.") for one in allowed)


def test_no_file_uses_a_private_name_that_is_not_listed() -> None:
    assert unlisted(SOURCES) == []


def test_every_listed_name_is_used() -> None:
    assert [name for file, names in ALLOWED.items() for name in names if name.rpartition(".")[2] not in SOURCES[file]] == []


@pytest.mark.parametrize(
    ("name", "line", "found"),
    [
        ("search/study", "from optuna.storages._base import BaseStorage", "optuna.storages._base.BaseStorage"),
        ("search/study", "import optuna._experimental", "optuna._experimental"),
        ("tune/run", "def f():\n    import ray\n    return ray._private.worker", "ray._private"),
        ("tune/searcher", "def f(trial):\n    return trial._trial_id", "trial._trial_id"),
        ("tune/asha", "def f(scheduler):\n    return scheduler.brackets()[0]._cutoff_of_ray", "…._cutoff_of_ray"),
        ("tune/callback", "def f(trial):\n    return trial._unwrap()", "trial._unwrap"),
        ("training/loop", "import torch as t\ndef f():\n    return t._foreach_add", "torch._foreach_add"),
    ],
)
def test_a_planted_private_name_is_found(name: str, line: str, found: str) -> None:
    assert unlisted({**SOURCES, name: f"{SOURCES[name]}\n{line}\n"}) == [f"{name}: {found}"]


@pytest.mark.parametrize("name", ray_names.PRIVATE)
def test_ray_has_the_names_as_they_were_read(name: str) -> None:
    assert ray_names.difference(name) is None


def test_tune_notes_the_trials_whose_process_is_handed_over() -> None:
    from ray.tune.execution.tune_controller import TuneController

    assert f"self.{ray_names.TRIALS_RESET}: Set[Trial] = set()" in inspect.getsource(TuneController.__init__)


def test_the_state_of_a_trial_knows_its_actor() -> None:
    """`temporary_state.ray_actor` is in no documentation, though its name is not private."""
    from ray.tune.experiment import Trial

    assert Trial("nothing", stub=True).temporary_state.ray_actor is None


@pytest.mark.parametrize("name", ["_fused_adam_", "_fused_sgd_"])
def test_torch_has_the_names_as_they_were_read(name: str) -> None:
    known: Any = {
        "_fused_adam_": "(Tensor[] self, Tensor[] grads, Tensor[] exp_avgs, Tensor[] exp_avg_sqs, Tensor[] max_exp_avg_sqs, Tensor[] "
        "state_steps, *, float lr, float beta1, float beta2, float weight_decay, float eps, bool amsgrad, bool maximize, "
        "Tensor? grad_scale=None, Tensor? found_inf=None) -> ()",
        "_fused_sgd_": "(Tensor[] self, Tensor[] grads, Tensor[] momentum_buffer_list, *, float weight_decay, float momentum, float lr, "
        "float dampening, bool nesterov, bool maximize, bool is_first_step, Tensor? grad_scale=None, Tensor? found_inf=None) -> ()",
    }
    assert callable(getattr(torch, name))
    written = re.sub(r"\([a-e]!\)", "", str(getattr(torch.ops.aten, name).default._schema))  # (a!): it writes there
    assert written == f"aten::{name}{known[name]}"


def test_batch_normalisations_have_the_base_class_that_was_read() -> None:
    base = torch.nn.modules.batchnorm._BatchNorm
    assert all(issubclass(kind, base) for kind in (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d))


def test_with_another_ray_a_search_goes_on_unpatched_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from ray.tune.execution.tune_controller import TuneController

    def other(self: object, trial: object, exception: object, restarts: int) -> None: ...

    monkeypatch.setattr(TuneController, "_process_trial_failure", other)
    ray_names.as_read.cache_clear()
    with caplog.at_level(logging.WARNING, logger="tuner"):
        for _ in range(2):
            with patches.only_the_trial_is_lost(Rule()):
                assert TuneController._process_trial_failure is other
    ray_names.as_read.cache_clear()
    assert len(caplog.messages) == 1
    assert "TuneController._process_trial_failure is (self, trial, exception, restarts) in Ray" in caplog.messages[0]


def test_what_was_replaced_is_put_back() -> None:
    from ray.tune.execution.tune_controller import TuneController

    before = inspect.getattr_static(TuneController, "_process_trial_failure")
    with patches.only_the_trial_is_lost(Rule()):
        assert inspect.getattr_static(TuneController, "_process_trial_failure") is not before
    assert inspect.getattr_static(TuneController, "_process_trial_failure") is before


class Rule:
    outside: tuple[str, ...] = ()

    def verdict(self, trial: str, actor: str | None, error: BaseException) -> patches.Verdict:
        return "retry"
