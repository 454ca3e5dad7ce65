"""The keypoints' usual arrangement, and where it lies in a scene.

The policy predicts relative to the keypoints' centre (section II-D). A plain mean jumps when a
keypoint is missing or matched wrongly, and with it the whole trajectory. So the mean arrangement of
the demonstrations is laid over the keypoints that were found, by a turn about gravity and a shift,
and its centre is the origin: a missing keypoint does not move it, a displaced one hardly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm_core.errors import KeypointsNotFoundError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.se3 import Array, invert_pose, make_pose, transform_points

MIN_KEYPOINTS = 3
"""Fewer keypoints do not say where an object is and how it is turned."""

_ROUNDS = 12
_WIDEST, _NARROWEST = 0.08, 0.02  # scale of the Cauchy weights, first and last round [m]
_GATE = 0.03  # a keypoint nearer than this to its place is always believed [m]
_GATE_RATIO = 3.0  # ... and so is one within this multiple of the median distance, or its spread
_YAW_PRIOR = 1.0e-4  # evidence for the demonstrations' own yaw [m^2]; 1 cm points outweigh it


@dataclass(frozen=True)
class Arrangement:
    """The mean arrangement of K keypoints, its z axis up and its centre at the origin.

    Attributes:
        shape: (K, 3) float64 [m]; NaN for a keypoint that no demonstration showed.
        spread: (K,) how far each keypoint lay from there in the demonstrations, rms [m]; None is
            not at all.
    """

    shape: Array
    spread: Array | None = None

    def __len__(self) -> int:
        return len(self.shape)

    @staticmethod
    def from_demonstrations(detections: Sequence[DetectedKeypoints]) -> Arrangement:
        """Average the arrangements of several scenes, after laying them over one another.

        Raises:
            KeypointsNotFoundError: no scene has three keypoints.
        """
        points = np.stack([_masked(d) for d in detections])
        first = int(np.isfinite(points[..., 0]).sum(axis=1).argmax())
        if np.isfinite(points[first, :, 0]).sum() < MIN_KEYPOINTS:
            raise KeypointsNotFoundError(
                f"no demonstration shows {MIN_KEYPOINTS} of the {points.shape[1]} keypoints"
            )
        shape = points[first] - np.nanmean(points[first], axis=0)
        for _ in range(5):
            frames, weights = fit(shape, points)
            local = _to_local(frames, points)
            # a keypoint that the first scene lacks comes in with the first round that places others
            weights = np.where(np.isfinite(points[..., 0]) & np.isnan(shape[:, 0]), 1.0, weights)
            seen = weights.sum(axis=0)
            total = np.nansum(weights[..., None] * local, axis=0)
            mean = total / np.where(seen > 0, seen, np.nan)[:, None]
            # The mean yaw of the demonstrations is the arrangement's own: the prior's zero.
            cosine, sine = frames[:, 0, 0].mean(), frames[:, 1, 0].mean()
            shape = (mean - np.nanmean(mean, axis=0)) @ _turn(np.arctan2(sine, cosine)).T
        frames, _ = fit(shape, points)
        squared = np.sum((_to_local(frames, points) - shape) ** 2, axis=-1)
        count = np.isfinite(squared).sum(axis=0)
        return Arrangement(shape, np.sqrt(np.nansum(squared, axis=0) / np.maximum(count, 1)))

    def locate(self, detection: DetectedKeypoints) -> tuple[Array, DetectedKeypoints]:
        """Find the arrangement among the keypoints of one scene.

        Returns:
            T_base_object (4, 4), and the detection without the keypoints that do not fit in.

        Raises:
            KeypointsNotFoundError: fewer than three keypoints fit together.
        """
        points = _masked(detection)
        frames, _ = fit(self.shape, points[None])
        fits = plausible(self, frames, points[None])[0]
        if fits.sum() < MIN_KEYPOINTS:
            raise KeypointsNotFoundError(
                f"{int(detection.found.sum())} of {len(self)} keypoints were found and "
                f"{int(fits.sum())} of them fit together, expected {MIN_KEYPOINTS} or more",
                "move the camera so that the object is in full view",
            )
        points = np.where(fits[:, None], points, np.nan)
        frame = fit(self.shape, points[None])[0][0]
        return frame, DetectedKeypoints(points, fits, detection.score)

    def state(self) -> dict[str, Array]:
        """Return everything needed to make it again, as arrays."""
        spread = np.zeros(len(self)) if self.spread is None else self.spread
        return {"shape": self.shape, "spread": spread}

    @staticmethod
    def from_state(tensors: Mapping[str, Array]) -> Arrangement:
        """Make it again from what `state` returned.

        Raises:
            KeyError: an array is missing.
        """
        return Arrangement(tensors["shape"], tensors["spread"])

    def deviation(self, T_base_object: Array, positions: Array) -> Array:
        """Return (K, 3) how far keypoints (K, 3) lie from their usual place, its frame [m]."""
        return transform_points(invert_pose(T_base_object), positions) - self.shape


def fit(shape: Array, points: Array) -> tuple[Array, Array]:
    """Lay an arrangement over the keypoints of B scenes; robust, by turns about z and shifts.

    Iteratively reweighted least squares with Cauchy weights that narrow from 8 cm to 2 cm. A weak
    prior holds the yaw where the keypoints are too close together to tell it.

    Args:
        shape: (K, 3) arrangement [m]; NaN where unknown.
        points: (B, K, 3) keypoints [m]; NaN where not found.

    Returns:
        T_base_object (B, 4, 4), and the final weights (B, K) in [0, 1], 0 where not found.
    """
    known = np.isfinite(points[..., 0]) & np.isfinite(shape[None, :, 0])
    p = np.where(known[..., None], points, 0.0)
    q = np.where(np.isfinite(shape), shape, 0.0)
    weights = known.astype(np.float64)
    for scale in np.geomspace(_WIDEST, _NARROWEST, _ROUNDS):
        frames = _weighted_fit(q, p, weights)
        distance = np.linalg.norm(_to_local(frames, p) - q, axis=-1)
        weights = known / (1.0 + (distance / scale) ** 2)
    return _weighted_fit(q, p, weights), weights


def plausible(arrangement: Arrangement, frames: Array, points: Array) -> NDArray[np.bool_]:
    """Tell (B, K) which keypoints lie where the arrangement has them.

    Give or take the object's size, and as much as they scattered in the demonstrations.
    """
    distance = np.linalg.norm(_to_local(frames, points) - arrangement.shape, axis=-1)
    known = np.isfinite(distance)
    median = np.zeros(len(points))
    for i, row in enumerate(known):
        median[i] = np.median(distance[i][row]) if row.any() else 0.0
    gate = np.maximum(_GATE, _GATE_RATIO * median)[:, None]
    if arrangement.spread is not None:
        gate = np.maximum(gate, _GATE_RATIO * arrangement.spread)
    return np.asarray(known & (np.where(known, distance, np.inf) <= gate))


def _weighted_fit(q: Array, p: Array, weights: Array) -> Array:
    """Return (B, 4, 4) weighted least-squares fits of (K, 3) q to (B, K, 3) p."""
    total = np.maximum(weights.sum(axis=1), 1e-9)[:, None]
    center_q = (weights @ q) / total
    center_p = np.einsum("bk,bki->bi", weights, p) / total
    dq, dp = q[None] - center_q[:, None], p - center_p[:, None]
    dot = np.sum(weights * (dq[..., 0] * dp[..., 0] + dq[..., 1] * dp[..., 1]), axis=1)
    cross = np.sum(weights * (dq[..., 0] * dp[..., 1] - dq[..., 1] * dp[..., 0]), axis=1)
    rotation = _turn(np.arctan2(cross, dot + _YAW_PRIOR))
    return make_pose(rotation, center_p - np.einsum("bij,bj->bi", rotation, center_q))


def _turn(yaw: Array | float) -> Array:
    """Return (..., 3, 3) rotations by yaw [rad] about z."""
    yaw = np.asarray(yaw, dtype=np.float64)
    rotation = np.zeros((*yaw.shape, 3, 3))
    rotation[..., 0, 0] = rotation[..., 1, 1] = np.cos(yaw)
    rotation[..., 1, 0] = np.sin(yaw)
    rotation[..., 0, 1] = -rotation[..., 1, 0]
    rotation[..., 2, 2] = 1.0
    return rotation


def _to_local(frames: Array, points: Array) -> Array:
    """Map (B, K, 3) points [m] by the inverse of (B, 4, 4) frames."""
    moved: Array = (points - frames[:, None, :3, 3]) @ frames[:, :3, :3]
    return moved


def _masked(detection: DetectedKeypoints) -> Array:
    """Return the (K, 3) positions with NaN at every keypoint that was not found."""
    return np.where(detection.found[:, None], detection.positions, np.nan)
