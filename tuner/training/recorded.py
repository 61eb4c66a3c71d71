"""A step as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor


class Recorded:
    """A step as a CUDA graph: hundreds of kernels for the cost of one launch.

    Recording runs the step a few times to warm up, and takes back whatever that changed; `state` lists it.
    """

    WARM_UPS = 3  # torch asks for them before a capture: lazy initialisation must lie behind

    def __init__(
        self, step: Callable[[Mapping[str, Tensor]], None], inputs: Mapping[str, Tensor], state: Callable[[], list[Tensor]]
    ) -> None:
        self.inputs = {name: t.clone() for name, t in inputs.items()}
        step_once = partial(step, self.inputs)
        before = {id(t): t.clone() for t in state()}
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(self.WARM_UPS):
                step_once()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            step_once()
        for t in state():  # sums of the epoch may have come into being
            t.copy_(before[id(t)]) if id(t) in before else t.zero_()

    def replay(self, inputs: Mapping[str, Tensor]) -> None:
        for name, t in inputs.items():
            self.inputs[name].copy_(t)
        self.graph.replay()
