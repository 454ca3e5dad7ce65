"""A camera and an arm that only publish, and what tests of several nodes share."""

from __future__ import annotations

import threading
import time

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState

from kalm_core.rgbd import Intrinsics
from kalm_core.se3 import make_pose
from kalm_ros import conversions as c
from kalm_ros.qos import IMAGES, STATES
from kalm_ros.settling import SETTLE

INTRINSICS = Intrinsics(32, 24, 30.0, 31.0, 15.5, 11.5)
PERIOD = 1 / 60  # [s] of the poses, as robot_node's


def await_server(client) -> None:
    """Wait until an action's server is there and knows where to answer."""
    assert client.wait_for_server(timeout_sec=20.0)
    time.sleep(3 * SETTLE)  # an answer to a client that the server does not know yet is lost


class StandIn:
    """Publishes what camera and robot_node would, at 20 and 60 Hz.

    Attributes:
        speed: of the tool along x [m/s].
        height, frame: of the tool's pose [m].
        silent: names of what is not published ("color", "depth", "info", "joints", "pose").
        camera_ahead: by how much the camera's clock is ahead [s].
        depth_delay: by how much depth stamps differ from colour stamps [s].
    """

    def __init__(self, graph, namespace="", silent=frozenset()) -> None:
        # not served: `restart` takes a publisher away, which ends an executor that spins
        self.node = Node("stand_in", context=graph.context)
        graph.nodes.append(self.node)
        self.speed = 0.0
        self.height, self.frame = 0.5, c.BASE_FRAME
        self.silent: set[str] = set(silent)
        self.depth_delay = 0.0
        self.camera_ahead = 0.0
        self.published: dict[int, np.ndarray] = {}
        self._x = 0.4
        self._make(namespace)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _make(self, ns) -> None:
        create = self.node.create_publisher
        self._publishers = {
            "color": create(Image, f"{ns}/camera/camera/color/image_raw", IMAGES),
            "depth": create(Image, f"{ns}/camera/camera/aligned_depth_to_color/image_raw", IMAGES),
            "info": create(CameraInfo, f"{ns}/camera/camera/color/camera_info", IMAGES),
            "joints": create(JointState, f"{ns}/joint_states", STATES),
            "pose": create(PoseStamped, f"{ns}/kalm/ee_pose", STATES),
        }

    def restart(self, what, qos) -> None:
        """Publish again, with another quality of service, after a pause."""
        self.silent |= {what}
        time.sleep(0.2)
        former = self._publishers[what]
        kind, name = former.msg_type, former.topic_name
        self.node.destroy_publisher(former)
        self._publishers[what] = self.node.create_publisher(kind, name, qos)
        self.silent -= {what}
        time.sleep(3 * SETTLE)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def _publish(self, what, message) -> None:
        if what not in self.silent:
            self._publishers[what].publish(message)

    def _run(self) -> None:
        tick = 0
        while not self._ending.wait(PERIOD):
            stamp = time.time_ns()
            self._x += self.speed * PERIOD
            header = c.header_to_ros(stamp, c.BASE_FRAME)
            pose = make_pose(np.eye(3), (self._x, 0.0, self.height))
            posed = c.header_to_ros(stamp, self.frame)
            self._publish("pose", PoseStamped(header=posed, pose=c.pose_to_ros(pose)))
            self._publish("joints", c.joint_state_to_ros(np.zeros(7), np.zeros(7), 0.08, header))
            if tick % 3 == 0:
                self._image(stamp, tick)
            tick += 1

    def _image(self, stamp, tick) -> None:
        stamp += int(self.camera_ahead * 1e9)
        header = c.header_to_ros(stamp, c.CAMERA_FRAME)
        color = np.full((24, 32, 3), tick % 256, np.uint8)
        depth = np.full((24, 32), 0.5 + tick * 0.001, np.float32)
        late = c.header_to_ros(stamp + int(self.depth_delay * 1e9), c.CAMERA_FRAME)
        self.published[stamp] = depth
        self._publish("color", c.color_to_ros(color, header))
        self._publish("depth", c.depth_to_ros(depth, late))
        self._publish("info", c.intrinsics_to_ros(INTRINSICS, header))
