"""One attempt at a skill in the laboratory without the ROS graph, for benchmarks.

The same core and the same franky client as in the graph, called directly; simulated time may run
faster than the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np

from kalm_core.errors import KalmError, Outcome
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.planner import MotionPlanner
from kalm_core.planning.robot_model import RobotModel
from kalm_core.policy.base import Policy
from kalm_core.rgbd import RgbdFrame
from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.joint_line import joint_line
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.robot.whole_motion import do_motion
from kalm_core.se3 import Array
from kalm_sim.clearing import OPEN, cleared
from kalm_sim.laboratory import Laboratory
from kalm_sim.scene import SceneParameters, SceneTruth
from kalm_sim.synthetic import draw_reachable, free_view
from kalm_sim.viewpoints import READY

FREE_SPEED = 1.2
"""Fastest joint in free motion [rad/s]."""

HOLD_FORCE = 20.0
"""With which the hand closes on a cup [N]."""


@dataclass(frozen=True)
class Attempt:
    """How one attempt ended.

    Attributes:
        outcome: of the suite.
        message: the sentence with it.
        truth: of the scene afterwards.
    """

    outcome: Outcome
    message: str
    truth: SceneTruth

    @property
    def opening(self) -> float:
        """How far the task is done, for instance how far the drawer is out [m]."""
        return self.truth.progress


class EpisodeRunner:
    """A laboratory with the arm connected; use it as a context manager."""

    def __init__(self, planner: MotionPlanner, scene: SceneParameters) -> None:
        self._planner = planner
        self._robot = RobotModel.load()
        self._laboratory = Laboratory(scene, realtime=False)
        self._T_ee_cam = HandEyeSettings().T_ee_cam

    def __enter__(self) -> EpisodeRunner:
        self._laboratory.start()
        self._arm = FrankyArm(RobotSettings.for_simulator(self._laboratory.hostname))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._arm.close()
        self._laboratory.close()

    def begin_at_ready(self, scene: SceneParameters) -> None:
        """Put a scene before the robot in its ready posture, in its hand what it shall hold."""
        self._laboratory.reset(cleared(scene))
        self._arm.move_gripper(OPEN, 0.1, 0.0)
        self._move(READY)
        self._laboratory.reset(scene)
        self._hold(scene)

    def begin(self, scene: SceneParameters, rng: np.random.Generator) -> RgbdFrame:
        """Put a scene before the robot, take a random view and return what the camera sees."""
        self.begin_at_ready(scene)
        self._move(free_view(scene, rng, self._robot).joints)
        T_base_ee = self._arm.state().T_base_ee
        frame = self._laboratory.capture().frame
        return replace(frame, T_base_cam=T_base_ee @ self._T_ee_cam)

    def demonstrate(self, scene: SceneParameters, rng: np.random.Generator) -> SceneTruth:
        """Do a scene's task as the scripted person does it, and return the truth afterwards.

        Args:
            scene: with its object.
            rng: source of the view and of how it is done.

        Raises:
            KalmError: the arm or the hand failed.
        """
        self.begin_at_ready(scene)
        view, script, joints = draw_reachable(scene, rng, self._robot)
        if scene.held is None:
            self._arm.move_gripper(script.open_width, 0.1, 0.0)
        self._move(view.joints)
        self._move(joints[0])
        self._arm.follow_ee_path(script.whole(), posture=joints[-1])
        return self.truth

    def attempt(
        self, policy: Policy, keypoints: DetectedKeypoints, frame: RgbdFrame, seed: int
    ) -> Attempt:
        """Predict, plan and execute; the outcome says where it ended, the opening what it did."""
        try:
            state = self._arm.state()
            samples = policy.sample(keypoints, 16, seed)
            plan = self._planner.plan(samples, keypoints, frame, state.q, state.gripper_width)
            motion = plan.motion
            posture = motion.execution_joints[-1]
            do_motion(self._arm, motion.approach, motion.execution, posture, motion.retreat)
            outcome, message = Outcome.SUCCEEDED, ""
        except KalmError as error:
            outcome, message = error.outcome, str(error)
        return Attempt(outcome, message, self.truth)

    @property
    def truth(self) -> SceneTruth:
        """The simulator's truth now."""
        return self._laboratory.truth()

    def _hold(self, scene: SceneParameters) -> None:
        """Close the hand on what it is given."""
        if scene.held is not None:
            self._arm.move_gripper(0.0, 0.1, HOLD_FORCE)

    def _move(self, target: Array) -> None:
        self._arm.follow_joint_path(joint_line(self._arm.state().q, target, FREE_SPEED))
