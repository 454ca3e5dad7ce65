"""What the depth image shows, as voxels that the arm must not touch.

Only seen surfaces are obstacles. Space that the camera has not seen counts as free: look at the
scene from a view that shows what stands around the target, or give a floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from kalm_core.errors import NoImageError
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.settings import Settings

RobotMask = Callable[[Array], NDArray[np.bool_]]
"""Tells which of (N, 3) points [m] in the base frame belong to the robot itself."""


class ObstacleSettings(Settings):
    """How a depth image becomes obstacles."""

    voxel_size: float = Field(0.01, ge=0.005, le=0.1, description="edge of a voxel [m]")
    clearance: float = Field(
        0.0025,
        ge=0.0,
        le=0.05,
        description="distance that the arm keeps, at all times, from every point that was seen "
        "outside the contact [m]",
    )
    min_points: int = Field(
        3, ge=1, le=100, description="depth pixels in 2 voxels cubed below which they are noise"
    )
    pixel_stride: int = Field(2, ge=1, le=8, description="use every n-th row and column")
    min_depth: float = Field(
        0.12, ge=0.0, le=0.5, description="nearer depth is not believed (D435i) [m]"
    )
    reach: float = Field(
        1.35, ge=0.3, le=3.0, description="points farther from the base cannot be touched [m]"
    )
    min_measured: float = Field(
        0.05,
        ge=0.0,
        le=1.0,
        description="share of pixels with depth below which nothing is planned",
    )
    robot_padding: float = Field(
        0.01, ge=0.0, le=0.1, description="points this near to the arm's links are the arm [m]"
    )
    contact_radius: float = Field(
        0.1,
        ge=0.0,
        le=0.3,
        description="around keypoints, where the fingers, and only they, may touch; by whole "
        "voxels [m]",
    )
    floor: Literal["off", "fitted", "fixed"] = Field(
        "fixed",
        description="what the arm stands on, seen or not: solid below floor_height; below the "
        "lowest seen plane; or not minded",
    )
    floor_height: float = Field(
        0.0,
        ge=-1.0,
        le=1.0,
        description="z of the fixed floor in the base frame; 0 is a base that stands on it [m]",
    )


@dataclass(frozen=True)
class Obstacles:
    """Occupied voxels and a floor, in the base frame.

    Attributes:
        centers: (N, 3) voxel centres [m], on a grid.
        voxel_size: edge of a voxel [m].
        floor: everything below this z is occupied [m]; None when there is no floor.
        points: (M, 3) the points that the voxels were made of [m]; None: the voxels are all that is
            known.
        clearance: the distance that has to be kept from them at a check [m].
    """

    centers: Array
    voxel_size: float
    floor: float | None = None
    points: Array | None = None
    clearance: float = 0.0

    def __len__(self) -> int:
        return len(self.centers)

    @cached_property
    def tree(self) -> cKDTree:
        """The voxels' centres, to look for the nearest."""
        return cKDTree(self.centers, balanced_tree=False, compact_nodes=False)

    @cached_property
    def point_tree(self) -> cKDTree:
        """The points, to look for those that are near."""
        known = np.zeros((0, 3)) if self.points is None else self.points
        return cKDTree(known, balanced_tree=False, compact_nodes=False)

    def split(self, points: Array, radius: float) -> tuple[Obstacles, Obstacles]:
        """Return the voxels beyond and those within `radius` [m] of any (M, 3) point.

        The second part has no floor.
        """
        if len(self.centers) == 0 or len(points) == 0 or radius <= 0:
            return self, no_obstacles()
        tree = cKDTree(points)

        def beyond(places: Array) -> NDArray[np.bool_]:
            return np.asarray(tree.query(places, distance_upper_bound=radius)[0] == np.inf)

        far = beyond(self.centers)
        inside = replace(self, centers=self.centers[~far], floor=None)
        outside = replace(self, centers=self.centers[far])
        if self.points is not None:
            far = beyond(self.points)
            inside = replace(inside, points=self.points[~far])
            outside = replace(outside, points=self.points[far])
        return outside, inside


def no_obstacles() -> Obstacles:
    """Return free space: only the arm itself can be touched."""
    return Obstacles(np.zeros((0, 3)), 0.01)


def obstacles_from_points(
    points: Array, settings: ObstacleSettings, floor: float | None = None
) -> Obstacles:
    """Return what (N, 3) seen points [m] in the base frame occupy; lone ones are noise."""
    s = settings
    kept = believed(points, s.voxel_size, s.min_points)
    centers = voxelize(kept, s.voxel_size, clearance=s.clearance)
    return Obstacles(centers, s.voxel_size, floor, kept, s.clearance)


def believed(points: Array, voxel_size: float, min_points: int) -> Array:
    """Return those of (N, 3) points in whose cube of twice a voxel's edge there are enough."""
    points = np.asarray(points, dtype=np.float64)
    if min_points <= 1 or len(points) == 0:
        return points
    cell = _indices(points, 2 * voxel_size)
    counts = np.zeros(cell.max(axis=0) + 1, dtype=np.int32)
    np.add.at(counts, tuple(cell.T), 1)
    return np.asarray(points[counts[tuple(cell.T)] >= min_points])


def voxelize(
    points: Array, voxel_size: float, min_points: int = 1, clearance: float = 0.0
) -> Array:
    """Return the (N, 3) centres of the voxels that (M, 3) points [m] occupy.

    Args:
        points: what was seen.
        voxel_size: edge of a voxel [m].
        min_points: points in cubes of twice that edge that hold fewer are noise.
        clearance: the cube of this half side [m] around every point is occupied as well, so that a
            body that is in no voxel keeps this distance from every point.
    """
    points = believed(points, voxel_size, min_points)
    if len(points) == 0:
        return np.zeros((0, 3))
    parts = int(np.ceil(2.0 * clearance / voxel_size)) + 1
    steps = np.linspace(-clearance, clearance, parts)
    lowest = np.floor((points.min(axis=0) - clearance) / voxel_size).astype(np.int64)
    highest = np.floor((points.max(axis=0) + clearance) / voxel_size).astype(np.int64)
    occupied = np.zeros(highest - lowest + 1, dtype=np.bool_)
    along = [
        [np.floor((points[:, k] + s) / voxel_size).astype(np.int64) - lowest[k] for s in steps]
        for k in range(3)
    ]
    for x, y, z in product(*along):
        occupied[x, y, z] = True
    return np.asarray((np.argwhere(occupied) + lowest + 0.5) * voxel_size)


def _indices(points: Array, edge: float) -> NDArray[np.int64]:
    """Return the (N, 3) cells of (N, 3) points on a grid, counted from the lowest one."""
    index = np.floor(points / edge).astype(np.int64)
    return np.asarray(index - index.min(axis=0))


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
    return obstacles_from_points(points, settings, floor)
