"""Every check, in words: what holds, what follows where it does not, and where to look. A new model needs no test of its own."""

from __future__ import annotations

from . import declared, on_device, trained
from .found import RANDOM, Check
from .worker import imports_elsewhere

_UPDATE = "Look into the updates and hooks."
_PACK = (
    "On a GPU many trials train in one step, by torch.func.vmap: a trial's result would depend on its neighbours.",
    f"{_UPDATE} They may use their arguments alone: no list outside that grows, no number that was read from a tensor once.",
)
CHECKS: tuple[Check, ...] = (
    Check(
        "its hyper-parameters have ranges that hold their defaults",
        declared.ranges_hold_defaults,
        "A space may search any of them, and is checked against the range.",
        "Write hp(default, low, high), or hp(default, choices=(…)).",
    ),
    Check(
        "it has a tiny configuration",
        declared.has_tiny,
        "The checks train with it: three clusters of 150 samples, in a second.",
        "Write tiny = {'n_clusters': 3, 'batch_size': 30, 'epochs': 4, …}.",
    ),
    Check(
        "every term is declared, and returned by one update",
        declared.terms_are_returned,
        "A term has one name in the model, the space (weights.NAME), the journal (loss/NAME) and W&B. One that nobody computes would be "
        "searched for nothing.",
        "Look at `terms` and at what the updates return.",
    ),
    Check(
        "every network is trained",
        declared.networks_are_trained,
        "It stays as it was drawn at the beginning: the method is another one than it seems.",
        "Name it in `trains=(…)` of the update whose loss is to move it, in `phases`; or take it out of `networks`.",
    ),
    Check(
        "phases have names of their own",
        declared.names_are_their_own,
        "Checkpoints and the journal know them by name.",
        "Rename one.",
    ),
    Check(
        "every weight changes something",
        declared.every_weight_is_alive,
        "Searching it would be in vain.",
        "Give the term the weight None, or let it share a step, and something that it trains, with another term.",
    ),
    Check(
        "its steps stay on the device",
        on_device.steps_stay_on_the_device,
        "On a GPU a step is recorded once and replayed: a tensor of the CPU, or a value that is asked for, breaks the record, and what is "
        "chosen by values has no fixed shape.",
        "Look into the updates: make tensors like others (x_BD.new_zeros(3)), no .item(), torch.where in place of x[mask].",
    ),
    Check("it draws nothing from the global generator", trained.draws_nothing_by_itself, *RANDOM),
    Check(
        "it inherits from Model alone and keeps nothing in self",
        declared.holds_no_state,
        "One object serves all trials of a process: what it keeps would go from one into another, and is in no checkpoint.",
        "State stands in `tensors`, and an update or a hook returns its new value.",
    ),
    Check(
        "the same seed gives the same result, and another seed another",
        trained.the_seed_decides,
        "A result could not be had again, or every seed would be one.",
        f"{_UPDATE} What is random comes from `noise`, in hooks from g; sets and dicts of tensors have no fixed order.",
    ),
    Check(
        "initial networks depend on the seed alone",
        trained.initial_networks_follow_from_the_seed,
        "A resumed trial, and one that shares a pack, would begin as another one.",
        "Do not seed or make a generator of your own in `networks`.",
    ),
    Check(
        "many in one pack give what each gives alone",
        trained.a_lane_equals_its_solo_run,
        *_PACK,
    ),
    Check(
        "every choice runs, alone and in a pack",
        trained.every_choice_runs,
        "A space may name any of the choices.",
        "Look where the model branches on the choice.",
    ),
    Check(
        "stopping and resuming changes nothing",
        trained.resuming_changes_nothing,
        "A search that was killed goes on from checkpoints: they hold networks and `tensors`, and nothing else.",
        "What lasts from epoch to epoch stands in `tensors`.",
    ),
    Check(
        "weight 0 removes a term",
        trained.weight_0_removes_a_term,
        "An ablation sets a weight to 0.",
        "Return the term unweighted and by itself: tuner multiplies it. No other term may be computed from it.",
    ),
    Check(
        "assignments are probabilities, and codes have a row for each sample",
        trained.assigns_probabilities,
        "The metrics are computed from them.",
        "`assign` returns (B, K), one-hot where the method is hard (tuner.clustering.nearest); `embed` returns (B, Z).",
    ),
    Check(
        "what it decodes and generates are samples",
        trained.shows_samples,
        "The pictures of its clusters are made of them.",
        "`decode` returns (B, D) for what `encode` gave; `generate` returns (B, D) for one-hot clusters (B, K) and styles (B, S). Without "
        "them the model has no such pictures.",
    ),
    Check(
        "three easy blobs are told apart",
        trained.separates_blobs,
        "Data on which k-means makes no mistake. Either the method does not work yet, or `tiny` is too short for it.",
        "Look at the losses: tuner train YOUR_MODEL --models FILE --dataset digits. Try longer phases or a larger rate in `tiny`.",
    ),
    Check(
        "a worker can import it",
        imports_elsewhere,
        "A search's workers run in other folders, and on other machines: they have the model's file, its parts and what is installed.",
        "What the model needs beside that goes into _NAME.py beside it: `from ._NAME import …`.",
    ),
)
SLOW_CHECKS: tuple[Check, ...] = (Check("a lane equals its solo run whoever comes and goes", trained.whoever_comes_and_goes, *_PACK),)
