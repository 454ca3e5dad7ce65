"""One attempt at a skill in the laboratory without the ROS graph, for benchmarks.

The same core and the same franky client as in the graph, called directly; simulated time may run
faster than the wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from kalm_core.errors import (
    KalmError,
    KeypointsNotFoundError,
    NoFeasibleTrajectoryError,
    Outcome,
)
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.planner import MotionPlan, MotionPlanner
from kalm_core.planning.robot_model import RobotModel
from kalm_core.planning.views import path_to_other_view
from kalm_core.policy.base import Policy
from kalm_core.rgbd import RgbdFrame
from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.joint_line import joint_line
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.robot.whole_motion import do_motion
from kalm_core.se3 import Array
from kalm_sim.clearing import OPEN, cleared, way_over_the_table
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.laboratory import Laboratory
from kalm_sim.scene import SceneParameters, SceneTruth
from kalm_sim.simulator import ArmPosture
from kalm_sim.synthetic import draw_reachable, free_view
from kalm_sim.tasks.held_cup import HOLD_FORCE
from kalm_sim.viewpoints import READY

FREE_SPEED = 1.2
"""Fastest joint in free motion [rad/s]."""

SETTLE_TIME = 0.5
"""In which fingers and what they hold come to rest [s, simulated]."""

READING_TIME = 0.12
"""In which the width of the hand is read anew [s]."""

SAMPLES = 16
"""Trajectories sampled, as `trajectory_node` does by default."""

Find = Callable[[RgbdFrame], DetectedKeypoints]
"""Finds the keypoints of a skill in an image, or raises `KeypointsNotFoundError`."""


@dataclass(frozen=True)
class Attempt:
    """How one attempt ended.

    Attributes:
        outcome: of the suite.
        message: the sentence with it.
        truth: of the scene afterwards.
        frame: the last image that keypoints were looked for in; None where there was none.
        keypoints: found in it; None where there are none.
        looks: views that were taken, 2 after a second look.
    """

    outcome: Outcome
    message: str
    truth: SceneTruth
    frame: RgbdFrame | None = field(default=None, repr=False)
    keypoints: DetectedKeypoints | None = field(default=None, repr=False)
    looks: int = 1

    @property
    def opening(self) -> float:
        """How far the task is done, for instance how far the drawer is out [m]."""
        return self.truth.progress


class EpisodeRunner:
    """A laboratory with the arm connected; use it as a context manager.

    Args:
        planner: of motions; None is enough for demonstrations.
        scene: the first.
        noise: of the depth sensor; None takes the defaults.
        true_hand_eye: where the camera sits, when it is not where the suite takes it to be.
    """

    def __init__(
        self,
        planner: MotionPlanner,
        scene: SceneParameters,
        noise: DepthNoiseSettings | None = None,
        true_hand_eye: HandEyeSettings | None = None,
    ) -> None:
        self._planner = planner
        self._robot = RobotModel.load()
        self._laboratory = Laboratory(
            scene, realtime=False, noise=noise, hand_eye=true_hand_eye, seed=scene.seed
        )
        self._T_ee_cam = HandEyeSettings().T_ee_cam

    def __enter__(self) -> EpisodeRunner:
        self._laboratory.start()
        hostname = self._laboratory.hostname
        self._arm = FrankyArm(RobotSettings.for_simulator(hostname, realtime=False))
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
        """Put a scene before the robot, the arm at a random view; return what the camera sees."""
        with self._laboratory.slowed():
            view = free_view(scene, rng, self._robot)
        held = scene.held is not None
        posture = ArmPosture(view.joints, OPEN, HOLD_FORCE if held else 0.0)
        self._laboratory.reset(scene, posture)
        self._rest(SETTLE_TIME)
        if self._arm.state().errors:
            self._arm.recover()  # as an operator does between two attempts
        return self._look()

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
        self._arm.follow_ee_path(script.whole(), joints)
        return self.truth

    def attempt(
        self, policy: Policy, find: Find, frame: RgbdFrame, seed: int, search: bool = False
    ) -> Attempt:
        """Find, predict, plan and execute, as `/execute_skill` does, second look included.

        Args:
            policy: of the skill.
            find: returns the keypoints in an image or raises that they are not found.
            frame: what the camera sees now.
            seed: of the samples.
            search: look a second time when they are not found too, as `skill_node` can be told.

        Returns:
            How it ended; an error is an outcome, and the truth tells what was done.
        """
        keypoints, looks = None, 1
        outcome, message = Outcome.SUCCEEDED, ""
        try:
            try:
                with self._laboratory.slowed():
                    keypoints = find(frame)
                    plan = self._plan(policy, keypoints, frame, seed)
            except (KeypointsNotFoundError, NoFeasibleTrajectoryError) as first:
                if isinstance(first, KeypointsNotFoundError) and not search:
                    raise
                seen = DetectedKeypoints.nothing() if keypoints is None else keypoints
                frame, looks = self._look_again(first, seen, frame), 2
                keypoints = None
                with self._laboratory.slowed():
                    keypoints = find(frame)
                    plan = self._plan(policy, keypoints, frame, seed)
            motion = plan.motion
            do_motion(
                self._arm,
                motion.approach,
                motion.execution,
                motion.execution_joints,
                motion.retreat,
            )
        except KalmError as error:
            outcome, message = error.outcome, str(error)
        return Attempt(outcome, message, self.truth, frame, keypoints, looks)

    def outside_later(self) -> Callable[[], NDArray[np.uint8]]:
        """Return what renders the table as it is now, (480, 640, 3) RGB, when it is called."""
        return self._laboratory.outside_later()

    def _plan(
        self, policy: Policy, keypoints: DetectedKeypoints, frame: RgbdFrame, seed: int
    ) -> MotionPlan:
        state = self._arm.state()
        samples = policy.sample(keypoints, SAMPLES, seed)
        return self._planner.plan(samples, keypoints, frame, state.q, state.gripper_width)

    def _look_again(
        self, why: KalmError, keypoints: DetectedKeypoints, frame: RgbdFrame
    ) -> RgbdFrame:
        """Take another view; the first error is the answer where there is none."""
        state = self._arm.state()
        try:
            path = path_to_other_view(
                *(self._planner, self._robot, keypoints, frame, state.q, state.gripper_width),
                level=self._laboratory.scene.held is not None,
            )
        except NoFeasibleTrajectoryError as error:
            raise type(why)(f"{why.problem}. {error.problem}", why.remedy) from error
        self._arm.follow_joint_path(path)
        return self._look()

    def _look(self) -> RgbdFrame:
        T_base_ee = self._arm.state().T_base_ee
        frame = self._laboratory.capture().frame
        return replace(frame, T_base_cam=T_base_ee @ self._T_ee_cam)

    @property
    def truth(self) -> SceneTruth:
        """The simulator's truth now."""
        return self._laboratory.truth()

    def _rest(self, seconds: float) -> None:
        """Let simulated time pass."""
        end = self._laboratory.robot_time + seconds
        while self._laboratory.robot_time < end:
            time.sleep(0.02)
        time.sleep(READING_TIME)

    def _hold(self, scene: SceneParameters) -> None:
        """Close the hand on what it is given."""
        if scene.held is not None:
            self._arm.move_gripper(0.0, 0.1, HOLD_FORCE)

    def _move(self, target: Array) -> None:
        for q in way_over_the_table(self._robot, self._arm.state().q, target):
            self._arm.follow_joint_path(joint_line(self._arm.state().q, q, FREE_SPEED))
