"""One aligned RGB-D image with its intrinsics and the camera's pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm_core.errors import NoImageError
from kalm_core.se3 import Array, invert_pose, transform_points


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without distortion.

    Attributes:
        width, height: image size [px].
        fx, fy: focal lengths [px].
        cx, cy: principal point [px]; pixel centres are at integer coordinates.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @property
    def matrix(self) -> Array:
        """The (3, 3) camera matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class RgbdFrame:
    """A colour image, depth aligned to it, and where the camera was.

    Attributes:
        color: (H, W, 3) uint8, RGB.
        depth: (H, W) float32, distance along the optical axis [m]; 0 means "no measurement".
        intrinsics: of the colour camera.
        T_base_cam: (4, 4) pose of `camera_color_optical_frame` in `fr3_link0`.
        stamp: acquisition time [ns].
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    intrinsics: Intrinsics
    T_base_cam: Array
    stamp: int = 0

    def __post_init__(self) -> None:
        size = (self.intrinsics.height, self.intrinsics.width)
        if self.color.shape != (*size, 3) or self.color.dtype != np.uint8:
            raise NoImageError(
                f"colour image is {self.color.dtype}{self.color.shape}, expected uint8{(*size, 3)}"
            )
        if self.depth.shape != size or self.depth.dtype != np.float32:
            raise NoImageError(
                f"depth image is {self.depth.dtype}{self.depth.shape}, expected float32{size}",
                "enable align_depth of the camera, so that depth has the size of colour",
            )
        if self.T_base_cam.shape != (4, 4):
            raise NoImageError(f"T_base_cam has shape {self.T_base_cam.shape}, expected (4, 4)")

    def points_cam(self) -> NDArray[np.float32]:
        """Return (H, W, 3) points [m] in the camera frame; NaN where depth is missing."""
        k = self.intrinsics
        z = np.where(self.depth > 0, self.depth, np.nan)
        u = (np.arange(k.width, dtype=np.float32) - k.cx) / k.fx
        v = (np.arange(k.height, dtype=np.float32) - k.cy) / k.fy
        return np.stack([u[None, :] * z, v[:, None] * z, z], axis=-1).astype(np.float32)

    def points_base(self) -> NDArray[np.float32]:
        """Return (H, W, 3) points [m] in the base frame; NaN where depth is missing."""
        return transform_points(self.T_base_cam, self.points_cam()).astype(np.float32)

    def project(self, points_base: Array) -> Array:
        """Project (N, 3) points [m] in the base frame to (N, 2) pixels (u, v); behind is NaN."""
        points = transform_points(invert_pose(self.T_base_cam), points_base)
        z = np.where(points[:, 2] > 0, points[:, 2], np.nan)
        k = self.intrinsics
        return np.stack([k.fx * points[:, 0] / z + k.cx, k.fy * points[:, 1] / z + k.cy], axis=-1)
