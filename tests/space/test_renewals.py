"""What is renewed every few batches is told where that is many passes over many samples."""

from pathlib import Path

import pytest
from kit.searches import space

from tuner.model import DataSpec
from tuner.space.checked import Checked
from tuner.space.located import Problems
from tuner.space.renewals import notes_of_renewals

SPACE = """
model: {model}
dataset: digits
metric: {{name: acc, goal: maximize}}
parameters:
  n_clusters: {{value: 10}}
  {more}
"""


def notes(folder: Path, model: str, more: str = "n_init: {value: 2}", n_samples: int = 1_000_000) -> list[str]:
    spec = space(folder, SPACE.format(model=model, more=more))
    search = Checked(spec=spec, model=spec.loaded(), keys={}, entries={}, problems=Problems(title="", file=""))
    return list(notes_of_renewals(search, DataSpec(n_samples=n_samples, shape=(10,), n_classes=None, unit_range=True)))


@pytest.mark.parametrize("model", ["dec", "idec"])
def test_the_passes_of_an_epoch_are_counted_and_the_key_is_named(model: str, tmp_path: Path) -> None:
    (said,) = notes(tmp_path, model, "batch_size: {value: 256}")
    assert said == (
        "'refresh_every': the phase 'cluster' goes through all 1,000,000 samples again every 30 batches, 130 times an epoch, which takes "
        "far longer than training on them once. With refresh_every=3,906 it does so once an epoch."
    )


def test_of_what_is_searched_the_least_counts(tmp_path: Path) -> None:
    (said,) = notes(tmp_path, "idec", "refresh_every: {min: 100, max: 4000}\n  batch_size: {values: [512, 256]}")
    assert "every 100 batches, 39 times an epoch" in said
    (said,) = notes(tmp_path, "idec", "target: {values: [batch, all]}\n  batch_size: {value: 256}")
    assert "every 30 batches" in said, "of some trials"


def test_nothing_is_said_of_few_samples_few_passes_or_what_renews_nothing(tmp_path: Path) -> None:
    assert notes(tmp_path, "idec", n_samples=1797) == []
    assert notes(tmp_path, "idec", "refresh_every: {value: 1}\n  batch_size: {value: 16}", n_samples=1797) == []
    assert notes(tmp_path, "idec", "refresh_every: {value: 3906}") == []
    assert notes(tmp_path, "idec", "target: {value: batch}") == []
    assert notes(tmp_path, "aae_unsup", "latent_dim: {value: 5}") == []
