"""Finds a trajectory that the arm can reach and follow, and the way to its start."""

from __future__ import annotations

import sys
import threading
from typing import Any

from pydantic import Field
from rclpy.node import Node
from sensor_msgs.msg import JointState

from kalm_core.bags import topics
from kalm_core.errors import GoalError, RobotError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.planning.planner import PlanningSettings, make_planner
from kalm_core.progress import Progress
from kalm_core.se3 import Array
from kalm_core.settings import Settings
from kalm_interfaces.action import PlanMotion
from kalm_ros.action_server import GoalServer
from kalm_ros.conversions import (
    BASE_FRAME,
    NANOSECONDS,
    header_to_ros,
    joint_path_to_ros,
    joint_state_from_ros,
    keypoints_from_ros,
    stamp_from_ros,
    trajectory_from_ros,
    trajectory_to_ros,
)
from kalm_ros.frame_buffer import FrameBuffer, FrameSettings
from kalm_ros.gate import Gate
from kalm_ros.parameters import declare_settings
from kalm_ros.qos import LISTEN_SENSOR
from kalm_ros.run_node import run_node


class PlanningNodeSettings(Settings):
    """Parameters of `planning_node`."""

    planning: PlanningSettings = PlanningSettings()
    frame: FrameSettings = FrameSettings()
    hand_eye: HandEyeSettings = HandEyeSettings()
    joints_age: float = Field(
        1.0, gt=0, le=10, description="joint states older than this are not used [s]"
    )


class PlanningNode(Node):
    """Offers `kalm/plan_motion`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "planning_node", automatically_declare_parameters_from_overrides=True, **options
        )
        self._settings = declare_settings(
            self, PlanningNodeSettings, without=("planning.hand_eye",)
        )
        hand_eye = self._settings.hand_eye
        self._planner = make_planner(
            self._settings.planning.model_copy(update={"hand_eye": hand_eye})
        )
        self._frames = FrameBuffer(self, self._settings.frame, hand_eye)
        self._lock = threading.Lock()
        self._joint_state: JointState | None = None
        self._joints_gate = Gate(self)
        self.create_subscription(
            JointState,
            topics.JOINT_STATES.lstrip("/"),
            self._keep_joints,
            LISTEN_SENSOR,
            callback_group=self._joints_gate,
        )
        self._trying = 0
        GoalServer(
            self,
            PlanMotion,
            "kalm/plan_motion",
            self._plan,
            lambda stage, fraction, text: PlanMotion.Feedback(trying=self._trying),
        )

    def _keep_joints(self, message: JointState) -> None:
        with self._lock:
            self._joint_state = message

    def _joints_now(self) -> tuple[Array, float]:
        """Return the (7,) joint positions [rad] and the gripper's opening [m]."""
        with self._lock:
            message = self._joint_state
        if message is None:
            raise RobotError(
                f"nothing arrives on {self.resolve_topic_name(topics.JOINT_STATES.lstrip('/'))}",
                "start robot_node",
            )
        now = self.get_clock().now().nanoseconds
        age = (now - stamp_from_ros(message.header.stamp)) / NANOSECONDS
        if age > self._settings.joints_age:
            raise RobotError(f"the newest joint state is {age:.1f} s old", "check robot_node")
        return joint_state_from_ros(message)

    def _plan(self, goal: PlanMotion.Goal, result: PlanMotion.Result, progress: Progress) -> str:
        result.chosen = -1
        trajectories = [trajectory_from_ros(message) for message in goal.trajectories]
        if not trajectories or None in trajectories:
            raise GoalError("the goal holds no trajectory, or an empty one")
        keypoints = keypoints_from_ros(goal.keypoints)
        with self._joints_gate.opened():
            frame = self._frames.fresh(progress)
            joints, gripper = self._joints_now()
        plan = self._planner.plan(trajectories, keypoints, frame, joints, gripper, progress)
        stamp = self.get_clock().now().nanoseconds
        result.chosen = plan.chosen
        result.approach = joint_path_to_ros(plan.approach, header_to_ros(stamp, BASE_FRAME))
        result.execution = trajectory_to_ros(plan.execution, stamp)
        return f"Trajectory {plan.chosen} of {len(trajectories)} can be reached and followed."


def main() -> int:
    """Run `planning_node`."""
    return run_node(PlanningNode)


if __name__ == "__main__":
    sys.exit(main())
