"""Disturbed copies of the demonstrations' keypoints, as a detector would deliver them."""

from __future__ import annotations

import numpy as np

from kalm_core.policy.settings import AugmentationSettings
from kalm_core.se3 import Array


def disturb(points: Array, settings: AugmentationSettings, rng: np.random.Generator) -> Array:
    """Turn, shake, displace and drop keypoints.

    Args:
        points: (B, K, 3) keypoints [m], z up; NaN where not found.
        settings: how much of each.
        rng: the only source of randomness.

    Returns:
        (B, K, 3) keypoints; NaN where not found. At least three that were found stay.
    """
    b, k, _ = points.shape
    yaw = rng.uniform(-settings.yaw, settings.yaw, b)
    cosine, sine = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    turned = np.stack([cosine * x - sine * y, sine * x + cosine * y, z], axis=-1)
    turned = turned + rng.normal(0.0, settings.noise, turned.shape)
    elsewhere = rng.random((b, k)) < settings.displace
    turned = turned + elsewhere[..., None] * rng.normal(0.0, settings.displacement, turned.shape)
    # Keypoints in random order, those that were found first: the first three of it always stay.
    chance = rng.random((b, k))
    order = np.argsort(np.argsort(chance + 2.0 * np.isnan(x), axis=1), axis=1)
    dropped = (rng.random((b, k)) < settings.drop) & (order >= 3)
    return np.where(dropped[..., None], np.nan, turned)
