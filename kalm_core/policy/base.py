"""What every trajectory policy offers, so that one can take the place of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from kalm_core.errors import GoalError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.trajectory import EndEffectorTrajectory

Tensors = dict[str, NDArray[Any]]
"""Named arrays as they are stored in a skill."""


@dataclass(frozen=True)
class Example:
    """What a policy learns of one demonstration (P_i and τ_EE of section II-D).

    Attributes:
        name: of the demonstration.
        keypoints: found in its first image, base frame.
        trajectory: the execution, 48 poses in the base frame.
    """

    name: str
    keypoints: DetectedKeypoints
    trajectory: EndEffectorTrajectory


class Policy(Protocol):
    """Predicts the execution of one skill from its keypoints.

    Attributes:
        kind: the name under which a skill stores it, a key of `kalm_core.policy.storage.KINDS`.
    """

    kind: ClassVar[str]

    def __len__(self) -> int:
        """Return K, the number of keypoints that the policy was made for."""
        ...

    def sample(
        self, keypoints: DetectedKeypoints, count: int, seed: int
    ) -> list[EndEffectorTrajectory]:
        """Return up to `count` trajectories of 48 poses in the base frame, best first.

        The same keypoints, count and seed give the same trajectories.

        Raises:
            KeypointsNotFoundError: too few keypoints that fit together.
            GoalError: another number of keypoints than the policy was made for, or no count.
        """
        ...

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Return everything needed to make it again: arrays, and plain values for a YAML file."""
        ...


def check_request(policy: Policy, keypoints: DetectedKeypoints, count: int) -> None:
    """Refuse keypoints of another skill and a count below 1 with a `GoalError`."""
    if len(keypoints) != len(policy):
        raise GoalError(
            f"got {len(keypoints)} keypoints, expected the skill's {len(policy)}",
            "detect the keypoints of the same skill",
        )
    if count < 1:
        raise GoalError(f"asked for {count} trajectories, expected 1 or more")
    if not np.isfinite(keypoints.positions[keypoints.found]).all():
        raise GoalError("a keypoint that was found has a position that is not finite")
