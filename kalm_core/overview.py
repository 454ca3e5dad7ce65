"""The posture from which a skill is best begun: its camera shows where the part has been."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kalm_core.demonstration import Demonstration
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array

MARGIN = 0.1
"""Share of the image at each edge that does not count as seen."""


def overview(
    demonstrations: Sequence[Demonstration], detected: Sequence[DetectedKeypoints]
) -> Array:
    """Return the (7,) joints [rad] at the first image that shows most of where the part stood.

    Keypoints of all demonstrations count, wherever the part was in them; of views that show as
    many, the one that has them nearer to the middle.

    Args:
        demonstrations: whose first images are compared.
        detected: the keypoints in each of them.
    """
    places = np.concatenate([d.positions[d.found] for d in detected])
    best = max(demonstrations, key=lambda d: _shown(d.initial, places))
    return np.asarray(best.joints[0])


def _shown(frame: RgbdFrame, places: Array) -> tuple[int, float]:
    """Return how many places (N, 3) an image shows, and how near they are to its middle."""
    size = np.array([frame.intrinsics.width, frame.intrinsics.height])
    off = np.abs(frame.project(places) / size - 0.5)  # 0.5 is the edge; NaN is behind the camera
    inside = (off < 0.5 - MARGIN).all(axis=1)
    return int(inside.sum()), -float(off[inside].mean()) if inside.any() else -1.0
