"""What the network is told about the keypoints of a scene."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kalm_core.policy.arrangement import fit, plausible
from kalm_core.se3 import Array, invert_pose, transform_points

_UNIT = 0.02  # a keypoint that lies this far [m] from its usual place is told as 1
_LIMIT = 3.0


def condition(shape: Array, points: Array) -> Tensor:
    """Return (B, K * 4) numbers: how each keypoint deviates from its usual place, and if found.

    A keypoint that is missing or implausible deviates by 0: the network then takes it to be where
    it usually is, which is the best guess.

    Args:
        shape: (K, 3) the usual arrangement [m].
        points: (B, K, 3) keypoints [m], z up, in any position and yaw; NaN where not found.
    """
    frames, _ = fit(shape, points)
    seen = plausible(shape, frames, points)
    points = np.where(seen[..., None], points, np.nan)
    frames, _ = fit(shape, points)
    local = np.stack(
        [transform_points(invert_pose(T), p) for T, p in zip(frames, points, strict=True)]
    )
    deviation = np.where(seen[..., None], (local - shape) / _UNIT, 0.0).clip(-_LIMIT, _LIMIT)
    rows = np.concatenate([deviation, seen[..., None]], axis=-1).reshape(len(points), -1)
    return torch.from_numpy(rows.astype(np.float32))
