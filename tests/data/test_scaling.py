"""What scaling learns, and that it scales new samples exactly as in training, from a file too."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from tuner.data.cache import load_once
from tuner.data.datasets import DatasetSpec, load, read_raw
from tuner.data.scaling import SCALES, Intake, Scaling
from tuner.errors import UserError
from tuner.model import load_model
from tuner.plain_json import load_json
from tuner.training import checkpoint
from tuner.training.loop import train

SCALED = pytest.mark.parametrize("scale", [None, *SCALES])


def through_json(intake: Intake) -> Intake:
    return Intake.read(load_json(json.dumps(intake.written())))


@SCALED
@pytest.mark.parametrize("name", ["digits", "own"])
def test_what_was_learned_scales_raw_values_to_the_last_bit_as_training_did(scale: str | None, name: str, tmp_path: Path) -> None:
    x_ND = np.random.default_rng(0).lognormal(size=(300, 7)) * 10.0 ** np.arange(-3, 4)
    x_ND[:, 3] = 0.1
    np.savez(tmp_path / "own.npz", x=x_ND)
    dataset = DatasetSpec(name=f"npz:{tmp_path}/own.npz" if name == "own" else name, scale=scale)
    data = load(dataset)
    again = through_json(data.intake).scaling.apply(read_raw(dataset).values(slice(10, 20)))
    assert again.tobytes() == data.x_ND[10:20].numpy().tobytes()
    assert through_json(data.intake) == data.intake


def test_a_limit_is_drawn_before_anything_is_learned() -> None:
    some, every = load(DatasetSpec(name="digits", scale="standard", limit=50)), load(DatasetSpec(name="digits", scale="standard"))
    assert some.scaling != every.scaling


@SCALED
def test_a_data_set_that_is_read_once_knows_its_scaling_too(scale: str | None, tmp_path: Path) -> None:
    dataset = DatasetSpec(name="digits", limit=40, scale=scale)
    assert load_once(dataset, tmp_path).scaling == load_once(dataset, tmp_path).scaling == load(dataset).scaling


def test_range_and_deviation_are_those_of_all_values_before_scaling() -> None:
    x_ND = np.random.default_rng(0).normal(3, 2, size=(9000, 5)).astype(np.float32)
    found = Scaling.fit("minmax", x_ND)
    assert (found.low, found.high) == (x_ND.min(), x_ND.max())
    assert found.deviation == pytest.approx(x_ND.astype(np.float64).std(), rel=1e-12)


def test_weights_carry_what_they_take(tmp_path: Path) -> None:
    model, data = load_model("kmeans"), load(DatasetSpec(name="digits", limit=100, scale="standard"))
    path = tmp_path / "trial.safetensors"
    checkpoint.save(next(train(model, model.hyper(model.tiny), data, seed=0)).snapshot(), path)
    assert checkpoint.load(path).intake == data.intake


def test_weights_of_a_version_before_are_read_and_say_nothing_of_it(tmp_path: Path) -> None:
    path = _saved(tmp_path, intake=None)
    assert checkpoint.load(path).intake is None


@pytest.mark.parametrize(
    "wrong",
    [
        "[]",
        "{}",
        '{"spec": {}, "scaling": {}}',
        '{"spec": {"n_samples": 9, "shape": [3], "n_classes": null, "unit_range": true, "n_test": 0}, "scaling": {"kind": "log"}}',
        '{"spec": {"n_samples": 9, "shape": [3], "n_classes": null, "unit_range": true, "n_test": 0}, '
        '"scaling": {"kind": "standard", "mean_D": [1], "deviation_D": [1]}}',
        '{"spec": {"n_samples": 9, "shape": [3], "n_classes": null, "unit_range": true, "n_test": 0}, '
        '"scaling": {"kind": "none", "low": "0"}}',
    ],
)
def test_what_no_training_wrote_is_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a checkpoint of tuner, or it is damaged"):
        checkpoint.load(_saved(tmp_path, intake=wrong))


def _saved(folder: Path, intake: str | None) -> Path:
    """A checkpoint with another word on what it takes."""
    model, data, path = load_model("kmeans"), load(DatasetSpec(name="digits", limit=100)), folder / "trial.safetensors"
    checkpoint.save(next(train(model, model.hyper(model.tiny), data, seed=0)).snapshot(), path)
    with safe_open(path, framework="np") as file:
        tensors, header = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118 (no mapping)
    header.pop("intake")
    save_file(tensors, path, metadata=header | ({} if intake is None else {"intake": intake}))
    return path
