"""The cameras of the laboratory: a D435i in the hand and one that looks on from outside.

MuJoCo's cameras look along -z with y up; ours look along z with y down (REP 103), half a turn about
x apart. Pixel centres are at integer coordinates, so the principal point of an image of width w is
(w - 1) / 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kalm_core.rgbd import Intrinsics
from kalm_core.se3 import Array, make_pose, quaternion_from_pose

WRIST_CAMERA = "wrist_camera"
OUTSIDE_CAMERA = "outside_camera"

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""Turns an optical frame into the frame of a MuJoCo camera, and back."""

T_hand_ee = make_pose(np.eye(3), (0.0, 0.0, 0.1034))
"""`fr3_hand_tcp` in the frame of MuJoCo's hand body (= `fr3_hand`)."""


def d435i_intrinsics(width: int = 640, height: int = 480) -> Intrinsics:
    """Return the intrinsics of a D435i's colour camera (605 px at 640 by 480)."""
    focal = 605.0 * width / 640.0
    return Intrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def vertical_field_of_view(intrinsics: Intrinsics) -> float:
    """Return MuJoCo's `fovy` [deg]."""
    return float(np.degrees(2 * np.arctan(intrinsics.height / 2 / intrinsics.fy)))


def look_at(position: Array, target: Array) -> Array:
    """Return T_base_cam (4, 4) of an upright camera at `position` that looks at `target` (3,)."""
    forward = np.asarray(target, dtype=np.float64) - np.asarray(position, dtype=np.float64)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right = right / np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    return make_pose(rotation, position)


def pose_attributes(T_parent_child: Array) -> dict[str, str]:
    """Return `pos` and `quat` of an MJCF element whose pose in its parent is given (4, 4)."""
    x, y, z, w = (float(value) for value in quaternion_from_pose(T_parent_child))
    position = " ".join(repr(float(value)) for value in T_parent_child[:3, 3])
    return {"pos": position, "quat": f"{w!r} {x!r} {y!r} {z!r}"}


def optical_pose(xpos: NDArray[np.float64], xmat: NDArray[np.float64]) -> Array:
    """Return T_base_cam (4, 4) from MuJoCo's `cam_xpos` (3,) and `cam_xmat` (9,)."""
    return make_pose(np.asarray(xmat).reshape(3, 3), xpos) @ FLIP
