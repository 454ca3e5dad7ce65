"""The whole motion of one goal: to the object, the skill itself, and away from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kalm_core.errors import GoalError
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory, JointPath


@dataclass(frozen=True)
class Motion:
    """What the arm would do, from its present joints to rest beside the object.

    Attributes:
        approach: from the arm's joints to the first pose.
        execution: the tool's trajectory, followed compliantly.
        execution_joints: (N, 7) joints [rad] that follow it on one continuous branch.
        retreat: straight away from the object; None where the hand keeps holding it.
    """

    approach: JointPath
    execution: EndEffectorTrajectory
    execution_joints: Array
    retreat: JointPath | None

    def __post_init__(self) -> None:
        joints = self.execution_joints
        if joints.shape != (len(self.execution.stamps), 7) or not np.isfinite(joints).all():
            raise GoalError(
                f"the joints of the execution have shape {joints.shape}, expected finite "
                f"({len(self.execution.stamps)}, 7)"
            )

    @property
    def execution_path(self) -> JointPath:
        """The execution as joints over time, at the demonstrated pace."""
        return JointPath(self.execution_joints, self.execution.stamps)

    @property
    def parts(self) -> tuple[tuple[str, JointPath], ...]:
        """Name and joint path of every part, in order."""
        parts = (("approach", self.approach), ("execution", self.execution_path))
        return parts if self.retreat is None else (*parts, ("retreat", self.retreat))

    @property
    def whole(self) -> JointPath:
        """All parts one after the other, at the pace of each; pauses of the fingers left out."""
        positions, stamps = [self.approach.positions], [self.approach.stamps]
        for _, path in self.parts[1:]:
            positions.append(path.positions[1:])
            stamps.append(path.stamps[1:] + stamps[-1][-1])
        return JointPath(np.concatenate(positions), np.concatenate(stamps))
