"""Regions: which part of a demonstration's first image the task is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kalm_core.demonstration import Demonstration
from kalm_core.se3 import Array


@dataclass(frozen=True)
class Region:
    """A coarse region in the first image of one demonstration (VLM_1 in Algorithm 1).

    Attributes:
        demonstration: index of the seed demonstration.
        mask: (H, W) bool, pixels with depth that belong to the region.
        center: (3,) the middle of the region [m] in that demonstration's base frame.
        radius: reach of the region around it [m].
        score: how well the region is seen; higher is better.
    """

    demonstration: int
    mask: NDArray[np.bool_]
    center: Array
    radius: float
    score: float


class RegionProposer(Protocol):
    """Chooses regions of the initial images."""

    def propose(self, demonstrations: Sequence[Demonstration]) -> list[Region]:
        """Return regions, best first.

        Raises:
            DistillationError: no demonstration shows a region.
        """
