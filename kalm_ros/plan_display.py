"""Shows a plan before anything moves: markers, the joints as a trajectory, and a picture."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from kalm_core.planning.planner import MotionPlan
from kalm_core.report.overlay import Picture, with_caption
from kalm_core.report.plan import draw_plan
from kalm_core.rgbd import RgbdFrame
from kalm_interfaces.msg import CertifiedMotion
from kalm_ros.aside import Aside
from kalm_ros.conversions import (
    BASE_FRAME,
    CAMERA_FRAME,
    color_to_ros,
    header_to_ros,
    joint_path_to_ros,
    stamp_from_ros,
)
from kalm_ros.markers import cleared, plan_markers
from kalm_ros.qos import LATCHED

_NO_PLAN = with_caption(np.zeros((120, 640, 3), np.uint8), "no plan")


class PlanDisplay:
    """Publishes `kalm/plan_markers`, `kalm/planned_path` and `kalm/plan_overlay`, latched."""

    def __init__(self, node: Node) -> None:
        self._markers = node.create_publisher(MarkerArray, "kalm/plan_markers", LATCHED)
        self._path = node.create_publisher(JointTrajectory, "kalm/planned_path", LATCHED)
        self._overlay = node.create_publisher(Image, "kalm/plan_overlay", LATCHED)
        self._aside = Aside(node)

    def clear(self, stamp: int) -> None:
        """Take away the plan of an older goal, which nobody shall take for this one's.

        Args:
            stamp: of now [ns].
        """
        header = header_to_ros(stamp, BASE_FRAME)
        self._markers.publish(cleared(header))
        self._path.publish(JointTrajectory(header=header))
        # the same thread that may still paint the older one
        self._aside.call("the empty picture of a plan", lambda: self._send(_NO_PLAN, stamp))

    def show(self, plan: MotionPlan, frame: RgbdFrame, message: CertifiedMotion) -> None:
        """Show a plan, and in a picture, a moment later, the image that it was made from."""
        header = header_to_ros(stamp_from_ros(message.header.stamp), BASE_FRAME)
        self._markers.publish(plan_markers(plan.motion.execution, plan.approach_tools, header))
        self._path.publish(joint_path_to_ros(plan.motion.whole, header))
        self._aside.call("the picture of a plan", lambda: self._paint(plan, frame))

    def _paint(self, plan: MotionPlan, frame: RgbdFrame) -> None:
        self._send(draw_plan(frame, plan), frame.stamp)

    def _send(self, picture: Picture, stamp: int) -> None:
        self._overlay.publish(color_to_ros(picture, header_to_ros(stamp, CAMERA_FRAME)))
