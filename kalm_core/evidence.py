"""What was seen when a mask was tried: kept for the report, not for the skill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm_core.features.view import FeatureView
from kalm_core.proposal.region import Region
from kalm_core.se3 import Array
from kalm_core.verification import CandidateMatches


@dataclass(frozen=True)
class Evidence:
    """One attempt at finding keypoints, with D demonstrations and N candidates.

    Attributes:
        region: where a part was looked for.
        mask: (H, W) bool, the part that was tried; None when nothing could be segmented.
        positions: (N, 3) candidates [m] in the base frame of the seed's image; none before that.
        matches: (D, N, 3) best match of each in each demonstration's first image [m].
        found: (D, N) whether that match counts (Null where not).
    """

    region: Region
    mask: NDArray[np.bool_] | None = None
    positions: Array | None = None
    matches: Array | None = None
    found: NDArray[np.bool_] | None = None

    @staticmethod
    def of_candidates(
        region: Region,
        mask: NDArray[np.bool_],
        positions: Array,
        matches: CandidateMatches,
        views: Sequence[FeatureView],
    ) -> Evidence:
        """Return the evidence of candidates that were looked for in every view."""
        nowhere = np.full(positions.shape, np.nan)
        places = [
            view.points[rows] if len(view) else nowhere
            for view, rows in zip(views, matches.rows, strict=True)
        ]
        return Evidence(region, mask, positions, np.stack(places), matches.found)
