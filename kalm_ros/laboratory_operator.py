"""The scripted operator of the laboratory: changes scenes, looks, shows a task, calls a skill.

It stands in for the person beside the arm and reaches the suite only through its public actions
and services. Like a person it knows where things are; it gets that from the scene's seed, never
from the simulator's truth topics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from kalm_core.bags import topics
from kalm_core.errors import KalmError, Outcome, RobotError
from kalm_core.planning.robot_model import RobotModel
from kalm_core.robot.joint_line import joint_line
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory, JointPath
from kalm_interfaces.action import (
    ExecuteSkill,
    ExecuteTrajectory,
    LearnSkill,
    MoveGripper,
    RecordDemonstration,
)
from kalm_interfaces.srv import ResetScene
from kalm_ros.client import ClientError, GraphClient
from kalm_ros.conversions import (
    BASE_FRAME,
    error_from_ros,
    header_to_ros,
    joint_path_to_ros,
    joint_state_from_ros,
    trajectory_to_ros,
)
from kalm_sim.clearing import OPEN, way_over_the_table
from kalm_sim.scene import SceneParameters, draw_scene
from kalm_sim.synthetic import draw_reachable, free_view
from kalm_sim.tasks.base import Instances
from kalm_sim.tasks.held_cup import HOLD_FORCE
from kalm_sim.tasks.registry import task_named
from kalm_sim.viewpoints import READY

T = TypeVar("T")

MOTION_TIMEOUT = 180.0
"""A motion that takes longer has failed [s, wall]; the simulator may run at half speed."""

FREE_SPEED = 1.4
"""Fastest joint in free motion [rad/s]."""


@dataclass(frozen=True)
class SkillRun:
    """What came back from `/execute_skill`.

    Attributes:
        outcome: how it ended.
        message: the sentence with it.
        seconds: phase -> wall time [s], in order.
    """

    outcome: Outcome
    message: str
    seconds: dict[str, float]


@dataclass
class Recording:
    """A recording; `bag` is its folder once it has ended."""

    bag: str = ""


class LaboratoryOperator:
    """Plays the person in the simulated laboratory.

    Args:
        client: of a running graph with the simulator in it.
        robot: kinematics of the arm.
        task: name of the task that is shown and done.

    Raises:
        GoalError: there is no such task.
    """

    def __init__(self, client: GraphClient, robot: RobotModel, task: str = "drawer") -> None:
        self._client = client
        self._robot = robot
        self._task = task_named(task)

    def persistently(self, work: Callable[[], T]) -> T:
        """Do what needs the arm; where the arm fails, recover and do it once more.

        Raises:
            KalmError: it failed twice, or for another reason.
        """
        try:
            return work()
        except (RobotError, ClientError) as error:  # a lost arm's states stop too
            self._client.node.get_logger().warning(f"{error} Recovering, then once more.")
            self._trigger("robot/recover")
            return work()

    def change_scene(
        self, seed: int, empty: bool = False, instances: Instances = "all"
    ) -> SceneParameters:
        """Clear the table, bring the arm to its ready posture and put another scene before it.

        What the task wants held from the start is given into the hand.

        Args:
            seed: of the scene.
            empty: leave the object out.
            instances: which objects, see `draw_scene`.
        """
        self.go_ready()
        request = ResetScene.Request(
            seed=seed, empty=empty, task=self._task.name, instances=instances
        )
        response = self._client.call_service("kalm_sim/reset_scene", ResetScene, request, 60.0)
        _check(response.outcome)
        scene = draw_scene(seed, empty, self._task.name, instances)
        if scene.held is not None:
            self._move_hand(0.0, HOLD_FORCE)
        return scene

    def look(self, scene: SceneParameters, rng: np.random.Generator) -> None:
        """Take a random view of the scene with the camera in the hand."""
        self._make_ready_to_grasp(scene)
        self._move_joints(free_view(scene, rng, self._robot).joints)

    def look_at_new(self, seed: int, instances: Instances = "all") -> None:
        """Put another scene before the arm and take a random view of it, the same for a seed."""
        scene = self.change_scene(seed, instances=instances)
        self.look(scene, np.random.default_rng([seed, 5]))

    def demonstrate(self, seed: int, name: str, instances: Instances = "all") -> str:
        """Record one demonstration of the task and return the bag's path.

        Args:
            seed: of the scene and of how it is shown.
            name: of the bag.
            instances: which objects, see `draw_scene`.
        """
        scene = self.change_scene(seed, instances=instances)
        rng = np.random.default_rng([seed, 4])
        view, script, joints = draw_reachable(scene, rng, self._robot)
        self._make_ready_to_grasp(scene)
        self._move_joints(view.joints)
        with self.recording(name) as recording:
            self._rest(1.0)
            self._move_joints(joints[0])
            self._follow(script.whole(), joints)
            self._rest(0.5)
        return recording.bag

    @contextmanager
    def recording(self, name: str) -> Iterator[Recording]:
        """Record what happens within; an error within leaves no bag.

        Args:
            name: of the bag.
        """
        goal = self._client.send_goal(
            "kalm/record_demonstration", RecordDemonstration, RecordDemonstration.Goal(name=name)
        )
        recording = Recording()
        try:
            yield recording
        except (KalmError, KeyboardInterrupt):
            self._client.wait(goal.cancel_goal_async(), 10.0, "cancelling the recording")
            raise
        finished = self._client.call_service(
            "kalm/finish_recording", Trigger, Trigger.Request(), 60.0
        )
        result = self._client.wait(goal.get_result_async(), 60.0, "the recorder").result
        _check(result.outcome)
        recording.bag = str(finished.message)

    def learn(
        self, name: str, bags: list[str], report: Callable[[str, float, str], None]
    ) -> LearnSkill.Result:
        """Have the skill learned from bags, and return the result message."""
        goal = LearnSkill.Goal(skill=name, task=self._task.sentence, bags=bags, overwrite=True)
        result = self._client.call_action(
            "kalm/learn_skill",
            LearnSkill,
            goal,
            1800.0,
            lambda f: report(f.stage, f.progress, f.text),
        )
        _check(result.outcome)
        return result

    def execute(
        self,
        skill: str,
        speed_scale: float = 0.0,
        report: Callable[[str, float, str], None] = lambda *_: None,
    ) -> SkillRun:
        """Call `/execute_skill`; an outcome that is not success is returned, not raised."""
        result = self._client.call_action(
            "execute_skill",
            ExecuteSkill,
            ExecuteSkill.Goal(skill=skill, speed_scale=speed_scale),
            2 * MOTION_TIMEOUT,
            lambda f: report(f.phase, f.progress, f.text),
        )
        return SkillRun(
            Outcome(result.outcome.code),
            result.outcome.message,
            dict(zip(result.phases, result.seconds, strict=True)),
        )

    def go_ready(self) -> None:
        """Put everything off the table, let go, and send the arm to its ready posture."""
        self._trigger("kalm_sim/clear_table")
        if np.abs(self._joints() - READY).max() > 0.02:
            self._move_hand(OPEN)
            self._move_joints(READY)

    def _trigger(self, service: str) -> None:
        response = self._client.call_service(service, Trigger, Trigger.Request(), 60.0)
        if not response.success:
            raise RobotError(f"{service} failed: {response.message}")

    def _joints(self) -> Array:
        message = self._client.read_topic(topics.JOINT_STATES, JointState, 20.0)
        return joint_state_from_ros(message)[0]

    def _make_ready_to_grasp(self, scene: SceneParameters) -> None:
        """Open the hand, unless it holds what the task needs."""
        if scene.held is None:
            self._move_hand(OPEN)

    def _move_hand(self, width: float, force: float = 0.0) -> None:
        goal = MoveGripper.Goal(width=width, force=force)
        result = self._client.call_action("robot/move_gripper", MoveGripper, goal, MOTION_TIMEOUT)
        _check(result.outcome)

    def _move_joints(self, target: Array) -> None:
        for q in way_over_the_table(self._robot, self._joints(), target):
            self._execute(joint_path=joint_line(self._joints(), q, FREE_SPEED))

    def _follow(self, trajectory: EndEffectorTrajectory, joints: Array) -> None:
        self._execute(ee_path=trajectory, ee_joints=JointPath(joints, trajectory.stamps))

    def _execute(
        self,
        joint_path: JointPath | None = None,
        ee_path: EndEffectorTrajectory | None = None,
        ee_joints: JointPath | None = None,
    ) -> None:
        goal = ExecuteTrajectory.Goal(speed_scale=1.0)
        if joint_path is not None:
            goal.joint_path = joint_path_to_ros(joint_path, header_to_ros(0, BASE_FRAME))
        if ee_path is not None:
            goal.ee_path = trajectory_to_ros(ee_path, 0)
        if ee_joints is not None:
            goal.ee_joints = joint_path_to_ros(ee_joints, header_to_ros(0, BASE_FRAME))
        result = self._client.call_action(
            "robot/execute_trajectory", ExecuteTrajectory, goal, MOTION_TIMEOUT
        )
        _check(result.outcome)

    def _rest(self, seconds: float) -> None:
        """Keep still while images are taken."""
        end = self._client.node.get_clock().now().nanoseconds + seconds * 1e9
        while self._client.node.get_clock().now().nanoseconds < end:
            self._client.read_topic(topics.JOINT_STATES, JointState, 20.0)


def _check(outcome: Any) -> None:
    """Raise the error that an outcome message stands for, if it is one."""
    error = error_from_ros(outcome)
    if error is not None:
        raise error
