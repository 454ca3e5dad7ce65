"""What the depth image shows, as voxels that the arm must not touch.

Only seen surfaces are obstacles. Space that the camera has not seen counts as free: look at the
scene from a view that shows what stands around the target, or give a floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kalm_core.errors import NoImageError
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.settings import Settings

RobotMask = Callable[[Array], NDArray[np.bool_]]
"""Tells which of (N, 3) points [m] in the base frame belong to the robot itself."""


class ObstacleSettings(Settings):
    """How a depth image becomes obstacles."""

    voxel_size: float = Field(0.02, ge=0.005, le=0.1, description="edge of a voxel [m]")
    min_points: int = Field(
        3, ge=1, le=100, description="depth pixels that make a voxel an obstacle"
    )
    pixel_stride: int = Field(2, ge=1, le=8, description="use every n-th row and column")
    min_depth: float = Field(
        0.12, ge=0.0, le=0.5, description="nearer depth is not believed (D435i) [m]"
    )
    reach: float = Field(
        1.3, ge=0.3, le=3.0, description="points farther from the base cannot be touched [m]"
    )
    min_measured: float = Field(
        0.05,
        ge=0.0,
        le=1.0,
        description="share of pixels with depth below which nothing is planned",
    )
    robot_padding: float = Field(
        0.02, ge=0.0, le=0.1, description="points this near to the arm's links are the arm [m]"
    )
    contact_radius: float = Field(
        0.12,
        ge=0.0,
        le=0.3,
        description="around keypoints, ignored in the last straight part of the approach [m]",
    )
    execution_radius: float = Field(
        0.15,
        ge=0.0,
        le=0.5,
        description="around keypoints, ignored in the execution: it moves with the hand [m]",
    )
    floor: Literal["off", "fitted", "fixed"] = Field(
        "off", description="no half space below; the lowest seen plane; or floor_height"
    )
    floor_height: float = Field(
        0.0, ge=-1.0, le=1.0, description="z of the fixed floor in the base frame [m]"
    )


@dataclass(frozen=True)
class Obstacles:
    """Occupied voxels and a floor, in the base frame.

    Attributes:
        centers: (N, 3) voxel centres [m], on a grid.
        voxel_size: edge of a voxel [m].
        floor: everything below this z is occupied [m]; None when there is no floor.
    """

    centers: Array
    voxel_size: float
    floor: float | None = None

    def __len__(self) -> int:
        return len(self.centers)

    def without(self, points: Array, radius: float) -> Obstacles:
        """Return the obstacles without the voxels within `radius` [m] of any (M, 3) point."""
        from scipy.spatial import cKDTree

        if len(self.centers) == 0 or len(points) == 0 or radius <= 0:
            return self
        distance = cKDTree(points).query(self.centers)[0]
        return replace(self, centers=self.centers[distance > radius])


def no_obstacles() -> Obstacles:
    """Return free space: only the arm itself can be touched."""
    return Obstacles(np.zeros((0, 3)), 0.02)


def voxelize(points: Array, voxel_size: float, min_points: int = 1) -> Array:
    """Return the (N, 3) centres of the voxels that hold at least `min_points` of (M, 3) points."""
    index = np.floor(np.asarray(points, dtype=np.float64) / voxel_size).astype(np.int64)
    if len(index) == 0:
        return np.zeros((0, 3))
    lowest, sides = index.min(axis=0), np.ptp(index, axis=0) + 1
    keys = np.ravel_multi_index(tuple((index - lowest).T), tuple(sides))
    cells, counts = np.unique(keys, return_counts=True)
    corners = np.stack(np.unravel_index(cells[counts >= min_points], tuple(sides)), axis=-1)
    return np.asarray((corners + lowest + 0.5) * voxel_size)


def seen_points(frame: RgbdFrame, settings: ObstacleSettings) -> Array:
    """Return (N, 3) points [m] in the base frame that are believed and within reach.

    Raises:
        NoImageError: so little depth was measured that obstacles would go unseen.
    """
    measured = float((frame.depth > 0).mean())
    if measured < settings.min_measured:
        raise NoImageError(
            f"only {measured * 100:.1f} % of the depth image is measured, at least "
            f"{settings.min_measured * 100:.0f} % is needed to see obstacles",
            "look at the scene from 0.2 m to 1 m",
        )
    stride = settings.pixel_stride
    depth = frame.depth[::stride, ::stride]
    points = frame.points_base()[::stride, ::stride][depth >= settings.min_depth]
    points = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    near = np.linalg.norm(points, axis=1) < settings.reach
    return np.asarray(points[near])


def fit_floor(points: Array, min_share: float = 0.05) -> float | None:
    """Return the z [m] of the lowest level that holds `min_share` of (N, 3) points; None if none.

    A vertical surface spreads its points over all heights, a horizontal one does not.
    """
    if len(points) == 0:
        return None
    layer = np.floor(points[:, 2] / 0.01).astype(np.int64)
    levels, counts = np.unique(layer, return_counts=True)
    strong = levels[counts >= min_share * len(points)]
    return float(np.median(points[layer == strong[0], 2])) if len(strong) else None


def obstacles_from_frame(
    frame: RgbdFrame, is_robot: RobotMask, settings: ObstacleSettings
) -> Obstacles:
    """Turn a depth image into obstacles, without the robot that it may show.

    Args:
        frame: the image, taken while the arm stood at the joints that `is_robot` assumes.
        is_robot: tells which points belong to the robot.
        settings: how.

    Raises:
        NoImageError: so little depth was measured that obstacles would go unseen.
    """
    points = seen_points(frame, settings)
    points = points[~is_robot(points)]
    floor = None
    if settings.floor == "fitted":
        floor = fit_floor(points)
    elif settings.floor == "fixed":
        floor = settings.floor_height
    if floor is not None:
        # the floor's own voxels would stand up to a voxel above it
        points = points[points[:, 2] > floor + 0.01]
    return Obstacles(
        voxelize(points, settings.voxel_size, settings.min_points), settings.voxel_size, floor
    )
