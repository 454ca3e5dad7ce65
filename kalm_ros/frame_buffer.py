"""Pairs colour, depth, intrinsics and the camera's pose into RGB-D frames.

The camera sits in the hand: `T_base_cam(t) = T_base_ee(t) · T_ee_cam`, with the tool's pose at the
image's stamp. A frame that was taken while the arm moved is not used; nor is an image that is
stamped after the poses that came before it, for two clocks that disagree make a moving arm look
still.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
from geometry_msgs.msg import PoseStamped
from pydantic import Field
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import MessageInfo
from sensor_msgs.msg import CameraInfo, Image

from kalm_core.bags import topics
from kalm_core.errors import CancelledError, GoalError, NoImageError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.progress import Progress
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, interpolate_poses, rotation_angle
from kalm_core.settings import Settings
from kalm_ros.conversions import (
    BASE_FRAME,
    NANOSECONDS,
    color_from_ros,
    depth_from_ros,
    intrinsics_from_ros,
    pose_from_ros,
    stamp_from_ros,
)
from kalm_ros.gate import Gate
from kalm_ros.qos import IMAGES, LISTEN_POSES, LISTEN_SENSOR


class Arrival(NamedTuple):
    """A message, when it was stamped, and when the middleware received it [ns]."""

    stamp: int
    received: int
    value: Any


Usable = tuple[int, Image, Image, CameraInfo, Array]
"""Stamp [ns], colour, depth, intrinsics, T_base_ee."""

IMAGES_KEPT = 16  # until the poses around them have come
POSES_KEPT = 1000
STOPPED = 1.0
"""Poses that came so long before the newest image are not only late [s]."""


class FrameSettings(Settings):
    """Which topics make an RGB-D frame, and when one is usable."""

    color_topic: str = Field(topics.COLOR.lstrip("/"), description="sensor_msgs/Image, colour")
    depth_topic: str = Field(
        topics.DEPTH.lstrip("/"), description="sensor_msgs/Image, depth aligned to colour"
    )
    camera_info_topic: str = Field(
        topics.CAMERA_INFO.lstrip("/"), description="sensor_msgs/CameraInfo of the colour camera"
    )
    ee_pose_topic: str = Field(
        topics.EE_POSE.lstrip("/"),
        description="geometry_msgs/PoseStamped, fr3_hand_tcp in fr3_link0",
    )
    reliable: bool = Field(
        True,
        description="have lost parts of images sent again; false for a camera that publishes best "
        "effort",
    )
    timeout: float = Field(
        15.0, gt=0, le=120, description="how long to wait for a usable frame [s]"
    )
    max_age: float = Field(
        0.5,
        ge=0,
        le=1,
        description="an image may be this old when it is asked for, if the arm was still since [s]",
    )
    pair_tolerance: float = Field(
        0.02, ge=0, le=1, description="most time between a colour and its depth image [s]"
    )
    pose_gap: float = Field(
        0.25,
        gt=0,
        le=5,
        description="longest gap between tool poses across which to interpolate [s]",
    )
    still_window: float = Field(
        0.1,
        ge=0,
        le=0.4,
        description="the arm must be still this long before and after an image [s]",
    )
    longest_travel: float = Field(
        0.2,
        ge=0,
        le=0.5,
        description="the arm must also have been still since this long before the image came, "
        "whatever its stamp says [s]",
    )
    still_distance: float = Field(
        0.002, gt=0, le=0.1, description="an arm whose tool moves less than this is still [m]"
    )
    still_angle: float = Field(
        0.01, gt=0, le=1, description="an arm whose tool turns less than this is still [rad]"
    )


class FrameBuffer:
    """Listens to camera and arm; gives a recent frame that was taken with the arm still.

    It listens only while a frame is wanted; the middleware keeps what came last until then.
    """

    def __init__(self, node: Node, settings: FrameSettings, hand_eye: HandEyeSettings) -> None:
        self._node = node
        self._settings = settings
        self._T_ee_cam = hand_eye.T_ee_cam
        self._arrived = threading.Condition()
        self._color: deque[Arrival] = deque(maxlen=IMAGES_KEPT)
        self._depth: deque[Arrival] = deque(maxlen=IMAGES_KEPT)
        self._info: deque[Arrival] = deque(maxlen=1)
        self._poses: deque[Arrival] = deque(maxlen=POSES_KEPT)
        self._topics: dict[str, deque[Arrival]] = {}
        self._gates: list[Gate] = []
        images = IMAGES if settings.reliable else LISTEN_SENSOR
        self._listen(Image, settings.color_topic, self._color, images)
        self._listen(Image, settings.depth_topic, self._depth, images)
        self._listen(CameraInfo, settings.camera_info_topic, self._info, images)
        self._listen(PoseStamped, settings.ee_pose_topic, self._poses, LISTEN_POSES)

    def _listen(self, kind: Any, topic: str, kept: deque[Arrival], qos: QoSProfile) -> None:
        def keep(message: Any, info: MessageInfo) -> None:
            stamp = stamp_from_ros(message.header.stamp)
            try:
                value = _tool_pose(message) if kind is PoseStamped else message
            except GoalError as error:  # of one message, which must not end the node
                said = f"{topic}: {error}"
                self._node.get_logger().warning(said, throttle_duration_sec=5.0)
                return
            with self._arrived:
                if kept and stamp < kept[-1].stamp - NANOSECONDS:
                    kept.clear()  # the clock was set back
                if not kept or stamp > kept[-1].stamp:
                    received = info["received_timestamp"] or time.time_ns()  # 0 of some middleware
                    kept.append(Arrival(stamp, received, value))
                self._arrived.notify_all()

        gate = Gate(self._node)
        self._gates.append(gate)
        self._node.create_subscription(kind, topic, keep, qos, callback_group=gate)
        self._topics[self._node.resolve_topic_name(topic)] = kept

    def fresh(self, progress: Progress) -> RgbdFrame:
        """Return a frame at most `max_age` old at this call, with the arm still since then.

        Raises:
            NoImageError: no usable frame came within the timeout; the text says what is missing.
            CancelledError: the caller asked to stop.
        """
        oldest = self._node.get_clock().now().nanoseconds
        oldest -= round(self._settings.max_age * NANOSECONDS)
        progress.report("image", 0.0, "waiting for an image")
        with ExitStack() as listening:
            for gate in self._gates:
                listening.enter_context(gate.opened())
            stamp, color, depth, info, pose = self._await(oldest, progress)
        return RgbdFrame(
            color_from_ros(color),
            depth_from_ros(depth),
            intrinsics_from_ros(info),
            pose @ self._T_ee_cam,
            stamp,
        )

    def _await(self, oldest: int, progress: Progress) -> Usable:
        """Wait for a usable pair of images that is not older than `oldest` [ns]."""
        end = time.monotonic() + self._settings.timeout
        with self._arrived:
            while True:
                found = self._usable(oldest)
                if found is not None:
                    return found
                if progress.should_stop():
                    raise CancelledError("waiting for an image")
                if time.monotonic() > end:
                    raise self._missing(oldest)
                self._arrived.wait(0.1)

    def _usable(self, oldest: int) -> Usable | None:
        """Return stamp, colour, depth, info and T_base_ee of the newest usable pair."""
        if not self._info:
            return None
        tolerance = self._settings.pair_tolerance * NANOSECONDS
        for color in reversed(self._color):
            if color.stamp < oldest:
                return None
            near = min(self._depth, key=lambda d: abs(d.stamp - color.stamp), default=None)
            if near is None or abs(near.stamp - color.stamp) > tolerance:
                continue
            if self._ahead(color) > self._settings.still_window:
                continue
            pose = self._still_pose(color)
            if pose is not None:
                return color.stamp, color.value, near.value, self._info[-1].value, pose
        return None

    def _came(self, image: Arrival) -> float:
        """Return the stamp of the newest pose that had come before an image [ns], -inf for none."""
        came = (pose.stamp for pose in reversed(self._poses) if pose.received <= image.received)
        return next(came, -math.inf)

    def _ahead(self, image: Arrival) -> float:
        """Return how long after the newest pose that had come before it an image is stamped [s].

        Images travel longer than poses, so this is negative where the clocks agree.
        """
        return (image.stamp - self._came(image)) / NANOSECONDS

    def _still_pose(self, image: Arrival) -> Array | None:
        """Return T_base_ee at an image's stamp, if poses around it show the arm still since then.

        A camera whose clock is ahead stamps an image of the motion as one of the rest after it, so
        the rest must have begun before the image was on its way.
        """
        s = self._settings
        stamp = image.stamp
        window = s.still_window * NANOSECONDS
        taken = min(stamp, self._came(image) - s.longest_travel * NANOSECONDS)
        stamps = np.array([pose.stamp for pose in self._poses], dtype=np.int64)
        after = int(np.searchsorted(stamps, stamp))
        if after == 0 or after == len(stamps):
            return None  # not known yet, or not known any more
        if stamps[0] > taken - window or stamps[-1] < stamp + window:
            return None
        if stamps[after] - stamps[after - 1] > s.pose_gap * NANOSECONDS:
            return None
        around = stamps >= taken - window
        around[after - 1 :] = True
        poses = np.stack([self._poses[int(i)].value for i in np.flatnonzero(around)])
        moved = np.linalg.norm(poses[:, :3, 3] - poses[0, :3, 3], axis=1).max()
        turned = rotation_angle(poses, np.broadcast_to(poses[0], poses.shape)).max()
        if moved > s.still_distance or turned > s.still_angle:
            return None
        seconds = (stamps[around] - stamp) / NANOSECONDS
        return interpolate_poses(seconds, poses, [0.0])[0]

    def _missing(self, oldest: int) -> NoImageError:
        """Say why there is no usable frame."""
        waited = f"within {self._settings.timeout:.0f} s"
        silent = [name for name, kept in self._topics.items() if not kept]
        if silent:
            return NoImageError(
                f"nothing arrived on {', '.join(silent)}",
                "start the camera and robot_node; for a camera that publishes best effort set the "
                "parameter frame.reliable to false",
            )
        now = self._node.get_clock().now().nanoseconds
        old = [
            f"{name} ({(now - kept[-1].stamp) / NANOSECONDS:.1f} s old)"
            for name, kept in self._topics.items()
            if kept[-1].stamp < oldest and kept is not self._info
        ]
        if old:
            return NoImageError(
                f"nothing new arrived {waited} on {', '.join(old)}",
                "check that the camera and robot_node run and that their clocks agree",
            )
        nearest = (  # of any pair: the depth of the newest image may be on its way
            min(abs(depth.stamp - color.stamp) for color in self._color for depth in self._depth)
            / NANOSECONDS
        )
        if nearest > self._settings.pair_tolerance:
            return NoImageError(
                f"depth and colour images are {nearest:.3f} s apart; "
                f"at most {self._settings.pair_tolerance} s is taken",
                "switch on enable_sync of the camera, or lower its rate if images get lost",
            )
        lag = (self._color[-1].received - self._poses[-1].received) / NANOSECONDS
        if lag > STOPPED:
            return NoImageError(
                f"the newest pose of the tool came {lag:.2f} s before the newest image",
                "look at the output of robot_node, whose poses have stopped",
            )
        ahead = min(self._ahead(color) for color in self._color if color.stamp >= oldest)
        if self._settings.still_window < ahead < math.inf:
            return NoImageError(
                f"every image is stamped {ahead:.2f} s or more after the newest pose of the tool "
                "that had come before it",
                "let camera and arm stamp with one clock",
            )
        return NoImageError(
            f"the arm was not still {waited}, or its poses are missing", "let it come to rest"
        )


def _tool_pose(message: PoseStamped) -> Array:
    """Return the (4, 4) T_base_ee of a message.

    Raises:
        GoalError: it is in another frame, or no pose.
    """
    frame = message.header.frame_id
    if frame != BASE_FRAME:
        raise GoalError(f"the tool's pose is in {frame!r}, expected {BASE_FRAME}")
    return pose_from_ros(message.pose)
