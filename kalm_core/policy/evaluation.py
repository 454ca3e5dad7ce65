"""How far a predicted trajectory is from one that a person showed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from kalm_core.policy.base import Example, Policy
from kalm_core.policy.encoding import encode
from kalm_core.policy.symmetry import turned
from kalm_core.policy.timing import UNITS, clock_of
from kalm_core.se3 import interpolate_poses, rotation_angle
from kalm_core.segmentation import CLOSED
from kalm_core.trajectory import EndEffectorTrajectory


@dataclass(frozen=True)
class TrajectoryErrors:
    """Errors of a prediction; medians when they stand for several.

    Attributes:
        position: mean over the poses [m].
        first: of the first pose [m].
        grasp: of the pose where the fingers close in the truth, the middle if they never do [m].
        rotation: mean over the poses [rad].
    """

    position: float
    first: float
    grasp: float
    rotation: float

    def as_dict(self) -> dict[str, float]:
        """Return the errors by name."""
        return {k: round(float(v), 5) for k, v in asdict(self).items()}


def grasp_index(trajectory: EndEffectorTrajectory) -> int:
    """Return the first pose whose command closes after an open one; the middle if none does."""
    closed = trajectory.gripper == CLOSED
    closes = np.flatnonzero(closed[1:] & ~closed[:-1])
    return int(closes[0]) + 1 if len(closes) else len(trajectory.stamps) // 2


def trajectory_errors(
    predicted: EndEffectorTrajectory, truth: EndEffectorTrajectory
) -> TrajectoryErrors:
    """Compare two trajectories of the same number of poses, each pose with that of its moment.

    Who comes sooner or later to the same places is not wrong. The hand turned by half grasps the
    same and counts as the same.
    """
    ways = [_on_clock_of(truth, way) for way in (predicted, turned(predicted))]
    angles = [float(rotation_angle(way.T_base_ee, truth.T_base_ee).mean()) for way in ways]
    angle = min(angles)
    distance = np.linalg.norm(ways[angles.index(angle)].positions - truth.positions, axis=1)
    return TrajectoryErrors(
        float(distance.mean()),
        float(distance[0]),
        float(distance[grasp_index(truth)]),
        angle,
    )


def _on_clock_of(
    truth: EndEffectorTrajectory, other: EndEffectorTrajectory
) -> EndEffectorTrajectory:
    """Return the poses of another trajectory at the moments of the true one's."""
    rows = [encode(trajectory, np.eye(4)) * UNITS for trajectory in (truth, other)]
    clock = clock_of(rows[0], rows[1][None])[0]
    poses = interpolate_poses(np.arange(len(clock)), other.T_base_ee, clock)
    return EndEffectorTrajectory(poses, other.gripper[np.rint(clock).astype(int)], truth.stamps)


def median_errors(
    policy: Policy, examples: Sequence[Example], count: int = 5, seed: int = 0
) -> TrajectoryErrors:
    """Return the medians over the demonstrations of the first sample's errors."""
    errors = [
        trajectory_errors(policy.sample(e.keypoints, count, seed)[0], e.trajectory)
        for e in examples
    ]
    columns = np.array([[e.position, e.first, e.grasp, e.rotation] for e in errors])
    return TrajectoryErrors(*(float(v) for v in np.median(columns, axis=0)))
