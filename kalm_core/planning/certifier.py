"""Checks a whole motion before the arm moves; whatever cannot be checked is not certified.

Section II-F of the paper, made safe: every pose is checked, not the first one alone, and an
exception in a check means "not certified", never "free".
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kalm_core.planning.certificate import Certificate, CertificateSettings, Failure, FailureKind
from kalm_core.planning.collision import CollisionScene
from kalm_core.planning.contacts import FINGERS
from kalm_core.planning.holding import finger_openings
from kalm_core.planning.joint_motion import SearchError
from kalm_core.planning.limits import derivative_shares, position_margin
from kalm_core.planning.motion import Motion
from kalm_core.planning.robot_model import RobotModel
from kalm_core.planning.sweep import Reach, followed
from kalm_core.se3 import Array, rotation_angle
from kalm_core.trajectory import JointPath

_FAR = 0.06  # [m], clearances beyond are all alike
_POINTS = 12  # per solid, for the estimate of the clearance
_EVERY = 12  # postures apart, for the same

_DERIVATIVES: tuple[FailureKind, ...] = ("velocity", "acceleration", "jerk")


class _FailedError(Exception):
    """Carries a failure out of the checks."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Certifier:
    """Proves motions in one scene. Not safe to share between threads.

    Args:
        model: the arm.
        surroundings: the arm among everything that was seen.
        contact: the same, where the fingers may touch what is near the keypoints.
        settings: what a motion has to keep.
        contact_length: the approach may use `contact` in its last and first part of this length,
            measured at the tool [m].
    """

    def __init__(
        self,
        model: RobotModel,
        surroundings: CollisionScene,
        contact: CollisionScene,
        settings: CertificateSettings,
        contact_length: float,
    ) -> None:
        self._model = model
        self._surroundings = surroundings
        self._contact = contact
        self._settings = settings
        self._contact_length = contact_length
        self._reach = Reach(model, surroundings.link_points(10**6))
        self._points = surroundings.link_points(_POINTS)

    def certify(self, motion: Motion, joints: Array, gripper: float) -> Certificate:
        """Check a motion that shall start at `joints` (7,) [rad], the fingers `gripper` [m] open.

        What the hand holds is no part of the arm. Fingers that hold it from the start are checked
        as wide as they are; those that grasp on the way as wide as commanded, for nobody knows yet
        how wide that will be.

        Never raises: what goes wrong is the certificate's failure.
        """
        began = time.perf_counter()
        try:
            certificate = self._checked(motion, joints, gripper)
        except _FailedError as error:
            certificate = Certificate(error.failure)
        except Exception as error:  # fail closed: what cannot be checked is not certified
            text = f"the check failed: {type(error).__name__}: {error}"
            certificate = Certificate(Failure("exception", "execution", 0, text))
        return replace(certificate, seconds=time.perf_counter() - began)

    def demand_free(self, path: JointPath, joints: Array, gripper: float) -> None:
        """Check a free joint motion that touches nothing.

        Raises:
            SearchError: it is not certified; the text says why.
        """
        try:
            away = float(np.abs(path.positions[0] - joints).max())
            if not away <= self._settings.start_tolerance:
                raise SearchError(f"the motion starts {away:.3f} rad from the arm")
            self._check_limits("motion", path)
            postures, index = self._swept(path)
            self._surroundings.set_gripper(gripper)
            for q, pose in zip(postures, index, strict=True):
                if not self._surroundings.free_exactly(q):
                    count = len(path.stamps)
                    raise _FailedError(
                        _collision(self._surroundings, q, "motion", int(pose), count)
                    )
        except _FailedError as error:
            raise SearchError(f"the motion is not certified: {error.failure.text}") from error

    def _checked(self, motion: Motion, joints: Array, gripper: float) -> Certificate:
        self._check_starts(motion, joints)
        self._check_poses(motion)
        margins, shares = zip(*(self._check_limits(*part) for part in motion.parts), strict=True)
        manipulability = self._check_singularity(motion)
        clearance, checks = self._check_collisions(motion, gripper)
        velocity, acceleration, jerk = np.max(shares, axis=0)
        return Certificate(
            None,
            clearance=clearance,
            joint_margin=min(margins),
            velocity=float(velocity),
            acceleration=float(acceleration),
            jerk=float(jerk),
            manipulability=manipulability,
            checks=checks,
        )

    def _check_limits(self, name: str, path: JointPath) -> tuple[float, list[float]]:
        """Return the margin of the positions [rad] and the shares of the three derivatives."""
        self._check_stamps(name, path.stamps)
        count = len(path.stamps)
        worst = position_margin(path.positions, self._model.lower, self._model.upper)
        if not worst.share >= 0.0:
            text = f"joint {worst.joint + 1} is {-worst.share:.3f} rad outside its limits"
            where = _where(name, worst.pose, count)
            raise _FailedError(Failure("position", name, worst.pose, f"{where}: {text}"))
        shares = []
        for kind, found in zip(_DERIVATIVES, derivative_shares(path), strict=True):
            if not found.share <= 1.0 + 1e-6:
                text = f"joint {found.joint + 1} would need {found.share * 100:.0f} % of its {kind}"
                where = _where(name, found.pose, count)
                raise _FailedError(Failure(kind, name, found.pose, f"{where}: {text} limit"))
            shares.append(found.share)
        return worst.share, shares

    def _check_starts(self, motion: Motion, joints: Array) -> None:
        """The motion starts at the arm, and every part where the one before it ends."""
        end = joints
        tolerance = self._settings.start_tolerance
        for name, path in motion.parts:
            away = np.abs(path.positions[0] - end)
            if not away.max() <= tolerance:  # NaN fails as well
                j = int(away.argmax())
                text = f"the {name} starts {away[j]:.3f} rad away at joint {j + 1}"
                raise _FailedError(Failure("start", name, 0, f"{text}, allowed are {tolerance}"))
            end, tolerance = path.positions[-1], 1e-3

    def _check_stamps(self, name: str, stamps: Array) -> None:
        steps = np.diff(stamps)
        longest = self._settings.longest_step
        if stamps[0] != 0.0 or not (steps > 0).all() or not (steps <= longest).all():
            text = (
                f"the {name}'s stamps start at {stamps[0]:.3f} s and step by {steps.min():.4f} to "
                f"{steps.max():.3f} s, expected 0 and steps up to {longest} s"
            )
            raise _FailedError(Failure("stamps", name, int(steps.argmax()) + 1, text))

    def _check_poses(self, motion: Motion) -> None:
        """The joints reach the poses and stay on one branch."""
        joints, poses, s = motion.execution_joints, motion.execution.T_base_ee, self._settings
        reached = self._model.tool_poses(joints)
        off = np.linalg.norm(reached[:, :3, 3] - poses[:, :3, 3], axis=1)
        turn = rotation_angle(reached, poses)
        bad = np.flatnonzero(~((off <= s.pose_tolerance) & (turn <= s.turn_tolerance)))
        if len(bad):
            k = int(bad[0])
            text = f"the tool is {off[k] * 100:.1f} cm and {np.degrees(turn[k]):.1f} deg off"
            raise _FailedError(
                Failure(
                    "pose",
                    "execution",
                    k,
                    f"{_where('execution', k, len(joints))}: {text}",
                    centimetres=float(off[k] * 100),
                )
            )
        jump = np.abs(np.diff(joints, axis=0))
        most = self._model.settings.max_joint_step
        if (jump > most).any():
            k, j = (int(i) for i in np.argwhere(jump > most)[0])
            text = f"joint {j + 1} would jump {jump[k, j]:.2f} rad"
            raise _FailedError(
                Failure(
                    "jump", "execution", k + 1, f"{_where('execution', k + 1, len(joints))}: {text}"
                )
            )

    def _check_singularity(self, motion: Motion) -> float:
        least, most = self._model.settings.min_manipulability, np.inf
        for k, q in enumerate(motion.execution_joints):
            value = self._model.manipulability(q)
            if not value >= least:
                where = _where("execution", k, len(motion.execution_joints))
                text = f"{where}: manipulability {value:.4f}, at least {least} is needed"
                raise _FailedError(Failure("singularity", "execution", k, text))
            most = min(most, value)
        return float(most)

    # -- collisions ------------------------------------------------------------------------------

    def _swept(self, path: JointPath) -> tuple[Array, NDArray[np.int64]]:
        """Return close postures on the way that the arm takes, and the index each is before."""
        way, pose = followed(path)
        postures, index = self._reach.swept(way, self._settings.sweep_step)
        return postures, pose[index]

    def _check_collisions(self, motion: Motion, gripper: float) -> tuple[float, int]:
        """Sweep all parts; returns the estimated clearance [m] and the number of checks."""
        obstacles = self._surroundings.obstacles
        openings = finger_openings(motion.execution, gripper)
        first, last = float(openings[0]), float(openings[-1])
        checks, sampled = 0, []
        for name, path in motion.parts:
            postures, index = self._swept(path)
            if name == "execution":
                # fingers that move within a piece are checked at both of its openings' larger one
                opening = np.maximum(openings[index], openings[np.maximum(index - 1, 0)])
            else:
                # they open before the approach: the wider of now and then
                opening = np.full(
                    len(postures), max(gripper, first) if name == "approach" else last
                )
            near = self._in_contact_part(name, postures)
            for k, q in enumerate(postures):
                scene = self._contact if near[k] else self._surroundings
                if scene.gripper != opening[k]:
                    scene.set_gripper(float(opening[k]))
                if not scene.free_exactly(q):
                    raise _FailedError(_collision(scene, q, name, int(index[k]), len(path.stamps)))
            checks += len(postures)
            sampled.append(postures[::_EVERY])
        voxel = obstacles.voxel_size
        return self._clearance(np.concatenate(sampled)) - voxel / 2, checks

    def _in_contact_part(self, name: str, postures: Array) -> NDArray[np.bool_]:
        """Return (M,) True where the fingers may touch what is near the keypoints."""
        near = np.full(len(postures), name != "approach")
        if name == "approach":  # where it leaves something held, and where it arrives
            tools = self._model.tool_poses(postures)[:, :3, 3]
            for end, order in ((tools[0], slice(None)), (tools[-1], slice(None, None, -1))):
                away = np.linalg.norm(tools[order] - end, axis=1) > self._contact_length
                near[order] |= np.cumsum(away) == 0
        return near

    def _clearance(self, postures: Array) -> float:
        """Return the distance [m] of points on the links from the voxels they may not touch."""
        T = self._model.joint_poses(postures)
        away = _FAR
        for voxels, fingers_too in (
            (self._contact.obstacles, True),
            (self._contact.touchable, False),
        ):
            if len(voxels) == 0:
                continue
            points = [
                np.einsum("nij,kj->nki", T[:, joint - 1, :3, :3], on_link)
                + T[:, None, joint - 1, :3, 3]
                for link, joint, on_link in self._points
                if fingers_too or link not in FINGERS
            ]
            asked = np.concatenate([cloud.reshape(-1, 3) for cloud in points])
            found = voxels.tree.query(asked, distance_upper_bound=away)[0]
            away = min(away, float(found.min()))
        return away


def _where(part: str, pose: int, count: int) -> str:
    return f"{part}, pose {pose + 1} of {count}"


def _collision(scene: CollisionScene, q: Array, part: str, pose: int, count: int) -> Failure:
    """Describe what `free` refused; the details come from another library, so they may be none."""
    where = _where(part, pose, count)
    text = f"{where}: {scene.explain(q)}"
    contact = scene.contact(q)
    if contact is None:
        return Failure("collision", part, pose, text)
    centimetres = contact.depth * 100
    return Failure(
        "collision",
        part,
        pose,
        f"{text}, {centimetres:.1f} cm deep",
        link=contact.link,
        point=contact.point,
        centimetres=centimetres,
    )
