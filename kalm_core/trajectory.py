"""End-effector trajectories: what the policy predicts, the planner checks and the robot follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kalm_core.errors import GoalError
from kalm_core.se3 import Array, interpolate_poses

POSES = 48
"""Poses of a predicted trajectory (section II-E: H = 48)."""


@dataclass(frozen=True)
class EndEffectorTrajectory:
    """Timed poses of the tool with the gripper's opening at each.

    Attributes:
        T_base_ee: (N, 4, 4) poses of `fr3_hand_tcp` in `fr3_link0`.
        gripper: (N,) commanded opening between the fingers [m].
        stamps: (N,) times from the start [s], the first 0, strictly increasing.
    """

    T_base_ee: Array
    gripper: Array
    stamps: Array

    def __post_init__(self) -> None:
        n = len(self.stamps)
        if n < 2 or self.T_base_ee.shape != (n, 4, 4) or self.gripper.shape != (n,):
            raise GoalError(
                f"a trajectory has {self.T_base_ee.shape} poses, {self.gripper.shape} gripper "
                f"openings and {n} stamps; expected (N, 4, 4), (N,) and N >= 2"
            )
        if not all(np.isfinite(a).all() for a in (self.T_base_ee, self.gripper, self.stamps)):
            raise GoalError("a trajectory holds values that are not finite")
        if (np.diff(self.stamps) <= 0).any():
            raise GoalError("the stamps of a trajectory do not increase strictly")

    @property
    def duration(self) -> float:
        """Time of the last pose [s]."""
        return float(self.stamps[-1])

    @property
    def positions(self) -> Array:
        """The (N, 3) tool positions [m] in the base frame."""
        return np.asarray(self.T_base_ee[:, :3, 3])

    def resampled(self, count: int) -> EndEffectorTrajectory:
        """Return `count` poses at even times; rotations move along great circles."""
        query = np.linspace(self.stamps[0], self.stamps[-1], count)
        nearest = np.abs(query[:, None] - self.stamps[None, :]).argmin(axis=1)
        return EndEffectorTrajectory(
            interpolate_poses(self.stamps, self.T_base_ee, query),
            self.gripper[nearest],
            query - query[0],
        )

    def transformed(self, T_new_base: Array) -> EndEffectorTrajectory:
        """Return the trajectory in another base frame."""
        return EndEffectorTrajectory(T_new_base @ self.T_base_ee, self.gripper, self.stamps)


@dataclass(frozen=True)
class JointPath:
    """Timed arm positions for free motion, at full speed.

    Attributes:
        positions: (N, 7) fr3_joint1..7 [rad].
        stamps: (N,) times from the start [s], the first 0, strictly increasing.
    """

    positions: Array
    stamps: Array

    def __post_init__(self) -> None:
        n = len(self.stamps)
        if n < 2 or self.positions.shape != (n, 7):
            raise GoalError(
                f"a joint path has positions of shape {self.positions.shape} and {n} stamps; "
                "expected (N, 7) and N >= 2"
            )
        if not (np.isfinite(self.positions).all() and np.isfinite(self.stamps).all()):
            raise GoalError("a joint path holds values that are not finite")
        if (np.diff(self.stamps) <= 0).any():
            raise GoalError("the stamps of a joint path do not increase strictly")

    @property
    def duration(self) -> float:
        """Time of the last position [s]."""
        return float(self.stamps[-1])
