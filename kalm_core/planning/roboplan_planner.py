"""Approach and feasibility with roboplan: the first trajectory that can be reached and followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kalm_core import fr3_limits
from kalm_core.errors import GoalError, NoFeasibleTrajectoryError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.collision import CollisionScene
from kalm_core.planning.joint_motion import SearchError, concatenate, joint_path_to, timed
from kalm_core.planning.obstacles import Obstacles, no_obstacles, obstacles_from_frame
from kalm_core.planning.planner import MotionPlan, PlanningSettings
from kalm_core.planning.robot_body import body_urdf
from kalm_core.planning.robot_model import RobotModel
from kalm_core.progress import Progress
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory, JointPath

Kind = Literal["reach", "follow", "start", "execution", "approach"]

_WORDS: dict[Kind, str] = {
    "reach": "start out of reach",
    "follow": "cannot be followed on one branch",
    "start": "collide at the start",
    "execution": "collide outside the contact",
    "approach": "have no free approach",
}
# the farther a branch got before it failed, the more its reason says
_ORDER: tuple[Kind, ...] = ("reach", "follow", "start", "execution", "approach")


@dataclass(frozen=True)
class _Rejection:
    """Why one trajectory was not chosen; `shortfall` [m] when it starts out of reach."""

    kind: Kind
    detail: str
    shortfall: float = np.inf


class RoboplanPlanner:
    """Plans with roboplan's RRT-Connect and TOPP-RA; implements `MotionPlanner`.

    Not safe to share between threads.

    Attributes:
        model: the arm's kinematics.
        surroundings: all obstacles; the approach keeps clear of them.
        touchable: without those around the keypoints; for the last straight part of the approach.
        execution: without those that move with the hand; for the trajectory itself.
    """

    def __init__(self, settings: PlanningSettings) -> None:
        self.settings = settings
        self.model = RobotModel.load(settings.robot)
        urdf = body_urdf(
            self.model.urdf, settings.robot.tool_frame, settings.camera_body, settings.hand_eye
        )
        self.surroundings = CollisionScene(self.model, urdf)
        self.touchable = CollisionScene(self.model, urdf)
        self.execution = CollisionScene(self.model, urdf)

    def see(self, frame: RgbdFrame, joints: Array, gripper: float) -> Obstacles:
        """Return what the depth image, taken at `joints` (7,) [rad], shows besides the arm."""
        s = self.settings.obstacles
        self.surroundings.set_gripper(gripper)
        return obstacles_from_frame(
            frame, lambda p: self.surroundings.robot_points(p, joints, s.robot_padding), s
        )

    def path_to(
        self,
        q_goal: Array,
        joints: Array,
        gripper: float,
        frame: RgbdFrame | None = None,
    ) -> JointPath:
        """See `MotionPlanner.path_to`."""
        joints, q_goal = _seven(joints), _seven(q_goal)
        obstacles = no_obstacles() if frame is None else self.see(frame, joints, gripper)
        self.surroundings.set_gripper(gripper)
        self.surroundings.set_obstacles(obstacles)
        return joint_path_to(self.surroundings, joints, q_goal, self.settings.motion)

    def plan(  # noqa: PLR0917 (a robot's stage has many inputs)
        self,
        trajectories: Sequence[EndEffectorTrajectory],
        keypoints: DetectedKeypoints,
        frame: RgbdFrame,
        joints: Array,
        gripper: float,
        progress: Progress | None = None,
    ) -> MotionPlan:
        """See `MotionPlanner.plan`."""
        progress = progress or Progress()
        if not trajectories:
            raise GoalError("there is no trajectory to plan for")
        joints = _seven(joints)
        progress.step("planning", 0.0, "looking for obstacles")
        obstacles = self.see(frame, joints, gripper)
        self._prepare(obstacles, keypoints)
        escape = self._retreat(self.model.forward(joints), joints)
        if escape is None:
            raise NoFeasibleTrajectoryError(
                f"the arm's present posture is not free: {self.surroundings.explain(joints)}",
                "move the arm away by hand",
            )
        rejections: list[_Rejection] = []
        for index, trajectory in enumerate(trajectories):

            def step(index: int = index) -> None:
                text = f"trying trajectory {index + 1} of {len(trajectories)}"
                progress.step("planning", index / len(trajectories), text)

            step()
            answer = self._try(trajectory, escape[0], gripper, step)
            if isinstance(answer, _Rejection):
                rejections.append(answer)
                continue
            approach, followed = answer
            if len(escape) > 1:
                back = timed(self.touchable, escape[::-1], self.settings.motion)
                approach = concatenate(back, approach)
            rejected = tuple(f"{_WORDS[r.kind]}: {r.detail}" for r in rejections)
            return MotionPlan(index, approach, trajectory, followed, rejected)
        raise NoFeasibleTrajectoryError(
            _summary(rejections, self._failures()), "move the object or the view, or try again"
        )

    def _prepare(self, obstacles: Obstacles, keypoints: DetectedKeypoints) -> None:
        s = self.settings.obstacles
        contact = np.asarray(keypoints.positions[keypoints.found])
        self.surroundings.set_obstacles(obstacles)
        self.touchable.set_obstacles(obstacles.without(contact, s.contact_radius))
        self.execution.set_obstacles(obstacles.without(contact, s.execution_radius))
        for scene in (self.surroundings, self.touchable, self.execution):
            scene.failures.clear()

    def _failures(self) -> list[str]:
        scenes = (self.surroundings, self.touchable, self.execution)
        return [text for scene in scenes for text in scene.failures]

    def _try(
        self,
        trajectory: EndEffectorTrajectory,
        joints: Array,
        gripper: float,
        step: Callable[[], None],
    ) -> tuple[JointPath, Array] | _Rejection:
        """Return approach and joints of one trajectory, or the most telling reason against it."""
        # the fingers open before the approach: check the wider of now and then
        opening = max(gripper, float(trajectory.gripper[0]))
        self.surroundings.set_gripper(opening)
        self.touchable.set_gripper(opening)
        reasons: list[_Rejection] = []
        for q_first in self.model.branches(trajectory.T_base_ee, joints, self.settings.branches):
            step()
            answer = self._try_branch(trajectory, joints, q_first)
            if not isinstance(answer, _Rejection):
                return answer
            reasons.append(answer)
        if not reasons:
            return self._out_of_reach(trajectory.T_base_ee[0], joints)
        return max(reasons, key=lambda r: _ORDER.index(r.kind))

    def _out_of_reach(self, first: Array, joints: Array) -> _Rejection:
        distance, angle = self.model.shortfall(first, joints)
        x, y, z = first[:3, 3]
        text = (
            f"first pose at ({x:.2f}, {y:.2f}, {z:.2f}) is missed by {distance * 100:.0f} cm "
            f"and {np.degrees(angle):.0f} deg"
        )
        return _Rejection("reach", text, distance)

    def _try_branch(
        self, trajectory: EndEffectorTrajectory, joints: Array, q_first: Array
    ) -> tuple[JointPath, Array] | _Rejection:
        following = self.model.follow(trajectory.T_base_ee, q_first)
        path = following.joints
        reason = following.reason if path is None else _too_fast(path, trajectory.stamps)
        if path is None or reason:
            return _Rejection("follow", reason)
        if not self.touchable.free(q_first):
            return _Rejection("start", self.touchable.explain(q_first))
        blocked = self._blocked_in_execution(trajectory, path)
        if blocked is not None:
            return _Rejection("execution", blocked)
        retreat = self._retreat(trajectory.T_base_ee[0], path[0])
        if retreat is None:
            text = f"no free posture within {self.settings.retreat * 100:.0f} cm before the start"
            return _Rejection("start", f"{text}: {self.surroundings.explain(q_first)}")
        try:
            approach = joint_path_to(self.surroundings, joints, retreat[0], self.settings.motion)
            if len(retreat) > 1:
                last = timed(self.touchable, retreat, self.settings.motion)
                approach = concatenate(approach, last)
        except SearchError as error:
            return _Rejection("approach", error.problem)
        return approach, path

    def _blocked_in_execution(self, trajectory: EndEffectorTrajectory, path: Array) -> str | None:
        """Say what the arm would touch outside the contact; None when nothing."""
        if not self.settings.check_execution:
            return None
        step = self.settings.motion.edge_step * 2
        for index in range(1, len(path)):
            self.execution.set_gripper(float(trajectory.gripper[index]))
            blocked = self.execution.first_blocked(path[index - 1 : index + 1], step)
            if blocked is not None:
                what = self.execution.explain(blocked)
                return f"pose {index + 1} of {len(path)}: {what}"
        return None

    def _retreat(self, T_base_ee: Array, q_first: Array) -> Array | None:
        """Return postures (N, 7) from a free one straight along the hand to q_first.

        On this last part only, the hand may pass close to the keypoints. One posture when q_first
        is free already; None when there is no free one within reach.
        """
        path = [q_first]
        if self.surroundings.free(q_first):
            return np.stack(path)
        if not self.touchable.free(q_first):
            return None
        pose = T_base_ee.copy()
        for _ in range(int(self.settings.retreat / 0.01)):
            pose[:3, 3] -= 0.01 * T_base_ee[:3, 2]
            following = self.model.follow(pose[None], path[-1])
            if following.joints is None:
                return None
            path.append(following.joints[0])
            step = self.settings.motion.edge_step
            if self.touchable.first_blocked(np.stack(path[-2:]), step) is not None:
                return None
            if self.surroundings.free(path[-1]):
                return np.stack(path[::-1])
        return None


def _too_fast(path: Array, stamps: Array) -> str:
    """Say which joint would have to exceed its speed on a path (N, 7) at its own pace."""
    speed = np.abs(np.diff(path, axis=0)) / np.diff(stamps)[:, None]
    pose, joint = np.unravel_index(int((speed / fr3_limits.velocity()).argmax()), speed.shape)
    limit = fr3_limits.velocity()[joint]
    if speed[pose, joint] <= limit:
        return ""
    return (
        f"joint {joint + 1} would need {speed[pose, joint]:.1f} rad/s (limit {limit:.1f}) before "
        f"pose {pose + 2} of {len(path)}"
    )


def _summary(rejections: list[_Rejection], failures: list[str]) -> str:
    """Count the reasons, as in "5 trajectories tried: 3 start out of reach (nearest 4 cm: ...)"."""
    counts = Counter(r.kind for r in rejections)
    parts = []
    for kind in _ORDER:
        of_kind = [r for r in rejections if r.kind == kind]
        if not of_kind:
            continue
        if kind == "reach":
            nearest = min(of_kind, key=lambda r: r.shortfall)
            cm = nearest.shortfall * 100
            parts.append(f"{counts[kind]} {_WORDS[kind]} (nearest {cm:.0f} cm: {nearest.detail})")
        else:
            parts.append(f"{counts[kind]} {_WORDS[kind]}: {of_kind[0].detail}")
    noun = "trajectory" if len(rejections) == 1 else "trajectories"
    text = f"{len(rejections)} {noun} tried: {', '.join(parts)}"
    if failures:
        text += f"; {len(failures)} collision checks failed ({failures[0]})"
    return text


def _seven(q: Array) -> Array:
    joints = np.asarray(q, dtype=np.float64)
    if joints.shape != (7,) or not np.isfinite(joints).all():
        raise GoalError(f"the arm's joints are {joints!r}, expected 7 finite numbers")
    return joints
