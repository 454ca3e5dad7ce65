"""How probable it is that a match is right: a logistic map of what φ saw, fitted per skill.

The samples come from the demonstrations, each left out in turn: matches on the part that the arm
touched, and the best that φ finds when that part is taken out of the image. Ten demonstrations are
few, so the map stays near `PRIOR` unless they say otherwise, and no match is more certain than as
many right ones allow (rule of succession).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from kalm_core.se3 import Array

PRIOR: Array = np.array([2.0, 1.0, 1.0, 0.5, 0.5, -0.5])
"""Of a skill without demonstrations: offset and one weight per cue, in the order of `Cues`."""

_TRUST = 1.0
"""Standard deviation of the weights around `PRIOR`."""

_SCALE = 0.1
"""A difference of scores that matters [cosine]."""


@dataclass(frozen=True)
class Cues:
    """What tells a right match from a wrong one, for K keypoints of one image.

    Attributes:
        margin: (K,) score above the lowest in a demonstration.
        part_margin: mean of `margin` over all keypoints.
        agreeing: (K,) share of the group that matches near.
        lead: by how much the arrangement is better supported than the best one elsewhere.
        residual: (K,) distance from where the arrangement puts it, 1 at the tolerance.
    """

    margin: Array
    part_margin: float
    agreeing: Array
    lead: float
    residual: Array

    @property
    def rows(self) -> Array:
        """The (K, 6) design matrix: 1 and the cues, each about 1 where it matters."""
        one = np.ones(len(self.margin))
        columns = [
            one,
            np.clip(self.margin / _SCALE, -3.0, 1.0),
            one * np.clip(self.part_margin / _SCALE, -3.0, 1.0),
            2.0 * self.agreeing - 1.0,
            one * np.clip(self.lead / _SCALE, 0.0, 2.0),
            np.clip(self.residual, 0.0, 1.0),
        ]
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Calibration:
    """The map from cues to the probability that a match is right.

    Attributes:
        weights: (6,) of the logistic map.
        ceiling: greatest probability that is given, in (0, 1).
    """

    weights: Array
    ceiling: float

    @staticmethod
    def default() -> Calibration:
        """Return what is believed without demonstrations."""
        return Calibration(PRIOR.copy(), 0.9)

    def confidence(self, cues: Cues) -> Array:
        """Return (K,) probabilities in [0, `ceiling`]."""
        return np.asarray(np.minimum(expit(cues.rows @ self.weights), self.ceiling))


def calibrate(cues: list[Cues], right: list[NDArray[np.bool_]]) -> Calibration:
    """Fit the map to matches that are known to be right or wrong; order does not matter.

    Args:
        cues: of each image.
        right: per image, (K,) which matches were right.
    """
    if not cues:
        return Calibration.default()
    design = np.concatenate([item.rows for item in cues])
    sign = np.where(np.concatenate(right), 1.0, -1.0)

    def loss(weights: Array) -> tuple[float, Array]:
        """Return the negative log posterior and its gradient."""
        logit = sign * (design @ weights)
        off = (weights - PRIOR) / _TRUST
        gradient = off / _TRUST - design.T @ (sign * expit(-logit))
        return float(-log_expit(logit).sum() + 0.5 * off @ off), gradient

    fitted = minimize(loss, PRIOR, jac=True, method="L-BFGS-B")
    count = int((sign > 0).sum())
    return Calibration(np.asarray(fitted.x), (count + 1.0) / (count + 2.0))
