"""Are tool frame and camera where the settings say? Compared with the live arm and its table.

The tool frame is compared exactly: forward kinematics against the pose that the arm reports. Of
the hand-eye transform an image of the table shows what is vertical: a tilt, and an error of height.
An error sideways along the table shows in no single image of a plane; calibrate with care.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from kalm_core.errors import CalibrationError
from kalm_core.planning.obstacles import ObstacleSettings, fit_floor, seen_points
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, rotation_angle
from kalm_core.settings import Settings

_SEARCHED = 0.08  # [m], around the table's height


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
    """Compare the height of the table in an image with what the settings say.

    An image that shows no level surface says nothing.

    Raises:
        CalibrationError: the table is elsewhere.
        NoImageError: the depth image shows too little.
    """
    if not settings.check_table:
        return
    points = seen_points(frame, obstacles)
    near = np.abs(points[:, 2] - settings.table_height) < _SEARCHED
    height = fit_floor(points[near])
    if height is None:
        return
    off = height - settings.table_height
    if abs(off) > settings.table_tolerance:
        raise CalibrationError(
            f"the camera sees the table {abs(off) * 100:.1f} cm "
            f"{'above' if off > 0 else 'below'} its height of {settings.table_height:.2f} m",
            "calibrate config/hand_eye.yaml again, or correct calibration.table_height",
        )
