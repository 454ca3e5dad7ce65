"""Regions: which part of a demonstration's first image the task is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        description: object and part in words, where the proposer has words for them.
    """

    demonstration: int
    mask: NDArray[np.bool_]
    center: Array
    radius: float
    score: float
    description: str = ""


@dataclass(frozen=True)
class Rejection:
    """What verification did not accept; those who propose learn from it.

    Attributes:
        demonstration: index of the demonstration whose first image it is in.
        pixels: (H, W) bool, the mask; None when the region held no part at all.
        reason: in words.
    """

    demonstration: int
    pixels: NDArray[np.bool_] | None
    reason: str


class RegionProposer(Protocol):
    """Chooses regions of the initial images."""

    def propose(
        self,
        demonstrations: Sequence[Demonstration],
        task: str = "",
        rejected: Sequence[Rejection] = (),
    ) -> Iterable[Region]:
        """Return regions, best first; each may be thought of only when it is asked for.

        Args:
            demonstrations: of one skill.
            task: what they show, in one sentence.
            rejected: what was not accepted; grows while the regions are tried.

        Raises:
            DistillationError: no demonstration shows a region.
        """
