"""What the contract lets a model do, on toy models: each does one thing that no shipped model needs yet."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from tuner.clustering import k_means, nearest
from tuner.data.datasets import Data, DatasetSpec, load
from tuner.errors import UserError
from tuner.losses import mse, one_hot
from tuner.model import SGD, Adam, Clusters, Descend, Model, Phase, Term, hp, load_model
from tuner.search.checkpoints import _wrong_numbers
from tuner.testing import apart, blobs, packed, record, solo
from tuner.training import checkpoint
from tuner.training.dryrun import owned_terms
from tuner.training.engine import build
from tuner.training.loop import train
from tuner.training.pool import Pool, Widths
from tuner.training.pretraining import PretrainingCache, may_be_known, shared_phases
from tuner.training.trial import initial_seed, planned_epochs, start_trial
from tuner.training.widths import best_width

DATA = blobs()


class Toy(Model):
    """A linear code in two stages, `inner` of `outer`'s code; k-means on it. Toys change one method of it."""

    paper = "https://example.org/toy"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Clusters):
        latent_dim: int = hp(4, 1, 64, static=True, doc="Z, of either stage")
        batch_size: int = hp(30, 2, 65536, static=True)
        lr: float = hp(1e-2, 0.0, 1.0, log=True)
        decay: float = hp(0.1, 0.0, 1.0, doc="the optimiser's weight decay")
        first_epochs: int = hp(2, 0, 100)
        second_epochs: int = hp(2, 0, 100)
        epochs: int = hp(2, 1, 100)

    terms: ClassVar = {"recon_0": Term(None, "mean (x - d0(e0(x)))^2"), "recon_1": Term(None, "mean (z - d1(e1(z)))^2, z = e0(x)")}
    tiny: ClassVar = {"n_clusters": 3}

    def networks(self, h, data):
        D, Z = data.n_features, h.latent_dim
        return {"e0": nn.Linear(D, Z), "d0": nn.Linear(Z, D), "e1": nn.Linear(Z, Z), "d1": nn.Linear(Z, Z)}

    def tensors(self, h, data):
        return {"centers_KZ": torch.zeros(h.n_clusters, h.latent_dim)}

    def rebuild(self, net, batch, h, noise, layer):
        """One function, which serves an update for each layer."""
        x_BD = batch.x_BD if layer == 0 else net.e0(batch.x_BD)
        encode, decode = (net.e0, net.d0) if layer == 0 else (net.e1, net.d1)
        return {f"recon_{layer}": mse(decode(encode(x_BD)), x_BD)}

    def layer(self, i, **more):
        return Descend(partial(self.rebuild, layer=i), trains=(f"e{i}", f"d{i}"), name=f"rebuild_{i}", **more)

    def place(self, net, data, h, g):
        return {"centers_KZ": k_means(self.embed(net, data.x_ND, h), g.exponential(3, h.n_clusters, len(data.x_ND)))}

    def phases(self, h):
        return (
            Phase("first", "first_epochs", clusters=False, updates=(self.layer(0),)),
            Phase("second", "second_epochs", clusters=False, updates=(self.layer(1),)),
            Phase("cluster", "epochs", after_epoch=self.place),
        )

    def assign(self, net, x_BD, h):
        return nearest(self.embed(net, x_BD, h), net.centers_KZ)

    def embed(self, net, x_BD, h):
        return net.e1(net.e0(x_BD))


def lane_is_solo(model, hs, data=DATA):
    """Whether trials in one pack come to what they come to alone."""
    runs = packed(model, hs, data, seeds=list(range(len(hs))))
    return all(apart(solo(model, h, data, seed), run) <= 1e-10 for seed, (h, run) in enumerate(zip(hs, runs, strict=True)))


# --- names of updates ---


def test_one_function_serves_two_updates_by_their_names():
    model = Toy()
    h = model.hyper(model.tiny)
    assert owned_terms(model, h, DATA.spec) == {"rebuild_0": ("recon_0",), "rebuild_1": ("recon_1",)}
    assert lane_is_solo(model, [h, model.hyper({**model.tiny, "lr": 0.02, "first_epochs": 1})])


def test_an_update_without_a_name_has_its_functions():
    assert Descend(Toy().rebuild, trains=("e0",)).name == "rebuild"
    assert Descend(partial(partial(Toy().rebuild, layer=0)), trains=("e0",)).name == "rebuild"


class Confused(Toy):
    """Two updates of one name with other terms, in one phase or in two."""

    together = False

    def phases(self, h):
        updates = [Descend(partial(self.rebuild, layer=i), trains=(f"e{i}", f"d{i}")) for i in range(2)]
        if self.together:
            return (Phase("both", "epochs", updates=tuple(updates)),)
        return tuple(Phase(f"layer {i}", "epochs", updates=(update,)) for i, update in enumerate(updates))


class ConfusedAtOnce(Confused):
    together = True


def test_two_updates_with_one_name_are_refused():
    with pytest.raises(UserError, match=r"two updates 'rebuild', one with the terms \('recon_0',\), one with \('recon_1',\)\. .*name="):
        list(train(Confused(), Confused().hyper({"n_clusters": 3}), DATA, seed=0))
    with pytest.raises(UserError, match=r"more than one update 'rebuild' in its phase 'both'\. .*name="):
        owned_terms(ConfusedAtOnce(), Confused().hyper({"n_clusters": 3}), DATA.spec)


# --- fields of optimisers ---


class Decayed(Toy):
    """Its two layers have the optimisers that no shipped model has."""

    def phases(self, h):
        *_, cluster = super().phases(h)
        ahead = self.layer(0, optimizer=SGD(momentum=0.9, weight_decay="decay", nesterov=True))
        return (
            Phase("first", "first_epochs", clusters=False, updates=(ahead,)),
            Phase("second", "second_epochs", clusters=False, updates=(self.layer(1, optimizer=Adam(weight_decay="decay")),)),
            cluster,
        )


def test_a_models_weight_decay_is_torchs_alone_and_in_a_pack():
    model = Decayed()
    hs = [model.hyper({**model.tiny, "decay": decay, "batch_size": 150}) for decay in (0.0, 0.1, 0.3)]
    assert lane_is_solo(model, hs)
    for h in hs:
        # With all samples in each batch their order counts for nothing but rounding, and torch.optim can be run beside it.
        networks, _ = build(model, h, DATA.spec, DATA.x_ND, initial_seed(model, start_trial(model, h, seed=5)))
        for i, kind in enumerate((torch.optim.SGD, torch.optim.Adam)):
            more = {"momentum": 0.9, "nesterov": True} if i == 0 else {}
            encode, decode = networks[f"e{i}"], networks[f"d{i}"]
            optimizer = kind([*encode.parameters(), *decode.parameters()], lr=h.lr, weight_decay=h.decay, **more)
            for _ in range(2):
                x = DATA.x_ND if i == 0 else networks["e0"](DATA.x_ND).detach()
                optimizer.zero_grad()
                mse(decode(encode(x)), x).backward()
                optimizer.step()
        state = [*train(model, h, DATA, seed=5)][-1].snapshot().weights()
        for name, network in networks.items():
            for key, p in network.named_parameters():
                torch.testing.assert_close(state[f"{name}.{key}"], p.detach(), rtol=0, atol=1e-12)


# --- a phase that ends by a condition ---


class Patient(Toy):
    """Pre-trains until it rebuilds well enough, and clusters until the centres rest."""

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Toy.Hyper):
        enough: float = hp(0.4, 0.0, 1e9, doc="of the first layer's error")
        rest: float = hp(1e-3, 0.0, 1e9, doc="how far a centre may move")

    tiny: ClassVar = {"n_clusters": 3, "first_epochs": 9, "epochs": 9}

    def tensors(self, h, data):
        return super().tensors(h, data) | {"moved": torch.zeros(())}

    def place(self, net, data, h, g):
        placed = super().place(net, data, h, g)
        return placed | {"moved": (placed["centers_KZ"] - net.centers_KZ).abs().max()}

    def good_enough(self, net, data, h, epoch):
        return mse(net.d0(net.e0(data.x_ND)), data.x_ND) < h.enough

    def at_rest(self, net, data, h, epoch):
        return epoch > 1 and net.moved <= h.rest

    def phases(self, h):
        first, second, cluster = super().phases(h)
        return replace(first, until=self.good_enough), second, replace(cluster, until=self.at_rest)


PATIENT = Patient()
IMPATIENT = {"enough": 1e9, "rest": 1e9}


def phases_of(epochs):
    return [epoch.phase for epoch in epochs]


def test_a_phase_ends_by_its_condition_and_its_length_stays_an_upper_bound():
    h = PATIENT.hyper(PATIENT.tiny | IMPATIENT)
    epochs = list(train(PATIENT, h, DATA, seed=1))
    assert phases_of(epochs) == ["first", "second", "second", "cluster", "cluster"]
    assert [epoch.ends_phase for epoch in epochs] == [True, False, True, False, True]
    assert epochs[-1].ended == "complete"
    assert "silhouette" in epochs[-1].metrics  # what is measured in a trial's last epoch alone
    assert planned_epochs(PATIENT, h) == (20, 9)
    never = PATIENT.hyper(PATIENT.tiny | {"enough": 0.0, "first_epochs": 3, "epochs": 3} | {"rest": 1e9})
    assert phases_of(train(PATIENT, never, DATA, seed=1)) == ["first"] * 3 + ["second"] * 2 + ["cluster"] * 2


def test_a_lane_that_is_over_leaves_its_phase_and_the_others_stay():
    hs = [PATIENT.hyper(PATIENT.tiny | {"enough": enough}) for enough in (1e9, 0.0, 0.05)]
    assert len({len(solo(PATIENT, h, DATA, seed)) for seed, h in enumerate(hs)}) == 3, "no two of them are over at the same time"
    assert lane_is_solo(PATIENT, hs)


@pytest.mark.parametrize("more", [IMPATIENT, {"enough": 0.05}])
def test_a_trial_goes_on_from_a_snapshot_wherever_a_condition_ended_a_phase(more, tmp_path):
    h = PATIENT.hyper(PATIENT.tiny | more)
    whole = solo(PATIENT, h, DATA, 1)
    for stop, epoch in enumerate(train(PATIENT, h, DATA, seed=1), 1):
        checkpoint.save(epoch.snapshot(), tmp_path / "trial.safetensors")
        kept = checkpoint.load(tmp_path / "trial.safetensors")
        assert kept.phase_epoch or not any(name.startswith("optimizer/") for name in kept.tensors)
        if stop == len(whole):
            assert solo(PATIENT, h, DATA, 1, start=kept) == []
        else:
            assert apart(whole[stop:], solo(PATIENT, h, DATA, 1, start=kept)) == 0
            assert _wrong_numbers(kept, PATIENT, h) is None
            assert _wrong_numbers(replace(kept, epoch=kept.epoch + 9), PATIENT, h) == "its epochs do not add up"
            pool = Pool(PATIENT, DATA, Widths(most=2, least=1))
            pool.join("again", h, seed=1, start=kept)
            rest = []
            while pool.members:
                rest += [record(epoch) for _, epoch in pool.round()]
            assert apart(whole[stop:], rest) <= 1e-10
    assert stop == len(whole)


# --- a method that knows which samples it is given ---


class Transductive(Toy):
    """Its clusters are those that it found, one for each sample; of a sample that it does not know it knows nothing."""

    transductive = True

    def tensors(self, h, data):
        return super().tensors(h, data) | {"cluster_N": torch.zeros(data.n_samples, dtype=torch.int64)}

    def place(self, net, data, h, g):
        placed = super().place(net, data, h, g)
        return placed | {"cluster_N": nearest(self.embed(net, data.x_ND, h), placed["centers_KZ"]).argmax(-1)}

    def assign(self, net, x_BD, h):
        return torch.full((len(x_BD), h.n_clusters), 1 / h.n_clusters, dtype=x_BD.dtype)

    def assign_rows(self, net, x_BD, rows_B, h):
        assert torch.equal(x_BD, DATA.x_ND[rows_B])
        return one_hot(net.cluster_N[rows_B], h.n_clusters, x_BD.dtype)


def test_a_transductive_method_is_scored_by_its_own_assignment_of_each_sample():
    knows = list(train(Transductive(), Transductive().hyper({"n_clusters": 3}), DATA, seed=0))
    looks = list(train(Toy(), Toy().hyper({"n_clusters": 3}), DATA, seed=0))
    assert knows[-1].metrics["acc"] == looks[-1].metrics["acc"] > 0.5
    assert knows[-1].metrics["confidence"] == 1.0
    assert lane_is_solo(Transductive(), [Transductive().hyper({"n_clusters": 3, "lr": lr}) for lr in (0.01, 0.03)])


class InSmallSlices(Transductive):
    eval_rows = 7
    seen: ClassVar[list] = []

    def assign_rows(self, net, x_BD, rows_B, h):
        self.seen.append(len(rows_B))
        return super().assign_rows(net, x_BD, rows_B, h)

    def embed(self, net, x_BD, h):
        self.seen.append(len(x_BD))
        return super().embed(net, x_BD, h)

    def place(self, net, data, h, g):
        return {"cluster_N": torch.arange(data.n_samples) % h.n_clusters}


def test_a_model_says_how_many_samples_it_is_evaluated_on_at_a_time():
    InSmallSlices.seen.clear()
    list(train(InSmallSlices(), InSmallSlices().hyper({"n_clusters": 3}), DATA, seed=0))
    assert max(InSmallSlices.seen) == 7
    assert InSmallSlices.seen.count(7) >= 2 * (len(DATA.x_ND) // 7)  # of either epoch


# --- samples of any shape, wherever they lie ---


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows(Data):
    """Every `length` frames in a row are a sample: `x_ND` holds each frame once."""

    length: int

    @property
    def n_samples(self):
        return len(self.x_ND) - self.length + 1

    def batch(self, rows):
        at = torch.arange(self.n_samples, device=self.x_ND.device)[rows]
        return self.x_ND[at[..., None] + torch.arange(self.length, device=at.device)].flatten(-2)


def film(length=3, n_frames=92):
    frames_ND = torch.rand(n_frames, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y_N = torch.arange(n_frames - length + 1) % 3
    return Windows(name="film", x_ND=frames_ND, y_N=y_N, shape=(length, 2, 2), length=length)


class Watching(Toy):
    def place(self, net, data, h, g):
        codes_NZ = data.by_rows(lambda x_BD: self.embed(net, x_BD, h), rows=16)
        return {"centers_KZ": k_means(codes_NZ, g.exponential(3, h.n_clusters, data.spec.n_samples))}


def test_a_data_set_that_gathers_its_own_batches_trains_as_one_that_holds_every_sample():
    data, model = film(), Watching()
    every = Data(name="film", x_ND=data.batch(slice(None)), y_N=data.y_N, shape=data.shape)
    assert data.spec == every.spec
    assert data.spec.n_features == 12
    h = model.hyper({"n_clusters": 3, "batch_size": 20})
    assert apart(solo(model, h, every, 1), solo(model, h, data, 1)) == 0
    assert lane_is_solo(model, [h, model.hyper({"n_clusters": 3, "batch_size": 20, "lr": 0.03})], data)
    assert best_width(model, h, data) >= 1


@pytest.mark.parametrize(("shape", "settings"), [((3, 6, 5), {"network": "conv"}), ((4, 3, 3), {}), ((2, 3, 4, 4), {}), ((2,), {})])
def test_samples_of_any_shape_come_from_npz(shape, settings, tmp_path):
    x = np.random.default_rng(0).random((40, *shape), dtype=np.float32)
    np.savez(tmp_path / "own.npz", x=x)
    data = load(DatasetSpec(name=f"npz:{tmp_path / 'own.npz'}"))
    assert data.spec.shape == shape
    assert np.array_equal(data.x_ND.numpy().reshape(40, *shape), x)
    model = load_model("ae")
    assert list(train(model, model.hyper({**model.tiny, "epochs": 1, **settings}), data, seed=0))[-1].ended == "complete"


# --- several phases that trials share ---


class Stacked(Toy):
    """One shared phase for each layer, as a stack of Boltzmann machines has; the second has a rate of its own."""

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Toy.Hyper):
        lr_second: float = hp(1e-2, 0.0, 1.0, log=True)

    def phases(self, h):
        first, second, cluster = super().phases(h)
        shape = ("latent_dim", "batch_size")
        return (
            replace(first, depends=(*shape, "lr", "first_epochs")),
            replace(second, depends=("lr_second", "second_epochs"), updates=(self.layer(1, lr="lr_second"),)),
            cluster,
        )


class Hooked(Stacked):
    """A hook of a shared phase sets a tensor that no update trains."""

    def phases(self, h):
        first, second, cluster = super().phases(h)
        return replace(first, after_epoch=self.place), second, replace(cluster, after_epoch=None)


class Unhurried(Stacked):
    """How long its first phase takes is not known beforehand."""

    def phases(self, h):
        first, *rest = super().phases(h)
        return replace(first, until=lambda net, data, h, epoch: epoch == 1), *rest


STACKED = Stacked()


def keep_all(entry, model, h, seed=1):
    """A trial with all its shared phases kept, and its runs behind each."""
    for epoch in train(model, h, DATA, seed=seed, pretrain_seed=7):
        if entry.takes(epoch):
            entry.keep(epoch.phase, epoch.snapshot())


def entry_of(model, h, folder, seed=2):
    return PretrainingCache(folder=folder).entry(model, h, DATA, seed=seed, pretrain_seed=7)


@pytest.mark.parametrize("model", [STACKED, Hooked(), Unhurried()], ids=lambda m: type(m).__name__)
def test_trials_share_the_longest_run_of_phases_that_they_may(model, tmp_path):
    h = model.hyper({"n_clusters": 3})
    whole = solo(model, h, DATA, 2, pretrain_seed=7)
    assert entry_of(model, h, tmp_path).start() is None
    keep_all(entry_of(model, h, tmp_path), model, h)
    assert len(list(tmp_path.iterdir())) == 2
    start = entry_of(model, h, tmp_path).start()
    assert (start.phase, start.phase_epoch, start.cluster_epoch) == (2, 0, 0)
    assert apart(whole[start.epoch :], solo(model, h, DATA, 2, pretrain_seed=7, start=start)) == 0
    assert may_be_known(model, h, start.epoch)
    assert not may_be_known(model, h, start.epoch + 2)


def test_a_trial_that_differs_in_the_second_phase_alone_goes_on_behind_the_first(tmp_path):
    h = STACKED.hyper({"n_clusters": 3})
    keep_all(entry_of(STACKED, h, tmp_path), STACKED, h)
    other = STACKED.hyper({"n_clusters": 3, "lr_second": 0.03})
    start = entry_of(STACKED, other, tmp_path).start()
    assert (start.phase, start.epoch) == (1, 2)
    whole = solo(STACKED, other, DATA, 2, pretrain_seed=7)
    assert apart(whole[2:], solo(STACKED, other, DATA, 2, pretrain_seed=7, start=start)) == 0
    assert entry_of(STACKED, STACKED.hyper({"n_clusters": 3, "lr": 0.03}), tmp_path).start() is None
    assert entry_of(STACKED, STACKED.hyper({"n_clusters": 5}), tmp_path).start().phase == 2, "clusters have no part in it"


def test_a_damaged_outcome_leaves_the_one_before_it(tmp_path, caplog):
    h = STACKED.hyper({"n_clusters": 3})
    entry = entry_of(STACKED, h, tmp_path)
    keep_all(entry, STACKED, h)
    entry.files["second"].write_bytes(b"torn")
    assert entry.start().phase == 1
    assert "pre-training is done anew" in caplog.text


def test_a_phase_that_clusters_is_not_shared_nor_one_behind_a_phase_that_is_not():
    def shared(*phases):
        return [phase.name for phase in shared_phases(type("Some", (Toy,), {"phases": lambda self, h: phases})(), None)]

    a, b = (Phase(name, "epochs", clusters=False, depends=("lr",)) for name in "ab")
    assert shared(a, b) == ["a", "b"]
    assert shared(replace(a, clusters=True), b) == []
    assert shared(replace(a, depends=()), b) == []


BOUND = partial(STACKED.rebuild, layer=0, more=1)


@pytest.mark.parametrize("change", [{"lr": "decay"}, {"optimizer": SGD()}, {"clip": "decay"}, {"losses": BOUND}])
def test_an_update_that_moves_otherwise_is_other_content(change, tmp_path):
    class Other(Stacked):
        def phases(self, h):
            first, *rest = super().phases(h)
            return replace(first, updates=(replace(first.updates[0], **change),)), *rest

    h = STACKED.hyper({"n_clusters": 3})
    ours, theirs = entry_of(STACKED, h, tmp_path), entry_of(Other(), h, tmp_path)
    assert not set(ours.files.values()) & set(theirs.files.values())
