"""Kinematics of the arm: forward, inverse, and following a path of poses on one branch."""

from __future__ import annotations

import importlib.resources
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy.linalg.lapack import dposv

from kalm_core import fr3_limits
from kalm_core.errors import BackendUnavailableError, ConfigError, GoalError
from kalm_core.se3 import Array
from kalm_core.settings import Settings

BASE_FRAME = "fr3_link0"

_ONE = np.eye(6)
_PATIENCE = 15  # steps of inverse kinematics that may pass without coming a hundredth nearer


class RobotModelSettings(Settings):
    """Which arm, and when an inverse-kinematics answer is good enough."""

    urdf: str = Field("", description="URDF of the arm with hand; empty: the FR3 of franky-sim")
    tool_frame: str = Field("fr3_hand_tcp", description="link whose pose is commanded")
    limit_margin: float = Field(
        0.05, ge=0.0, le=0.5, description="distance kept from each joint position limit [rad]"
    )
    position_tolerance: float = Field(
        0.0005, gt=0.0, le=0.01, description="position error at which a pose is reached [m]"
    )
    rotation_tolerance: float = Field(
        0.002, gt=0.0, le=0.1, description="rotation error at which a pose is reached [rad]"
    )
    iterations: int = Field(60, ge=5, le=500, description="steps of one inverse-kinematics attempt")
    seeds: int = Field(24, ge=1, le=500, description="start postures tried for one pose")
    damping: float = Field(0.02, gt=0.0, le=1.0, description="damping of the least squares")
    max_joint_step: float = Field(
        0.35, gt=0.0, le=2.0, description="largest change of a joint between two poses [rad]"
    )
    min_manipulability: float = Field(
        0.01, ge=0.0, le=0.2, description="distance from singular postures, sqrt(det(J J^T))"
    )


@dataclass(frozen=True)
class Following:
    """The answer of `RobotModel.follow`.

    Attributes:
        joints: (N, 7) [rad], one continuous branch; None when there is none.
        reason: why there is none, in plain words; empty when there is one.
        index: the pose at which following ended; N when all were followed.
    """

    joints: Array | None
    reason: str
    index: int


def default_urdf() -> Path:
    """Return the path of the FR3 with hand that comes with franky-sim.

    Raises:
        BackendUnavailableError: franky-sim is not installed.
    """
    try:
        root = importlib.resources.files("franky_sim")
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(
            "the robot model of franky-sim is not installed",
            "install franky-sim or set `urdf` to the arm's URDF",
        ) from error
    return Path(str(root)) / "assets" / "fr3.urdf"


class RobotModel:
    """The arm's kinematics with the fingers left out. Not safe to share between threads.

    Attributes:
        lower, upper: (7,) position limits [rad], the stricter of URDF and `fr3_limits`.
    """

    def __init__(self, settings: RobotModelSettings) -> None:
        try:
            import pinocchio as pin
        except ModuleNotFoundError as error:
            raise BackendUnavailableError(
                "pinocchio is not installed", "install the package `pin`"
            ) from error
        self.settings = settings
        self.urdf = Path(settings.urdf) if settings.urdf else default_urdf()
        if not self.urdf.is_file():
            raise ConfigError(f"the URDF {self.urdf} does not exist", "correct the setting `urdf`")
        self._pin: Any = pin
        full = pin.buildModelFromUrdf(str(self.urdf))
        missing = [n for n in fr3_limits.JOINT_NAMES if not full.existJointName(n)]
        missing += [n for n in (BASE_FRAME, settings.tool_frame) if not full.existFrame(n)]
        if missing:
            raise ConfigError(f"{self.urdf} has no {', '.join(missing)}", "use an FR3 with hand")
        locked = [full.getJointId(n) for n in full.names[1:] if n not in fr3_limits.JOINT_NAMES]
        self._model: Any = pin.buildReducedModel(full, locked, pin.neutral(full))
        self._data: Any = self._model.createData()
        self._tool = self._model.getFrameId(settings.tool_frame)
        base = self._model.getFrameId(BASE_FRAME)
        pin.framesForwardKinematics(self._model, self._data, pin.neutral(self._model))
        T_root_base = self._data.oMf[base]
        if not T_root_base.isIdentity(1e-6):
            at = np.round(T_root_base.translation, 3).tolist()
            raise ConfigError(
                f"{self.urdf} has {BASE_FRAME} at {at} m of its root, and what the camera sees is "
                "placed as if it were the root",
                f"take a URDF whose root is {BASE_FRAME}, upright and not turned",
            )
        self._placements = [self._model.jointPlacements[j].homogeneous for j in range(1, 8)]
        frame = self._model.frames[self._tool]
        if frame.parentJoint != len(self._placements):
            raise ConfigError(f"{settings.tool_frame} is not carried by the last joint of the arm")
        self._T_joint7_tool: Array = frame.placement.homogeneous
        self.lower = np.maximum(self._model.lowerPositionLimit, fr3_limits.position_lower())
        self.upper = np.minimum(self._model.upperPositionLimit, fr3_limits.position_upper())
        if (self.upper - self.lower <= 2 * settings.limit_margin).any():
            raise ConfigError(f"limit_margin {settings.limit_margin} rad leaves a joint no range")
        self._low = self.lower + settings.limit_margin
        self._high = self.upper - settings.limit_margin

    @classmethod
    def load(cls, source: RobotModelSettings | str | Path | None = None) -> RobotModel:
        """Build the model from settings, or from a URDF's path with default settings.

        Raises:
            ConfigError: the URDF is missing or is not an FR3 with hand.
            BackendUnavailableError: pinocchio or the default model is not installed.
        """
        if source is None or isinstance(source, RobotModelSettings):
            return cls(source or RobotModelSettings())
        return cls(RobotModelSettings(urdf=str(source)))

    def within_limits(self, q: Array, margin: float = 0.0) -> bool:
        """Tell whether all joints of (7,) q keep `margin` [rad] from their limits."""
        return bool(((q >= self.lower + margin) & (q <= self.upper - margin)).all())

    def forward(self, q: Array) -> Array:
        """Return T_base_ee (4, 4), the pose of the tool frame at joints q (7,) [rad]."""
        self._pin.framesForwardKinematics(self._model, self._data, seven_joints(q))
        pose: Array = self._data.oMf[self._tool].homogeneous
        return pose.copy()

    def joint_poses(self, q: Array) -> Array:
        """Return (N, 7, 4, 4) poses of the joints' frames in the base at joints (N, 7) [rad].

        Each joint turns about its own z.
        """
        cosine, sine = np.cos(q), np.sin(q)
        turn = np.zeros((*q.shape, 4, 4))
        turn[..., 0, 0] = turn[..., 1, 1] = cosine
        turn[..., 1, 0], turn[..., 0, 1] = sine, -sine
        turn[..., 2, 2] = turn[..., 3, 3] = 1.0
        T = np.broadcast_to(np.eye(4), (len(q), 4, 4))
        poses = np.empty((len(q), 7, 4, 4))
        for j, placement in enumerate(self._placements):
            T = T @ placement @ turn[:, j]
            poses[:, j] = T
        return poses

    def tool_poses(self, q: Array) -> Array:
        """Return (N, 4, 4) poses T_base_ee at joints (N, 7) [rad]."""
        return np.asarray(self.joint_poses(q)[:, -1] @ self._T_joint7_tool)

    def jacobian(self, q: Array) -> Array:
        """Return the (6, 7) Jacobian of the tool's twist (linear, angular) in the tool frame."""
        return np.asarray(
            self._pin.computeFrameJacobian(
                self._model, self._data, seven_joints(q), self._tool, self._pin.LOCAL
            )
        )

    def manipulability(self, q: Array) -> float:
        """Return sqrt(det(J J^T)) (Yoshikawa); 0 at a singular posture."""
        jacobian = self.jacobian(q)
        return float(np.sqrt(max(np.linalg.det(jacobian @ jacobian.T), 0.0)))

    def _descend(self, T_base_ee: Array, q: Array) -> tuple[Array, float, float]:
        """Damped least squares from q; returns joints, position error [m], rotation error [rad].

        The null space draws every joint softly towards the middle of its range.
        """
        pin, s = self._pin, self.settings
        target = pin.SE3(T_base_ee[:3, :3], T_base_ee[:3, 3])
        q = np.clip(q, self._low, self._high)
        middle, reach = (self._low + self._high) / 2, (self._high - self._low) / 2
        position, rotation = np.inf, np.inf
        before: list[float] = []
        for iteration in range(s.iterations + 1):
            pin.computeJointJacobians(self._model, self._data, q)
            pin.updateFramePlacement(self._model, self._data, self._tool)
            twist = pin.log6(self._data.oMf[self._tool].actInv(target)).vector
            position, rotation = math.hypot(*twist[:3]), math.hypot(*twist[3:])
            if self._reached(position, rotation) or iteration == s.iterations:
                break
            before.append(position + 0.2 * rotation)
            if len(before) > _PATIENCE and min(before) > 0.99 * min(before[:-_PATIENCE]):
                break  # against a joint limit or beyond the arm's reach
            jacobian = pin.getFrameJacobian(self._model, self._data, self._tool, pin.LOCAL)
            # small damping near the goal keeps convergence quadratic
            damping = s.damping**2 * min(1.0, before[-1] / 0.1) + 1e-8
            square = jacobian @ jacobian.T + damping * _ONE
            centering = 0.05 * (middle - q) * ((q - middle) / reach) ** 2
            _, way, _ = dposv(square, twist - jacobian @ centering)
            step = centering + jacobian.T @ way
            step *= min(1.0, 0.4 / max(float(np.abs(step).max()), 1e-9))
            q = np.minimum(np.maximum(q + step, self._low), self._high)
        return q, position, rotation

    def _reached(self, position: float, rotation: float) -> bool:
        s = self.settings
        return position < s.position_tolerance and rotation < s.rotation_tolerance

    def start_postures(self, q_seed: Array, count: int) -> Array:
        """Return (count, 7) postures to start from: q_seed, then ever the same spread of others."""
        rng = np.random.default_rng(7)
        wide = rng.uniform(self._low, self._high, size=(count, 7))
        # half of them near the seed: a nearby branch makes a short approach
        near = np.clip(q_seed + rng.normal(scale=0.6, size=(count, 7)), self._low, self._high)
        mixed = np.where((np.arange(count) % 2 == 0)[:, None], wide, near)
        mixed[0] = q_seed
        return mixed

    def inverse(self, T_base_ee: Array, q_seed: Array, seeds: int | None = None) -> Array | None:
        """Return joints (7,) that put the tool at T_base_ee (4, 4); None when none was found.

        Tries q_seed (7,) first, then a fixed series of other postures: same input, same answer.
        The answer keeps `limit_margin` from every joint limit.
        """
        found = self.inverse_all(T_base_ee, q_seed, seeds, enough=1)
        return found[0] if found else None

    def inverse_all(
        self,
        T_base_ee: Array,
        q_seed: Array,
        seeds: int | None = None,
        enough: int = 8,
    ) -> list[Array]:
        """Return up to `enough` clearly different answers (7,), the nearest to q_seed first."""
        found: list[Array] = []
        for start in self.start_postures(seven_joints(q_seed), seeds or self.settings.seeds):
            q, position, rotation = self._descend(T_base_ee, start)
            if not self._reached(position, rotation):
                continue
            if all(np.abs(q - other).max() > 0.2 for other in found):
                found.append(q)
            if len(found) >= enough:
                break
        return sorted(found, key=lambda q: float(np.linalg.norm(q - q_seed)))

    def shortfall(self, T_base_ee: Array, q_seed: Array) -> tuple[float, float]:
        """Return how far [m] and [rad] the tool stays from T_base_ee at the best attempt.

        A tenth of a metre counts as much as a radian.
        """
        starts = self.start_postures(seven_joints(q_seed), 8)
        misses = [self._descend(T_base_ee, start)[1:] for start in starts]
        return min(misses, key=lambda miss: miss[0] + 0.1 * miss[1])

    def follow(self, T_base_ee: Array, q_start: Array) -> Following:
        """Follow (N, 4, 4) poses on the branch of q_start (7,), which must reach the first one.

        Every pose is solved from the joints of the pose before, so the answer never jumps.
        """
        s = self.settings
        q = seven_joints(q_start)
        joints: list[Array] = []
        for index, pose in enumerate(T_base_ee):
            before = q
            q, position, rotation = self._descend(pose, before)
            if not self._reached(position, rotation):
                at_limit = np.flatnonzero((q <= self._low + 1e-6) | (q >= self._high - 1e-6))
                why = (
                    f"joint {at_limit[0] + 1} is at its limit"
                    if len(at_limit)
                    else "it is out of reach"
                )
                text = (
                    f"pose {index + 1} of {len(T_base_ee)} stays {position * 100:.1f} cm and "
                    f"{np.degrees(rotation):.0f} deg away: {why}"
                )
                return Following(None, text, index)
            jump = np.abs(q - before)
            if jump.max() > s.max_joint_step:
                text = (
                    f"joint {int(jump.argmax()) + 1} would jump {jump.max():.2f} rad before pose "
                    f"{index + 1} of {len(T_base_ee)}"
                )
                return Following(None, text, index)
            if self.manipulability(q) < s.min_manipulability:
                text = f"pose {index + 1} of {len(T_base_ee)} is close to a singular posture"
                return Following(None, text, index)
            joints.append(q)
        return Following(np.stack(joints), "", len(joints))

    def branches(self, T_base_ee: Array, q_near: Array, count: int) -> Iterator[Array]:
        """Yield postures (7,) of the first of (N, 4, 4) poses from which to try `follow`.

        First answers of the first pose, the nearest to q_near first; then those that are found by
        following backwards from answers of the last pose and of the middle, which are often the
        hardest: the arm has one joint more than a pose fixes, and most of its postures at the
        first pose lead nowhere.
        """
        known: list[Array] = []
        for anchor in (0, len(T_base_ee) - 1, len(T_base_ee) // 2):
            for q in self.inverse_all(T_base_ee[anchor], q_near, enough=count):
                back = self.follow(T_base_ee[anchor::-1], q)
                if back.joints is None:
                    continue
                first = back.joints[-1]
                if all(np.abs(first - other).max() > 0.1 for other in known):
                    known.append(first)
                    yield first


def seven_joints(q: Array) -> Array:
    """Return q as float64.

    Raises:
        GoalError: it is not 7 finite numbers.
    """
    joints = np.asarray(q, dtype=np.float64)
    if joints.shape != (7,) or not np.isfinite(joints).all():
        raise GoalError(f"the arm's joints are {joints!r}, expected 7 finite numbers")
    return joints
