"""The arm on the graph: its state, its motions; the only node that talks to franky."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from pydantic import Field
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from kalm_core.bags import topics
from kalm_core.errors import (
    BusyError,
    CancelledError,
    ClientGoneError,
    GoalError,
    KalmError,
    MotionRefusedError,
    RobotError,
)
from kalm_core.fr3_limits import HAND_OPENING
from kalm_core.progress import Progress
from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.motion_gate import (
    demand_executable,
    demand_fresh,
    demand_no_wider,
    demand_same,
    speed_within,
)
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.robot.stop_latch import StopLatch
from kalm_core.robot.whole_motion import do_motion
from kalm_core.settings import Settings
from kalm_interfaces.action import ExecuteMotion, ExecuteTrajectory, GuideByHand, MoveGripper
from kalm_ros.action_server import GoalServer
from kalm_ros.conversions import (
    BASE_FRAME,
    NANOSECONDS,
    header_to_ros,
    joint_path_from_ros,
    joint_state_to_ros,
    pose_to_ros,
    stamp_from_ros,
    trajectory_from_ros,
)
from kalm_ros.heartbeat import HeartbeatWatch
from kalm_ros.locks import AllOf
from kalm_ros.motion_messages import demand_matching, motion_digest, motion_from_ros
from kalm_ros.parameters import declare_settings
from kalm_ros.periodic import Periodic
from kalm_ros.qos import STATES
from kalm_ros.run_node import run_node

RETRY = 0.5
"""Time between two attempts to connect [s]."""


class RobotNodeSettings(Settings):
    """Parameters of `robot_node`."""

    robot: RobotSettings = RobotSettings()
    state_rate: float = Field(
        60.0, ge=50, le=500, description="how often the arm's state is published [Hz]"
    )
    patience: float = Field(
        60.0, ge=0, le=600, description="how long to wait for the arm or the simulator [s]"
    )
    speed_scale: float = Field(
        1.0,
        gt=0,
        le=1,
        description="no motion is faster than this share of full speed, whatever its goal says",
    )
    motion_age: float = Field(
        30.0,
        gt=0,
        le=600,
        description="a motion is refused when the image that it was planned from is older [s]",
    )
    client_silence: float = Field(
        0.5,
        ge=0.2,
        le=5,
        description="the arm stops when the client of its motion says nothing for so long [s]",
    )
    guide_seconds: float = Field(
        300.0, gt=0, le=3600, description="longest time that the arm is guided by hand [s]"
    )
    allow_uncertified: bool = Field(
        False,
        description="execute trajectories that nobody has checked for collisions; only for the "
        "simulator's operator",
    )


class RobotNode(Node):
    """Publishes the arm's state and runs one motion at a time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "robot_node", automatically_declare_parameters_from_overrides=True, **options
        )
        self._settings = declare_settings(self, RobotNodeSettings)
        self._arm = self._connect()
        self._joints = self.create_publisher(JointState, topics.JOINT_STATES.lstrip("/"), STATES)
        self._pose = self.create_publisher(PoseStamped, topics.EE_POSE.lstrip("/"), STATES)
        self._stop_latch = StopLatch()
        self._heartbeats = HeartbeatWatch(self)
        arm, hand = threading.Lock(), threading.Lock()
        self._motion = AllOf((arm, hand))
        self._guiding = self._settings.guide_seconds  # how long the present goal may take [s]
        GoalServer(
            self,
            ExecuteMotion,
            "robot/execute_motion",
            self._execute_motion,
            lambda part, fraction, _: ExecuteMotion.Feedback(
                part=part.rpartition("/")[0] or part, progress=fraction
            ),
            running=self._motion,
        )
        GoalServer(
            self,
            ExecuteTrajectory,
            "robot/execute_trajectory",
            self._execute_trajectory,
            lambda part, fraction, _: ExecuteTrajectory.Feedback(part=part, progress=fraction),
            running=self._motion,
        )
        GoalServer(
            self,
            MoveGripper,
            "robot/move_gripper",
            self._move_gripper,
            lambda *_: MoveGripper.Feedback(width=self._arm.state().gripper_width),
            running=hand,
        )
        GoalServer(
            self,
            GuideByHand,
            "robot/guide_by_hand",
            self._guide_by_hand,
            self._guiding_feedback,
            running=arm,
        )
        group = ReentrantCallbackGroup()
        self.create_service(Trigger, "robot/stop", self._stop, callback_group=group)
        self.create_service(Trigger, "robot/recover", self._recover, callback_group=group)
        self._publishing = Periodic(self, self._settings.state_rate, self._publish_state)

    def _connect(self) -> FrankyArm:
        """Connect to the arm; a simulator that starts at the same time needs a while."""
        end = time.monotonic() + self._settings.patience
        while True:
            try:
                return FrankyArm(self._settings.robot)
            except RobotError as error:
                if time.monotonic() > end or not self.context.ok():
                    raise
                self.get_logger().info(f"waiting: {error}", throttle_duration_sec=10.0)
                time.sleep(RETRY)

    def destroy_node(self) -> None:
        """Stop the arm and let go of it."""
        self._publishing.close()
        self._arm.close()
        super().destroy_node()

    def _publish_state(self) -> None:
        state = self._arm.state()
        header = header_to_ros(self.get_clock().now().nanoseconds, BASE_FRAME)
        self._joints.publish(joint_state_to_ros(state.q, state.dq, state.gripper_width, header))
        self._pose.publish(PoseStamped(header=header, pose=pose_to_ros(state.T_base_ee)))

    def _execute_motion(
        self, goal: ExecuteMotion.Goal, result: ExecuteMotion.Result, progress: Progress
    ) -> str:
        demand_same(goal.motion.digest, motion_digest(goal.motion))
        seen = stamp_from_ros(goal.motion.header.stamp)
        age = (self.get_clock().now().nanoseconds - seen) / NANOSECONDS
        demand_fresh(age, self._settings.motion_age)
        approach, execution, joints, retreat = motion_from_ros(goal.motion)
        parts = {"approach": approach, "execution": joints, "retreat": retreat}
        state = self._arm.state()
        given = [(name, path) for name, path in parts.items() if path is not None]
        demand_executable(given, state.q)
        demand_no_wider(goal.motion.gripper, state.gripper_width)
        scale = speed_within(goal.speed_scale, self._settings.speed_scale)
        with self._of_client(goal.client, progress) as alive, self._stoppable(alive) as watched:
            positions = None if joints is None else joints.positions
            try:
                result.tracking_error = do_motion(
                    self._arm, approach, execution, positions, retreat, scale, watched
                )
            finally:
                late = self._tell_punctuality(result)
        return f"The arm did the whole motion within {result.tracking_error * 1000:.1f} mm.{late}"

    def _tell_punctuality(self, result: ExecuteMotion.Result) -> str:
        """Put into the result whether targets came in time; return a sentence if they did not."""
        counted = self._arm.punctuality
        result.targets, result.late_targets = counted.targets, counted.late
        result.longest_gap = counted.longest
        if not counted.late:
            return ""
        self.get_logger().warning(str(counted))
        return f" {counted}"

    @contextlib.contextmanager
    def _of_client(self, client: str, progress: Progress) -> Iterator[Progress]:
        """Give a goal that ends when its client falls silent too."""
        if not client:
            raise GoalError(
                "the goal names no client", "say a word of your own on robot/alive, and name it"
            )
        silence = self._settings.client_silence
        with self._heartbeats.watching(client, silence) as gone:
            try:
                yield Progress(progress.report, lambda: progress.should_stop() or gone())
            except CancelledError:
                if progress.should_stop() or not gone():
                    raise
                raise ClientGoneError(
                    f"the client said nothing for {silence} s and the arm was stopped",
                    "look whether the client still runs and gets its time of the processor",
                ) from None

    def _execute_trajectory(
        self,
        goal: ExecuteTrajectory.Goal,
        result: ExecuteTrajectory.Result,
        progress: Progress,
    ) -> str:
        if not self._settings.allow_uncertified:
            raise MotionRefusedError(
                "robot/execute_trajectory moves the arm along paths that nobody has checked",
                "use robot/execute_motion, or in a simulator set allow_uncertified",
            )
        joint_path = joint_path_from_ros(goal.joint_path)
        ee_path, joints = trajectory_from_ros(goal.ee_path), joint_path_from_ros(goal.ee_joints)
        if joint_path is None and ee_path is None:
            raise GoalError("the goal has neither a joint path nor an end-effector path")
        demand_matching(ee_path, joints)
        scale = speed_within(goal.speed_scale, self._settings.speed_scale)
        with self._stoppable(progress) as watched:
            if joint_path is not None:
                error = self._arm.follow_joint_path(joint_path, scale, watched)
                result.tracking_error = max(result.tracking_error, float(error))
            if ee_path is not None and joints is not None:
                error = self._arm.follow_ee_path(ee_path, joints.positions, scale, watched)
                result.tracking_error = max(result.tracking_error, float(error))
        return f"The arm followed its path within {result.tracking_error * 1000:.1f} mm."

    def _move_gripper(
        self, goal: MoveGripper.Goal, result: MoveGripper.Result, progress: Progress
    ) -> str:
        if not 0.0 <= goal.width <= HAND_OPENING:
            raise GoalError(f"width is {goal.width} m, expected 0 to {HAND_OPENING}")
        if not goal.speed >= 0.0 or np.isnan(goal.force):
            raise GoalError(f"speed {goal.speed} and force {goal.force}: expected 0 or more")
        if goal.force != 0.0 and goal.width > 0.0:
            raise GoalError(
                f"a hand that closes with {goal.force} N has no width to reach, {goal.width} m was "
                "given",
                "leave out one of them",
            )
        usual = self._settings.robot
        force = usual.gripper_force if goal.force < 0.0 else goal.force
        speed = goal.speed or usual.gripper_speed
        with self._stoppable(progress) as watched:
            result.width = float(self._arm.move_gripper(goal.width, speed, force, watched))
        return f"The gripper is open by {result.width * 1000:.0f} mm."

    def _guide_by_hand(
        self, goal: GuideByHand.Goal, result: GuideByHand.Result, progress: Progress
    ) -> str:
        longest = self._settings.guide_seconds
        if not 0.0 <= goal.max_seconds <= longest:
            raise GoalError(f"max_seconds is {goal.max_seconds} s, expected 0 to {longest}")
        with self._of_client(goal.client, progress) as alive, self._stoppable(alive) as watched:
            self._guiding = goal.max_seconds or longest
            self._arm.guide(self._guiding, watched)
        return "The time is over and the arm holds again."

    def _guiding_feedback(self, _: str, fraction: float, __: str) -> GuideByHand.Feedback:
        seconds = fraction * self._guiding
        loose = seconds >= self._settings.robot.guiding.release
        return GuideByHand.Feedback(seconds=seconds, loose=loose)

    @contextlib.contextmanager
    def _stoppable(self, progress: Progress) -> Iterator[Progress]:
        """Give a goal that ends at `robot/stop` too; after one, nothing moves until a recover."""
        if self._stop_latch.holds:
            raise MotionRefusedError(
                "the arm was stopped by robot/stop", "look at the arm, then call robot/recover"
            )
        try:
            yield Progress(
                progress.report, lambda: progress.should_stop() or self._stop_latch.holds
            )
        except CancelledError:
            if self._stop_latch.holds and not progress.should_stop():
                raise RobotError(
                    "the arm was stopped by request", "look at the arm, then call robot/recover"
                ) from None
            raise

    def _stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop_latch.stop()
        return self._answer(self._arm.stop, "The arm has stopped.", response)

    def _recover(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(self._recover_arm, "The arm is ready.", response)

    def _recover_arm(self) -> None:
        """Clear the arm's errors and a stop; connect anew where the connection was lost."""
        if not self._motion.acquire(timeout=self._settings.robot.answer_timeout):
            raise BusyError("a motion runs", "wait for its end or call robot/stop, then recover")
        try:
            with self._stop_latch.releasing():
                if not self._arm_answers():
                    with contextlib.suppress(RobotError):  # its other end is gone already
                        self._arm.close()
                    self._arm = FrankyArm(self._settings.robot)
                self._arm.recover()
        finally:
            self._motion.release()

    def _arm_answers(self) -> bool:
        """Return whether the arm can be read.

        The error that says no holds franky's connection, and with it the arm, until it is gone.
        """
        try:
            self._arm.state()
        except RobotError:
            return False
        return True

    @staticmethod
    def _answer(act: Callable[[], None], done: str, response: Trigger.Response) -> Trigger.Response:
        try:
            act()
            response.success, response.message = True, done
        except KalmError as error:
            response.success, response.message = False, str(error)
        return response


def main() -> int:
    """Run `robot_node`."""
    return run_node(RobotNode)


if __name__ == "__main__":
    sys.exit(main())
