from __future__ import annotations

import sys

import numpy as np
import pytest
from geometry_msgs.msg import Pose
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory

from kalm_core import errors
from kalm_core.errors import CancelledError, GoalError, KalmError, NoImageError, Outcome
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.rgbd import Intrinsics
from kalm_core.se3 import make_pose
from kalm_core.trajectory import EndEffectorTrajectory, JointPath
from kalm_interfaces.msg import EndEffectorTrajectory as EndEffectorTrajectoryMsg
from kalm_interfaces.msg import KeypointArray
from kalm_interfaces.msg import Outcome as OutcomeMsg
from kalm_ros import conversions as c

STAMP = 1_700_000_000_123_456_789
HEADER = c.header_to_ros(STAMP, "somewhere")
RNG = np.random.default_rng(0)


def wire(message):
    """The message after it went over the wire."""
    return deserialize_message(serialize_message(message), type(message))


def random_pose():
    return make_pose(Rotation.random(random_state=1).as_matrix(), RNG.normal(size=3))


def test_stamps_keep_their_nanoseconds():
    assert c.stamp_from_ros(wire(c.header_to_ros(STAMP, "x")).stamp) == STAMP


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.1, 1.999999999, 12.5])
def test_durations_round_trip(seconds):
    assert c.duration_from_ros(wire(c.duration_to_ros(seconds))) == pytest.approx(seconds, abs=1e-9)


def test_poses_round_trip():
    pose = random_pose()
    np.testing.assert_allclose(c.pose_from_ros(wire(c.pose_to_ros(pose))), pose, atol=1e-12)


def test_an_empty_pose_is_refused():
    bad = Pose()
    bad.orientation.w = 0.0
    with pytest.raises(GoalError, match="quaternion"):
        c.pose_from_ros(bad)
    bad.position.x = float("nan")
    with pytest.raises(GoalError, match="not finite"):
        c.pose_from_ros(bad)


def test_color_round_trips_when_height_differs_from_width():
    color = RNG.integers(0, 256, (5, 9, 3), dtype=np.uint8)
    message = wire(c.color_to_ros(color, HEADER))
    assert (message.height, message.width, message.step, message.encoding) == (5, 9, 27, "rgb8")
    np.testing.assert_array_equal(c.color_from_ros(message), color)


def test_other_color_orders_come_out_as_rgb():
    color = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    alpha = np.full((4, 6, 1), 255, np.uint8)
    for encoding, pixels in {
        "bgr8": color[:, :, ::-1],
        "rgba8": np.concatenate([color, alpha], axis=2),
        "bgra8": np.concatenate([color[:, :, ::-1], alpha], axis=2),
    }.items():
        message = Image(height=4, width=6, encoding=encoding, step=6 * pixels.shape[2])
        message.data = np.ascontiguousarray(pixels).tobytes()
        np.testing.assert_array_equal(c.color_from_ros(wire(message)), color)


def test_depth_round_trips_to_the_millimetre():
    depth = RNG.uniform(0.2, 10.0, (5, 9)).astype(np.float32)
    depth[1, 2] = 0.0
    message = wire(c.depth_to_ros(depth, HEADER))
    assert (message.encoding, message.step) == ("16UC1", 18)
    back = c.depth_from_ros(message)
    assert back.dtype == np.float32
    assert back[1, 2] == 0
    np.testing.assert_allclose(back, depth, atol=0.0006)
    again = c.depth_to_ros(back, HEADER)
    assert again.data == message.data  # millimetres stay bit for bit


def test_depth_that_does_not_fit_is_no_measurement():
    depth = np.array([[np.nan, np.inf, -1.0, 70.0, 65.535]], np.float32)
    back = c.depth_from_ros(c.depth_to_ros(depth, HEADER))
    np.testing.assert_allclose(back, [[0, 0, 0, 0, 65.535]])


def test_metric_depth_is_taken_too():
    depth = np.array([[0.5, np.nan, -np.inf], [np.inf, 1.25, 0.0]], np.float32)
    message = Image(height=2, width=3, encoding="32FC1", step=12, data=depth.tobytes())
    np.testing.assert_array_equal(c.depth_from_ros(wire(message)), [[0.5, 0, 0], [0, 1.25, 0]])


@pytest.mark.parametrize("big", [0, 1])
def test_padding_at_the_end_of_rows_and_byte_order_are_honoured(big):
    depth = RNG.integers(1, 60000, (3, 4)).astype(np.uint16)
    stored = depth.astype(">u2" if big else "<u2")
    rows = b"".join(row.tobytes() + b"\xff\xff\xff\xff" for row in stored)
    message = Image(height=3, width=4, encoding="16UC1", step=12, data=rows, is_bigendian=big)
    np.testing.assert_allclose(c.depth_from_ros(wire(message)), depth * 1e-3, rtol=1e-6)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Image(height=2, width=2, encoding="rgb8", step=5, data=bytes(10)), "rows of 5"),
        (Image(height=2, width=2, encoding="rgb8", step=6, data=bytes(11)), "11 bytes"),
        (Image(height=2, width=2, encoding="yuv422", step=6, data=bytes(12)), "yuv422"),
    ],
)
def test_an_image_that_lies_about_itself_is_refused(message, text):
    with pytest.raises(NoImageError, match=text):
        c.color_from_ros(message)


def test_a_color_image_is_not_depth():
    with pytest.raises(NoImageError, match="rgb8"):
        c.depth_from_ros(c.color_to_ros(np.zeros((2, 3, 3), np.uint8), HEADER))


def test_intrinsics_round_trip():
    intrinsics = Intrinsics(640, 480, 605.0, 604.0, 321.5, 242.25)
    assert c.intrinsics_from_ros(wire(c.intrinsics_to_ros(intrinsics, HEADER))) == intrinsics


def test_an_uncalibrated_or_distorting_camera_is_refused():
    with pytest.raises(NoImageError, match="calibrate"):
        c.intrinsics_from_ros(CameraInfo(width=4, height=3))
    message = c.intrinsics_to_ros(Intrinsics(640, 480, 600.0, 600.0, 320.0, 240.0), HEADER)
    message.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    with pytest.raises(NoImageError, match="distorts"):
        c.intrinsics_from_ros(message)


def test_joint_states_round_trip_in_any_order():
    q, dq = RNG.normal(size=7), RNG.normal(size=7)
    message = wire(c.joint_state_to_ros(q, dq, 0.06, HEADER))
    assert len(message.name) == 9
    shuffled = JointState(
        name=list(reversed(message.name)), position=list(reversed(list(message.position)))
    )
    for given in (message, shuffled):
        position, gripper = c.joint_state_from_ros(given)
        np.testing.assert_array_equal(position, q)
        assert gripper == pytest.approx(0.06)
    without = wire(c.joint_state_to_ros(q, dq, float("nan"), HEADER))
    assert list(without.name) == list(c.ARM_JOINTS)
    assert np.isfinite(without.position).all()
    position, gripper = c.joint_state_from_ros(without)
    np.testing.assert_array_equal(position, q)
    assert np.isnan(gripper)
    with pytest.raises(GoalError, match="fr3_joint1"):
        c.joint_state_from_ros(JointState(name=["other"], position=[0.0]))


def test_joint_paths_round_trip_and_are_sorted_by_name():
    path = JointPath(RNG.normal(size=(4, 7)), np.array([0.0, 0.1, 0.25, 1.5]))
    message = wire(c.joint_path_to_ros(path, HEADER))
    message.joint_names = list(reversed(message.joint_names))
    for point in message.points:
        point.positions = list(reversed(point.positions))
    back = c.joint_path_from_ros(message)
    np.testing.assert_array_equal(back.positions, path.positions)
    np.testing.assert_allclose(back.stamps, path.stamps, atol=1e-9)
    assert c.joint_path_from_ros(wire(c.joint_path_to_ros(None, HEADER))) is None


def test_a_joint_path_for_another_arm_is_refused():
    message = c.joint_path_to_ros(JointPath(np.zeros((2, 7)), np.array([0.0, 1.0])), HEADER)
    message.joint_names[0] = "panda_joint1"
    with pytest.raises(GoalError, match="panda_joint1"):
        c.joint_path_from_ros(message)
    message = JointTrajectory(joint_names=list(c.ARM_JOINTS))
    message.points = c.joint_path_to_ros(
        JointPath(np.zeros((2, 7)), np.array([0.0, 1.0])), HEADER
    ).points
    message.points[1].positions = [0.0]
    with pytest.raises(GoalError, match="7 positions"):
        c.joint_path_from_ros(message)


def test_end_effector_trajectories_round_trip():
    trajectory = EndEffectorTrajectory(
        np.stack([random_pose() for _ in range(5)]), RNG.uniform(0, 0.08, 5), np.arange(5) * 0.2
    )
    message = wire(c.trajectory_to_ros(trajectory, STAMP))
    assert message.header.frame_id == "fr3_link0"
    back = c.trajectory_from_ros(message)
    np.testing.assert_allclose(back.T_base_ee, trajectory.T_base_ee, atol=1e-12)
    np.testing.assert_array_equal(back.gripper, trajectory.gripper)
    np.testing.assert_array_equal(back.stamps, trajectory.stamps)
    assert c.trajectory_from_ros(wire(c.trajectory_to_ros(None, STAMP))) is None


def test_a_trajectory_that_is_none_is_refused():
    trajectory = EndEffectorTrajectory(
        np.stack([random_pose()] * 2), np.zeros(2), np.array([0.0, 1.0])
    )
    message = c.trajectory_to_ros(trajectory, STAMP)
    message.header.frame_id = "world"
    with pytest.raises(GoalError, match="world"):
        c.trajectory_from_ros(message)
    message = c.trajectory_to_ros(trajectory, STAMP)
    message.gripper = [0.0]
    with pytest.raises(GoalError):
        c.trajectory_from_ros(message)
    with pytest.raises(GoalError):
        c.trajectory_from_ros(EndEffectorTrajectoryMsg(header=message.header, poses=[Pose()]))


def test_keypoints_round_trip_with_null():
    keypoints = DetectedKeypoints(
        np.array([[0.1, 0.2, 0.3], [np.nan] * 3]),
        np.array([True, False]),
        np.array([0.75, 0.25]),
        np.array([0.875, 0.125]),
    )
    message = wire(c.keypoints_to_ros(keypoints, "open", STAMP))
    assert (message.skill, c.stamp_from_ros(message.header.stamp)) == ("open", STAMP)
    back = c.keypoints_from_ros(message)
    np.testing.assert_array_equal(back.positions, keypoints.positions)
    np.testing.assert_array_equal(back.found, keypoints.found)
    np.testing.assert_array_equal(back.score, keypoints.score)
    np.testing.assert_array_equal(back.confidence, keypoints.confidence)


def test_keypoints_that_contradict_themselves_are_refused():
    with pytest.raises(GoalError, match="at least 1"):
        c.keypoints_from_ros(KeypointArray())
    keypoints = DetectedKeypoints(np.full((1, 3), np.nan), np.array([True]), np.array([1.0]))
    with pytest.raises(GoalError, match="not finite"):
        c.keypoints_from_ros(c.keypoints_to_ros(keypoints, "open", STAMP))
    message = c.keypoints_to_ros(
        DetectedKeypoints(np.zeros((1, 3)), *[np.ones(1, bool)] * 2), "", 0
    )
    for wrong in ([], [1.5], [np.nan]):
        message.confidence = wrong
        with pytest.raises(GoalError, match="confidence"):
            c.keypoints_from_ros(message)


def test_outcome_codes_of_core_and_interface_are_the_same():
    constants = {
        name: value
        for name in dir(OutcomeMsg)
        if isinstance(value := getattr(OutcomeMsg, name), int)
    }
    assert constants == {outcome.name: int(outcome) for outcome in Outcome}


@pytest.mark.parametrize(
    "kind",
    [
        k
        for k in vars(errors).values()
        if isinstance(k, type) and issubclass(k, KalmError) and "outcome" in vars(k)
    ],
)
def test_an_error_survives_the_wire(kind):
    error = kind("the thing")
    back = c.error_from_ros(wire(c.outcome_to_ros(error.outcome, str(error))))
    # an heir without a code of its own comes back as the class that has the code
    assert type(back) is next(k for k in kind.__mro__ if "outcome" in vars(k))
    assert str(back) == str(error)


def test_success_is_no_error():
    assert c.error_from_ros(OutcomeMsg(code=0, message="fine")) is None
    assert c.error_from_ros(OutcomeMsg(code=12345)).outcome is Outcome.INTERNAL_ERROR


def test_cancelled_stays_cancelled():
    assert isinstance(
        c.error_from_ros(OutcomeMsg(code=1, message="x was cancelled.")), CancelledError
    )


def test_the_core_needs_no_ros():
    import subprocess

    code = "import sys, kalm_core.rgbd, kalm_core.trajectory; sys.exit('rclpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_headers_name_their_frame():
    assert isinstance(HEADER, Header)
    assert HEADER.frame_id == "somewhere"
