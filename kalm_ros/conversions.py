"""Between ROS messages and the core's values; the only module that knows both.

Every pair `x_from_ros`, `x_to_ros` is pure. What a message says that the core cannot take is a
`KalmError` that names the field.
"""

from __future__ import annotations

import array
import math
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from kalm_core import errors
from kalm_core.bags.images import LARGEST_DISTORTION, RECTIFY, distortion_pixels
from kalm_core.bags.topics import ARM_JOINTS, FINGER_JOINTS
from kalm_core.errors import CancelledError, GoalError, KalmError, NoImageError, Outcome
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.rgbd import Intrinsics
from kalm_core.se3 import Array, pose_from_quaternion, quaternion_from_pose
from kalm_core.trajectory import EndEffectorTrajectory, JointPath
from kalm_interfaces.msg import EndEffectorTrajectory as EndEffectorTrajectoryMsg
from kalm_interfaces.msg import KeypointArray
from kalm_interfaces.msg import Outcome as OutcomeMsg

BASE_FRAME = "fr3_link0"
CAMERA_FRAME = "camera_color_optical_frame"

NANOSECONDS = 1_000_000_000
COLOR_CHANNELS = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
}
"""Colour encodings that are taken: bytes per pixel, and where red, green and blue are."""


# Time


def stamp_from_ros(stamp: Time) -> int:
    """Return nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def stamp_to_ros(stamp: int) -> Time:
    """Return the message of a time in nanoseconds."""
    return Time(sec=stamp // NANOSECONDS, nanosec=stamp % NANOSECONDS)


def duration_from_ros(duration: Duration) -> float:
    """Return seconds."""
    return float(duration.sec) + float(duration.nanosec) * 1e-9


def duration_to_ros(seconds: float) -> Duration:
    """Return the message of a duration in seconds."""
    nanoseconds = round(seconds * NANOSECONDS)
    return Duration(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def header_to_ros(stamp: int, frame_id: str) -> Header:
    """Return a header; the stamp is in nanoseconds."""
    return Header(stamp=stamp_to_ros(stamp), frame_id=frame_id)


# Geometry


def pose_from_ros(message: Pose) -> Array:
    """Return the (4, 4) pose.

    Raises:
        GoalError: a value is not finite, or the quaternion has no length.
    """
    p, q = message.position, message.orientation
    values = np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w])
    if not np.isfinite(values).all():
        raise GoalError(f"a pose holds values that are not finite: {values.tolist()}")
    if np.linalg.norm(values[3:]) < 0.5:
        raise GoalError(f"quaternion {values[3:].tolist()} is not a rotation; its length must be 1")
    return pose_from_quaternion(values[:3], values[3:])


def pose_to_ros(pose: Array) -> Pose:
    """Return the message of a (4, 4) pose."""
    message = Pose()
    position, orientation = message.position, message.orientation
    position.x, position.y, position.z = (float(v) for v in pose[:3, 3])
    orientation.x, orientation.y, orientation.z, orientation.w = (
        float(v) for v in quaternion_from_pose(pose)
    )
    return message


def point_to_ros(point: Array) -> Point:
    """Return the message of a (3,) point."""
    return Point(x=float(point[0]), y=float(point[1]), z=float(point[2]))


# Images


def _rows(message: Image, dtype: str, channels: int) -> NDArray[np.generic]:
    """Return (H, W, channels) values of an image, without the padding at the end of its rows."""
    size = np.dtype(dtype).itemsize
    used = message.width * channels * size
    if message.step < used or len(message.data) < message.step * message.height:
        raise NoImageError(
            f"image of {message.width}x{message.height} {message.encoding} has {len(message.data)} "
            f"bytes in rows of {message.step}; expected rows of {used} bytes or more"
        )
    data = np.frombuffer(message.data, dtype=np.uint8, count=message.step * message.height)
    rows = np.ascontiguousarray(data.reshape(message.height, message.step)[:, :used])
    order = ">" if message.is_bigendian else "<"
    return rows.view(np.dtype(dtype).newbyteorder(order)).reshape(
        message.height, message.width, channels
    )


def color_from_ros(message: Image) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB.

    Raises:
        NoImageError: another encoding, or fewer bytes than the size says.
    """
    if message.encoding not in COLOR_CHANNELS:
        raise NoImageError(
            f"colour image has encoding {message.encoding!r}; "
            f"expected one of {', '.join(COLOR_CHANNELS)}"
        )
    channels, order = COLOR_CHANNELS[message.encoding]
    pixels = _rows(message, "u1", channels)
    return np.ascontiguousarray(pixels[:, :, list(order)], dtype=np.uint8)


def color_to_ros(color: NDArray[np.uint8], header: Header) -> Image:
    """Return the rgb8 message of (H, W, 3) uint8 RGB."""
    return _image_to_ros(np.asarray(color, dtype=np.uint8), "rgb8", header)


def depth_from_ros(message: Image) -> NDArray[np.float32]:
    """Return (H, W) float32 metres, 0 where there is no measurement.

    Takes 16UC1 (millimetres, 0 is none) and 32FC1 (metres; NaN, infinite and negative are none).

    Raises:
        NoImageError: another encoding, or fewer bytes than the size says.
    """
    if message.encoding in ("16UC1", "mono16"):
        millimetres = _rows(message, "u2", 1)[:, :, 0]
        return np.asarray(millimetres.astype(np.float32) * np.float32(1e-3))
    if message.encoding == "32FC1":
        metres = _rows(message, "f4", 1)[:, :, 0].astype(np.float32)
        return np.where(np.isfinite(metres) & (metres > 0), metres, np.float32(0))
    raise NoImageError(
        f"depth image has encoding {message.encoding!r}; expected 16UC1 (mm) or 32FC1 (m)"
    )


def depth_to_ros(depth: NDArray[np.float32], header: Header) -> Image:
    """Return the 16UC1 message [mm] of (H, W) float32 metres; what does not fit is 0 (none)."""
    millimetres = np.rint(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * 1000.0)
    fits = (millimetres > 0) & (millimetres <= np.iinfo(np.uint16).max)
    return _image_to_ros(np.where(fits, millimetres, 0).astype("<u2"), "16UC1", header)


def _image_to_ros(pixels: NDArray[np.generic], encoding: str, header: Header) -> Image:
    """Return an image message without padding, little-endian."""
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding, is_bigendian=0)
    message.step = pixels.nbytes // height
    data = array.array("B")  # rclpy copies an array.array at once, anything else byte by byte
    data.frombytes(pixels.tobytes())
    message.data = data
    return message


def intrinsics_from_ros(message: CameraInfo) -> Intrinsics:
    """Return the pinhole intrinsics.

    Raises:
        NoImageError: the camera is not calibrated, or distorts.
    """
    fx, fy, cx, cy = (float(message.k[i]) for i in (0, 4, 2, 5))
    if fx <= 0 or fy <= 0 or message.width == 0 or message.height == 0:
        raise NoImageError(
            f"camera_info says {message.width}x{message.height}, fx {fx}, fy {fy}",
            "calibrate the camera",
        )
    distortion = distortion_pixels(message)
    if distortion > LARGEST_DISTORTION:
        raise NoImageError(
            f"the lens of the colour camera distorts: {distortion:.1f} px at the image's corners, "
            f"by {message.distortion_model} {list(message.d)}",
            RECTIFY,
        )
    return Intrinsics(int(message.width), int(message.height), fx, fy, cx, cy)


def intrinsics_to_ros(intrinsics: Intrinsics, header: Header) -> CameraInfo:
    """Return the camera_info of a pinhole camera."""
    k = intrinsics
    message = CameraInfo(header=header, width=k.width, height=k.height)
    message.distortion_model = "plumb_bob"
    message.d = [0.0] * 5
    message.k = [k.fx, 0.0, k.cx, 0.0, k.fy, k.cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [k.fx, 0.0, k.cx, 0.0, 0.0, k.fy, k.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


# The robot


def joint_state_to_ros(q: Array, dq: Array, gripper: float, header: Header) -> JointState:
    """Return the state of the arm and of both fingers.

    Args:
        q: (7,) joint positions [rad].
        dq: (7,) joint velocities [rad/s].
        gripper: opening between the fingers [m]; each finger goes half of it. NaN, when the hand
            has not answered, leaves the fingers out.
        header: its stamp is the time of the state.
    """
    message = JointState(header=header)
    fingers = () if math.isnan(gripper) else FINGER_JOINTS
    message.name = [*ARM_JOINTS, *fingers]
    message.position = [*(float(v) for v in q), *(gripper / 2 for _ in fingers)]
    message.velocity = [*(float(v) for v in dq), *(0.0 for _ in fingers)]
    return message


def joint_state_from_ros(message: JointState) -> tuple[Array, float]:
    """Return the (7,) arm positions [rad] and the gripper's opening [m], in any order of names.

    The opening is NaN where the fingers are absent: the hand does not answer.

    Raises:
        GoalError: a joint of the arm is absent.
    """
    position = dict(zip(message.name, message.position, strict=False))
    absent = [name for name in ARM_JOINTS if name not in position]
    if absent:
        raise GoalError(f"joint state lacks {', '.join(absent)}", "look at robot_node")
    opening = sum(position.get(name, math.nan) for name in FINGER_JOINTS)
    return np.array([position[name] for name in ARM_JOINTS], dtype=np.float64), float(opening)


def joint_path_from_ros(message: JointTrajectory) -> JointPath | None:
    """Return the joint path, or None for an empty message.

    Raises:
        GoalError: other joints than the arm's seven, or values that make no path.
    """
    if not message.points:
        return None
    if sorted(message.joint_names) != sorted(ARM_JOINTS):
        raise GoalError(
            f"joint path is for {', '.join(message.joint_names) or 'no joints'}; "
            f"expected {', '.join(ARM_JOINTS)}"
        )
    if any(len(point.positions) != len(ARM_JOINTS) for point in message.points):
        raise GoalError("a point of the joint path does not hold 7 positions")
    order = [list(message.joint_names).index(name) for name in ARM_JOINTS]
    positions = np.array([point.positions for point in message.points], dtype=np.float64)
    stamps = np.array([duration_from_ros(point.time_from_start) for point in message.points])
    return JointPath(positions[:, order], stamps)


def joint_path_to_ros(path: JointPath | None, header: Header) -> JointTrajectory:
    """Return the message of a joint path; None is an empty one."""
    message = JointTrajectory(header=header)
    if path is not None:
        message.joint_names = list(ARM_JOINTS)
        message.points = [
            JointTrajectoryPoint(positions=q.tolist(), time_from_start=duration_to_ros(float(t)))
            for q, t in zip(path.positions, path.stamps, strict=True)
        ]
    return message


def trajectory_from_ros(message: EndEffectorTrajectoryMsg) -> EndEffectorTrajectory | None:
    """Return the end-effector trajectory, or None for an empty message.

    Raises:
        GoalError: another frame than the base, or values that make no trajectory.
    """
    if not message.poses:
        return None
    if message.header.frame_id != BASE_FRAME:
        raise GoalError(
            f"trajectory is in frame {message.header.frame_id!r}, expected {BASE_FRAME!r}"
        )
    poses = np.stack([pose_from_ros(pose) for pose in message.poses])
    return EndEffectorTrajectory(
        poses,
        np.array(message.gripper, dtype=np.float64),
        np.array(message.time_from_start, dtype=np.float64),
    )


def trajectory_to_ros(
    trajectory: EndEffectorTrajectory | None, stamp: int
) -> EndEffectorTrajectoryMsg:
    """Return the message of a trajectory in the base frame; None is an empty one."""
    message = EndEffectorTrajectoryMsg(header=header_to_ros(stamp, BASE_FRAME))
    if trajectory is not None:
        message.poses = [pose_to_ros(pose) for pose in trajectory.T_base_ee]
        message.gripper = trajectory.gripper.tolist()
        message.time_from_start = trajectory.stamps.tolist()
    return message


# Perception


def keypoints_from_ros(message: KeypointArray) -> DetectedKeypoints:
    """Return the detected keypoints.

    Raises:
        GoalError: no keypoints, lists of different lengths, or another frame than the base.
    """
    count = len(message.points)
    lengths = {name: len(getattr(message, name)) for name in ("found", "score", "confidence")}
    if count == 0 or set(lengths.values()) != {count}:
        raise GoalError(
            f"{count} keypoints with {', '.join(f'{n} {name}' for name, n in lengths.items())}; "
            "expected the same number of each and at least 1"
        )
    if message.header.frame_id != BASE_FRAME:
        raise GoalError(
            f"keypoints are in frame {message.header.frame_id!r}, expected {BASE_FRAME!r}"
        )
    positions = np.array([(p.x, p.y, p.z) for p in message.points], dtype=np.float64)
    found = np.array(message.found, dtype=np.bool_)
    if not np.isfinite(positions[found]).all():
        raise GoalError("a keypoint that was found has a position that is not finite")
    confidence = np.array(message.confidence, dtype=np.float64)
    if not ((confidence >= 0.0) & (confidence <= 1.0)).all():
        raise GoalError(f"confidences are {confidence}, expected probabilities in [0, 1]")
    return DetectedKeypoints(
        positions, found, np.array(message.score, dtype=np.float64), confidence
    )


def keypoints_to_ros(keypoints: DetectedKeypoints, skill: str, stamp: int) -> KeypointArray:
    """Return the message of detected keypoints; the stamp is that of the image [ns]."""
    message = KeypointArray(header=header_to_ros(stamp, BASE_FRAME), skill=skill)
    message.points = [point_to_ros(point) for point in keypoints.positions]
    message.found = [bool(found) for found in keypoints.found]
    message.score = [float(score) for score in keypoints.score]
    message.confidence = [float(confidence) for confidence in keypoints.confidence]
    return message


# Outcomes


def outcome_to_ros(outcome: Outcome, message: str) -> OutcomeMsg:
    """Return the message of an outcome and its sentence."""
    return OutcomeMsg(code=int(outcome), message=message)


def error_from_ros(message: OutcomeMsg) -> KalmError | None:
    """Return the error that an outcome of another node stands for, or None for success."""
    if message.code == Outcome.SUCCEEDED:
        return None
    if message.code == Outcome.CANCELLED:
        return CancelledError(message.message.removesuffix(" was cancelled."))
    kind = _ERROR_OF.get(message.code, KalmError)
    return kind(message.message)


def _errors_by_outcome(classes: Sequence[object]) -> dict[int, type[KalmError]]:
    """Return outcome code -> error class: the one that gave itself the code, not its heirs."""
    return {
        int(kind.outcome): kind
        for kind in classes
        # one that only inherits its outcome is a special case of the class that states it
        if isinstance(kind, type) and issubclass(kind, KalmError) and "outcome" in vars(kind)
    }


_ERROR_OF = _errors_by_outcome(list(vars(errors).values()))
