from __future__ import annotations

import numpy as np
import pytest

from kalm_core.demonstration import Demonstration
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.overview import overview
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_core.se3 import make_pose

DOWN = np.diag([1.0, -1.0, -1.0])


def demonstration(number: int, camera: tuple[float, float, float]) -> Demonstration:
    """A camera that looks straight down, its place told by the first joint."""
    intrinsics = Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)
    frame = RgbdFrame(
        np.zeros((48, 64, 3), np.uint8),
        np.ones((48, 64), np.float32),
        intrinsics,
        make_pose(DOWN, camera),
    )
    joints = np.zeros((2, 7))
    joints[:, 0] = number
    poses = np.tile(np.eye(4), (2, 1, 1))
    return Demonstration(str(number), (frame,), np.arange(2.0), joints, poses, np.zeros(2))


def keypoints(x: float) -> DetectedKeypoints:
    positions = np.array([[x, 0.0, 0.0], [x, 0.02, 0.0], [np.nan] * 3])
    return DetectedKeypoints(positions, np.array([True, True, False]), np.ones(3))


def test_the_view_that_shows_most_places_is_taken():
    near = [demonstration(i, (x, 0.0, 0.3)) for i, x in enumerate((0.3, 0.5, 0.7))]
    far = demonstration(3, (0.5, 0.0, 0.8))
    seen = [keypoints(x) for x in (0.3, 0.5, 0.7, 0.5)]
    assert overview([*near, far], seen)[0] == 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_views_that_show_as_many_the_one_that_has_them_in_its_middle_is_taken(order):
    shown = {i: demonstration(i, (x, 0.0, 0.8)) for i, x in enumerate((0.35, 0.5, 0.65))}
    seen = [keypoints(x) for x in (0.4, 0.5, 0.6)]
    assert overview([shown[i] for i in order], [seen[i] for i in order])[0] == 1


def test_what_is_behind_a_camera_is_not_shown():
    below = demonstration(0, (0.5, 0.0, -0.5))
    above = demonstration(1, (0.5, 0.3, 0.9))
    assert overview([below, above], [keypoints(0.5)] * 2)[0] == 1
