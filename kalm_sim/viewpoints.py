"""Postures of the arm from which the wrist camera sees the whole front of the cabinet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.spatial.transform import Rotation

from kalm_core.errors import NoFeasibleTrajectoryError
from kalm_core.planning.robot_model import RobotModel
from kalm_core.se3 import Array, invert_pose, make_pose, transform_points
from kalm_core.settings import Settings
from kalm_sim.camera import d435i_intrinsics, look_at
from kalm_sim.scene import TOP, CabinetParameters

READY = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 2.1, 0.785])
"""The arm's ready posture, the hand a little up, (7,) [rad]: where inverse kinematics starts."""


class ViewpointSettings(Settings):
    """Where the camera may be, seen from the middle of the cabinet's front."""

    distance_min: float = Field(0.36, ge=0.2, le=1.5, description="camera to front [m]")
    distance_max: float = Field(0.58, ge=0.2, le=1.5, description="camera to front [m]")
    elevation_min: float = Field(12.0, ge=-30.0, le=89.0, description="above the front [deg]")
    elevation_max: float = Field(50.0, ge=-30.0, le=89.0, description="above the front [deg]")
    azimuth: float = Field(30.0, ge=0.0, le=80.0, description="greatest, to either side [deg]")
    roll: float = Field(6.0, ge=0.0, le=180.0, description="greatest, of the image [deg]")
    aim_error: float = Field(
        0.03, ge=0.0, le=0.3, description="greatest distance of the aim from the middle [m]"
    )
    margin: float = Field(
        12.0, ge=0.0, le=200.0, description="least distance of front and image edge [px]"
    )
    attempts: int = Field(200, ge=1, le=10000, description="views tried before giving up")


@dataclass(frozen=True)
class Viewpoint:
    """One place to look from.

    Attributes:
        joints: (7,) posture of the arm [rad].
        T_base_ee: (4, 4) pose of the tool.
        T_base_cam: (4, 4) pose of the colour optical frame.
    """

    joints: Array
    T_base_ee: Array
    T_base_cam: Array


def draw_viewpoint(
    cabinet: CabinetParameters,
    rng: np.random.Generator,
    robot: RobotModel,
    T_ee_cam: Array,
    settings: ViewpointSettings | None = None,
) -> Viewpoint:
    """Draw a view of the cabinet's whole front that the arm can take.

    Args:
        cabinet: what to look at.
        rng: source of the view.
        robot: kinematics of the arm.
        T_ee_cam: (4, 4) hand-eye transform.
        settings: which views are wanted; None takes the defaults.

    Raises:
        NoFeasibleTrajectoryError: no view of that kind can be reached.
    """
    s = settings or ViewpointSettings()
    for _ in range(s.attempts):
        T_base_cam = _draw_camera(cabinet, rng, s)
        if not sees_front(cabinet, T_base_cam, s.margin):
            continue
        T_base_ee = T_base_cam @ invert_pose(T_ee_cam)
        joints = robot.inverse(T_base_ee, READY, seeds=6)
        if joints is not None and robot.manipulability(joints) > 0.02:
            return Viewpoint(joints, T_base_ee, T_base_cam)
    raise NoFeasibleTrajectoryError(
        f"none of {s.attempts} views of the cabinet at x = {cabinet.x:.2f}, y = {cabinet.y:.2f} m "
        "can be reached",
        "widen the viewpoint settings",
    )


def sees_front(cabinet: CabinetParameters, T_base_cam: Array, margin: float) -> bool:
    """Tell whether the front's corners and the top handle are `margin` [px] inside the image."""
    w, h, out = cabinet.width / 2, cabinet.height, cabinet.handle.standoff + 0.01
    reach = cabinet.handle.length / 2
    low, high = cabinet.drawer_span(TOP)
    z = (low + high) / 2
    corners = [(0.0, y, z_) for y in (-w, w) for z_ in (0.0, h)]
    points = np.array(corners + [(-out, y, z) for y in (-reach, reach)])
    points_base = transform_points(cabinet.T_base_cabinet, points)
    seen = transform_points(invert_pose(T_base_cam), points_base)
    k = d435i_intrinsics()
    u, v = k.fx * seen[:, 0] / seen[:, 2] + k.cx, k.fy * seen[:, 1] / seen[:, 2] + k.cy
    inside = (u > margin) & (u < k.width - 1 - margin) & (v > margin) & (v < k.height - 1 - margin)
    return bool((seen[:, 2] > 0).all() and inside.all())


def _draw_camera(
    cabinet: CabinetParameters, rng: np.random.Generator, s: ViewpointSettings
) -> Array:
    distance = rng.uniform(s.distance_min, s.distance_max)
    elevation = np.radians(rng.uniform(s.elevation_min, s.elevation_max))
    azimuth = np.radians(rng.uniform(-s.azimuth, s.azimuth))
    aim = rng.uniform(-s.aim_error, s.aim_error, size=3)
    roll = np.radians(rng.uniform(-s.roll, s.roll))
    direction = np.array(
        [
            -np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    middle = np.array([0.0, 0.0, cabinet.height / 2])
    eye_and_target = np.stack([middle + distance * direction, middle + aim])
    eye, target = transform_points(cabinet.T_base_cabinet, eye_and_target)
    turn = make_pose(Rotation.from_euler("z", roll).as_matrix(), np.zeros(3))
    return look_at(eye, target) @ turn
