"""The baseline without learning: the most similar demonstration, moved to where the object is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kalm_core.errors import GoalError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.base import Example, Tensors, check_request
from kalm_core.se3 import Array, invert_pose, transform_points
from kalm_core.trajectory import EndEffectorTrajectory


@dataclass(frozen=True)
class RigidTransferPolicy:
    """Replays demonstrations relative to the keypoints.

    Attributes:
        arrangement: the keypoints' usual arrangement.
        points: (N, K, 3) keypoints of the demonstrations in its frame [m]; NaN where not found.
        poses: (N, 48, 4, 4) tool poses of the demonstrations in its frame.
        gripper: (N, 48) commands [m].
        stamps: (N, 48) [s].
        last: (N,) which go about it unlike most; they are offered after all others.
    """

    kind: ClassVar[str] = "rigid"

    arrangement: Arrangement
    points: Array
    poses: Array
    gripper: Array
    stamps: Array
    last: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.arrangement)

    @staticmethod
    def from_examples(
        examples: Sequence[Example],
        arrangement: Arrangement,
        last: NDArray[np.bool_] | None = None,
    ) -> RigidTransferPolicy:
        """Remember every demonstration relative to its keypoints.

        Args:
            examples: demonstrations.
            arrangement: the keypoints' usual arrangement.
            last: (N,) which are offered after all others; None: none.

        Raises:
            KeypointsNotFoundError: a demonstration has too few keypoints.
            GoalError: no demonstration.
        """
        if not examples:
            raise GoalError("a policy needs at least one demonstration")
        located = [arrangement.locate(e.keypoints) for e in examples]
        inverse = [invert_pose(frame) for frame, _ in located]
        found = [
            transform_points(T, d.positions) for T, (_, d) in zip(inverse, located, strict=True)
        ]
        poses = [T @ e.trajectory.T_base_ee for T, e in zip(inverse, examples, strict=True)]
        return RigidTransferPolicy(
            arrangement,
            np.stack(found),
            np.stack(poses),
            np.stack([e.trajectory.gripper for e in examples]),
            np.stack([e.trajectory.stamps for e in examples]),
            np.zeros(len(examples), bool) if last is None else last,
        )

    def sample(
        self, keypoints: DetectedKeypoints, count: int, seed: int
    ) -> list[EndEffectorTrajectory]:
        """Return the `count` demonstrations with the most similar keypoints, most similar first.

        The seed changes nothing. See `kalm_core.policy.base.Policy.sample` for the contract.
        """
        check_request(self, keypoints, count)
        T_base_object, fitting = self.arrangement.locate(keypoints)
        points = transform_points(invert_pose(T_base_object), fitting.positions)
        distance = np.linalg.norm(self.points - points, axis=-1)
        both = np.isfinite(distance)
        mean = np.where(both, distance, 0.0).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
        order = np.lexsort((np.where(both.any(axis=1), mean, np.inf), self.last))
        return [
            EndEffectorTrajectory(T_base_object @ self.poses[i], self.gripper[i], self.stamps[i])
            for i in order[:count]
        ]

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Return the demonstrations as arrays; there are no settings."""
        return {
            **self.arrangement.state(),
            "points": self.points,
            "poses": self.poses,
            "gripper": self.gripper,
            "stamps": self.stamps,
            "last": self.last,
        }, {}

    @staticmethod
    def from_state(tensors: Tensors, values: dict[str, Any]) -> RigidTransferPolicy:
        """Make it again from what `state` returned.

        Raises:
            KeyError: an array is missing.
        """
        return RigidTransferPolicy(
            Arrangement.from_state(tensors),
            tensors["points"],
            tensors["poses"],
            tensors["gripper"],
            tensors["stamps"],
            tensors.get("last", np.zeros(len(tensors["points"]), bool)),  # older skills lack it
        )
