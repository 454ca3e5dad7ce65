"""Rigid transforms as 4x4 float64 arrays, and the 6D rotation that the policy predicts.

`T_a_b` maps coordinates in frame b to frame a: `p_a = T_a_b @ p_b`, `T_a_c = T_a_b @ T_b_c`.
Quaternions are (x, y, z, w), as in ROS and scipy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation, Slerp

Array = NDArray[np.float64]


def make_pose(rotation: ArrayLike, translation: ArrayLike) -> Array:
    """Compose (..., 3, 3) rotations and (..., 3) translations [m] into (..., 4, 4) poses."""
    rotation = np.asarray(rotation, dtype=np.float64)
    translation = np.asarray(translation, dtype=np.float64)
    pose = np.zeros((*np.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1]), 4, 4))
    pose[..., :3, :3] = rotation
    pose[..., :3, 3] = translation
    pose[..., 3, 3] = 1.0
    return pose


def pose_from_quaternion(translation: ArrayLike, quaternion_xyzw: ArrayLike) -> Array:
    """Build (..., 4, 4) poses from translations [m] and quaternions (x, y, z, w) of any length."""
    quaternions = np.asarray(quaternion_xyzw, dtype=np.float64)
    matrices = Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix()
    return make_pose(matrices.reshape(*quaternions.shape[:-1], 3, 3), translation)


def quaternion_from_pose(pose: ArrayLike) -> Array:
    """Return the (..., 4) quaternions (x, y, z, w) of (..., 4, 4) poses."""
    pose = np.asarray(pose, dtype=np.float64)
    quaternions = Rotation.from_matrix(pose[..., :3, :3].reshape(-1, 3, 3)).as_quat()
    return np.asarray(quaternions.reshape(*pose.shape[:-2], 4))


def invert_pose(pose: ArrayLike) -> Array:
    """Return T_b_a for every T_a_b in an array of shape (..., 4, 4)."""
    pose = np.asarray(pose, dtype=np.float64)
    transposed = np.swapaxes(pose[..., :3, :3], -1, -2)
    return make_pose(transposed, -(transposed @ pose[..., :3, 3:])[..., 0])


def transform_points(pose: ArrayLike, points: ArrayLike) -> Array:
    """Map (..., 3) points [m] by one (4, 4) pose; NaN stays NaN."""
    pose = np.asarray(pose, dtype=np.float64)
    moved: Array = np.asarray(points, dtype=np.float64) @ pose[:3, :3].T + pose[:3, 3]
    return moved


def rotation_about_z(angle: float) -> Array:
    """Return the (4, 4) pose that turns by `angle` [rad] about z (gravity) and moves nothing."""
    return make_pose(Rotation.from_rotvec([0.0, 0.0, angle]).as_matrix(), np.zeros(3))


def rotation_angle(pose_a: ArrayLike, pose_b: ArrayLike) -> Array:
    """Return the angles [rad] between the rotations of (..., 4, 4) poses a and b."""
    a = np.asarray(pose_a, dtype=np.float64)[..., :3, :3]
    b = np.asarray(pose_b, dtype=np.float64)[..., :3, :3]
    relative = (np.swapaxes(a, -1, -2) @ b).reshape(-1, 3, 3)
    return np.asarray(Rotation.from_matrix(relative).magnitude().reshape(a.shape[:-2]))


def rotation_to_6d(rotation: ArrayLike) -> Array:
    """Return the first two columns of (..., 3, 3) rotations as (..., 6) (Zhou et al. 2019)."""
    rotation = np.asarray(rotation, dtype=np.float64)
    return np.concatenate([rotation[..., :, 0], rotation[..., :, 1]], axis=-1)


def rotation_from_6d(six: ArrayLike) -> Array:
    """Return the (..., 3, 3) rotations nearest to (..., 6) vectors, by Gram-Schmidt."""
    six = np.asarray(six, dtype=np.float64)
    x = six[..., :3] / np.linalg.norm(six[..., :3], axis=-1, keepdims=True)
    y = six[..., 3:] - np.sum(x * six[..., 3:], axis=-1, keepdims=True) * x
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def interpolate_poses(stamps: ArrayLike, poses: ArrayLike, query: ArrayLike) -> Array:
    """Interpolate poses in time: positions linearly, rotations along great circles.

    Args:
        stamps: (T,) strictly increasing times [s].
        poses: (T, 4, 4) poses at those times.
        query: (N,) times [s]; times outside are clamped to the ends.

    Returns:
        (N, 4, 4) poses.
    """
    stamps = np.asarray(stamps, dtype=np.float64)
    poses = np.asarray(poses, dtype=np.float64)
    query = np.clip(np.asarray(query, dtype=np.float64), stamps[0], stamps[-1])
    if len(stamps) == 1:
        return np.repeat(poses, len(query), axis=0)
    position = np.stack([np.interp(query, stamps, poses[:, k, 3]) for k in range(3)], axis=-1)
    rotation = Slerp(stamps, Rotation.from_matrix(poses[:, :3, :3]))(query)
    return make_pose(rotation.as_matrix(), position)
