"""Films of a digit that moves."""

import os

import numpy as np
import pytest

from tuner.data.datasets import DatasetSpec, describe, load
from tuner.data.moving import films


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    """(N, T, 2) where one bright pixel stands, in a square of 21."""
    found = films(np.ones((200, 1, 1), dtype=np.uint8), side=21, n_frames=30)
    assert (found.sum((2, 3)) == 1).all()
    return np.stack(np.unravel_index(found.reshape(200, 30, -1).argmax(-1), (21, 21)), -1)


def test_an_image_moves_on_a_line_at_one_speed_and_is_reflected_at_the_edges(places: np.ndarray) -> None:
    step_NT = np.linalg.norm(np.diff(places, axis=1), axis=-1)  # of 2 pixels, a tenth of the room, rounded twice
    assert step_NT.max() <= 2 + np.sqrt(2)
    assert np.abs(np.diff(places, 2, axis=1)).max(initial=0, where=_inside(places)) <= 2  # only rounding bends the line between the edges
    assert places.min() == 0 and places.max() == 20


def _inside(places: np.ndarray) -> np.ndarray:
    far = (places > 3) & (places < 17)
    return far[:, :-2] & far[:, 1:-1] & far[:, 2:]


def test_they_begin_anywhere_and_go_anywhere(places: np.ndarray) -> None:
    assert np.ptp(places[:, 0], axis=0).min() >= 18
    way = places[:, 1] - places[:, 0]
    assert {tuple(sign) for sign in np.sign(way).tolist()} >= {(1, 1), (1, -1), (-1, 1), (-1, -1)}


def test_moving_digits_are_the_digits_whole_in_every_frame_and_the_same_every_time() -> None:
    moving, digits = (load(DatasetSpec(name=name), None) for name in ("moving_digits", "digits"))
    assert moving.shape == describe(DatasetSpec(name="moving_digits"), None).shape == (10, 16, 16)
    assert moving.y_N.tolist() == digits.y_N.tolist()
    ink = moving.x_ND.view(1797, 10, 256).sum(-1)
    assert np.allclose(ink, digits.x_ND.sum(-1, keepdim=True).expand(-1, 10), rtol=1e-5)
    assert (load(DatasetSpec(name="moving_digits"), None).x_ND == moving.x_ND).all()


@pytest.mark.skipif(not os.environ.get("TUNER_DATA"), reason="TUNER_DATA names no folder with the real MNIST and USPS")
def test_moving_mnist_takes_the_images_of_the_test_set() -> None:
    moving, mnist = (load(DatasetSpec(name=name), None) for name in ("moving_mnist", "mnist"))
    assert moving.shape == (10, 64, 64)
    assert moving.y_N.tolist() == mnist.y_N[60_000:].tolist()
    assert np.allclose(moving.x_ND[:50].view(50, 10, -1).sum(-1), mnist.x_ND[60_000:60_050].sum(-1, keepdim=True).expand(-1, 10), rtol=1e-4)
