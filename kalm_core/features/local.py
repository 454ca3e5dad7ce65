"""The `local` feature: the scene around a point as seen from straight in front of it.

A fixed pattern of places around the point, upright (gravity) and turned to face as the surface
does, is asked: is there free space, surface, or something unseen? The answers are a projective
signed distance, blurred more the farther the place is from the point. The pattern reaches 15 to
20 cm, so equal parts differ by what lies around them. Colour plays no part: it changes with the
instance and the light.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kalm_core.features.extractor import Features, Pixels, unit_rows
from kalm_core.features.facing import facing_directions, fill_small_holes
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, invert_pose
from kalm_core.settings import Settings


def _mirrored(*offsets: float) -> Array:
    """Return the offsets [m] to both sides of zero, and zero."""
    return np.array([-offset for offset in reversed(offsets)] + [0.0, *offsets])


_LATERAL = _mirrored(0.022, 0.05, 0.08, 0.115, 0.155, 0.2)
_UP = _mirrored(0.02, 0.045, 0.08, 0.115, 0.155)
_OUT = np.array([-0.09, -0.07, -0.045, -0.015])
"""The pattern's places [m]: to the side, up, and out of the surface. The layers behind the surface
see the free space above and beside a body, which tells its upper part from its lower part."""

_CHUNK = 250  # points at a time: what is computed of them fits into a processor's cache


class LocalSettings(Settings):
    """Settings of the `local` feature."""

    facing_radius: float = Field(
        0.09, ge=0.02, le=0.3, description="neighbourhood that votes on the facing direction [m]"
    )
    reach: float = Field(
        0.3, ge=0.02, le=1.0, description="places weigh less with their distance; by 1/e at [m]"
    )
    camera_vote: float = Field(
        0.3,
        ge=0.0,
        le=10.0,
        description="how much the direction towards the camera counts in that vote: what is round "
        "faces all ways alike; 0 is nothing",
    )
    min_facing: float = Field(
        0.02, ge=0.0, le=1.0, description="share of the neighbourhood that must face one way"
    )


class LocalFeature:
    """Gravity-aligned free-space pattern; see the module."""

    def __init__(self, settings: LocalSettings | None = None) -> None:
        self.settings = settings or LocalSettings()
        grid = np.stack(np.meshgrid(_LATERAL, _UP, _OUT, indexing="ij"), axis=-1).reshape(-1, 3)
        reach = np.linalg.norm(grid[:, :2], axis=1)
        self._pattern: Array = grid
        self._truncation = (0.012 + 0.10 * reach).astype(np.float32)
        self._weight = np.exp(-((reach / self.settings.reach) ** 2)).astype(np.float32)

    @property
    def name(self) -> str:
        """`local`."""
        return "local"

    @property
    def dimension(self) -> int:
        """Length of a feature."""
        return len(self._pattern)

    def extract(self, frame: RgbdFrame, pixels: Pixels) -> Features:
        """Return (N, C) unit rows at (N, 2) pixels; zero without depth or facing direction."""
        points = frame.points_base()[pixels[:, 1], pixels[:, 0]].astype(np.float64)
        result = np.zeros((len(pixels), self.dimension), np.float32)
        valid = np.flatnonzero(np.isfinite(points).all(axis=1))
        if len(valid) == 0:
            return result
        depth = fill_small_holes(frame.depth)
        s = self.settings
        out, share = facing_directions(frame, points[valid], s.facing_radius, s.camera_vote)
        for part in np.array_split(np.arange(len(valid)), max(1, len(valid) // _CHUNK)):
            rows = self._signed_distance(frame, depth, points[valid[part]], out[part])
            result[valid[part]] = rows * (share[part] >= s.min_facing)[:, None]
        return unit_rows(result)

    def _signed_distance(
        self, frame: RgbdFrame, depth: NDArray[np.float32], points: Array, out: Array
    ) -> NDArray[np.float32]:
        """Return (N, C): +1 free, 0 surface or unknown, -1 behind, at the pattern's places."""
        T = invert_pose(frame.T_base_cam)
        k = frame.intrinsics
        zero = np.zeros(len(points))
        axes = np.stack(  # rows: lateral, up, out in the base frame
            [
                np.stack([-out[:, 1], out[:, 0], zero], 1),
                np.stack([zero, zero, zero + 1.0], 1),
                np.stack([out[:, 0], out[:, 1], zero], 1),
            ],
            axis=1,
        )
        axes_cam = (axes @ T[:3, :3].T).astype(np.float32)
        center_cam = (points @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
        places = self._pattern.astype(np.float32) @ axes_cam  # (N, C, 3)
        places += center_cam[:, None]
        z = places[..., 2]
        safe = np.maximum(z, 0.05)
        u = np.rint(k.fx * places[..., 0] / safe + k.cx).astype(np.int32)
        v = np.rint(k.fy * places[..., 1] / safe + k.cy).astype(np.int32)
        seen = (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height) & (z > 0.05)
        measured = depth[np.clip(v, 0, k.height - 1), np.clip(u, 0, k.width - 1)]
        seen &= measured > 0
        distance = np.clip((measured - z) / self._truncation, -1.0, 1.0)
        return np.asarray(np.where(seen, distance, 0.0) * self._weight, np.float32)
