"""Postures along a path so close together that no point of the arm moves far between two."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from kalm_core.planning.contacts import FINGERS
from kalm_core.planning.robot_model import RobotModel
from kalm_core.se3 import Array
from kalm_core.trajectory import JointPath

SLIDE = 0.04
"""How far a finger slides along the hand [m]."""

LinkPoints = list[tuple[str, int, Array]]
"""(link, joint 1 to 7 that carries it, (K, 3) points in that joint's frame [m]) of every solid."""


class Reach:
    """How far a motion of the joints can move any point of the arm.

    Solids are bounded by balls, whose speed follows from the joints' axes.
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

    def swept(self, path: Array, step: float) -> tuple[Array, NDArray[np.int64]]:
        """Return postures along a path between which no point moves farther than `step`.

        Args:
            path: (N, 7) postures [rad], joined by straight lines in joint space.
            step: [m].

        Returns:
            (M, 7) postures, the first and the last of the path among them, and (M,) the index in
            `path` at which the piece of each ends.
        """
        whole, index = _divided(path, _SHORT)
        way = self._bound(whole)
        counts = np.maximum(1, np.ceil(way / step)).astype(np.int64)
        postures, piece = _cut(whole, counts)
        return postures, index[piece]

    def _bound(self, path: Array) -> Array:
        """Return (N-1,) bounds [m] on the way of any point of the arm along each piece.

        In a piece every joint turns at an even rate dq. A ball's centre then moves at the speed
        |sum_j z_j x (c - o_j) dq_j|, its other points by at most |sum_j z_j dq_j| R faster. That is
        known at both ends; between them it changes by no more than s D, where s = sum |dq_j| and D
        bounds the way itself: |dv/dt| <= 2 s D over half of the piece.
        """
        T = self._model.joint_poses(path)
        origin, axis = T[:, :, :3, 3], T[:, :, :3, 2]
        at = self._joint - 1
        centers = np.einsum("nkij,kj->nki", T[:, at, :3, :3], self._center) + origin[:, at]
        offset = centers[:, None] - origin[:, :, None]  # (N, 7, K, 3)
        carried = (self._joint[None] >= np.arange(1, 8)[:, None])[..., None]
        lever = np.cross(axis[:, :, None], offset) * carried
        aside = np.linalg.norm(lever, axis=-1) + self._radius * carried[..., 0]
        radii = aside.max(axis=2)  # (N, 7)

        change = np.diff(path, axis=0)
        turned = np.abs(change).sum(axis=1)
        way = (np.maximum(radii[1:], radii[:-1]) * np.abs(change)).sum(axis=1)
        way /= 1.0 - turned / 2  # D <= sum (r_j + D/2) |dq_j|
        spin = axis[:, :, None] * carried
        speeds = []
        for end in (slice(None, -1), slice(1, None)):
            linear = np.einsum("njki,nj->nki", lever[end], change)
            angular = np.einsum("njki,nj->nki", spin[end], change)
            speed = np.linalg.norm(linear, axis=-1)
            speed += np.linalg.norm(angular, axis=-1) * self._radius
            speeds.append(speed.max(axis=1))
        return np.asarray(np.minimum(np.maximum(*speeds) + turned * way, way))


_SHORT = 0.06
"""Pieces that turn by this in total [rad] keep the bound on their way tight."""


def _divided(path: Array, most: float) -> tuple[Array, NDArray[np.int64]]:
    """Return a path whose pieces turn by at most `most` [rad], and the old index of each."""
    turned = np.abs(np.diff(path, axis=0)).sum(axis=1)
    return _cut(path, np.maximum(1, np.ceil(turned / most)).astype(np.int64))


def _cut(path: Array, counts: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
    """Cut each piece of a path into `counts` equal ones; returns postures and their old index."""
    piece = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    share = (number / counts[piece])[:, None]
    postures = np.where(
        share < 1.0, path[piece] + share * (path[piece + 1] - path[piece]), path[piece + 1]
    )
    return (
        np.concatenate([path[:1], postures]),
        np.concatenate([np.zeros(1, dtype=np.int64), piece + 1]),
    )


_FINE = 8  # parts of a step between two postures in which its bend is looked at
_STRAIGHT = 5e-4  # a way that bends by less counts as straight [rad]


def followed(path: JointPath) -> tuple[Array, NDArray[np.int64]]:
    """Return a path with more postures where the arm, which takes its corners softly, bends.

    The arm interpolates as `PchipInterpolator` does. That leaves the straight lines between the
    postures of a smooth path by some tenths of a millimetre at the tool, of a jagged one by more.

    Returns:
        (M, 7) postures [rad], those of the path among them, and (M,) the index of the posture at
        which the step of each ends.
    """
    share = np.arange(1, _FINE + 1)[:, None] / _FINE
    q, steps = path.positions, np.diff(path.stamps)
    times = (path.stamps[:-1] + share * steps).T  # (N-1, _FINE), the last the step's end
    bent = PchipInterpolator(path.stamps, q)(times)
    bent[:, -1] = q[1:]
    straight = q[:-1, None] + share[None] * np.diff(q, axis=0)[:, None]
    kept = np.abs(bent - straight).max(axis=2) > _STRAIGHT
    kept[:, -1] = True
    pose = np.nonzero(kept)[0] + 1
    return np.concatenate([q[:1], bent[kept]]), np.concatenate([np.zeros(1, np.int64), pose])
