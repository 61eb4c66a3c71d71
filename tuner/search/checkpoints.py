"""Which checkpoints a run can go on from: found out before anything is started or changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.data.datasets import describe
from tuner.errors import UserError
from tuner.runs.paths import checkpoint_file, warm_file, weights_file
from tuner.space.warm import WarmStart
from tuner.training.checkpoint import Snapshot, load

if TYPE_CHECKING:
    from tuner.model import DataSpec, Hyper, Model
    from tuner.runs.events import OpenTrial
    from tuner.space.spec import Spec


def ahead(folder: Path, spec: Spec, trials: Mapping[int, OpenTrial], root: Path | None) -> list[Path]:
    """The checkpoints that are ahead of the journal: to go on from one would leave a gap. `root`: where data files live.

    Raises:
        UserError: one is damaged, or is no state of its trial.
    """
    found = []
    for number, trial in trials.items():
        path, warm = checkpoint_file(folder, number), WarmStart.of(trial.config)
        if warm is not None and not path.exists() and not warm_file(folder, warm.weights).exists():
            raise UserError(
                f"{warm_file(folder, warm.weights)} is gone, the weights of trial {warm.trial} with which trial {number} begins. Nothing "
                "was changed. Bring it back from a copy."
            )
        for file in (path, weights_file(folder, number)):
            if file.exists() and (wrong := _wrong(file, trial, spec, root)):
                raise UserError(
                    f"{file} cannot be gone on from: {wrong.rstrip('.')}. Nothing was changed. Bring it back from a copy, or delete "
                    f"{path.name} and {weights_file(folder, number).name}: trial {number} then begins anew, from its seed."
                )
        if path.exists() and load(path).epoch > len(trial.metrics):
            found.append(path)
    return found


def _wrong(file: Path, trial: OpenTrial, spec: Spec, root: Path | None) -> str | None:
    from tuner.training.trial import start_trial

    model, h, seed = spec.loaded(), spec.hyper(trial.config), int(trial.config["seed"])
    try:
        snapshot = load(file)
        start_trial(model, h, seed=seed, start=snapshot)
    except UserError as error:
        return str(error)
    wrong = _wrong_numbers(snapshot, model, h)
    return wrong or next(_misfits(snapshot, model, h, describe(spec.dataset, root)), None)


def _wrong_numbers(snapshot: Snapshot, model: Model, h: Hyper) -> str | None:
    from tuner.training.trial import can_take

    phases = model.phases(h)
    if snapshot.phase >= len(phases):
        return f"it is of phase {snapshot.phase + 1} of {len(phases)}"
    here, earlier = phases[snapshot.phase], phases[: snapshot.phase]
    clustered = snapshot.cluster_epoch - snapshot.phase_epoch * here.clusters
    others = snapshot.epoch - snapshot.phase_epoch - clustered
    sound = snapshot.phase_epoch <= int(getattr(h, here.epochs))
    sound = sound and can_take(clustered, [phase for phase in earlier if phase.clusters], h)
    sound = sound and can_take(others, [phase for phase in earlier if not phase.clusters], h)
    return None if sound else "its epochs do not add up"


def _misfits(snapshot: Snapshot, model: Model, h: Hyper, data: DataSpec) -> Iterator[str]:
    """What the engine would take over wrongly: names and shapes that are not this trial's."""
    import torch

    from tuner.model import Descend
    from tuner.training.engine import build, state_of, trained
    from tuner.training.optimizers import MOMENTS

    networks, tensors = build(model, h, data, torch.empty(()), snapshot.seed)
    shapes = {name: t.shape for name, t in state_of(networks, tensors).items()}
    for update in model.phases(h)[snapshot.phase].updates:
        if isinstance(update, Descend) and (step := f"optimizer/{update.name}/step") in snapshot.tensors:
            shapes[step] = torch.Size()
            for part in update.rates():
                for key, t in trained(part, networks, tensors).items():
                    shapes |= {f"optimizer/{update.name}/{key}/{moment}": t.shape for moment in MOMENTS[type(update.optimizer)]}
    for name, shape in shapes.items():
        if name not in snapshot.tensors:
            yield f"it lacks '{name}'"
        elif snapshot.tensors[name].shape != shape:
            yield f"'{name}' must have the shape {tuple(shape)}, but has {tuple(snapshot.tensors[name].shape)}"
        elif not snapshot.tensors[name].isfinite().all():
            yield f"'{name}' is not finite"
    for name in snapshot.tensors.keys() - shapes.keys():
        yield f"'{name}' is no part of {model.name}"
