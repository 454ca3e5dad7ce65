"""Straight ways of the hand: what is carried stays upright."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_scenes import READY, hand_pose
from test_planning_planner import SETTINGS, TABLE, keypoints, seen

from kalm_core.planning.certified_planner import CertifiedPlanner
from kalm_core.planning.holding import finger_openings, holds_from_the_start
from kalm_core.planning.joint_motion import SearchError
from kalm_core.planning.motion import Motion
from kalm_core.planning.obstacles import Obstacles, no_obstacles, voxelize
from kalm_core.planning.planner import make_planner
from kalm_core.planning.straight import StraightWays
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory

PITCH = np.radians(38.0)
UP_IN_HAND = hand_pose([0.0, 0.0, 0.0], PITCH)[2, :3]
CUP = 0.05


@pytest.fixture(scope="module")
def planner() -> CertifiedPlanner:
    planner = make_planner(SETTINGS)
    assert isinstance(planner, CertifiedPlanner)
    return planner


def ways(planner: CertifiedPlanner) -> StraightWays:
    return StraightWays(planner.model, planner.surroundings, planner.contact, SETTINGS)


def posture(planner: CertifiedPlanner, position, yaw: float, near: Array = READY) -> Array:
    planner.surroundings.set_gripper(CUP)
    pose = hand_pose(position, PITCH, yaw)
    return next(q for q in planner.model.inverse_all(pose, near) if planner.surroundings.free(q))


def lean(planner: CertifiedPlanner, positions: Array) -> float:
    """Return how far [rad] what is held leans at most."""
    up = planner.model.tool_poses(positions)[:, :3, :3] @ UP_IN_HAND
    return float(np.arccos(np.clip(up[:, 2], -1.0, 1.0)).max())


@pytest.mark.parametrize("y", [-0.3, -0.1, 0.2])
def test_a_cup_that_is_upright_at_both_ends_stays_upright(planner, y: float) -> None:
    planner.surroundings.set_obstacles(no_obstacles())
    start = posture(planner, [0.4, 0.25, 0.4], 0.4)
    end = posture(planner, [0.6, y, 0.3], -0.2, start)
    path = ways(planner).carry(start, end, CUP)
    np.testing.assert_allclose(path.positions[[0, -1]], [start, end], atol=1e-6)
    assert lean(planner, path.positions) < np.radians(5.0)


@pytest.mark.parametrize("place", [[0.35, 0.2, 0.4], [0.35, 0.3, 0.3], [0.3, 0.3, 0.4]])
def test_where_the_arm_would_fold_the_cup_goes_in_an_arc(planner, place) -> None:
    planner.surroundings.set_obstacles(no_obstacles())
    start = posture(planner, place, 0.3)
    end = posture(planner, np.multiply(place, [1, -1, 1]), -0.3, start)
    assert ways(planner)._carried(start, end, 0.0, 0.0) is None
    path = ways(planner).carry(start, end, CUP)
    np.testing.assert_allclose(path.positions[[0, -1]], [start, end], atol=1e-6)
    assert lean(planner, path.positions) < np.radians(5.0)
    tools = planner.model.tool_poses(path.positions)[:, :3, 3]
    off = np.hypot(tools[:, 0] - place[0], tools[:, 2] - place[2])
    assert 0.05 < off.max() < 0.25


def test_what_stands_in_the_way_is_not_carried_through(planner) -> None:
    start = posture(planner, [0.5, 0.25, 0.35], 0.3)
    end = posture(planner, [0.5, -0.25, 0.35], -0.3, start)
    wall = np.stack(
        np.meshgrid(np.arange(0.4, 0.8, 0.01), [0.0], np.arange(0.0, 0.6, 0.01)), axis=-1
    )
    planner.surroundings.set_obstacles(Obstacles(voxelize(wall.reshape(-1, 3), 0.01), 0.01))
    with pytest.raises(SearchError, match="not free"):
        ways(planner).carry(start, end, CUP)


def pour() -> EndEffectorTrajectory:
    """Move 5 cm on with fingers that are told to be closed."""
    poses = np.repeat(hand_pose([0.5, -0.1, 0.25], PITCH, -0.2)[None], 48, axis=0)
    poses[:, 0, 3] += np.linspace(0.0, 0.05, 48)
    return EndEffectorTrajectory(poses, np.zeros(48), np.linspace(0.0, 5.0, 48))


def test_an_approach_with_a_cup_in_the_hand_is_level(planner) -> None:
    view = posture(planner, [0.35, 0.2, 0.5], 0.3)
    assert holds_from_the_start(pour(), CUP) and not holds_from_the_start(pour(), 0.0)
    plan = planner.plan([pour()], keypoints(), seen(planner, view, [TABLE]), view, CUP)
    assert lean(planner, plan.motion.approach.positions) < np.radians(5.0)


@settings(deadline=None)
@given(
    commands=st.lists(st.sampled_from([0.0, 0.009, 0.03, 0.08]), min_size=2, max_size=12),
    gripper=st.floats(0.0, 0.08),
)
def test_fingers_that_hold_something_stay_apart_until_they_open(commands, gripper) -> None:
    count = len(commands)
    told = EndEffectorTrajectory(
        np.tile(np.eye(4), (count, 1, 1)), np.array(commands), np.arange(count) * 0.1
    )
    openings = finger_openings(told, gripper)
    assert (openings >= told.gripper).all()
    until = next((k for k, command in enumerate(commands) if command >= 0.01), count)
    assert (openings[:until] >= gripper).all()
    if all(command in {0.0, 0.08} for command in commands) and gripper >= told.gripper[0]:
        # told all at once, as our policies do: as told from there on, the wider while they move
        moved = np.maximum(told.gripper[1:], told.gripper[:-1])
        assert (openings[max(until, 1) :] <= moved[max(until, 1) - 1 :] + 1e-12).all()


def test_fingers_are_as_wide_as_the_arm_will_have_them() -> None:
    def openings(commands: list[float], gripper: float) -> list[float]:
        count = len(commands)
        told = EndEffectorTrajectory(
            np.tile(np.eye(4), (count, 1, 1)), np.array(commands), np.arange(count) * 0.1
        )
        return finger_openings(told, gripper).tolist()

    # opened little by little, the arm opens them at once, where it begins
    assert openings([0.0, 0.0, 0.02, 0.04, 0.06, 0.08], 0.0) == [0.0, 0.08, 0.08, 0.08, 0.08, 0.08]
    # closed little by little too: until there they are open
    assert openings([0.08, 0.08, 0.05, 0.02, 0.0], 0.08) == [0.08, 0.08, 0.05, 0.02, 0.0]
    # told a little less than they are, they stay
    assert openings([0.072, 0.072], 0.08) == [0.08, 0.08]
    # told clearly more, they open before the way there
    assert openings([0.08, 0.08], 0.02) == [0.08, 0.08]


@pytest.fixture(scope="module")
def carried(planner) -> Motion:
    """The motion with a cup in the hand."""
    view = posture(planner, [0.35, 0.2, 0.5], 0.3)
    return planner.plan([pour()], keypoints(), seen(planner, view, [TABLE]), view, CUP).motion


def put_beside_a_finger(planner: CertifiedPlanner, motion: Motion) -> None:
    """Put a point where, at the last pose, a finger is that holds the cup, and none when closed."""
    beside = planner.model.forward(motion.execution_joints[-1]) @ [0.0, CUP / 2 + 0.01, 0.0, 1.0]
    seen_there = Obstacles(voxelize(beside[None, :3], 0.005), 0.005)
    planner.surroundings.set_obstacles(seen_there)
    planner.contact.set_obstacles(seen_there)
    for opening, free in ((0.0, True), (CUP, False)):
        planner.contact.set_gripper(opening)
        assert planner.contact.free_exactly(motion.execution_joints[-1]) is free


def test_what_is_held_keeps_the_fingers_apart_in_the_certificate(planner, carried) -> None:
    put_beside_a_finger(planner, carried)
    failure = planner.certifier.certify(carried, carried.approach.positions[0], CUP).failure
    assert failure is not None and failure.kind == "collision" and failure.part == "execution"
    assert failure.pose > 20
    assert "finger" in failure.link


def test_what_is_held_keeps_the_fingers_apart_in_the_quick_checks(planner, carried) -> None:
    put_beside_a_finger(planner, carried)
    blocked = planner._blocked_in_execution(pour(), carried.execution_joints, CUP)
    assert blocked is not None and blocked.kind == "execution"
    with pytest.raises(SearchError, match="gets 0 cm back"):
        ways(planner).away(pour(), carried.execution_joints[-1], CUP)
    assert planner._blocked_in_execution(pour(), carried.execution_joints, 0.0) is None
    assert ways(planner).away(pour(), carried.execution_joints[-1], 0.0) is not None
