"""Postures along a path so close together that no point of the arm moves far between two."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kalm_core.planning.contacts import FINGERS
from kalm_core.planning.robot_model import RobotModel
from kalm_core.se3 import Array

SLIDE = 0.04
"""How far a finger slides along the hand [m]."""

LinkPoints = list[tuple[str, int, Array]]
"""(link, joint 1 to 7 that carries it, (K, 3) points in that joint's frame [m]) of every solid."""


class Reach:
    """How far a turn of each joint can move any point of the arm.

    A point turns about joint j's axis by its distance from that axis, so a change dq moves no point
    by more than the sum of r_j |dq_j|, where r_j is the largest distance of what joint j carries.
    """

    def __init__(self, model: RobotModel, solids: LinkPoints) -> None:
        self._model = model
        # balls around the solids: joint, centre in the joint's frame, radius
        self._joint = np.array([joint for _, joint, _ in solids])
        self._center = np.stack([(p.min(axis=0) + p.max(axis=0)) / 2 for _, _, p in solids])
        self._radius = np.array(
            [
                np.linalg.norm(points - center, axis=1).max() + (SLIDE if link in FINGERS else 0.0)
                for (link, _, points), center in zip(solids, self._center, strict=True)
            ]
        )

    def radii(self, q: Array) -> Array:
        """Return the (7,) largest distances [m] from each joint's axis at joints q (7,) [rad]."""
        T = self._model.joint_poses(q)  # (7, 4, 4); each joint turns about its own z
        rotation, origin = T[:, :3, :3], T[:, :3, 3]
        at = self._joint - 1
        centers = np.einsum("kij,kj->ki", rotation[at], self._center) + origin[at]
        offset = centers[None] - origin[:, None]  # (7, K, 3)
        axis = rotation[:, None, :, 2]
        along = (offset * axis).sum(axis=-1)
        aside = np.sqrt(np.maximum((offset**2).sum(axis=-1) - along**2, 0.0)) + self._radius
        carried = self._joint[None] >= np.arange(1, 8)[:, None]
        return np.asarray(np.where(carried, aside, 0.0).max(axis=1))

    def swept(self, path: Array, step: float) -> tuple[Array, NDArray[np.int64]]:
        """Return postures along a path between which no point moves farther than `step`.

        Args:
            path: (N, 7) postures [rad], joined by straight lines in joint space.
            step: [m].

        Returns:
            (M, 7) postures, the first and the last of the path among them, and (M,) the index in
            `path` at which the piece of each ends.
        """
        whole, index = _refined(path)
        radii = np.stack([self.radii(q) for q in whole])
        change = np.abs(np.diff(whole, axis=0))
        # Inside a piece a radius exceeds that of the nearer end by at most half the motion D of
        # the piece itself: D <= sum (r_j + D/2) |dq_j|.
        moved = (np.maximum(radii[1:], radii[:-1]) * change).sum(axis=1)
        moved /= 1.0 - change.sum(axis=1) / 2
        counts = np.maximum(1, np.ceil(moved / step)).astype(np.int64)
        piece = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
        share = (number / counts[piece])[:, None]
        postures = whole[piece] + share * (whole[piece + 1] - whole[piece])
        return (
            np.concatenate([whole[:1], postures]),
            np.concatenate([index[:1], index[piece + 1]]),
        )


def _refined(path: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return a path whose pieces turn by at most 0.5 rad in total, and the old index of each."""
    turned = np.abs(np.diff(path, axis=0)).sum(axis=1)
    counts = np.maximum(1, np.ceil(turned / 0.5)).astype(np.int64)
    piece = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    share = (number / counts[piece])[:, None]
    postures = path[piece] + share * (path[piece + 1] - path[piece])
    return (
        np.concatenate([path[:1], postures]),
        np.concatenate([np.zeros(1, dtype=np.int64), piece + 1]),
    )
