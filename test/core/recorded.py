"""Small synthetic recordings for the tests: what is in them, and bags that hold it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from scipy.spatial.transform import Rotation

from kalm_core.bags import RECORDED_TOPICS, BagWriter
from kalm_core.bags.message_types import message_types
from kalm_core.bags.topics import (
    ARM_JOINTS,
    CAMERA_INFO,
    COLOR,
    DEPTH,
    EE_POSE,
    FINGER_JOINTS,
    JOINT_STATES,
)
from kalm_core.se3 import Array, make_pose, quaternion_from_pose

START = 1_700_000_000_000_000_000
WIDTH, HEIGHT = 24, 16
Message = tuple[str, int, Any]


@dataclass(frozen=True)
class Recording:
    """One second still, then a smooth reach of 20 cm during which the gripper closes.

    Stamps are seconds from the start; images at 10 Hz, joints and poses at 100 Hz and 50 Hz.
    """

    seconds: float = 4.0
    still: float = 1.0
    reach: float = 0.2
    distortion: tuple[float, ...] = (0.0,) * 5
    color_encoding: str = "rgb8"
    padding: int = 0
    bigendian: bool = False
    camera_clock: float = 0.0

    @property
    def image_times(self) -> Array:
        return np.arange(0.05, self.seconds, 0.1)

    @property
    def joint_times(self) -> Array:
        return np.arange(0.0, self.seconds, 0.01)

    @property
    def pose_times(self) -> Array:
        return np.arange(0.0, self.seconds + 0.01, 0.02)

    def progress(self, times: Array) -> Array:
        s = np.clip((times - self.still) / (self.seconds - self.still), 0.0, 1.0)
        return s * s * (3 - 2 * s)

    def joints(self, times: Array) -> Array:
        return 0.1 * np.arange(7) + np.outer(self.progress(times), np.full(7, 4.0 * self.reach))

    def opening(self, times: Array) -> Array:
        return np.where(times > self.seconds / 2, 0.01, 0.08)

    def poses(self, times: Array) -> Array:
        s = self.progress(times)
        positions = np.array([0.4, 0.1, 0.3]) + np.outer(s, [self.reach, 0.0, 0.0])
        return make_pose(
            Rotation.from_rotvec(np.outer(s, [0, 0, self.reach])).as_matrix(), positions
        )

    def color_image(self, index: int) -> Any:
        return np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)

    def depth_image(self, index: int) -> Any:
        return np.random.default_rng(1000 + index).integers(
            0, 65536, (HEIGHT, WIDTH), dtype=np.uint16
        )

    def messages(self) -> list[Message]:
        """Return (topic, header stamp [ns], message) in time order."""
        out: list[Message] = []
        for i, t in enumerate(self.image_times):
            stamp = nanoseconds(t + self.camera_clock)
            out.append((COLOR, stamp, self._color_message(i, stamp)))
            out.append((DEPTH, stamp, self._depth_message(i, stamp)))
            out.append((CAMERA_INFO, stamp, camera_info(stamp, self.distortion)))
        for t, q, g in zip(
            self.joint_times,
            self.joints(self.joint_times),
            self.opening(self.joint_times),
            strict=True,
        ):
            stamp = nanoseconds(t)
            out.append((JOINT_STATES, stamp, joint_state(stamp, q, g)))
        for t, T in zip(self.pose_times, self.poses(self.pose_times), strict=True):
            stamp = nanoseconds(t)
            out.append((EE_POSE, stamp, pose_stamped(stamp, T)))
        return sorted(out, key=lambda item: item[1])

    def _color_message(self, index: int, stamp: int) -> Any:
        order = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0], "rgba8": [0, 1, 2, 0]}[self.color_encoding]
        return image(
            stamp, self.color_encoding, self.color_image(index)[..., order], self.padding, False
        )

    def _depth_message(self, index: int, stamp: int) -> Any:
        depth = self.depth_image(index).astype(">u2" if self.bigendian else "<u2")
        return image(stamp, "16UC1", depth[..., None], self.padding, self.bigendian)


def nanoseconds(seconds: float) -> int:
    return START + round(seconds * 1e9)


def _type(name: str) -> Any:
    return message_types().types[name]


def header(stamp: int, frame: str) -> Any:
    time = _type("builtin_interfaces/msg/Time")(stamp // 10**9, stamp % 10**9)
    return _type("std_msgs/msg/Header")(time, frame)


def image(stamp: int, encoding: str, pixels: Any, padding: int, bigendian: bool) -> Any:
    rows = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return _type("sensor_msgs/msg/Image")(
        header(stamp, "camera_color_optical_frame"),
        pixels.shape[0],
        pixels.shape[1],
        encoding,
        int(bigendian),
        rows.shape[1],
        rows.reshape(-1),
    )


def camera_info(stamp: int, distortion: tuple[float, ...] = (0.0,) * 5) -> Any:
    return _type("sensor_msgs/msg/CameraInfo")(
        header(stamp, "camera_color_optical_frame"),
        HEIGHT,
        WIDTH,
        "plumb_bob",
        np.array(distortion),
        np.array([20.0, 0, 11.5, 0, 21.0, 7.5, 0, 0, 1]),
        np.eye(3).reshape(-1),
        np.array([20.0, 0, 11.5, 0, 0, 21.0, 7.5, 0, 0, 0, 1, 0]),
        0,
        0,
        _type("sensor_msgs/msg/RegionOfInterest")(0, 0, 0, 0, False),
    )


def joint_state(stamp: int, joints: Array, opening: float) -> Any:
    positions = np.concatenate([joints, [opening / 2, opening / 2]])
    return _type("sensor_msgs/msg/JointState")(
        header(stamp, ""),
        [*ARM_JOINTS, *FINGER_JOINTS],
        positions,
        np.array([]),
        np.array([]),
    )


def pose_stamped(stamp: int, T: Array, frame: str = "fr3_link0") -> Any:
    return _type("geometry_msgs/msg/PoseStamped")(
        header(stamp, frame),
        _type("geometry_msgs/msg/Pose")(
            _type("geometry_msgs/msg/Point")(*T[:3, 3].tolist()),
            _type("geometry_msgs/msg/Quaternion")(*quaternion_from_pose(T).tolist()),
        ),
    )


def serialize(message: Any) -> bytes:
    return bytes(message_types().serialize_cdr(message, message.__msgtype__))


def write_bag(folder: Path, messages: list[Message]) -> Path:
    """Write with the suite's own recorder; a message is received when it is stamped."""
    with BagWriter(folder) as writer:
        for topic, stamp, message in messages:
            writer.write(topic, stamp, serialize(message))
    return folder


def write_foreign_bag(
    folder: Path,
    messages: list[Message],
    storage: StoragePlugin = StoragePlugin.SQLITE3,
    compression: CompressionMode = CompressionMode.NONE,
    types: dict[str, str] | None = None,
) -> Path:
    """Write as another recorder would: other storage, compression, topics or types."""
    types = {t.name: t.type for t in RECORDED_TOPICS} | (types or {})
    writer = Writer(folder, version=9, storage_plugin=storage)
    if compression is not CompressionMode.NONE:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        present = {topic for topic, _, _ in messages}
        connections = {
            topic: writer.add_connection(topic, kind, typestore=message_types())
            for topic, kind in types.items()
            if topic in present
        }
        for topic, stamp, message in messages:
            writer.write(connections[topic], stamp, serialize(message))
    return folder
