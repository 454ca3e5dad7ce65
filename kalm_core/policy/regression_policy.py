"""The simple policy: the demonstrations' mean, moved and bent to the keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from kalm_core.keypoints import DetectedKeypoints
from kalm_core.policy.alignment import AlignedDemonstrations, has_say
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.base import Example, Tensors, check_request
from kalm_core.policy.encoding import decode
from kalm_core.policy.regression import TrajectoryRegression
from kalm_core.policy.rigid import RigidTransferPolicy
from kalm_core.policy.smoothness import Smoothness
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory


@dataclass(frozen=True)
class RegressionPolicy:
    """Predicts the mean trajectory, moved and bent to the keypoints.

    Attributes:
        arrangement: the keypoints' usual arrangement.
        regression: in its frame.
        smoothness: that of the demonstrations, which a prediction keeps.
        stamps: (48,) usual times of the poses [s].
        others: the demonstrations themselves, offered after the first sample for where the arm
            cannot do that; those who do it unlike most come last.
    """

    kind: ClassVar[str] = "regression"

    arrangement: Arrangement
    regression: TrajectoryRegression
    smoothness: Smoothness
    stamps: Array
    others: RigidTransferPolicy

    def __len__(self) -> int:
        return len(self.arrangement)

    @staticmethod
    def from_examples(
        examples: Sequence[Example], arrangement: Arrangement, linear: bool = True
    ) -> RegressionPolicy:
        """Fit the demonstrations.

        Raises:
            KeypointsNotFoundError: a demonstration has too few keypoints.
            GoalError: no demonstration.
        """
        aligned = AlignedDemonstrations.from_examples(examples, arrangement)
        return RegressionPolicy(
            arrangement,
            TrajectoryRegression.from_rows(
                aligned.rows, aligned.deviations, linear, arrangement.shape, aligned.trust
            ),
            Smoothness.from_rows(aligned.rows, aligned.trust),
            aligned.stamps,
            RigidTransferPolicy.from_examples(examples, arrangement, ~has_say(aligned.trust)),
        )

    def sample(
        self, keypoints: DetectedKeypoints, count: int, seed: int
    ) -> list[EndEffectorTrajectory]:
        """Return the prediction, then the demonstrations with the most similar keypoints.

        The seed changes nothing. See `kalm_core.policy.base.Policy.sample` for the contract.
        """
        check_request(self, keypoints, count)
        T_base_object, fitting = self.arrangement.locate(keypoints)
        deviation = self.arrangement.deviation(T_base_object, fitting.positions)
        rows = self.smoothness.hold(self.regression.predict(deviation[None]))
        best = decode(rows[0], T_base_object, self.stamps)
        return [best, *self.others.sample(keypoints, count, seed)][:count]

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Return everything as arrays; there are no settings."""
        others, _ = self.others.state()
        return {
            **{f"others.{name}": values for name, values in others.items()},
            **self.arrangement.state(),
            **self.regression.state(),
            **self.smoothness.state(),
            "stamps": self.stamps,
        }, {}

    @staticmethod
    def from_state(tensors: Tensors, values: dict[str, Any]) -> RegressionPolicy:
        """Make it again from what `state` returned.

        Raises:
            KeyError: an array is missing.
        """
        prefix = "others."
        others = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        return RegressionPolicy(
            Arrangement.from_state(tensors),
            TrajectoryRegression.from_state(tensors),
            Smoothness.from_state(tensors),
            tensors["stamps"],
            RigidTransferPolicy.from_state(others, values),
        )
