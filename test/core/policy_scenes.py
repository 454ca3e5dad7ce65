"""A made-up skill for the tests of the policy: a handle that is gripped and pulled."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from kalm_core.keypoints import DetectedKeypoints
from kalm_core.policy.base import Example
from kalm_core.se3 import Array, make_pose, rotation_about_z, transform_points
from kalm_core.segmentation import CLOSED, OPEN
from kalm_core.trajectory import POSES, EndEffectorTrajectory

GRASP = 24
SHAPE = np.array(
    [
        [0.00, -0.06, 0.00],
        [0.01, -0.02, 0.01],
        [0.01, 0.02, 0.01],
        [0.00, 0.06, 0.00],
        [0.02, -0.05, 0.05],
        [0.02, 0.05, 0.05],
        [0.02, -0.05, -0.05],
        [0.02, 0.05, -0.05],
    ]
)
"""Eight keypoints on the front of a drawer, which looks along -x."""


def make_example(
    rng: np.random.Generator, noise: float = 0.005, missing: int = 0, name: str = ""
) -> Example:
    """Draw a scene: yaw within 25 degrees, scale 0.8 to 1.2, keypoints with noise.

    The gripper comes from 10 cm in front, closes on the scaled handle, and pulls by 15 cm.
    """
    scale = rng.uniform(0.8, 1.2)
    yaw = np.deg2rad(rng.uniform(-25.0, 25.0))
    T_base_object = rotation_about_z(yaw)
    T_base_object[:3, 3] = rng.uniform([0.4, -0.2, 0.1], [0.6, 0.2, 0.3])
    handle = scale * np.array([-0.03, 0.02, 0.01])
    poses = make_pose(_tool_rotations(), handle + _path())
    trajectory = EndEffectorTrajectory(
        T_base_object @ poses,
        np.where(np.arange(POSES) < GRASP, OPEN, CLOSED),
        np.linspace(0.0, rng.uniform(5.0, 7.0), POSES),
    )
    points = transform_points(T_base_object, scale * SHAPE)
    points = points + rng.normal(0.0, noise, points.shape)
    found = np.ones(len(points), dtype=bool)
    found[rng.permutation(len(points))[:missing]] = False
    points = np.where(found[:, None], points, np.nan)
    return Example(name, DetectedKeypoints(points, found, np.ones(len(points))), trajectory)


def make_examples(seed: int, count: int, noise: float = 0.005, missing: int = 0) -> list[Example]:
    """Draw several scenes from a seed."""
    rng = np.random.default_rng(seed)
    return [make_example(rng, noise, missing, f"demo_{i}") for i in range(count)]


def _path() -> Array:
    """Return (48, 3) positions relative to the handle: approach with an arc, then pull."""
    s = np.linspace(1.0, 0.0, GRASP)
    approach = np.stack([-0.10 * s, 0.0 * s, 0.03 * np.sin(np.pi * s)], axis=1)
    t = np.linspace(0.0, 1.0, POSES - GRASP + 1)[1:]
    pull = np.stack([-0.15 * t, 0.0 * t, -0.01 * t], axis=1)
    return np.concatenate([approach, pull])


def _tool_rotations() -> Array:
    """Return (48, 3, 3): the hand points along x of the object and tips by 10 degrees."""
    forward = Rotation.from_euler("y", 90, degrees=True)
    tip = Rotation.from_euler("y", np.linspace(10.0, 0.0, POSES)[:, None], degrees=True)
    return np.asarray((tip * forward).as_matrix())
