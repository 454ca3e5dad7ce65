"""Keypoints drawn into the image in which they were found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kalm_core.keypoints import DetectedKeypoints
from kalm_core.rgbd import RgbdFrame
from kalm_ros.markers import PALETTE

RADIUS = 6
"""Of a keypoint [px]."""


def draw_keypoints(frame: RgbdFrame, keypoints: DetectedKeypoints) -> NDArray[np.uint8]:
    """Return the (H, W, 3) colour image with a disc, ringed in white, on every found keypoint."""
    picture = frame.color.copy()
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    for i, (u, v) in enumerate(frame.project(keypoints.positions)):
        if keypoints.found[i] and np.isfinite([u, v]).all():
            distance = np.hypot(columns - u, rows - v)
            picture[distance <= RADIUS + 2] = 255
            picture[distance <= RADIUS] = np.round(255 * np.array(PALETTE[i % len(PALETTE)]))
    return picture
