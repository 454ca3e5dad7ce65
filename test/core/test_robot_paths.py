"""The arm's path timing and gripper logic, without a robot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm_core.errors import ConfigError, GoalError
from kalm_core.robot.client_limits import JOINT_VELOCITY
from kalm_core.robot.gripper_switches import gripper_switches
from kalm_core.robot.joint_line import joint_line
from kalm_core.robot.path_clock import (
    PathClock,
    calmed_stamps,
    shortest_joint_steps,
    shortest_pose_steps,
    stretched_stamps,
)
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import make_pose, rotation_about_z
from kalm_core.settings import parse_settings

HOME = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785])
joints = st.lists(st.floats(-1.0, 1.0), min_size=7, max_size=7).map(np.array)


@given(joints, st.floats(0.05, 5.0))
@settings(max_examples=50, deadline=None)
def test_a_joint_line_runs_from_rest_to_rest_within_the_limits(change, speed):
    path = joint_line(HOME, HOME + change, speed)
    assert np.allclose(path.positions[0], HOME)
    assert np.allclose(path.positions[-1], HOME + change)
    step = path.stamps[1]
    velocity = np.diff(path.positions, axis=0) / step
    assert (np.abs(velocity) <= np.minimum(JOINT_VELOCITY, speed) * 1.001).all()
    acceleration = np.diff(velocity, axis=0) / step
    assert (np.abs(acceleration) <= 2.5 * 1.001).all()
    at_rest = 0.2 * np.abs(velocity).max() + 1e-9
    assert np.abs(velocity[[0, -1]]).max() <= at_rest or len(velocity) < 20


@pytest.mark.parametrize(
    ("end", "speed", "text"),
    [
        (HOME[:6], 1.0, r"\(6,\)"),
        (HOME * np.nan, 1.0, "not finite"),
        (HOME, 0.0, "0.0 rad/s"),
    ],
)
def test_a_joint_line_refuses_bad_input(end, speed, text):
    with pytest.raises(GoalError, match=text):
        joint_line(HOME, end, speed)


@given(st.lists(st.floats(0.001, 0.05), min_size=1, max_size=20), st.floats(0.3, 5.0))
@settings(max_examples=50, deadline=None)
def test_the_path_clock_reaches_its_halt_exactly_and_smoothly(steps, halt):
    clock = PathClock(ramp=0.3)
    for k in range(100_000):
        before, rate, dt = clock.now, clock.rate, steps[k % len(steps)]
        clock.advance(dt, halt)
        assert before <= clock.now <= halt
        assert clock.rate <= min(1.0, rate + dt / 0.3 + 1e-12)
        if clock.now == halt:
            break
    assert clock.now == halt
    assert clock.rate == 0.0
    assert rate < 0.6  # it was already slow in the step before


def test_stretching_bounds_the_speed_and_never_hurries():
    rng = np.random.default_rng(0)
    positions = np.cumsum(rng.normal(scale=0.1, size=(30, 7)), axis=0)
    stamps = np.linspace(0.0, 3.0, 30)
    highest = np.full(7, 0.5)
    slow = stretched_stamps(stamps, 0.5, shortest_joint_steps(positions, highest))
    assert (np.diff(slow) >= 2.0 * np.diff(stamps) - 1e-12).all()
    assert (np.abs(np.diff(positions, axis=0)) / np.diff(slow)[:, None] <= 0.5 + 1e-9).all()


def test_calming_bounds_the_acceleration_and_leaves_calm_paths_alone():
    stamps = np.linspace(0.0, 1.0, 51)
    positions = np.outer(stamps**2, np.ones(7))  # 2 rad/s^2
    assert np.allclose(calmed_stamps(stamps, positions, 2.5), stamps)
    slow = calmed_stamps(stamps, positions, 0.5)
    assert slow[-1] == pytest.approx(2.0)
    assert np.abs(np.diff(np.diff(positions, axis=0) / slow[1], axis=0) / slow[1]).max() < 0.501


def test_poses_are_slowed_by_distance_and_by_turn():
    far = make_pose(np.eye(3), [0.1, 0.0, 0.0])
    poses = np.stack([np.eye(4), far, far @ rotation_about_z(0.6)])
    assert np.allclose(shortest_pose_steps(poses, speed=0.2, turn_rate=0.3), [0.5, 2.0])


def test_noise_in_the_opening_moves_no_finger():
    noise = np.random.default_rng(0).uniform(-0.004, 0.004, 48)
    assert gripper_switches(0.04 + noise, 0.04) == []


def test_a_closing_over_several_poses_is_one_grasp_before_it_begins():
    openings = np.full(48, 0.08)
    openings[20:26] = np.linspace(0.08, 0.02, 6)
    openings[26:] = 0.02
    openings[40:] = 0.07
    close, open_again = gripper_switches(openings, 0.08)
    assert close == (20, 0.02, True)
    assert open_again == (39, 0.07, False)


def test_a_hand_that_is_not_as_the_path_begins_moves_first():
    assert gripper_switches(np.full(5, 0.08), 0.02) == [(0, 0.08, False)]
    assert gripper_switches(np.full(5, 0.065), 0.08) == [(0, 0.065, False)]
    assert gripper_switches(np.full(5, 0.0), 0.08) == [(0, 0.0, True)]
    assert gripper_switches(np.full(5, 0.01), float("nan")) == []


def test_settings_out_of_range_are_named():
    with pytest.raises(ConfigError, match="translational_stiffness"):
        parse_settings(RobotSettings, {"translational_stiffness": 1e6}, "robot.yaml")
