"""Are tool frame and camera where the settings say? Compared with the live arm and its table.

The tool frame is compared exactly: forward kinematics against the pose that the arm reports. Of
the hand-eye transform an image of the table shows what is vertical: a tilt, and an error of height.
An error sideways along the table, or a turn about the vertical, shows in no single image of a
plane; calibrate with care.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import Field

from kalm_core.errors import CalibrationError
from kalm_core.planning.obstacles import ObstacleSettings, fit_floor, seen_points
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, rotation_angle
from kalm_core.settings import Settings

_SEARCHED = 0.08  # [m] around the table's height, where the lowest level surface is the table
_FARTHEST = 0.3  # [m]; no calibration is off by more, and the room's floor is farther below
_HARDLY = 0.01  # of the points; fewer at the table's height show no table
_SOME = 0.05  # of the points; fewer below it may be reflections
_DOMINANT = 1.0 / 3.0  # of the points; a surface that fills so much of the image is the table
_FLAT = 0.004  # [m], by which points of one plane miss it
_LEVEL = np.cos(np.radians(30.0))  # steeper planes are walls, fronts and slopes
_SAMPLES = 3000  # points among which the plane is searched
_TRIALS = 300  # planes through three of them


class CalibrationSettings(Settings):
    """What is compared, and how much may differ."""

    tool_tolerance: float = Field(
        0.005, gt=0.0, le=0.05, description="between kinematics and the reported tool [m]"
    )
    tool_turn_tolerance: float = Field(
        0.03, gt=0.0, le=0.5, description="between kinematics and the reported tool [rad]"
    )
    check_table: bool = Field(
        False, description="compare the table in the image with table_height before every plan"
    )
    table_height: float = Field(
        0.0, ge=-1.0, le=1.0, description="z of the table in the base frame [m]"
    )
    table_tolerance: float = Field(
        0.012, gt=0.0, le=0.1, description="difference of the table's height that is taken [m]"
    )
    table_turn_tolerance: float = Field(
        0.05, gt=0.0, le=0.5, description="tilt of the table in the image that is taken [rad]"
    )


def check_tool(expected: Array, reported: Array, settings: CalibrationSettings) -> None:
    """Compare T_base_ee (4, 4) from forward kinematics with the one that the arm reports.

    Raises:
        CalibrationError: they differ.
    """
    away = float(np.linalg.norm(expected[:3, 3] - reported[:3, 3]))
    turn = float(rotation_angle(expected, reported))
    if not (away <= settings.tool_tolerance and turn <= settings.tool_turn_tolerance):
        raise CalibrationError(
            f"the arm reports its tool {away * 100:.1f} cm and {np.degrees(turn):.1f} deg from "
            "where the robot model puts it",
            "check the end effector in Desk and the parameter planning.robot.tool_frame",
        )


def check_table(
    frame: RgbdFrame, settings: CalibrationSettings, obstacles: ObstacleSettings
) -> None:
    """Compare the table in an image with where the settings say that it is.

    An image that shows no level surface says nothing.

    Raises:
        CalibrationError: the table is elsewhere, or tilted.
        NoImageError: the depth image shows too little.
    """
    if not settings.check_table:
        return
    points = seen_points(frame, obstacles)
    above = points[:, 2] - settings.table_height
    # whatever stands on the table, nothing is below it
    below = above[(above < -settings.table_tolerance) & (above > -_FARTHEST)]
    if len(below) > _SOME * len(points):
        raise _elsewhere(float(np.median(below)), settings)
    near = np.abs(above) < _SEARCHED
    lowest = fit_floor(points[near]) if near.sum() > _HARDLY * len(points) else None
    if lowest is not None and lowest - settings.table_height > settings.table_tolerance:
        raise _elsewhere(lowest - settings.table_height, settings)
    # Farther above, a level surface may as well be the top of a box or of a cabinet. It counts as
    # the table when it fills the image, and nothing is seen where the table should be.
    plane = _level_plane(points[np.abs(above) < _FARTHEST])
    if plane is None or plane.points < _DOMINANT * len(points):
        return
    height = plane.height - settings.table_height
    if lowest is None and height > settings.table_tolerance:
        raise _elsewhere(height, settings)
    if height < _SEARCHED and plane.tilt > settings.table_turn_tolerance:
        raise CalibrationError(
            f"the camera sees the table tilted by {np.degrees(plane.tilt):.1f} deg, allowed are "
            f"{np.degrees(settings.table_turn_tolerance):.1f}",
            "calibrate config/hand_eye.yaml again: its rotation is off",
        )


def _elsewhere(above: float, settings: CalibrationSettings) -> CalibrationError:
    """Return the error of a table that is seen `above` [m] where it should be."""
    expected = settings.table_height
    return CalibrationError(
        f"the camera sees the table {abs(above) * 100:.1f} cm {'above' if above > 0 else 'below'} "
        f"its height of {expected:.2f} m, at {expected + above:.3f} m",
        "calibrate config/hand_eye.yaml again (10.3 cm off: it is of the flange, not of "
        "fr3_hand_tcp), look from where the table is seen, or correct calibration.table_height",
    )


class _Plane(NamedTuple):
    """A nearly level surface: height of its middle [m], tilt [rad] and number of points."""

    height: float
    tilt: float
    points: float


def _level_plane(points: Array) -> _Plane | None:
    """Return the nearly level plane through the most of (N, 3) points; None if there is none."""
    if len(points) < 3:
        return None
    some = points[:: 1 + len(points) // _SAMPLES]
    corners = some[np.random.default_rng(0).integers(len(some), size=(_TRIALS, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    level = np.abs(normals[:, 2]) > _LEVEL * lengths
    normals = normals[level] / lengths[level, None]
    if len(normals) == 0:
        return None
    offsets = np.einsum("ni,ni->n", normals, corners[level, 0])
    on_it = np.abs(some @ normals.T - offsets) < _FLAT
    on_it = some[on_it[:, on_it.sum(axis=0).argmax()]]
    middle = on_it.mean(axis=0)
    normal = np.linalg.svd(on_it - middle, full_matrices=False)[2][-1]
    share = len(on_it) / len(some)
    return _Plane(float(middle[2]), float(np.arccos(min(1.0, abs(normal[2])))), share * len(points))
