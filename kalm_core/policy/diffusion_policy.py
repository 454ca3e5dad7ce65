"""The paper's policy: diffusion over trajectories, given the keypoints (section II-D)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from kalm_core.keypoints import DetectedKeypoints
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.base import Tensors, check_request
from kalm_core.policy.condition import condition
from kalm_core.policy.diffusion import denoise
from kalm_core.policy.encoding import decode
from kalm_core.policy.network import TrajectoryUNet
from kalm_core.policy.normalization import Normalizer
from kalm_core.policy.regression import TrajectoryRegression
from kalm_core.policy.settings import PolicySettings
from kalm_core.policy.smoothness import Smoothness, slow_part
from kalm_core.policy.symmetry import turned
from kalm_core.policy.threads import torch_threads
from kalm_core.se3 import Array
from kalm_core.settings import parse_settings
from kalm_core.trajectory import EndEffectorTrajectory

_WEIGHTS = "network."


@dataclass(frozen=True)
class TrajectoryPolicy:
    """A trained denoiser with everything that it needs to serve a new scene.

    Attributes:
        network: the denoiser, with averaged weights.
        arrangement: the keypoints' usual arrangement; its place in a scene is the frame in which
            the network predicts.
        normalizer: from network values to 48 rows in that frame; it expects the mean of the
            demonstrations, bent to the keypoints, and the network adds what that leaves out.
        smoothness: that of the demonstrations, which every sample keeps.
        stamps: (48,) usual times of the poses [s].
        other_way: share of the demonstrations that grasped with the hand turned by half.
        settings: how it was made.
    """

    kind: ClassVar[str] = "diffusion"

    network: TrajectoryUNet
    arrangement: Arrangement
    normalizer: Normalizer
    smoothness: Smoothness
    stamps: Array
    other_way: float
    settings: PolicySettings

    def __len__(self) -> int:
        return len(self.arrangement)

    def sample(
        self, keypoints: DetectedKeypoints, count: int, seed: int
    ) -> list[EndEffectorTrajectory]:
        """Denoise `count` trajectories; the one nearest to their mean comes first.

        Where demonstrations grasped with the hand turned by half, so does their share of the
        samples, at the end.
        See `kalm_core.policy.base.Policy.sample` for the contract.
        """
        check_request(self, keypoints, count)
        T_base_object, fitting = self.arrangement.locate(keypoints)
        deviation = self.arrangement.deviation(T_base_object, fitting.positions)[None]
        told = condition(deviation)
        with torch_threads(self.settings.threads):
            values = denoise(self.network, told.repeat(count, 1), self.settings.diffusion, seed)
        values_np = values.double().numpy()
        distance = np.linalg.norm(values_np - values_np.mean(axis=0), axis=(1, 2))
        order = np.argsort(distance, kind="stable")
        expected = self.normalizer.regression.predict(deviation)
        added = slow_part(values_np[order] * self.normalizer.scale)
        rows = self.smoothness.hold(expected.repeat(count, axis=0), expected + added)
        samples = [decode(r, T_base_object, self.stamps) for r in rows]
        straight = count - min(math.ceil(self.other_way * count), count - 1)
        return samples[:straight] + [turned(sample) for sample in samples[straight:]]

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Return weights and statistics as arrays, and the settings as plain values."""
        weights = {_WEIGHTS + k: v.numpy() for k, v in self.network.state_dict().items()}
        statistics = {
            **self.arrangement.state(),
            **self.normalizer.regression.state(),
            **self.smoothness.state(),
            "scale": self.normalizer.scale,
            "stamps": self.stamps,
            "other_way": np.array([self.other_way]),
        }
        return {**weights, **statistics}, self.settings.model_dump(mode="json")

    @staticmethod
    def from_state(tensors: Tensors, values: dict[str, Any]) -> TrajectoryPolicy:
        """Make it again from what `state` returned.

        Raises:
            KeyError, ValueError, RuntimeError, ConfigError: the state is not that of such a policy.
        """
        settings = parse_settings(PolicySettings, values, "a stored policy")
        network = TrajectoryUNet(len(tensors["shape"]), settings.network)
        weights = {k: torch.from_numpy(v) for k, v in tensors.items() if k.startswith(_WEIGHTS)}
        network.load_state_dict({k[len(_WEIGHTS) :]: v for k, v in weights.items()})
        normalizer = Normalizer(TrajectoryRegression.from_state(tensors), tensors["scale"])
        return TrajectoryPolicy(
            network.eval(),
            Arrangement.from_state(tensors),
            normalizer,
            Smoothness.from_state(tensors),
            tensors["stamps"],
            float(tensors["other_way"][0]),
            settings,
        )
