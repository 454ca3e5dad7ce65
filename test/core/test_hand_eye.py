"""Calibrations that cannot be meant, and the camera's solid body."""

from __future__ import annotations

import logging

import pytest

from kalm_core.errors import CalibrationError, ConfigError
from kalm_core.hand_eye import HandEyeSettings, demand_learned_for_a_camera
from kalm_core.planning.robot_body import CameraBodySettings
from kalm_core.settings import parse_settings


@pytest.mark.parametrize(
    "values",
    [
        {"translation": [70.0, 0.0, -60.0]},  # millimetres
        {"translation": [float("nan"), 0.0, 0.0]},
        {"quaternion": [0.0, 0.0, 0.0, 0.0]},
        {"quaternion": [0.0, 0.0, 1.0, 1.0]},
        {"quaternion": [0.0, 0.0, float("inf"), 1.0]},
    ],
)
def test_a_calibration_that_cannot_be_meant_is_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        parse_settings(HandEyeSettings, values, "hand_eye.yaml")


def test_a_rounded_quaternion_is_taken():
    given = {"translation": [0.07, 0.0, -0.06], "quaternion": [0.0, 0.0, 0.707, 0.707]}
    assert parse_settings(HandEyeSettings, given, "hand_eye.yaml").T_ee_cam.shape == (4, 4)


@pytest.mark.parametrize("size", [[0.092, 0.0, 0.028], [0.092, -0.028, 0.028]])
def test_a_camera_with_a_side_of_nothing_does_not_vanish_from_the_collision_model(size):
    with pytest.raises(ConfigError, match="every side has to be above 0"):
        parse_settings(CameraBodySettings, {"size": size}, "planning")
    assert parse_settings(CameraBodySettings, {"size": [0.0] * 3}, "planning").size == (0, 0, 0)


def test_a_skill_of_the_simulators_mount_is_none_of_a_calibrated_arm(caplog):
    default = HandEyeSettings()
    mine = HandEyeSettings(translation=(0.07, 0.0, -0.03))
    near = HandEyeSettings(translation=(0.07, 0.0, -0.028))
    learned = default.model_dump(mode="json")
    demand_learned_for_a_camera(None, mine, "old")  # of before the record had it
    demand_learned_for_a_camera(learned, default, "open")
    demand_learned_for_a_camera(near.model_dump(mode="json"), mine, "open")
    with pytest.raises(CalibrationError, match=r"3.0 cm.*--config"):
        demand_learned_for_a_camera(learned, mine, "open")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):  # the camera may have been moved
        demand_learned_for_a_camera(mine.model_dump(mode="json"), default, "open")
    assert "moved since" in caplog.text
