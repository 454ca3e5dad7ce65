"""The `fpfh` feature: fast point feature histograms on the base-frame cloud (paper: [15])."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field
from scipy.spatial import cKDTree

from kalm_core.features.extractor import Features, Pixels, unit_rows
from kalm_core.rgbd import RgbdFrame
from kalm_core.settings import Settings


class FpfhSettings(Settings):
    """Settings of the `fpfh` feature."""

    voxel: float = Field(0.008, ge=0.002, le=0.05, description="grid that thins the cloud [m]")
    normal_radius: float = Field(0.02, ge=0.004, le=0.2, description="for the normals [m]")
    radius: float = Field(0.04, ge=0.01, le=0.3, description="of the histograms [m]")
    max_range: float = Field(1.5, ge=0.2, le=5.0, description="farthest depth that is used [m]")


class FpfhFeature:
    """Open3D's FPFH of the thinned cloud, taken over from the nearest thinned point."""

    def __init__(self, settings: FpfhSettings | None = None) -> None:
        self.settings = settings or FpfhSettings()

    @property
    def name(self) -> str:
        """`fpfh`."""
        return "fpfh"

    @property
    def dimension(self) -> int:
        """Length of a feature."""
        return 33

    def extract(self, frame: RgbdFrame, pixels: Pixels) -> Features:
        """Return (N, 33) unit rows at (N, 2) pixels; zero without depth or beyond the range."""
        import open3d as o3d

        s = self.settings
        points = frame.points_base()
        use = np.isfinite(points).all(axis=-1) & (frame.depth < s.max_range)
        wanted = points[pixels[:, 1], pixels[:, 0]].astype(np.float64)
        valid = use[pixels[:, 1], pixels[:, 0]]
        result = np.zeros((len(pixels), self.dimension), np.float32)
        if valid.sum() < 3:
            return result
        cloud = o3d.geometry.PointCloud(
            o3d.utility.Vector3dVector(points[::2, ::2][use[::2, ::2]].astype(np.float64))
        ).voxel_down_sample(s.voxel)
        cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(s.normal_radius, 30))
        cloud.orient_normals_towards_camera_location(frame.T_base_cam[:3, 3])
        registration: Any = o3d.pipelines.registration  # its stub lacks a default
        fpfh = registration.compute_fpfh_feature(
            cloud, o3d.geometry.KDTreeSearchParamHybrid(s.radius, 100)
        )
        thinned = np.asarray(cloud.points)
        distance, nearest = cKDTree(thinned).query(wanted[valid])
        rows = np.asarray(fpfh.data).T[nearest]
        rows[distance > 3 * s.voxel] = 0.0
        result[valid] = rows
        return unit_rows(result)
