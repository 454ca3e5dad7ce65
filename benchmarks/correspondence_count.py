"""What is counted in the measurement of correspondence: keypoints within a distance of the truth.

A keypoint whose true place cannot be seen in the image counts in no PCK. One that can be seen
counts as wrong when it is Null.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from kalm_core.se3 import Array

NEAR, FAR = 0.02, 0.05
"""The two distances of PCK [m]; a keypoint farther off than the second is wrong."""


@dataclass
class Count:
    """Sums over image pairs.

    Attributes:
        pairs: image pairs.
        allowed: pairs in which enough keypoints were found for a motion.
        false_allowed: of them those with a keypoint farther than `FAR` from its place.
        visible: keypoints whose true place can be seen.
        within2, within5: of the visible ones those found within `NEAR` and `FAR` of it.
        hidden: keypoints whose true place cannot be seen.
        found: keypoints found, visible or hidden.
        right: of those found, the ones within `FAR`.
        confidence: sum over those found of the probability that φ gave them.
    """

    pairs: int = 0
    allowed: int = 0
    false_allowed: int = 0
    visible: int = 0
    within2: int = 0
    within5: int = 0
    hidden: int = 0
    found: int = 0
    right: int = 0
    confidence: float = 0.0

    def add(
        self, positions: Array, truth: Array | None, visible: NDArray[np.bool_], allowed: bool
    ) -> None:
        """Count one pair.

        Args:
            positions: (K, 3) found [m], NaN where Null.
            truth: (K, 3) true places [m]; None where the object is absent: all found are wrong.
            visible: (K,) which true places can be seen; all False where the object is absent.
            allowed: whether enough were found for a motion.
        """
        found = np.isfinite(positions).all(axis=1)
        error = np.full(len(positions), np.inf)
        if truth is not None:
            error[found] = np.linalg.norm(positions[found] - truth[found], axis=1)
        self.pairs += 1
        self.allowed += int(allowed)
        self.false_allowed += int(allowed and bool((error[found] > FAR).any()))
        self.visible += int(visible.sum())
        self.within2 += int((visible & (error <= NEAR)).sum())
        self.within5 += int((visible & (error <= FAR)).sum())
        self.hidden += int((~visible).sum())
        self.found += int(found.sum())
        self.right += int((error[found] <= FAR).sum())

    def judge(self, confidence: Array, right: NDArray[np.bool_]) -> None:
        """Count matches by themselves, also refused ones: how sure φ was, and which were right."""
        self.found += len(confidence)
        self.right += int(right.sum())
        self.confidence += float(confidence.sum())

    def __add__(self, other: Count) -> Count:
        """Return the sums over both."""
        mine, theirs = asdict(self), asdict(other)
        return Count(**{name: value + theirs[name] for name, value in mine.items()})


def calibration_error(bins: list[Count]) -> float:
    """Return the expected calibration error of matches sorted into bins by their confidence.

    It is the mean over all matches of |share that is right - mean confidence| of their bin.
    """
    total = sum(item.found for item in bins)
    return sum(abs(item.right - item.confidence) for item in bins) / max(total, 1)
