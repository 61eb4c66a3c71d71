"""Films of a digit that moves: made from the images of another data set, the same ones every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP = 0.1  # of the room that a digit has, in a frame


def films(images_Nhw: NDArray[np.uint8], side: int, n_frames: int) -> NDArray[np.uint8]:
    """(N, T, side, side): each image moves on a straight line through a square, and is reflected at its edges.

    Where it begins and where it goes is drawn for each with one fixed seed. As in Moving MNIST (Srivastava, Mansimov & Salakhutdinov
    2015, https://arxiv.org/abs/1502.04681), with one digit in place of two, so that a film has one label.
    """
    g, (n, height, width) = np.random.default_rng(0), images_Nhw.shape
    angle_N = g.uniform(0, 2 * np.pi, n)
    step_2N = STEP * np.stack([np.sin(angle_N), np.cos(angle_N)])
    at_2NT = g.uniform(0, 1, (2, n, 1)) + step_2N[:, :, None] * np.arange(n_frames)
    at_2NT = 1 - np.abs(1 - at_2NT % 2)  # there and back again
    top_NT, left_NT = np.rint(at_2NT * np.array([side - height, side - width])[:, None, None]).astype(int)
    found = np.zeros((n, n_frames, side, side), dtype=images_Nhw.dtype)
    for i in range(n):
        for t in range(n_frames):
            top, left = top_NT[i, t], left_NT[i, t]
            found[i, t, top : top + height, left : left + width] = images_Nhw[i]
    return found
