from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from kalm_core.demonstration import Demonstration
from kalm_core.errors import DemonstrationError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_core.se3 import make_pose, rotation_about_z, rotation_angle
from kalm_core.segmentation import (
    CLOSED,
    OPEN,
    SegmentationSettings,
    execution_part,
    gripper_commands,
)
from kalm_core.trajectory import POSES

HANDLE = np.array([0.5, 0.1, 0.2])
RATE = 50.0


def keypoints(points=HANDLE):
    points = np.atleast_2d(points)
    found = np.isfinite(points).all(axis=1)
    return DetectedKeypoints(points, found, found.astype(float))


def move(stops, *, rests=None, speed=0.1, closes=2, opens=None):
    """A hand that goes along `stops`, resting at each; the fingers close at `closes`."""
    rests, wide, held = rests or {}, 0.08, 0.015
    positions, gripper, width = [np.asarray(stops[0])], [wide], wide
    for i, (a, b) in enumerate(pairwise(stops)):
        steps = max(2, round(np.linalg.norm(np.subtract(b, a)) / speed * RATE))
        positions += list(np.linspace(a, b, steps + 1)[1:])
        gripper += [width] * steps
        goal = held if i + 1 == closes else wide if i + 1 == opens else width
        rest = round(rests.get(i + 1, 0.8 if goal != width else 0.0) * RATE)
        if goal != width:
            ramp = np.linspace(width, goal, rest // 2 + 1)[1:]
            gripper += [*ramp, *[goal] * (rest - len(ramp))]
        else:
            gripper += [width] * rest
        positions += [positions[-1]] * rest
        width = goal
    return np.array(positions), np.array(gripper)


def demonstration(positions, gripper, rotations=None, name="bag_7"):
    t = len(positions)
    rotations = np.eye(3) if rotations is None else rotations
    k = Intrinsics(4, 3, 5.0, 5.0, 1.5, 1.0)
    frame = RgbdFrame(np.zeros((3, 4, 3), np.uint8), np.ones((3, 4), np.float32), k, np.eye(4))
    return Demonstration(
        name,
        (frame,),
        np.arange(t) / RATE,
        np.zeros((t, 7)),
        make_pose(rotations, positions),
        gripper,
    )


def beside(x, y, z):
    return HANDLE + np.array([x, y, z])


FAR = beside(-0.3, 0.0, 0.2)
PULLED = beside(-0.2, 0.0, 0.0)
OPENING = (FAR, beside(-0.15, 0, 0), HANDLE, PULLED)


def test_execution_begins_at_the_radius_and_has_48_poses():
    part = execution_part(demonstration(*move(OPENING)), keypoints())
    assert part.T_base_ee.shape == (POSES, 4, 4)
    assert np.linalg.norm(part.positions[0] - HANDLE) == pytest.approx(0.10, abs=0.003)
    assert np.allclose(part.positions[-1], PULLED, atol=1e-3)


def test_command_switches_at_the_pose_where_the_fingers_closed():
    part = execution_part(demonstration(*move(OPENING)), keypoints())
    switch = np.flatnonzero(np.diff(part.gripper))
    assert switch.tolist() == [POSES // 2 - 1]
    assert set(part.gripper) == {OPEN, CLOSED}
    assert np.allclose(part.positions[switch[0] + 1], HANDLE, atol=1e-3)


def test_the_last_entry_before_the_grasp_counts():
    over = beside(0.0, 0.0, 0.05)
    wandering = (FAR, over, FAR, beside(-0.15, 0, 0), HANDLE, PULLED)
    part = execution_part(demonstration(*move(wandering, closes=4)), keypoints())
    assert part.positions[0, 0] < HANDLE[0] - 0.09
    assert part.positions[:, 2].max() < HANDLE[2] + 0.01


def test_a_pause_in_front_of_the_object_is_where_it_begins():
    front = beside(-0.085, 0, 0)
    stops = (beside(-0.085, 0, 0.3), front, HANDLE, PULLED)
    for rests in ({1: 0.5}, {1: 3.0}):
        part = execution_part(demonstration(*move(stops, rests=rests)), keypoints())
        assert np.linalg.norm(part.positions[0] - front) < 0.008
    straight = execution_part(demonstration(*move(stops)), keypoints())
    assert straight.positions[0, 2] > HANDLE[2] + 0.04


def test_leaving_and_coming_back_with_the_object_is_kept():
    there_and_back = (*OPENING, beside(-0.02, 0, 0))
    part = execution_part(demonstration(*move(there_and_back)), keypoints())
    assert np.allclose(part.positions[-1], there_and_back[-1], atol=1e-3)
    assert part.positions[:, 0].min() < PULLED[0] + 0.02


def test_rests_are_dropped_and_the_pace_of_the_rest_is_kept():
    short = execution_part(demonstration(*move(OPENING)), keypoints())
    long = execution_part(demonstration(*move(OPENING, rests={2: 5.0})), keypoints())
    assert np.allclose(short.positions, long.positions, atol=2e-3)
    assert long.duration == pytest.approx(short.duration, abs=0.3)
    assert short.duration == pytest.approx(0.3 / 0.1, abs=0.4)
    slow = execution_part(demonstration(*move(OPENING, speed=0.05)), keypoints())
    assert slow.duration == pytest.approx(0.3 / 0.05, abs=0.4)


def test_trembling_at_rest_is_no_motion():
    positions, gripper = move(OPENING, rests={2: 3.0})
    shaken = positions + np.random.default_rng(0).normal(0, 5e-5, positions.shape)
    calm = execution_part(demonstration(positions, gripper), keypoints())
    part = execution_part(demonstration(shaken, gripper), keypoints())
    assert part.duration == pytest.approx(calm.duration, abs=0.3)
    assert np.allclose(part.positions, calm.positions, atol=5e-3)


def test_rotations_move_along_great_circles():
    positions, gripper = move(OPENING)
    turn = Rotation.from_euler("z", [[0.0], [150.0]], degrees=True)
    times = np.linspace(0, 1, len(positions))
    rotations = Slerp([0, 1], turn)(times).as_matrix()
    part = execution_part(demonstration(positions, gripper, rotations), keypoints())
    assert np.allclose(np.linalg.det(part.T_base_ee[:, :3, :3]), 1.0)
    steps = rotation_angle(part.T_base_ee[:-1], part.T_base_ee[1:])
    assert steps.max() < np.deg2rad(10.0)


def test_a_moved_scene_gives_the_moved_execution():
    positions, gripper = move(OPENING)
    move_by = rotation_about_z(0.7)
    move_by[:3, 3] = [0.1, -0.3, 0.05]
    there = positions @ move_by[:3, :3].T + move_by[:3, 3]
    handle = move_by[:3, :3] @ HANDLE + move_by[:3, 3]
    moved = demonstration(there, gripper, np.broadcast_to(move_by[:3, :3], (len(there), 3, 3)))
    part = execution_part(demonstration(positions, gripper), keypoints())
    assert np.allclose(
        execution_part(moved, keypoints(handle)).T_base_ee,
        part.transformed(move_by).T_base_ee,
        atol=1e-6,
    )


def test_the_way_home_after_letting_go_is_dropped():
    stops = (*OPENING, beside(-0.7, 0.3, 0.4))
    part = execution_part(demonstration(*move(stops, closes=2, opens=3)), keypoints())
    assert np.flatnonzero(np.diff(part.gripper)).tolist() == [15, 31]
    assert np.linalg.norm(part.positions[-1] - PULLED) == pytest.approx(0.10, abs=0.01)


def test_pushing_without_the_fingers_begins_before_the_closest_approach():
    over = (FAR, beside(0, 0, 0.08), FAR, beside(-0.15, 0, 0), beside(0.0, 0, 0.001))
    positions, _ = move(over, closes=99)
    shut = np.zeros(len(positions))
    part = execution_part(demonstration(positions, shut), keypoints())
    assert (part.gripper == CLOSED).all()
    assert part.positions[:, 2].max() < HANDLE[2] + 0.02


def test_missing_keypoints_are_not_looked_at():
    points = np.array([[np.nan] * 3, HANDLE])
    found = np.array([False, True])
    detected = DetectedKeypoints(points, found, np.ones(2))
    part = execution_part(demonstration(*move(OPENING)), detected)
    assert np.linalg.norm(part.positions[0] - HANDLE) == pytest.approx(0.10, abs=0.003)


@pytest.mark.parametrize(
    ("opening", "expected"),
    [
        ([0.08] * 5 + [0.06, 0.04, 0.02] + [0.015] * 5, (OPEN, [CLOSED])),
        ([0.065] * 5 + [0.05, 0.03] + [0.03] * 5, (OPEN, [CLOSED])),
        ([0.03] * 5 + [0.05, 0.08] + [0.08] * 5, (CLOSED, [OPEN])),
        ([0.08] * 9, (OPEN, [])),
        ([0.04] * 9, (CLOSED, [])),
        ([0.08] * 4 + [0.02] * 4 + [0.08] * 4 + [0.02] * 4, (OPEN, [CLOSED, OPEN, CLOSED])),
        ([0.08, 0.0795, 0.08, 0.079, 0.08], (OPEN, [])),
    ],
)
def test_commands_are_read_off_the_opening(opening, expected):
    stamps = np.arange(len(opening)) * 0.1
    initial, switches = gripper_commands(stamps, np.array(opening), 0.008)
    assert (initial, [s.command for s in switches]) == expected


def test_the_switch_is_where_the_fingers_arrive():
    opening = np.array([0.08] * 5 + [0.06, 0.04, 0.02] + [0.015] * 5)
    _, (switch,) = gripper_commands(np.arange(13) * 0.1, opening, 0.008)
    assert switch.stamp == pytest.approx(0.8)


def test_fingers_that_creep_on_with_what_they_hold_have_closed_before():
    stamps = np.arange(0.0, 6.0, 0.05)
    opening = np.interp(stamps, [1.0, 1.3, 2.0, 2.6, 5.0], [0.08, 0.065, 0.065, 0.018, 0.012])
    _, (switch,) = gripper_commands(stamps, opening, 0.008)
    assert switch.stamp == pytest.approx(2.6, abs=0.1)


@pytest.mark.parametrize(
    ("stops", "points", "text"),
    [
        (OPENING, HANDLE + 1.0, "stays 1"),
        (OPENING, np.full(3, np.nan), "none of the 1 keypoints"),
        ((HANDLE, HANDLE + 1e-5), HANDLE, "moves for only"),
    ],
)
def test_errors_name_the_demonstration(stops, points, text):
    positions, gripper = move(stops, rests={1: 1.0}, closes=99)
    with pytest.raises(DemonstrationError, match=f"bag_7.*{text}"):
        execution_part(demonstration(positions, gripper), keypoints(points))


def test_a_wider_radius_begins_earlier():
    wide = SegmentationSettings(radius=0.14)
    part = execution_part(demonstration(*move(OPENING)), keypoints(), wide)
    assert np.linalg.norm(part.positions[0] - HANDLE) == pytest.approx(0.14, abs=0.003)


def test_a_value_that_is_no_number_is_named():
    positions, gripper = move([HANDLE - [0.3, 0.0, 0.0], HANDLE - [0.02, 0.0, 0.0], HANDLE])
    torn = demonstration(positions, gripper)
    torn.T_base_ee[7, 1, 3] = np.nan
    with pytest.raises(DemonstrationError, match=r"bag_7: 1 of .* the first is sample 7"):
        execution_part(torn, keypoints())
    silent = demonstration(positions, np.where(np.arange(len(gripper)) == 3, np.nan, gripper))
    with pytest.raises(DemonstrationError, match=r"bag_7: 1 of .* the first is sample 3"):
        execution_part(silent, keypoints())


def test_a_hand_that_stays_is_named():
    still = np.repeat((HANDLE - [0.02, 0.0, 0.0])[None], 100, axis=0)
    with pytest.raises(DemonstrationError, match="bag_7: the tool moves for only 0"):
        execution_part(demonstration(still, np.full(100, 0.08)), keypoints())


def test_fingers_that_never_close_are_no_error():
    stops = [HANDLE - [0.3, 0.0, 0.0], HANDLE - [0.02, 0.0, 0.0], HANDLE - [0.0, 0.1, 0.0]]
    part = execution_part(demonstration(*move(stops, closes=99)), keypoints())
    assert set(part.gripper) == {OPEN}


def test_the_radius_of_a_held_tool_counts_from_its_closest_approach():
    """A cup over a bowl: the hand stays 18 cm above the keypoints all the time."""
    above = HANDLE + np.array([0.0, 0.0, 0.18])
    stops = [above - [0.3, 0.0, 0.0], above, above + np.array([0.0, 0.06, 0.0])]
    positions, _ = move(stops, closes=None)
    held = demonstration(positions, np.full(len(positions), 0.05))
    execution = execution_part(held, keypoints())
    first = np.linalg.norm(execution.positions[0] - HANDLE)
    assert first == pytest.approx(0.28, abs=0.01)
    assert (execution.gripper == CLOSED).all()
    empty = demonstration(positions, np.full(len(positions), 0.08))
    with pytest.raises(DemonstrationError, match=r"bag_7: the hand stays 0\.180 m or more"):
        execution_part(empty, keypoints())
