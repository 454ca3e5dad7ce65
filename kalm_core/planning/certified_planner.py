"""From sampled trajectories to one motion that is certified: approach, execution, retreat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kalm_core.errors import ConnectionLostError, GoalError, NoFeasibleTrajectoryError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.certificate import Certificate
from kalm_core.planning.certifier import Certifier
from kalm_core.planning.collision import CollisionScene
from kalm_core.planning.free_motion import FreeMotion, RoboplanFreeMotion
from kalm_core.planning.holding import finger_openings, holds_from_the_start
from kalm_core.planning.joint_motion import SearchError, concatenate
from kalm_core.planning.motion import Motion
from kalm_core.planning.obstacles import Obstacles, no_obstacles, obstacles_from_frame
from kalm_core.planning.pace import feasible_stamps
from kalm_core.planning.planner import MotionPlan, PlanningSettings
from kalm_core.planning.ranking import best
from kalm_core.planning.robot_body import body_urdf
from kalm_core.planning.robot_model import RobotModel, seven_joints
from kalm_core.planning.straight import StraightWays
from kalm_core.progress import Progress
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory, JointPath

Kind = Literal["reach", "follow", "start", "execution", "retreat", "approach", "certificate"]

_WORDS: dict[Kind, str] = {
    "reach": "start out of reach",
    "follow": "cannot be followed on one branch",
    "start": "collide at the start",
    "execution": "collide outside the contact",
    "retreat": "have no retreat",
    "approach": "have no free approach",
    "certificate": "are not certified",
}
_ORDER: tuple[Kind, ...] = (
    "reach",
    "follow",
    "start",
    "execution",
    "retreat",
    "approach",
    "certificate",
)
"""The farther a branch got before it failed, the more its reason says."""


@dataclass(frozen=True)
class _Rejection:
    """Why one trajectory was not chosen; `shortfall` [m] when it starts out of reach."""

    kind: Kind
    detail: str
    shortfall: float = np.inf


class CertifiedPlanner:
    """Plans and proves whole motions; implements `MotionPlanner`.

    Not safe to share between threads.

    Attributes:
        model: the arm's kinematics.
        surroundings: everything that was seen; nothing may be touched.
        contact: the same, but the fingers may touch what is near the keypoints.
    """

    def __init__(self, settings: PlanningSettings, free_motion: FreeMotion | None = None) -> None:
        """Load the arm.

        Args:
            settings: everything about planning.
            free_motion: how to search the free motions; None: with roboplan.
        """
        self.settings = settings
        self.model = RobotModel.load(settings.robot)
        urdf = body_urdf(
            self.model.urdf, settings.robot.tool_frame, settings.camera_body, settings.hand_eye
        )
        self.surroundings = CollisionScene(self.model, urdf)
        self.contact = CollisionScene(self.model, urdf)
        self.certifier = Certifier(
            self.model,
            self.surroundings,
            self.contact,
            settings.certificate,
            settings.contact_length,
        )
        self._straight = StraightWays(self.model, self.surroundings, self.contact, settings)
        self._free = free_motion or RoboplanFreeMotion(self.surroundings, settings.motion)

    def see(self, frame: RgbdFrame, joints: Array, gripper: float) -> Obstacles:
        """Return what the depth image, taken at `joints` (7,) [rad], shows besides the arm."""
        s = self.settings.obstacles
        self.surroundings.set_gripper(gripper)
        return obstacles_from_frame(
            frame, lambda p: self.surroundings.robot_points(p, joints, s.robot_padding), s
        )

    def prepare(self, obstacles: Obstacles, keypoints: DetectedKeypoints) -> None:
        """Put obstacles into both scenes; the fingers may touch those near the keypoints."""
        near = np.asarray(keypoints.positions[keypoints.found])
        self.surroundings.set_obstacles(obstacles)
        self.contact.set_obstacles(*obstacles.split(near, self.settings.obstacles.contact_radius))
        self._free.see(obstacles)
        for scene in (self.surroundings, self.contact):
            scene.failures.clear()

    def path_to(
        self,
        q_goal: Array,
        joints: Array,
        gripper: float,
        frame: RgbdFrame | None = None,
        level: bool = False,
    ) -> JointPath:
        """See `MotionPlanner.path_to`."""
        joints, q_goal, gripper = seven_joints(joints), seven_joints(q_goal), _known(gripper)
        obstacles = no_obstacles() if frame is None else self.see(frame, joints, gripper)
        self.surroundings.set_obstacles(obstacles)
        self._free.see(obstacles)
        find = self._straight.carry if level else self._free.path_to
        path = find(joints, q_goal, gripper)
        self.certifier.demand_free(path, joints, gripper)
        return path

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
        joints, gripper = seven_joints(joints), _known(gripper)
        progress.step("planning", 0.0, "looking for obstacles")
        self.prepare(self.see(frame, joints, gripper), keypoints)
        self.surroundings.set_gripper(gripper)
        self.contact.set_gripper(gripper)
        escape = self._straight.back(self.model.forward(joints), joints)
        if escape is None:
            raise NoFeasibleTrajectoryError(
                f"the arm's present posture is not free: {self.surroundings.explain(joints)}",
                "move the arm away by hand",
            )
        rejections: dict[int, _Rejection] = {}
        certified: dict[int, tuple[Motion, Certificate]] = {}
        for index, trajectory in enumerate(trajectories):  # the policy's best first

            def step(index: int = index) -> None:
                text = f"trying trajectory {index + 1} of {len(trajectories)}"
                progress.step("planning", index / len(trajectories), text)

            step()
            answer = self._try(trajectory, escape, joints, gripper, step)
            if isinstance(answer, _Rejection):
                rejections[index] = answer
            else:
                certified[index] = answer
            if len(certified) >= self.settings.certificate.candidates:
                break
        if not certified:
            raise NoFeasibleTrajectoryError(
                _summary(list(rejections.values()), self._failures()),
                "move the object or the view, or try again",
            )
        order = list(certified)
        chosen = order[best([certified[i][1].margin for i in order])]
        rejected = {i: f"{_WORDS[r.kind]}: {r.detail}" for i, r in rejections.items()}
        motion, certificate = certified[chosen]
        tools = self.model.tool_poses(motion.approach.positions)[:, :3, 3]
        return MotionPlan(chosen, motion, certificate, tools, rejected)

    def _failures(self) -> list[str]:
        return [*self.surroundings.failures, *self.contact.failures]

    def _try(
        self,
        trajectory: EndEffectorTrajectory,
        escape: Array,
        joints: Array,
        gripper: float,
        step: Callable[[], None],
    ) -> tuple[Motion, Certificate] | _Rejection:
        """Return the certified motion of one trajectory, or the most telling reason against it."""
        reasons: list[_Rejection] = []
        for q_first in self.model.branches(trajectory.T_base_ee, escape[0], self.settings.branches):
            step()
            answer = self._try_branch(trajectory, escape, q_first, gripper)
            if isinstance(answer, _Rejection):
                reasons.append(answer)
                continue
            certificate = self.certifier.certify(answer, joints, gripper)
            if certificate.failure is None:
                return answer, certificate
            reasons.append(_Rejection("certificate", certificate.failure.text))
        if not reasons:
            return self._out_of_reach(trajectory.T_base_ee[0], escape[0])
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
        self, trajectory: EndEffectorTrajectory, escape: Array, q_first: Array, gripper: float
    ) -> Motion | _Rejection:
        following = self.model.follow(trajectory.T_base_ee, q_first)
        path = following.joints
        if path is None:
            return _Rejection("follow", following.reason)
        trajectory = replace(trajectory, stamps=feasible_stamps(path, trajectory.stamps))
        blocked = self._blocked_in_execution(trajectory, path, gripper)
        if blocked is not None:
            return blocked
        try:
            retreat = self._straight.away(trajectory, path[-1], gripper)
        except SearchError as error:
            return _Rejection("retreat", error.problem)
        approach = self._approach(trajectory, escape, path[0], gripper)
        if isinstance(approach, _Rejection):
            return approach
        return Motion(approach, trajectory, path, retreat)

    def _approach(
        self, trajectory: EndEffectorTrajectory, escape: Array, q_first: Array, gripper: float
    ) -> JointPath | _Rejection:
        # the fingers open before the approach: plan for the wider of now and then
        opening = max(gripper, float(trajectory.gripper[0]))
        self.surroundings.set_gripper(opening)
        self.contact.set_gripper(opening)
        if not self.contact.free(q_first):  # the fingers may be wider now than at the first pose
            return _Rejection("start", self.contact.explain(q_first))
        arrival = self._straight.back(trajectory.T_base_ee[0], q_first)
        if arrival is None:
            length = self.settings.contact_length * 100
            text = f"no free posture within {length:.0f} cm before the start"
            return _Rejection("start", f"{text}: {self.surroundings.explain(q_first)}")
        held = holds_from_the_start(trajectory, gripper)
        find = self._straight.carry if held else self._free.path_to
        try:
            approach = find(escape[0], arrival[0], opening)
            if len(arrival) > 1:
                approach = concatenate(approach, self._straight.timed(arrival))
            if len(escape) > 1:
                approach = concatenate(self._straight.timed(escape[::-1]), approach)
        except SearchError as error:
            return _Rejection("approach", error.problem)
        return approach

    def _blocked_in_execution(
        self, trajectory: EndEffectorTrajectory, path: Array, gripper: float
    ) -> _Rejection | None:
        """Say what the arm would touch outside the contact, at the poses; None when nothing.

        The certificate looks between the poses too; this is the quick way to discard a branch.
        """
        openings = finger_openings(trajectory, gripper)
        for index, q in enumerate(path):
            self.contact.set_gripper(float(openings[index]))
            if not self.contact.free(q):
                what = self.contact.explain(q)
                if index == 0:
                    return _Rejection("start", what)
                return _Rejection("execution", f"pose {index + 1} of {len(path)}: {what}")
        return None


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


def _known(gripper: float) -> float:
    if not np.isfinite(gripper):
        raise ConnectionLostError(
            "the opening of the hand is not known", "check the hand in Desk, then call recover"
        )
    return gripper
