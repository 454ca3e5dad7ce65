"""A certified motion on the wire: what arrives is what was certified, or it is refused."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message

from kalm_core.errors import GoalError, MotionRefusedError
from kalm_core.planning.certificate import Certificate, Failure
from kalm_core.planning.motion import Motion
from kalm_core.robot.joint_line import joint_line
from kalm_core.se3 import make_pose
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_interfaces.msg import CertifiedMotion
from kalm_ros.motion_messages import (
    motion_digest,
    motion_from_ros,
    motion_to_ros,
    view_motion_to_ros,
)

START = np.array([0.0, -0.7, 0.0, -2.3, 0.0, 1.6, 0.8])
STAMP = 1_700_000_000_123_456_789
PASSED = Certificate(None, 0.02, 0.3, 0.4, 0.1, 0.05, 0.06, 400, 0.02)


def motion() -> Motion:
    joints = START + 0.1 + np.linspace(0.0, 0.1, 12)[:, None]
    poses = np.repeat(make_pose(np.eye(3), (0.4, 0.1, 0.3))[None], 12, axis=0)
    poses[:, 0, 3] += np.linspace(0.0, 0.1, 12)
    return Motion(
        joint_line(START, START + 0.1),
        EndEffectorTrajectory(poses, np.linspace(0.08, 0.01, 12), np.linspace(0.0, 2.0, 12)),
        joints,
        joint_line(joints[-1], START),
    )


def wire(message: CertifiedMotion) -> CertifiedMotion:
    return deserialize_message(serialize_message(message), CertifiedMotion)


def test_a_motion_survives_the_wire_with_its_digest() -> None:
    sent = motion()
    message = wire(motion_to_ros(sent, PASSED, STAMP, 0.08))
    assert message.digest == motion_digest(message) and len(message.digest) == 64
    approach, execution, joints, retreat = motion_from_ros(message)
    np.testing.assert_array_equal(approach.positions, sent.approach.positions)
    np.testing.assert_array_equal(joints.positions, sent.execution_joints)
    np.testing.assert_allclose(execution.T_base_ee, sent.execution.T_base_ee, atol=1e-12)
    np.testing.assert_allclose(retreat.stamps, sent.retreat.stamps, atol=1e-9)
    assert message.certificate.checks == 400


def test_a_motion_to_a_view_is_an_approach_alone() -> None:
    message = wire(view_motion_to_ros(joint_line(START, START + 0.1), STAMP, 0.08))
    assert message.digest == motion_digest(message)
    assert motion_from_ros(message)[1:] == (None, None, None)


@pytest.mark.parametrize(
    "alter",
    [
        lambda m: m.approach.points[3].positions.__setitem__(2, 0.123),
        lambda m: setattr(m.approach.points[4].time_from_start, "nanosec", 7),
        lambda m: setattr(m.execution.poses[5].position, "z", 0.31),
        lambda m: setattr(m.execution.poses[5].orientation, "w", 0.999),
        lambda m: m.execution.gripper.__setitem__(0, 0.05),
        lambda m: m.execution.time_from_start.__setitem__(1, 0.05),
        lambda m: m.execution_joints.points[0].positions.__setitem__(6, 0.7),
        lambda m: m.retreat.points.pop(),
        lambda m: setattr(m.header.stamp, "sec", 5),
        lambda m: setattr(m, "gripper", 0.0),
    ],
)
def test_whatever_is_altered_changes_the_digest(alter) -> None:
    message = wire(motion_to_ros(motion(), PASSED, STAMP, 0.08))
    alter(message)
    assert motion_digest(message) != message.digest


@pytest.mark.parametrize("part", ["approach", "execution_joints", "retreat"])
@pytest.mark.parametrize("points", [slice(3, 4), slice(None)])
@pytest.mark.parametrize("count", [0, 6, 8])
def test_a_point_without_seven_positions_is_refused(part: str, points: slice, count: int) -> None:
    message = motion_to_ros(motion(), PASSED, STAMP, 0.08)
    for point in getattr(message, part).points[points]:
        point.positions = [0.1] * count
    with pytest.raises(MotionRefusedError, match=f"{part} holds {count} positions, expected 7"):
        motion_digest(wire(message))


@pytest.mark.parametrize("part", ["approach", "execution_joints", "retreat"])
def test_joints_in_another_order_are_refused(part: str) -> None:
    message = motion_to_ros(motion(), PASSED, STAMP, 0.08)
    names = getattr(message, part).joint_names
    names[0], names[2] = names[2], names[0]
    with pytest.raises(MotionRefusedError, match="in this order"):
        motion_digest(wire(message))


def test_what_failed_is_never_sent() -> None:
    failed = Certificate(Failure("collision", "approach", 3, "link fr3_link5 touches"))
    with pytest.raises(GoalError, match="not certified: link fr3_link5"):
        motion_to_ros(motion(), failed, STAMP, 0.08)


def test_half_a_motion_is_refused() -> None:
    whole = motion_to_ros(motion(), PASSED, STAMP, 0.08)
    with pytest.raises(GoalError, match="no approach"):
        motion_from_ros(CertifiedMotion())
    whole.execution_joints.points.clear()
    with pytest.raises(GoalError, match="without its joints"):
        motion_from_ros(whole)


def test_joints_of_other_times_than_the_execution_are_refused() -> None:
    message = motion_to_ros(motion(), PASSED, STAMP, 0.08)
    message.execution_joints.points[-1].time_from_start.sec += 1
    with pytest.raises(GoalError, match=r"up to 1.000 s apart"):
        motion_from_ros(message)
