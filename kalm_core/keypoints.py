"""Keypoints: what a skill remembers of them, and what is found of them in one image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kalm_core.confidence import Calibration
from kalm_core.se3 import Array


@dataclass(frozen=True)
class ReferenceKeypoints:
    """The distilled keypoints K in the reference image (section II-C).

    Attributes:
        positions: (K, 3) float64 [m] in the base frame of the reference image.
        features: name of feature extractor -> (K, C) float32 unit vectors at the keypoints.
        neighbor_features: name -> (K, N', C) float32 unit vectors at the group-matching neighbours.
        neighbor_positions: (K, N', 3) float64 [m] positions of those neighbours.
        consistency: (K,) share of demonstrations in which each was found (Φ, equation 2).
        min_score: (K,) lowest score at which each was found in a demonstration.
        calibration: how probable a match is right, learned from the demonstrations.
    """

    positions: Array
    features: dict[str, NDArray[np.float32]]
    neighbor_features: dict[str, NDArray[np.float32]]
    neighbor_positions: Array
    consistency: Array
    min_score: Array
    calibration: Calibration = field(default_factory=Calibration.default)

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class DetectedKeypoints:
    """The keypoints of a skill in one image; those not found are present but not `found`.

    Attributes:
        positions: (K, 3) float64 [m] in the base frame; NaN where not found.
        found: (K,) bool; False is the paper's Null.
        score: (K,) best score φ* in [-1, 1] (equation 1), also where not found.
        confidence: (K,) estimated probability in [0, 1] that the match is right, also where it was
            refused; where nobody estimated it, 1 for those found and 0 for the others.
    """

    positions: Array
    found: NDArray[np.bool_]
    score: Array
    confidence: Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if len(self.confidence) != len(self.found):
            object.__setattr__(self, "confidence", np.asarray(self.found, dtype=np.float64))

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def nothing(cls) -> DetectedKeypoints:
        """Return what was found where nothing was."""
        return cls(np.zeros((0, 3)), np.zeros(0, dtype=np.bool_), np.zeros(0))

    @property
    def center(self) -> Array:
        """The (3,) mean position [m] of the keypoints that were found."""
        return np.asarray(self.positions[self.found].mean(axis=0))
