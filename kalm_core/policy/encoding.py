"""Trajectories as the network sees them: 48 rows of position, 6D rotation and gripper."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from kalm_core.se3 import Array, invert_pose, make_pose, rotation_from_6d, rotation_to_6d
from kalm_core.segmentation import CLOSED, OPEN
from kalm_core.trajectory import EndEffectorTrajectory

CHANNELS = 10
"""Numbers per pose (section II-E): 3 position [m], 6 rotation, 1 gripper opening [m]."""


def encode(trajectory: EndEffectorTrajectory, T_base_object: Array) -> Array:
    """Return (N, 10) rows in the object's frame."""
    poses = invert_pose(T_base_object) @ trajectory.T_base_ee
    return np.concatenate(
        [poses[:, :3, 3], rotation_to_6d(poses[:, :3, :3]), trajectory.gripper[:, None]], axis=1
    )


def decode(rows: Array, T_base_object: Array, stamps: Array) -> EndEffectorTrajectory:
    """Turn (N, 10) rows in the object's frame into a trajectory in the base frame.

    The gripper becomes a command again, open or closed; a lone pose that differs from both its
    neighbours follows them.
    """
    poses = make_pose(rotation_from_6d(rows[:, 3:9]), rows[:, :3])
    gripper = np.where(rows[:, 9] > (OPEN + CLOSED) / 2, OPEN, CLOSED)
    gripper = median_filter(gripper, size=3, mode="nearest")
    return EndEffectorTrajectory(T_base_object @ poses, gripper, stamps)
