"""Nodes that get no further trial, because trials keep failing there while other nodes do well, or because their code is another.

Ray has no means to shut one node out for one search. What it has are labels: a placement group may ask for a node that is none of
some others, and every trial has a placement group.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune

from tuner.machines.cluster import Share, room
from tuner.machines.versions import OtherCode

from .patches import node_of

logger = logging.getLogger("tuner")

IN_A_ROW = 3  # so many failures on a node, with no trial between them that ended by itself
_NODE_LABEL = "ray.io/node-id"


@dataclass
class _Streak:
    """A node's failures since a trial ended there by itself. `others`: whether another node reported an epoch meanwhile."""

    reasons: list[str] = field(default_factory=list)
    others: bool = False


class Quarantine:
    """`outside`: the ids of the nodes that get no further trial; the searcher hands it on with every configuration. `room`: how many
    trials the others have room for. Tune ends idle processes to make room for a trial that waits, so none is handed out to wait."""

    def __init__(self, share: Share) -> None:
        self.outside: list[str] = []
        self.room = share.slots
        self._share = share
        self._streaks: dict[str, _Streak] = {}

    def reported(self, node: str, *, ended: bool) -> None:
        """A trial had an epoch on the node. `ended`: its last."""
        for other, streak in self._streaks.items():
            streak.others = streak.others or other != node
        if ended:
            self._streaks.pop(node, None)

    def failed(self, actor: str | None, error: BaseException, reason: str) -> bool:
        """A trial failed, in this actor. True: through its node's fault, as it seems now; it should be tried on another."""
        found = actor and _node_of(actor)
        if not found:
            return False
        node, name = found
        if node in self.outside:  # it was on its way there already
            return True
        if self._room_without(node) == 0:
            return False
        if isinstance(getattr(error, "cause", None), OtherCode):
            return self._close(node, f"{reason.partition(': ')[2]} {name} gets no further trial of this search.")
        streak = self._streaks.setdefault(node, _Streak())
        streak.reasons.append(re.sub(r"0x[0-9a-f]+|\d+", "#", reason))
        elsewhere = {one for other, known in self._streaks.items() if other != node for one in known.reasons}
        if len(streak.reasons) < IN_A_ROW or not streak.others or elsewhere & set(streak.reasons):
            return False
        count = len(streak.reasons)
        return self._close(node, f"{name} gets no further trial of this search: the last {count} failed there, others do well. {reason}")

    def _close(self, node: str, why: str) -> bool:
        self.room = min(self.room, self._room_without(node))
        self.outside.append(node)
        self._streaks.pop(node, None)
        logger.warning("%s", why)
        return True

    def _room_without(self, node: str) -> int:
        """On the nodes that are left without it."""
        left = [one for one in ray.nodes() if one["Alive"] and one["NodeID"] not in (node, *self.outside)]
        return sum(room(one["Resources"], self._share.cpu, self._share.gpu) for one in left)


def placement(cpu: float, gpu: float, outside: Sequence[str]) -> tune.PlacementGroupFactory:
    """A trial's share of some node that is none of these."""
    elsewhere: dict[str, Any] = {"bundle_label_selector": [{_NODE_LABEL: f"!in({','.join(outside)})"}]} if outside else {}
    return tune.PlacementGroupFactory([{"CPU": cpu, "GPU": gpu}], **elsewhere)


def _node_of(actor: str) -> tuple[str, str] | None:
    """The id of the node that an actor was on, and how to call it."""
    node = node_of(actor)
    found = next((one for one in ray.nodes() if one["NodeID"] == node), None)
    return None if found is None else (found["NodeID"], f"Node {found['NodeManagerHostname']} ({found['NodeManagerAddress']})")
