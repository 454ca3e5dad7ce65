"""Ways of the hand that need no search: to the first pose, the retreat, carrying level."""

from __future__ import annotations

import numpy as np

from kalm_core.planning.collision import CollisionScene
from kalm_core.planning.holding import finger_openings, holds_at_the_end
from kalm_core.planning.joint_motion import SearchError, timed
from kalm_core.planning.planner import PlanningSettings
from kalm_core.planning.robot_model import RobotModel
from kalm_core.se3 import Array, interpolate_poses, rotation_angle
from kalm_core.trajectory import EndEffectorTrajectory, JointPath

_STEP = 0.01  # [m], between two postures
_CARRY_STEP = 0.03  # [m], between two postures with something in the hand
_CARRY_TURN = 0.1  # [rad], the same
_CARRY_ARCS = ((0.0, 0.0), (0.1, 0.0), (0.2, 0.0), (0.0, 0.1), (0.1, 0.1))
"""Where the middle of a carrying way may lie: away from the base and higher than straight [m].

Close to the base and low down the folded arm comes to the limits of its joints.
"""
_LEAST_RETREAT = 2  # steps
_ELBOW = 0.8  # [rad], joints farther from the mixed ones are on another branch


class StraightWays:
    """Finds them in the planner's two scenes.

    Args:
        model: the arm.
        surroundings: nothing may be touched.
        contact: the fingers may touch what is near the keypoints.
        settings: lengths and pace.
    """

    def __init__(
        self,
        model: RobotModel,
        surroundings: CollisionScene,
        contact: CollisionScene,
        settings: PlanningSettings,
    ) -> None:
        self._model = model
        self._surroundings = surroundings
        self._contact = contact
        self._settings = settings

    def timed(self, corners: Array) -> JointPath:
        """Time a straight way (N, 7); raises `SearchError` where it is blocked after all."""
        return timed(self._contact, corners, self._settings.motion)

    def back(self, T_base_ee: Array, q: Array) -> Array | None:
        """Return postures (N, 7) from a free one straight along the hand to q.

        On this part only, the fingers may pass close to the keypoints. One posture when q is free
        already; None when there is no free one within `contact_length`.
        """
        path = [q]
        if self._surroundings.free(q):
            return np.stack(path)
        if not self._contact.free(q):
            return None
        for _ in range(int(self._settings.contact_length / _STEP)):
            if self._step_back(T_base_ee, path):
                return None
            if self._surroundings.free(path[-1]):
                return np.stack(path[::-1])
        return None

    def carry(self, q_from: Array, q_to: Array, gripper: float) -> JointPath:
        """Return a level way with something in the hand: straight, or in an arc.

        The tool turns by the shortest way, so that a cup which stands upright at both ends stays
        upright. The first way that the arm can go is taken or none: what is held may be larger than
        the hand, so nothing is gone around or over.

        Args:
            q_from: (7,) joints [rad] where it starts.
            q_to: (7,) joints [rad] where it ends, on the same branch.
            gripper: opening of the fingers [m].

        Raises:
            SearchError: it is blocked, or all ways leave the branch.
        """
        self._surroundings.set_gripper(gripper)
        for arc in _CARRY_ARCS:
            corners = self._carried(q_from, q_to, *arc)
            if corners is not None:
                return timed(self._surroundings, corners, self._settings.motion)
        ends = self._model.tool_poses(np.stack([q_from, q_to]))[:, :3, 3]
        length = float(np.linalg.norm(ends[1] - ends[0]))
        raise SearchError(f"what is held cannot be carried level over {length:.2f} m")

    def _carried(self, q_from: Array, q_to: Array, out: float, up: float) -> Array | None:
        """Return postures (N, 7) of a level way whose middle is `out` and `up` [m] off straight.

        None where the arm cannot go there on the branch.
        """
        ends = self._model.tool_poses(np.stack([q_from, q_to]))
        length = float(np.linalg.norm(ends[1, :3, 3] - ends[0, :3, 3]))
        turn = float(rotation_angle(ends[0], ends[1]))
        longest = max((length + 2.0 * (out + up)) / _CARRY_STEP, turn / _CARRY_TURN, 1.0)
        shares = np.linspace(0.0, 1.0, 1 + int(np.ceil(longest)))
        poses = interpolate_poses(np.array([0.0, 1.0]), ends, shares)
        middle = ends[:, :2, 3].mean(axis=0)
        outwards = middle / max(float(np.linalg.norm(middle)), 1e-9)
        poses[:, :3, 3] += np.sin(np.pi * shares)[:, None] * np.array([*(out * outwards), up])
        corners = [q_from]
        for share, pose in zip(shares[1:-1], poses[1:-1], strict=True):
            # the joints of both ends, mixed, keep the elbow on its way from one to the other
            near = q_from + share * (q_to - q_from)
            found = self._model.inverse(pose, near, seeds=1)
            if found is None or np.abs(found - near).max() > _ELBOW:
                return None
            corners.append(found)
        return np.stack([*corners, q_to])

    def away(
        self, trajectory: EndEffectorTrajectory, q_last: Array, gripper: float
    ) -> JointPath | None:
        """Return the retreat after a trajectory; None where the hand holds on.

        Args:
            trajectory: after which it begins.
            q_last: (7,) joints [rad] at its end.
            gripper: opening of the fingers before its start [m].

        Raises:
            SearchError: there is no room for it.
        """
        if holds_at_the_end(trajectory):
            return None
        self._contact.set_gripper(float(finger_openings(trajectory, gripper)[-1]))
        path, why = [q_last], ""
        for _ in range(round(self._settings.retreat / _STEP)):
            why = self._step_back(trajectory.T_base_ee[-1], path)
            if why:
                break
        if len(path) <= _LEAST_RETREAT:
            raise SearchError(f"the hand gets {len(path) - 1} cm back from the last pose: {why}")
        return self.timed(np.stack(path))

    def _step_back(self, T_base_ee: Array, path: list[Array]) -> str:
        """Add one posture a step further back to `path`; returns why there is none."""
        pose = T_base_ee.copy()
        pose[:3, 3] -= _STEP * len(path) * pose[:3, 2]
        following = self._model.follow(pose[None], path[-1])
        if following.joints is None:
            return following.reason
        piece = np.stack([path[-1], following.joints[0]])
        blocked = self._contact.first_blocked(piece, self._settings.motion.edge_step)
        if blocked is not None:
            return self._contact.explain(blocked)
        path.append(following.joints[0])
        return ""
