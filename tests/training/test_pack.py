"""Lanes of one pack under what the conformance suite does not provoke: schedules that switch terms, refilled slots, divergence."""

import dataclasses
import json
from contextlib import nullcontext

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tuner.errors import UserError
from tuner.model import SGD, Adam, RMSprop, load_model
from tuner.testing import apart, blobs, distance, is_rounding, packed, record, short, solo
from tuner.training import checkpoint, recorded
from tuner.training.loop import train
from tuner.training.pack import Pack
from tuner.training.pool import Pool, Widths

DATA = blobs()
AAE = load_model("aae_unsup")


def variant(name, **methods):
    return type(name, (type(AAE),), methods | {"__module__": type(AAE).__module__})()


def pool_of(model, most, **more):
    """Packs only, of the given width, none alone."""
    return Pool(model, DATA, Widths(most=most, **{"least": 1, "exact": False} | more))


def equal(model, h, run, seed, data=DATA):
    return is_rounding(apart(solo(model, h, data, seed), run), model, h, data, seed)


def test_an_update_whose_terms_all_weigh_0_in_an_epoch_is_not_taken_in_that_lane():
    def drop_rates(self, h, epoch):
        odd = {f"weights.{term}": float(epoch % 2) for term in ("adv_y", "adv_z", "l2_z")}
        return odd | {"weights.mode": float(epoch % 2 == 0)} if h.drop_factor == 0.5 else {}

    model = variant("OnAndOff", drop_rates=drop_rates)
    hs = [short(model, epochs=3), short(model, epochs=3, drop_factor=0.5)]
    for h, seed, run in zip(hs, (1, 2), packed(model, hs, DATA, [1, 2]), strict=True):
        assert equal(model, h, run, seed)
    first, second = (run.state for run in solo(model, dataclasses.replace(hs[1], lr_ae=0.0), DATA, 2)[:2])
    still = [k for k in first if k.startswith("encoder.") and "running" not in k and "tracked" not in k]
    assert distance({k: first[k] for k in still}, {k: second[k] for k in still}) == 0


def test_a_refilled_slot_starts_from_nothing():
    h = short(AAE, epochs=3)
    pool, runs = pool_of(AAE, 2), {"a": [], "b": [], "c": []}
    pool.join("a", h, seed=1)
    pool.join("b", h, seed=2)
    for round_ in range(5):
        if round_ == 2:
            pool.leave("a")
            pool.join("c", h, seed=3)
        for who, epoch in pool.round():
            runs[who].append(record(epoch))
    assert len(pool.rooms) == 1
    assert equal(AAE, h, runs["b"], 2)
    assert equal(AAE, h, runs["c"], 3)


def test_a_lane_that_diverges_harms_no_neighbour():
    hs = [short(AAE, lr_ae=1.0, lr_gen=1.0, epochs=2, **{"weights.l2_z": 1e308}), short(AAE, epochs=2)]
    sick, well = packed(AAE, hs, DATA, [1, 2])
    assert sick[-1].ended == "diverged"
    assert equal(AAE, hs[1], well, 2)


def test_more_trials_than_slots_fill_a_second_pack():
    h = short(AAE)
    pool = pool_of(AAE, 2)
    for seed in range(3):
        pool.join(seed, h, seed=seed)
    assert sorted(who for who, _ in pool.round()) == [0, 1, 2]
    assert [len(rooms) for rooms in pool.rooms.values()] == [2]


@pytest.mark.parametrize("name", ["aae_unsup", "dec"])
def test_packs_shrink_and_grow_with_their_trials_and_nobody_notices(name):
    model = load_model(name)
    h = short(model, epochs=4)
    pool, runs, widths = pool_of(model, 4, least=2, exact=True), {i: [] for i in range(4)}, []
    pool.join(0, h, seed=0)
    while pool.members:
        for who, epoch in pool.round(None if len(widths) != 3 else [0]):
            runs[who].append(record(epoch))
        widths.append([len(room.seats) for rooms in pool.rooms.values() for room in rooms])
        if len(widths) == 1:
            pool.join(1, h, seed=1)
            pool.join(2, h, seed=2)
        elif len(widths) == 2:
            pool.leave(2)
            pool.join(3, h, seed=3)
    assert widths[0] == [1]
    assert max(max(w) for w in widths) > 1
    for who in (0, 1, 3):
        assert equal(model, h, runs[who], who), who
    assert pool.lane_epochs <= pool.slot_epochs


@pytest.mark.parametrize(
    ("widths", "n", "plan"),
    [
        (Widths(most=8), 1, [1]),
        (Widths(most=8), 5, [5]),
        (Widths(most=8, least=4), 3, [1, 1, 1]),
        (Widths(most=8, least=4), 11, [1, 1, 1, 8]),
        (Widths(most=8, exact=False), 5, [8]),
        (Widths(most=8, exact=False), 19, [4, 8, 8]),
        (Widths(most=1), 3, [1, 1, 1]),
    ],
)
def test_the_widths_of_packs_follow_the_number_of_trials(widths, n, plan):
    assert widths.plan(n) == plan


def test_trials_with_other_static_values_or_terms_get_a_pack_of_their_own():
    pool = pool_of(AAE, 2)
    for i, over in enumerate([{}, {"hidden": 24}, {"weights.mode": 0.0}]):
        pool.join(i, short(AAE, **over), seed=i)
    assert len(list(pool.round())) == 3
    assert len(pool.rooms) == 3


@pytest.mark.parametrize(
    "optimizer",
    [
        RMSprop(),
        RMSprop(alpha="dropout"),
        Adam(weight_decay="dropout"),
        SGD(momentum="dropout", weight_decay=0.01, nesterov=True),
    ],
)
def test_any_optimizer_in_a_lane_is_the_solo_one(optimizer):
    def phases(self, h):
        (phase,) = type(AAE).phases(self, h)
        return (dataclasses.replace(phase, updates=tuple(dataclasses.replace(u, optimizer=optimizer) for u in phase.updates)),)

    model = variant("AAEWithAnother", phases=phases)
    hs = [short(model, dropout=0.3), short(model, lr_gen=1e-3)]
    for h, seed, run in zip(hs, (1, 2), packed(model, hs, DATA, [1, 2]), strict=True):
        assert equal(model, h, run, seed)


def test_a_clipped_lane_is_the_clipped_solo_run():
    def phases(self, h):
        (phase,) = type(AAE).phases(self, h)
        return (dataclasses.replace(phase, updates=tuple(dataclasses.replace(u, clip="dropout") for u in phase.updates)),)

    model = variant("AAEWithClip", phases=phases)
    hs = [short(model, dropout=0.05), short(model, dropout=0.3)]
    for h, seed, run in zip(hs, (1, 2), packed(model, hs, DATA, [1, 2]), strict=True):
        assert equal(model, h, run, seed)


@pytest.mark.parametrize("name", ["aae_unsup", "dec"])
def test_a_trial_moves_between_packs_solo_runs_and_files(name, tmp_path):
    model = load_model(name)
    h = short(model)
    whole = solo(model, h, DATA, 1)
    pool = pool_of(model, 4)
    pool.join("other", h, seed=9)
    pool.join("trial", h, seed=1)
    snapshot = dict(pool.round())["trial"].snapshot()
    checkpoint.save(snapshot, tmp_path / "trial.safetensors")
    alone = solo(model, h, DATA, 1, start=checkpoint.load(tmp_path / "trial.safetensors"))
    assert is_rounding(apart(whole[1:], alone), model, h, DATA, 1)
    snapshot = next(train(model, h, DATA, seed=1)).snapshot()
    pool = pool_of(model, 4)
    pool.join("trial", h, seed=1, start=snapshot)
    back = []
    while pool.members:
        back += [record(epoch) for _, epoch in pool.round()]
    assert is_rounding(apart(whole[1:], back), model, h, DATA, 1)


def test_a_pack_in_float32_follows_the_solo_run_in_its_first_steps():
    data = blobs(n_samples=90, dtype=torch.float32)
    h = short(AAE, epochs=1)
    (run,) = packed(AAE, [h], data, [1])
    assert is_rounding(apart(solo(AAE, h, data, 1), run), AAE, h, data, 1, least=1e-4)


def test_recording_a_step_leaves_no_trace_and_replays_what_was_recorded(monkeypatch):
    """Without a GPU: the stand-in runs the step where CUDA would capture it, and again where CUDA would replay it."""
    made = []

    def remember(f, *args):
        made.append(lambda: f(*args))
        return made[-1]

    class Graph:
        def __init__(self):
            self.replay = made[-1]

    class Stream:
        def wait_stream(self, other):
            pass

    stand_ins = {"Stream": Stream, "current_stream": Stream, "CUDAGraph": Graph, "stream": nullcontext, "graph": nullcontext}
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(recorded, "partial", remember)
    monkeypatch.setattr(Pack, "graphs", property(lambda self: True, lambda self, on: None), raising=False)

    def drop_rates(self, h, epoch):  # an epoch without one update, then one with it: two recordings
        return {f"weights.{term}": float(epoch % 2) for term in ("adv_y", "adv_z", "l2_z")}

    model = variant("OffAndOn", drop_rates=drop_rates)
    hs = [short(model, epochs=3), short(model, epochs=2, lr_ae=1e-3)]
    runs = packed(model, hs, DATA, [1, 2])
    assert len(made) == 3  # one more when the second trial's slot falls idle
    for h, seed, run in zip(hs, (1, 2), runs, strict=True):
        assert equal(model, h, run, seed)


def test_a_snapshot_of_another_configuration_is_refused(tmp_path):
    snapshot = next(train(AAE, short(AAE), DATA, seed=1)).snapshot()
    with pytest.raises(UserError, match="The checkpoint is of seed 1, not of 2"):
        next(train(AAE, short(AAE), DATA, seed=2, start=snapshot))
    with pytest.raises(UserError, match="The checkpoint is of model aae_unsup, not of kmeans"):
        next(train(load_model("kmeans"), short(load_model("kmeans")), DATA, seed=1, start=snapshot))


def test_a_checkpoint_of_before_its_counts_were_renamed_is_read(tmp_path):
    new, old = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    dec = load_model("dec")
    *_, last = (epoch.snapshot() for epoch in train(dec, short(dec), DATA, seed=1))
    assert last.epoch > last.phase_epoch > 0, "behind a pre-training"
    checkpoint.save(last, new)
    with safe_open(new, framework="pt") as file:
        header = json.loads(file.metadata()["tuner"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    for then, now in (("index", "epoch"), ("epoch", "phase_epoch"), ("batches", "phase_batches"), ("lonely", "one_cluster_epochs")):
        header[then] = header.pop(now)
    save_file(tensors, old, metadata={"tuner": json.dumps(header)})
    read = checkpoint.load(old)
    for name in ("phase", "epoch", "phase_epoch", "phase_batches", "cluster_epoch", "one_cluster_epochs", "values"):
        assert getattr(read, name) == getattr(last, name), name


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "trial.safetensors"
    checkpoint.save(next(train(AAE, short(AAE), DATA, seed=1)).snapshot(), path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match=r"trial.safetensors is not a checkpoint of tuner, or it is damaged"):
        checkpoint.load(path)
    with pytest.raises(UserError, match="There is no checkpoint"):
        checkpoint.load(tmp_path / "none.safetensors")
