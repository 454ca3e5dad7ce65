"""Plans and certifies the whole motion of a goal, and shows it; moves nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from pydantic import Field
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from kalm_core.bags import topics
from kalm_core.errors import GoalError, KalmError, NoImageError, PlannerFailedError, RobotError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.calibration import CalibrationSettings, check_table, check_tool
from kalm_core.planning.planner import PlanningSettings, make_planner
from kalm_core.planning.robot_model import RobotModel
from kalm_core.planning.views import path_to_other_view
from kalm_core.progress import Progress
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, invert_pose
from kalm_core.settings import Settings
from kalm_interfaces.action import PlanMotion, PlanView
from kalm_ros.action_server import GoalServer
from kalm_ros.conversions import (
    NANOSECONDS,
    joint_state_from_ros,
    keypoints_from_ros,
    stamp_from_ros,
    trajectory_from_ros,
)
from kalm_ros.frame_buffer import FrameBuffer, FrameSettings
from kalm_ros.gate import Gate
from kalm_ros.motion_messages import motion_to_ros, view_motion_to_ros
from kalm_ros.moveit_motion import MoveItSettings, moveit_motion
from kalm_ros.parameters import declare_settings
from kalm_ros.plan_display import PlanDisplay
from kalm_ros.qos import LISTEN_SENSOR
from kalm_ros.run_node import run_node

T = TypeVar("T")


class PlanningNodeSettings(Settings):
    """Parameters of `planning_node`."""

    planning: PlanningSettings = PlanningSettings()
    moveit: MoveItSettings = MoveItSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    frame: FrameSettings = FrameSettings()
    hand_eye: HandEyeSettings = HandEyeSettings()
    joints_age: float = Field(
        1.0, gt=0, le=10, description="joint states older than this are not used [s]"
    )
    keypoints_age: float = Field(
        30.0,
        gt=0,
        le=600,
        description="keypoints seen longer ago than this are not planned for: the object may have "
        "been moved [s]; a slow VLM that guides the detection needs more",
    )


class PlanningNode(Node):
    """Offers `kalm/plan_motion` and `kalm/plan_view`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "planning_node", automatically_declare_parameters_from_overrides=True, **options
        )
        self._settings = declare_settings(
            self, PlanningNodeSettings, without=("planning.hand_eye",)
        )
        hand_eye = self._settings.hand_eye
        planning = self._settings.planning.model_copy(update={"hand_eye": hand_eye})
        free = moveit_motion(self._settings.moveit) if planning.backend == "moveit" else None
        self._planner = make_planner(planning, free)
        self._model = RobotModel.load(planning.robot)
        self._frames = FrameBuffer(self, self._settings.frame, hand_eye)
        self._display = PlanDisplay(self)
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
        self._tried = 0
        running = threading.Lock()  # the planner serves one goal at a time
        GoalServer(
            self,
            PlanMotion,
            "kalm/plan_motion",
            self._plan,
            lambda *_: PlanMotion.Feedback(trying=self._tried),
            running=running,
        )
        GoalServer(
            self,
            PlanView,
            "kalm/plan_view",
            self._plan_view,
            lambda _, fraction, __: PlanView.Feedback(progress=fraction),
            running=running,
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
        age, allowed = self._age(message.header), self._settings.joints_age
        if not -allowed <= age <= allowed:
            raise RobotError(
                f"the newest joint state is {age:.1f} s old, allowed are {allowed} s",
                "check robot_node, and that all computers have the same time",
            )
        return joint_state_from_ros(message)

    def _age(self, header: Header) -> float:
        """Return how long ago a message was stamped [s]."""
        now = self.get_clock().now().nanoseconds
        return float(now - stamp_from_ros(header.stamp)) / NANOSECONDS

    def _demand_recent(self, header: Header) -> None:
        """Refuse keypoints that were seen too long ago, or in the future."""
        age, allowed = self._age(header), self._settings.keypoints_age
        if not -allowed <= age <= allowed:
            raise NoImageError(
                f"the keypoints were seen {age:.0f} s ago, allowed are {allowed:.0f} s",
                "look for them again; where a slow VLM guides that, raise planning_node's "
                "keypoints_age",
            )

    def _look(self, progress: Progress) -> tuple[RgbdFrame, Array, float]:
        """Return an image with the arm still, and joints and opening then; both are checked."""
        with self._joints_gate.opened():
            frame = self._frames.fresh(progress)
            joints, gripper = self._joints_now()
        calibration = self._settings.calibration
        reported = frame.T_base_cam @ invert_pose(self._settings.hand_eye.T_ee_cam)
        check_tool(self._model.forward(joints), reported, calibration)
        check_table(frame, calibration, self._settings.planning.obstacles)
        return frame, joints, gripper

    def _plan(self, goal: PlanMotion.Goal, result: PlanMotion.Result, progress: Progress) -> str:
        result.chosen, self._tried = -1, 0
        self._display.clear(self.get_clock().now().nanoseconds)
        trajectories = [t for t in map(trajectory_from_ros, goal.trajectories) if t is not None]
        if not trajectories or len(trajectories) < len(goal.trajectories):
            raise GoalError("the goal holds no trajectory, or an empty one")
        keypoints = keypoints_from_ros(goal.keypoints)
        self._demand_recent(goal.keypoints.header)
        frame, joints, gripper = self._look(progress)
        counting = Progress(self._count(progress, len(trajectories)), progress.should_stop)
        plan = _planned(
            lambda: self._planner.plan(trajectories, keypoints, frame, joints, gripper, counting)
        )
        result.chosen = plan.chosen
        result.motion = motion_to_ros(plan.motion, plan.certificate, frame.stamp, gripper)
        self._display.show(plan, frame, result.motion)
        return f"Trajectory {plan.chosen + 1} of {len(trajectories)} is {plan.certificate}."

    def _count(self, progress: Progress, total: int) -> Callable[[str, float, str], None]:
        def report(stage: str, fraction: float, text: str) -> None:
            self._tried = round(fraction * total)
            progress.report(stage, fraction, text)

        return report

    def _plan_view(self, goal: PlanView.Goal, result: PlanView.Result, progress: Progress) -> str:
        if len(goal.joints):
            return self._plan_posture(goal, result, progress)
        none = not goal.keypoints.points
        keypoints = DetectedKeypoints.nothing() if none else keypoints_from_ros(goal.keypoints)
        frame, joints, gripper = self._look(progress)
        path = _planned(
            lambda: path_to_other_view(
                *(self._planner, self._model, keypoints, frame, joints, gripper, progress),
                level=goal.level,
            )
        )
        result.motion = view_motion_to_ros(path, frame.stamp, gripper)
        return "Another view can be taken."

    def _plan_posture(
        self, goal: PlanView.Goal, result: PlanView.Result, progress: Progress
    ) -> str:
        target = np.asarray(goal.joints, dtype=float)
        if target.shape != (7,) or not np.isfinite(target).all():
            raise GoalError(f"joints are {list(goal.joints)}, expected 7 finite numbers [rad]")
        frame, joints, gripper = self._look(progress)
        path = _planned(lambda: self._planner.path_to(target, joints, gripper, frame, goal.level))
        result.motion = view_motion_to_ros(path, frame.stamp, gripper)
        return "The posture can be taken."


def _planned(call: Callable[[], T]) -> T:
    """Call the planner; what it did not foresee becomes an outcome of its own."""
    try:
        return call()
    except KalmError:
        raise
    except Exception as error:
        raise PlannerFailedError(
            f"the planner failed: {type(error).__name__}: {error}", "nothing was moved; try again"
        ) from error


def main() -> int:
    """Run `planning_node`."""
    return run_node(PlanningNode)


if __name__ == "__main__":
    sys.exit(main())
