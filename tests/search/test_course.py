"""What is kept of the way to a winner's clusters: of which epochs, of which trials, and what is made of it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from kit.searches import space
from kit.without_ray import confirmed_without_ray, without_ray_at_all

from tuner.data.datasets import load
from tuner.report.material import read_material
from tuner.report.words import in_one_line
from tuner.report.write import figures_of
from tuner.runs.clean import clean
from tuner.runs.course import BEST_COURSE, course_file, read_course
from tuner.runs.paths import CONFIRM
from tuner.runs.winner import BEST, read_best
from tuner.search.trainer import Trainer
from tuner.space.spec import Spec
from tuner.training.checkpoint import load as snapshot_of
from tuner.training.codes import subsample_of

DEC = """
model: dec
dataset: {name: digits, limit: 200}
metric: {name: acc, goal: maximize}
epochs: 6
trials: 3
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: off}
parameters:
  lr: {min: 1e-3, max: 1e-1}
  hidden: {value: 8}
  latent_dim: {value: 3}
  batch_size: {value: 50}
  pretrain_epochs: {value: 2}
"""


def trainer(spec: Spec, folder: Path) -> Trainer:
    folder.mkdir(parents=True)
    return Trainer(spec=spec, folder=folder, dataset=spec.dataset, data_root=folder, device="cpu", threads=1)


def test_it_is_kept_as_it_is_journalled_and_over_an_interruption(tmp_path: Path) -> None:
    spec = space(tmp_path, DEC)
    config = spec.config({"lr": 0.01}) | {"seed": 1}
    through, other = trainer(spec, tmp_path / "through" / "run"), trainer(spec, tmp_path / "other" / "run")
    reports = through(0, config)
    for report in islice(reports, 3):
        assert report.line["cluster_epoch"] in (None, 1) and not course_file(through.folder, 0).exists()
    next(reports)  # whoever asks for the fourth has journalled the third
    assert [one.epoch for one in read_course(course_file(through.folder, 0))] == [1]
    *_, last = reports
    assert last.ended == "complete"
    whole = read_course(course_file(through.folder, 0))
    assert [one.epoch for one in whole] == [1, 5], "the end is in the weights"

    assert len(list(islice(replace(other, checkpoint_every=0.0)(0, config), 4))) == 4
    *_, last = other(0, config)
    assert last.ended == "complete"
    for ours, theirs in zip(read_course(course_file(other.folder, 0)), whole, strict=True):
        assert ours.epoch == theirs.epoch
        np.testing.assert_array_equal(ours.c_S, theirs.c_S)
        np.testing.assert_array_equal(ours.z_SZ, theirs.z_SZ)


def test_it_is_that_of_the_epochs_weights(tmp_path: Path) -> None:
    spec = replace(space(tmp_path, DEC), epochs=2)
    one = replace(trainer(spec, tmp_path / "run"), checkpoint_every=0.0)
    reports = one(0, spec.config({"lr": 0.01}) | {"seed": 1})
    assert len(list(islice(reports, 4))) == 4  # and the state after the third is a file now
    state = snapshot_of(one.folder / "checkpoints" / "000.resume.safetensors")
    assert state.cluster_epoch == 1
    c_S, z_SZ = subsample_of(spec.loaded(), spec.hyper(state.config), load(spec.dataset), state)
    (kept,) = read_course(course_file(one.folder, 0))
    np.testing.assert_array_equal(kept.c_S, c_S)
    np.testing.assert_array_equal(kept.z_SZ, z_SZ)


@pytest.mark.parametrize("why", ["budget", "disk"])
def test_where_there_is_no_room_the_trial_goes_on_and_nobody_is_troubled(tmp_path: Path, why: str) -> None:
    spec = space(tmp_path, DEC + "checkpoint_gb: 1e-6\n" * (why == "budget"))
    one = trainer(spec, tmp_path / "run")
    if why == "disk":
        course_file(one.folder, 0).mkdir(parents=True)  # nothing can be written there
    *_, last = one(0, spec.config({"lr": 0.01}) | {"seed": 1})
    assert (last.ended, last.trouble) == ("complete", None)
    assert read_course(course_file(one.folder, 0)) == []


@pytest.mark.slow
def test_the_winners_lies_beside_its_weights_and_no_others_is_left(tmp_path: Path) -> None:
    folder = without_ray_at_all(space(tmp_path, DEC), tmp_path / "runs")
    assert [one.epoch for one in read_course(folder / BEST_COURSE)] == [1, 5]
    assert not list(folder.rglob("*/*.course.safetensors"))
    before = (folder / BEST_COURSE).read_bytes()

    confirmed_without_ray(folder, 1, 5)
    training = (read_best(folder / BEST).get("confirmed") or {}).get("training")
    kept = (folder / BEST_COURSE).read_bytes()
    assert kept == (before if training is None else course_file(folder / CONFIRM, training).read_bytes())
    assert "map-by-epoch" in figures_of(folder)
    assert re.fullmatch(r"acc 0\.\d+, the mean of .* on 5 fresh seeds .*", in_one_line(read_material(folder)))
    of = sorted(path.name.partition(".")[0] for path in (folder / CONFIRM).glob("checkpoints/*.course.safetensors"))
    assert of == sorted(path.stem for path in (folder / CONFIRM).glob("checkpoints/???.safetensors")), "each goes with its weights"
    assert not [path for one in clean([folder], dry_run=True) for _, path, _ in one.found if folder in path.parents]
