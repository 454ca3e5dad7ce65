"""What the network is told about the keypoints of a scene."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kalm_core.policy.arrangement import Arrangement, fit, plausible
from kalm_core.se3 import Array

_UNIT = 0.02  # a keypoint that lies this far [m] from its usual place is told as 1
_LIMIT = 3.0


def deviations(arrangement: Arrangement, points: Array) -> Array:
    """Return (B, K, 3) how far keypoints lie from their usual places [m], NaN where implausible.

    Args:
        arrangement: of the skill.
        points: (B, K, 3) keypoints [m], z up, in any position and yaw; NaN where not found.
    """
    frames, _ = fit(arrangement.shape, points)
    seen = plausible(arrangement, frames, points)
    points = np.where(seen[..., None], points, np.nan)
    frames, _ = fit(arrangement.shape, points)
    return np.stack([arrangement.deviation(T, p) for T, p in zip(frames, points, strict=True)])


def condition(deviations: Array) -> Tensor:
    """Return (B, K * 4) numbers: how each keypoint deviates from its usual place, and if found.

    A keypoint that is missing or implausible deviates by 0: the network then takes it to be where
    it usually is, which is the best guess.

    Args:
        deviations: (B, K, 3) [m]; NaN where not found.
    """
    seen = np.isfinite(deviations[..., :1])
    told = np.where(seen, deviations / _UNIT, 0.0).clip(-_LIMIT, _LIMIT)
    rows = np.concatenate([told, seen], axis=-1).reshape(len(deviations), -1)
    return torch.from_numpy(rows.astype(np.float32))
