"""Calibration compared with the table in the image: what is noticed, and what is no error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planning_scenes import box_frame, hand_pose
from scipy.spatial.transform import Rotation

from kalm_core.errors import CalibrationError
from kalm_core.planning.calibration import CalibrationSettings, check_table
from kalm_core.planning.obstacles import ObstacleSettings
from kalm_core.rgbd import RgbdFrame

TABLE = ([0.1, -1.0, -0.1], [2.0, 1.0, -0.001])
DOWN = hand_pose([0.4, 0.0, 0.34], np.radians(90.0))
SLANTING = hand_pose([0.3, 0.0, 0.4], np.radians(40.0))
FLANGE_TO_TOOL = 0.1034  # [m]


def check(frame: RgbdFrame) -> None:
    check_table(frame, CalibrationSettings(check_table=True), ObstacleSettings())


def misplaced(frame: RgbdFrame, up: float = 0.0, turn: tuple[float, ...] = (0.0,) * 3) -> RgbdFrame:
    """Return the frame as a wrong calibration places it: too high [m], turned in the camera."""
    T = frame.T_base_cam.copy()
    T[2, 3] += up
    T[:3, :3] = T[:3, :3] @ Rotation.from_rotvec(np.radians(turn)).as_matrix()
    return replace(frame, T_base_cam=T)


@pytest.mark.parametrize("view", [DOWN, SLANTING])
@pytest.mark.parametrize("off", [0.02, 0.05, 0.079, 0.09, FLANGE_TO_TOOL, 0.2, 0.28])
def test_a_table_at_another_height_is_noticed(view: np.ndarray, off: float) -> None:
    frame = box_frame(view, [TABLE])
    check(misplaced(frame, 0.008))
    for up, side in ((off, "above"), (-off, "below")):
        with pytest.raises(CalibrationError, match=f"cm {side} its height of 0.00 m") as error:
            check(misplaced(frame, up))
        seen = float(str(error.value).split("sees the table ")[1].split(" cm")[0])
        assert seen == pytest.approx(abs(off) * 100, abs=0.3)
        assert "flange" in error.value.remedy


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("degrees", [-15.0, -5.0, -3.5, 3.5, 5.0, 15.0])
def test_a_tilted_camera_is_noticed(axis: int, degrees: float) -> None:
    frame = box_frame(DOWN, [TABLE])
    turn = [0.0, 0.0, 0.0]
    turn[axis] = degrees
    with pytest.raises(CalibrationError):
        check(misplaced(frame, turn=tuple(turn)))
    check(misplaced(frame, turn=tuple(np.array(turn) / abs(degrees))))


def test_the_tilt_is_named() -> None:
    with pytest.raises(CalibrationError, match=r"tilted by 3\.2 deg"):
        check(misplaced(box_frame(DOWN, [TABLE]), turn=(3.2, 0.0, 0.0)))


@pytest.mark.parametrize("top", [0.015, 0.02, 0.03, 0.05, 0.1, 0.12, 0.15])
@pytest.mark.parametrize("reach", [0.35, 0.4, 0.45, 0.5])
def test_a_box_whose_top_fills_most_of_the_image_is_not_the_table(top: float, reach: float) -> None:
    check(box_frame(DOWN, [TABLE, ([0.1, -0.4, 0.0], [reach, 0.4, top])]))


def test_a_box_that_hides_the_table_asks_for_another_view() -> None:
    with pytest.raises(CalibrationError, match="look from where the table is seen"):
        check(box_frame(DOWN, [TABLE, ([0.1, -0.4, 0.0], [0.7, 0.4, 0.2])]))


def test_a_front_that_hides_the_table_says_nothing() -> None:
    check(box_frame(SLANTING, [([0.5, -1.0, 0.1], [0.9, 1.0, 1.0])]))


def test_the_floor_of_the_room_beside_the_table_is_no_error() -> None:
    floor = ([-3.0, -3.0, -0.8], [3.0, 3.0, -0.75])
    small = ([0.1, -0.1, -0.1], [0.6, 0.1, -0.001])
    check(box_frame(SLANTING, [small, floor]))
