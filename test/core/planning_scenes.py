"""Small worlds for the planning tests, and a collision check that shares no code with ours."""

from __future__ import annotations

import struct

import numpy as np
from scipy.spatial import ConvexHull, cKDTree

from kalm_core.hand_eye import HandEyeSettings
from kalm_core.planning.obstacles import Obstacles
from kalm_core.planning.robot_model import default_urdf
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_core.se3 import make_pose, transform_points

READY = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
CAMERA = Intrinsics(160, 120, 115.0, 115.0, 79.5, 59.5)


def hand_pose(position, pitch: float, yaw: float = 0.0) -> np.ndarray:
    """Return the tool pose whose z looks forward and `pitch` down, fingers opening upright."""
    z = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), -np.sin(pitch)])
    x = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    return make_pose(np.stack([x, np.cross(z, x), z], axis=1), position)


def box_frame(T_base_ee: np.ndarray, boxes) -> RgbdFrame:
    """Return what the wrist camera sees of axis-aligned boxes ((low, high) corners in base)."""
    T_base_cam = T_base_ee @ HandEyeSettings().T_ee_cam
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    rays = np.stack(
        [(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u)], axis=-1
    )
    rays = rays.astype(float) @ T_base_cam[:3, :3].T
    rays[np.abs(rays) < 1e-9] = 1e-9
    depth = np.full(u.shape, np.inf)
    for low, high in boxes:
        t0 = (np.asarray(low) - T_base_cam[:3, 3]) / rays
        t1 = (np.asarray(high) - T_base_cam[:3, 3]) / rays
        near, far = np.minimum(t0, t1).max(axis=-1), np.maximum(t0, t1).min(axis=-1)
        hit = (near < far) & (near > 0)
        depth = np.where(hit, np.minimum(depth, near), depth)
    depth = np.where(depth < 3.0, depth, 0.0).astype(np.float32)
    return RgbdFrame(np.zeros((*depth.shape, 3), np.uint8), depth, CAMERA, T_base_cam)


class SampledArm:
    """The arm as points on its meshes, posed by the maker's Denavit-Hartenberg parameters.

    Args:
        spacing: of the points [m].
        hulls: take the meshes' hulls instead.
    """

    def __init__(self, spacing: float = 0.01, hulls: bool = False) -> None:
        meshes = default_urdf().parent / "meshes"
        names = [f"link{k}_coll.stl" for k in range(1, 8)] + ["hand_coll.stl"]
        self.points = []
        for name in names:
            triangles = read_triangles(meshes / name)
            if hulls:
                hull = ConvexHull(triangles.reshape(-1, 3))
                triangles = hull.points[hull.simplices]
            self.points.append(sample_surface(triangles, spacing))

    def surface(self, q) -> np.ndarray:
        """Return (N, 3) points of links 1 to 7 and hand in base; no fingers, no camera."""
        a = [0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088]
        d = [0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0]
        alpha = np.radians([0.0, -90.0, 90.0, 90.0, -90.0, 90.0, 90.0])
        T, out = np.eye(4), []
        for k in range(7):
            ca, sa, ct, st = np.cos(alpha[k]), np.sin(alpha[k]), np.cos(q[k]), np.sin(q[k])
            T = T @ np.array(
                [
                    [ct, -st, 0.0, a[k]],
                    [st * ca, ct * ca, -sa, -d[k] * sa],
                    [st * sa, ct * sa, ca, d[k] * ca],
                    [0.0, 0.0, 0.0, 1.0],
                ]
            )
            out.append(transform_points(T, self.points[k]))
        c = np.cos(np.pi / 4)
        hand = make_pose([[c, c, 0.0], [-c, c, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0, 0.107])
        out.append(transform_points(T @ hand, self.points[7]))
        return np.concatenate(out)

    def depth_inside(self, q, obstacles: Obstacles) -> float:
        """Return how deep [m] the surface is inside a voxel; negative: gap, -inf: a wide one."""
        tree = cKDTree(obstacles.centers)
        offset = tree.query(self.surface(q), p=np.inf, distance_upper_bound=0.04)[0]
        return float(obstacles.voxel_size / 2 - offset.min())


def read_triangles(path) -> np.ndarray:
    """Return the (T, 3, 3) corners of a binary STL file's triangles."""
    data = path.read_bytes()
    (count,) = struct.unpack("<I", data[80:84])
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    return np.frombuffer(data, record, count, 84)["corners"].astype(float)


def sample_surface(triangles, spacing: float) -> np.ndarray:
    """Return points on every one of (T, 3, 3) triangles, at most `spacing` [m] apart."""
    points = []
    for a, b, c in triangles:
        longest = max(np.linalg.norm(b - a), np.linalg.norm(c - a), np.linalg.norm(c - b))
        n = max(1, int(np.ceil(longest / spacing)))
        i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1))
        inside = i + j <= n
        s, t = i[inside, None] / n, j[inside, None] / n
        points.append(a + s * (b - a) + t * (c - a))
    every = np.concatenate(points)
    _, one_each = np.unique((every / (spacing / 2)).round(), axis=0, return_index=True)
    return every[one_each]
