"""Postures of the arm from which the wrist camera sees a task's object."""

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
from kalm_sim.scene import SceneParameters
from kalm_sim.tasks.base import TaskObject, ViewRange
from kalm_sim.tasks.cabinet import CabinetParameters
from kalm_sim.tasks.drawer import DrawerTask
from kalm_sim.tasks.registry import TASKS

READY = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 2.1, 0.785])
"""The arm's ready posture, the hand a little up, (7,) [rad]: where inverse kinematics starts."""


class ViewpointSettings(Settings):
    """Where the camera may be, seen from the object; the defaults are those of the cabinet."""

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
    keep_below: float = Field(
        0.0, ge=0.0, le=300.0, description="rows at the image's lower edge without the object [px]"
    )
    attempts: int = Field(200, ge=1, le=10000, description="views tried before giving up")

    @classmethod
    def for_range(cls, view: ViewRange) -> ViewpointSettings:
        """Return the settings that a task asks for."""
        return cls(
            distance_min=view.distance[0],
            distance_max=view.distance[1],
            elevation_min=view.elevation[0],
            elevation_max=view.elevation[1],
            azimuth=view.azimuth,
            keep_below=view.keep_below,
        )


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
    target: SceneParameters | CabinetParameters,
    rng: np.random.Generator,
    robot: RobotModel,
    T_ee_cam: Array,
    settings: ViewpointSettings | None = None,
) -> Viewpoint:
    """Draw a view of a scene's object, or of where it would stand, that the arm can take.

    Args:
        target: the scene, or a cabinet alone.
        rng: source of the view.
        robot: kinematics of the arm.
        T_ee_cam: (4, 4) hand-eye transform.
        settings: which views are wanted; None takes those of the task.

    Raises:
        NoFeasibleTrajectoryError: no view of that kind can be reached.
    """
    thing, points, middle, view = _look(target)
    s = settings or ViewpointSettings.for_range(view)
    for _ in range(s.attempts):
        T_base_cam = _draw_camera(thing, middle, rng, s)
        if not _in_image(transform_points(thing.T_base_object, points), T_base_cam, s):
            continue
        T_base_ee = T_base_cam @ invert_pose(T_ee_cam)
        joints = robot.inverse(T_base_ee, READY, seeds=6)
        if joints is not None and robot.manipulability(joints) > 0.02:
            return Viewpoint(joints, T_base_ee, T_base_cam)
    raise NoFeasibleTrajectoryError(
        f"none of {s.attempts} views of the object at x = {thing.x:.2f}, y = {thing.y:.2f} m "
        "can be reached",
        "widen the viewpoint settings",
    )


def _look(
    target: SceneParameters | CabinetParameters,
) -> tuple[TaskObject, Array, Array, ViewRange]:
    """Return an object, the points and the middle to look at in its frame, and from where."""
    if isinstance(target, SceneParameters):
        task, thing = TASKS[target.task], target.target
    else:
        task, thing = DrawerTask(), target
    return thing, task.look_points(thing), task.look_at(thing), task.view


def sees_front(
    target: SceneParameters | CabinetParameters, T_base_cam: Array, margin: float
) -> bool:
    """Tell whether the object's outermost points are `margin` [px] inside the image."""
    thing, points, _, _ = _look(target)
    s = ViewpointSettings(margin=margin)
    return _in_image(transform_points(thing.T_base_object, points), T_base_cam, s)


def _in_image(points_base: Array, T_base_cam: Array, s: ViewpointSettings) -> bool:
    seen = transform_points(invert_pose(T_base_cam), points_base)
    k, margin = d435i_intrinsics(), s.margin
    u, v = k.fx * seen[:, 0] / seen[:, 2] + k.cx, k.fy * seen[:, 1] / seen[:, 2] + k.cy
    lowest = k.height - 1 - max(margin, s.keep_below)
    inside = (u > margin) & (u < k.width - 1 - margin) & (v > margin) & (v < lowest)
    return bool((seen[:, 2] > 0).all() and inside.all())


def _draw_camera(
    thing: TaskObject, middle: Array, rng: np.random.Generator, s: ViewpointSettings
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
    eye_and_target = np.stack([middle + distance * direction, middle + aim])
    eye, target = transform_points(thing.T_base_object, eye_and_target)
    turn = make_pose(Rotation.from_euler("z", roll).as_matrix(), np.zeros(3))
    return look_at(eye, target) @ turn
