"""What pre-training came to is kept by content: a hit changes no result, and nothing but the same content is a hit."""

import dataclasses
import importlib
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from tuner.errors import UserError
from tuner.machines.cluster import Cluster
from tuner.model import SGD, Descend, Net, Phase, load_model, model_names
from tuner.runs.journal import read_lines
from tuner.search.trainer import Trainer
from tuner.service.driver import SearchOptions, search
from tuner.space.reader import read_space
from tuner.testing import apart, blobs, is_rounding, record, short, solo, tiny
from tuner.training.loop import train
from tuner.training.pool import Pool, Widths
from tuner.training.pretraining import PretrainingCache, _with_siblings

DATA = blobs()
DEC = load_model("dec")
SHARES = [load_model(name) for name in model_names() if load_model(name).phases(tiny(load_model(name)))[0].depends]


@pytest.fixture
def cache(tmp_path):
    return PretrainingCache(folder=tmp_path / "pretrained")


def fill(cache, model, h, pretrain_seed=7, data=DATA):
    """One trial up to the end of its pre-training."""
    entry = cache.entry(model, h, data, seed=1, pretrain_seed=pretrain_seed)
    for epoch in train(model, h, data, seed=1, pretrain_seed=pretrain_seed):
        if entry.takes(epoch):
            return entry.keep(epoch.phase, epoch.snapshot())


@pytest.mark.parametrize("model", SHARES, ids=lambda m: m.name)
def test_a_trial_from_the_cache_is_the_trial_without_it_alone_and_in_a_pack(model, cache):
    h = short(model)
    fill(cache, model, h)
    start = cache.entry(model, h, DATA, seed=2, pretrain_seed=7).start()
    whole = solo(model, h, DATA, 2, pretrain_seed=7)
    skipped = getattr(h, model.phases(h)[0].epochs)
    assert apart(whole[skipped:], solo(model, h, DATA, 2, pretrain_seed=7, start=start)) == 0
    pool = Pool(model, DATA, Widths(most=2, least=1))
    pool.join("hit", h, seed=2, pretrain_seed=7, start=start)
    (first,) = [epoch for _, epoch in pool.round()]
    assert first.epoch == skipped + 1
    assert is_rounding(apart(whole[skipped : skipped + 1], [record(first)]), model, h, DATA, 2)


@pytest.mark.parametrize("model", SHARES, ids=lambda m: m.name)
def test_what_a_phase_does_not_depend_on_does_not_move_its_outcome(model, cache):
    h = short(model)
    phase = model.phases(h)[0]

    def outcome(h):
        epochs = train(model, h, DATA, seed=3, pretrain_seed=7)
        tensors = [next(epochs) for _ in range(getattr(h, phase.epochs))][-1].snapshot().weights()
        names = {name for update in phase.updates for name in update.rates()}
        return {key: t for key, t in tensors.items() if key.partition(".")[0] in names}

    expected = outcome(h)
    for name, p in model.parameters().items():
        if name in phase.depends or p.kind is str or p.kind is bool:
            continue
        value = h.flat()[name] or 0.1
        other = value + 1 if p.kind is int else value * 0.9
        try:
            found = outcome(model.hyper(h.flat() | {name: other}))
        except UserError:  # outside the legal range, or nothing for three classes
            continue
        assert found.keys() == expected.keys(), name
        assert all(torch.equal(found[key], expected[key]) for key in expected), f"{name} moves pre-training, but 'depends' lacks it"


def test_other_clusters_and_rates_share_a_pre_training(cache):
    h = short(DEC)
    fill(cache, DEC, h)
    assert cache.entry(DEC, dataclasses.replace(h, n_clusters=5, lr=0.5), DATA, seed=9, pretrain_seed=7).start() is not None


def test_siblings_with_the_same_auto_encoder_share_a_pre_training(cache):
    fill(cache, DEC, short(DEC))
    idec = load_model("idec")
    same = {name: value for name, value in short(DEC).flat().items() if name in DEC.phases(short(DEC))[0].depends}
    assert cache.entry(idec, short(idec, **same), DATA, seed=1, pretrain_seed=7).start() is not None


@pytest.mark.parametrize("change", ["pretrain_seed", "lr_pretrain", "data"])
def test_other_content_is_no_hit(cache, change):
    h = short(DEC)
    fill(cache, DEC, h)
    seed, data = 7, DATA
    if change == "pretrain_seed":
        seed = 8
    elif change == "lr_pretrain":
        h = dataclasses.replace(h, lr_pretrain=h.lr_pretrain / 2)
    else:
        data = dataclasses.replace(DATA, x_ND=DATA.x_ND.flip(0))
    assert cache.entry(DEC, h, data, seed=1, pretrain_seed=seed).start() is None


def by_half(h, epoch):
    return {"lr": h.lr / epoch}


def another(net, data, h, g):
    return {}


UPDATE = {
    "losses": partial(DEC.phases(short(DEC))[0].updates[0].losses, noise=Net({})),
    "trains": ("encoder",),
    "lr": "lr",
    "optimizer": SGD(momentum=0.9),
    "clip": "lr",
    "name": "another",
}
PHASE = {
    "name": "layers",
    "epochs": "epochs",
    "updates": (),
    "noise": lambda h, data, B, g: {},
    "clusters": True,
    "start": another,
    "before_epoch": another,
    "every_batches": "batch_size",
    "after_epoch": another,
    "until": lambda net, data, h, epoch: False,
    "schedule": by_half,
    "depends": (),
}


@pytest.mark.parametrize(("part", "field"), [(part, f.name) for part in (Descend, Phase) for f in dataclasses.fields(part)])
def test_every_field_of_a_phase_and_of_its_update_counts(cache, monkeypatch, part, field):
    h = dataclasses.replace(short(DEC), epochs=5)
    (before,) = cache.entry(DEC, h, DATA, seed=1, pretrain_seed=7).files.values()
    first, *others = DEC.phases(h)
    if part is Descend:
        more = {"updates": (dataclasses.replace(first.updates[0], **{field: UPDATE[field]}), *first.updates[1:])}
    else:
        more = {field: PHASE[field]}
    monkeypatch.setattr(type(DEC), "phases", lambda self, h: (dataclasses.replace(first, **more), *others))
    entry = cache.entry(DEC, h, DATA, seed=1, pretrain_seed=7)
    if field in ("clusters", "depends"):
        assert entry is None, "it is shared no more"
    else:
        assert before not in entry.files.values()


def test_two_functions_of_one_place_are_two(cache, monkeypatch):
    h, found = short(DEC), []
    first, *others = DEC.phases(h)
    for schedule in (lambda h, epoch: {"lr": 0.5}, lambda h, epoch: {"lr": 0.1}):  # of one name, in one line
        changed = dataclasses.replace(first, schedule=schedule)
        monkeypatch.setattr(type(DEC), "phases", lambda self, h, changed=changed: (changed, *others))
        found += cache.entry(DEC, h, DATA, seed=1, pretrain_seed=7).files.values()
    assert len(set(found)) == 2


def test_a_damaged_entry_counts_as_absent(cache, caplog):
    h = short(DEC)
    fill(cache, DEC, h)
    (entry,) = cache.folder.iterdir()
    entry.write_bytes(entry.read_bytes()[:100])
    assert cache.entry(DEC, h, DATA, seed=1, pretrain_seed=7).start() is None
    assert "pre-training is done anew" in caplog.text


def test_a_model_without_shared_pre_training_keeps_nothing(cache):
    model = load_model("aae_unsup")
    assert cache.entry(model, short(model), DATA, seed=1, pretrain_seed=7) is None


SPACE = """
model: dec
dataset: {name: digits, limit: 300}
metric: {name: acc, goal: maximize}
method: random
trials: 3
epochs: 2
early_terminate: none
resources: {pack: PACK}
parameters:
  hidden: {value: 16}
  pretrain_epochs: {value: 2}
  batch_size: {value: 50}
  n_clusters: {values: [7, 10]}
"""


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["off", "3"])
def test_a_second_search_spends_no_pre_training_epoch_and_finds_the_same(tmp_path: Path, pack: str, cluster: Cluster) -> None:
    (tmp_path / "my.yaml").write_text(SPACE.replace("PACK", pack))
    first, second = (search(read_space(str(tmp_path / "my.yaml")), SearchOptions(out=tmp_path / "runs")) for _ in range(2))
    before, after = (
        {(line["trial"], line["epoch"]): line for line in read_lines(run.folder / "results.jsonl") if "state" not in line}
        for run in (first, second)
    )
    assert {line["phase"] for line in before.values()} == {"pretrain", "cluster"}
    assert {line["phase"] for line in after.values()} == {"cluster"}
    assert {epoch for _, epoch in after} == {3, 4}
    for place, line in after.items():
        if pack == "off":
            assert line["metrics"]["acc"] == before[place]["metrics"]["acc"], place


def test_the_code_that_an_update_borrows_from_siblings_counts():
    model = load_model("acai_idec")
    (update, *_) = model.phases(short(model))[0].updates
    names = {module.__name__.rpartition(".")[2] for module in _with_siblings(sys.modules[update.losses.__module__])}
    assert names == {"_mixing", "_self_taught", "_autoencoder"}


@pytest.mark.parametrize(
    "borrows",
    [
        "from ._lent import step",
        "from . import _lent",
        "from . import _lent as theirs",
        "import PACKAGE._lent",
        "import PACKAGE._lent as theirs",
        "from PACKAGE import _lent",
        "from PACKAGE._lent import step",
        "def step():\n    from ._lent import step",
    ],
)
def test_however_a_model_borrows_from_a_sibling_the_siblings_code_counts(borrows: str, tmp_path: Path, monkeypatch) -> None:
    package = f"lenders_{tmp_path.name.lower()}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "mine.py").write_text(f"import json\nfrom tuner.nn import mlp\n{borrows}\n".replace("PACKAGE", package))
    (folder / "_lent.py").write_text("from . import _below\nfrom .mine import __doc__\n\ndef step(): ...\n")  # a circle must end, too
    (folder / "_below.py").write_text("deep = True\n")
    (folder / "_stranger.py").write_text("far = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = {module.__name__ for module in _with_siblings(importlib.import_module(f"{package}.mine"))}
    assert names == {f"{package}.{name}" for name in ("mine", "_lent", "_below")}


def test_a_trial_that_is_tried_again_in_its_pre_training_trains_it_again(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(SPACE.replace("PACK", "off"))
    spec, folder = read_space(str(tmp_path / "my.yaml")), tmp_path / "runs" / "my"
    folder.mkdir(parents=True)
    about = {"dataset": spec.dataset, "data_root": tmp_path, "device": "cpu", "threads": 1}
    trainer = Trainer(spec=spec, folder=folder, **about)
    config = {**spec.config(spec.completed({})), "seed": 1}
    assert next(iter(trainer(0, config))).line["epoch"] == 1
    assert [(report.line["epoch"], report.line.get("ended")) for report in trainer(1, config)] == [
        (1, None),
        (2, None),
        (3, None),
        (4, "complete"),
    ]
    assert [report.line["epoch"] for report in trainer(0, config)] == [1, 2, 3, 4]
    assert [report.line["epoch"] for report in trainer(2, config)] == [3, 4]
