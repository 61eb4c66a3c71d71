"""The labelled samples of semi-supervised models: balanced, the same for all trials, never of the test split, drawn by the key."""

import dataclasses
from pathlib import Path

import pytest
import torch

from tuner.data.labels import labelled_of
from tuner.draws import Draws
from tuner.errors import UserError
from tuner.model import load_model
from tuner.space.reader import read_space
from tuner.testing import apart, blobs, packed, solo
from tuner.training.loop import train
from tuner.training.trial import check_fits
from tuner.training.widths import stretches

MODEL = load_model("m2")
DATA = blobs()


def tiny(**more):
    return MODEL.hyper(dict(MODEL.tiny) | {"epochs": 1} | more)


def with_test(n_test, data=DATA):
    return dataclasses.replace(data, test=slice(len(data.x_ND) - n_test, len(data.x_ND)))


def steps(h, n_steps=8, data=DATA, seed=0):
    return labelled_of(data, h).draw(Draws(seed, like=data.x_ND, lead=(n_steps,)), h.labelled_batch)


@pytest.mark.parametrize("n_labels", [3, 10, 12, 20])
def test_every_class_has_as_many_labels_give_or_take_one(n_labels):
    labelled = labelled_of(DATA, tiny(n_labels=n_labels))
    counts = labelled.y_M.bincount(minlength=3)
    assert counts.sum() == n_labels == len(labelled.rows_M.unique())
    assert counts.max() - counts.min() <= 1
    assert counts.tolist() == labelled.sizes_C.tolist()
    assert torch.equal(labelled.y_M, DATA.y_N[labelled.rows_M])
    assert torch.equal(labelled.x_MD, DATA.x_ND[labelled.rows_M])


def test_no_sample_of_the_test_split_is_labelled_or_trained_on():
    data = with_test(100)
    assert int(labelled_of(data, tiny(n_labels=40)).rows_M.max()) < 50
    h = tiny(batch_size=10, n_labels=12)
    other = dataclasses.replace(data, x_ND=torch.where(torch.arange(150)[:, None] < 50, data.x_ND, 1 - data.x_ND))
    seen, clean = (next(train(MODEL, h, d, seed=0)).snapshot().weights() for d in (other, data))
    assert all(torch.equal(seen[name], clean[name]) for name in clean)


def test_the_same_samples_are_labelled_whatever_the_trials_seed_and_others_with_another_label_seed():
    one, other = labelled_of(DATA, tiny()), labelled_of(DATA, tiny(label_seed=1))
    assert not torch.equal(one.rows_M, other.rows_M)
    assert set(one.rows_M.tolist()) < set(labelled_of(DATA, tiny(n_labels=30)).rows_M.tolist())


@pytest.mark.parametrize(("n_labels", "size"), [(12, 12), (12, 6), (12, 30), (14, 14), (14, 10)])
def test_a_step_is_given_equally_many_of_each_class_and_none_twice_while_there_are_others(n_labels, size):
    h = tiny(n_labels=n_labels, labelled_batch=size)
    x_SLD, y_SL = steps(h)
    assert x_SLD.shape == (8, size, 16)
    for x_LD, y_L in zip(x_SLD, y_SL, strict=True):
        counts = y_L.bincount(minlength=3)
        assert counts.max() - counts.min() <= 1
        for c in range(3):
            have = int(labelled_of(DATA, h).sizes_C[c])
            assert len(x_LD[y_L == c].unique(dim=0)) == min(have, int(counts[c]))


def test_the_draws_differ_from_step_to_step_and_a_class_that_gets_one_more_is_drawn():
    h = tiny(n_labels=30, labelled_batch=4)
    x_SLD, y_SL = steps(h, n_steps=64)
    assert len({tuple(x.flatten().tolist()) for x in x_SLD}) > 60
    doubled = torch.stack([y_L.bincount(minlength=3) for y_L in y_SL]).argmax(-1)
    assert doubled.unique().tolist() == [0, 1, 2]


def test_a_float32_key_never_leaves_its_class():
    """Class 9 plus a uniform draw next to 1 rounds to 10."""
    data = blobs(n_samples=300, dtype=torch.float32)
    x_SLD, y_SL = steps(tiny(n_labels=90, labelled_batch=90), n_steps=100, data=data)
    label_of = {tuple(x.tolist()): int(y) for x, y in zip(data.x_ND, data.y_N, strict=True)}
    assert [label_of[tuple(x.tolist())] for x in x_SLD[0]] == y_SL[0].tolist()
    assert torch.equal(y_SL.sort(-1).values, torch.arange(3).repeat_interleave(30).expand(100, -1))


def test_lanes_with_other_numbers_of_labels_share_a_pack_and_equal_their_solo_runs():
    hs = [tiny(n_labels=n, label_seed=s, epochs=2) for n, s in ((6, 0), (12, 0), (12, 5), (45, 1))]
    for h, seed, run in zip(hs, range(4), packed(MODEL, hs, DATA, seeds=range(4)), strict=True):
        assert apart(solo(MODEL, h, DATA, seed), run) <= 1e-9


def test_the_error_is_of_the_rows_without_a_label_and_of_the_test_split():
    (epoch,) = train(MODEL, tiny(), with_test(30), seed=0)
    assert 0 <= epoch.metrics["error"] <= 1
    assert {"error", "error_test", "acc"} <= epoch.metrics.keys()
    (epoch,) = train(MODEL, tiny(), DATA, seed=0)
    assert "error_test" not in epoch.metrics


def test_a_packs_width_can_be_measured():
    data = blobs(n_samples=90)
    for width in (1, 2):
        assert next(stretches(MODEL, tiny(), data, width)) > 0


@pytest.mark.parametrize(
    ("more", "data", "message"),
    [
        ({}, dataclasses.replace(DATA, y_N=None), "The model learns from some labels, but blobs has none."),
        ({"n_clusters": 4}, DATA, "'n_clusters' is 4, but blobs has 3 classes, and cluster k is class k. Set n_clusters=3."),
        ({"n_labels": 2}, DATA, "'n_labels' must stay within [3, 149], one for each class"),
        (
            {"n_labels": 50},
            with_test(100),
            "'n_labels' must stay within [3, 49], one for each class and fewer than blobs has",
        ),
        ({"n_labels": 50}, with_test(99), "'n_labels' is 50, 17 of each class"),
        ({"batch_size": 51}, with_test(100), "'batch_size' is 51, but blobs has 50 samples before its test split."),
    ],
)
def test_what_cannot_be_is_refused(more, data, message):
    if message.startswith("'n_labels' is 50"):  # one class is rarer than the labels need
        y_N = torch.where((DATA.y_N == 1) & (torch.arange(150) > 30), 0, DATA.y_N)
        data, message = dataclasses.replace(data, y_N=y_N), "'n_labels' is 50, 17 of each class, but blobs has 10 of class 1 before its"
    with pytest.raises(UserError) as refused:
        check_fits(MODEL, tiny(**more), data)
    assert str(refused.value).startswith(message)


def test_the_number_that_a_refusal_proposes_is_the_most_that_is_taken():
    y_N = torch.where((DATA.y_N == 1) & (torch.arange(150) > 30), 0, DATA.y_N)
    data = dataclasses.replace(DATA, y_N=y_N)
    with pytest.raises(UserError, match="Set n_labels=31 or less"):
        check_fits(MODEL, tiny(n_labels=33), data)
    check_fits(MODEL, tiny(n_labels=31), data)
    with pytest.raises(UserError):
        check_fits(MODEL, tiny(n_labels=32), data)


# --- a search space ---


def refusal(tmp_path: Path, model="m2", metric="error", data="digits", parameters="lr: {min: 1e-4, max: 1e-2}"):
    file = tmp_path / "space.yaml"
    goal = "maximize" if metric == "acc" else "minimize"
    file.write_text(f"model: {model}\ndataset: {data}\nmetric: {{name: {metric}, goal: {goal}}}\nparameters: {{{parameters}}}\n")
    with pytest.raises(UserError) as refused:
        read_space(str(file))
    return str(refused.value)


def test_a_space_that_goes_by_the_error_is_read(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("model: m2\ndataset: digits\nmetric: {name: error, goal: minimize}\nparameters: {n_labels: {values: [50, 100]}}\n")
    assert read_space(str(file)).metric.name == "error"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"model": "ae"}, "space.yaml:3: 'error' needs a model that is given some labels, and ae is given none. Use acc."),
        ({"metric": "error_test"}, "space.yaml:3: 'error_test' is of the published test split, and digits has none. Use error"),
        ({"parameters": "n_clusters: {values: [7, 10]}"}, "'n_clusters' goes up to 10, but cluster k is class k: give it one value, 10"),
        ({"parameters": "n_labels: {min: 5, max: 100}"}, "'n_labels' may be 5, but every one of the 10 classes of digits needs a label."),
        ({"parameters": "n_labels: {min: 50, max: 2000}"}, "'n_labels' goes up to 2000, but fewer must be labelled than the data's 1797"),
    ],
)
def test_a_space_that_cannot_be_is_refused(tmp_path, said, message):
    assert message in refusal(tmp_path, **said)


def test_a_space_on_data_without_labels_is_refused(tmp_path):
    (tmp_path / "own.csv").write_text("\n".join(f"{i / 300},{(i * 7) % 11 / 11}" for i in range(200)))
    text = refusal(tmp_path, data=f"csv:{tmp_path / 'own.csv'}", metric="acc")
    assert "m2 learns from some labels, and csv:" in text
