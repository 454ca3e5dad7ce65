"""What makes a mask worth trying: large enough, inside the region, near its middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kalm_core.proposal.region import Region


def closeness(
    pixels: NDArray[np.bool_],
    points: NDArray[np.float32],
    region: Region,
    *,
    min_pixels: int,
    min_inside: float,
    min_extent: float,
) -> float | None:
    """Return how close a mask lies to the region's middle.

    Args:
        pixels: (H, W) bool, pixels with depth.
        points: (H, W, 3) the image's points [m] in the base frame.
        region: that the mask was proposed for.
        min_pixels: a smaller mask is degenerate.
        min_inside: least share of the mask inside the region.
        min_extent: a shorter mask is degenerate [m].

    Returns:
        In (0, 1], 1 in the very middle; None for a mask that is degenerate or elsewhere.
    """
    count = int(pixels.sum())
    if count < max(min_pixels, 1) or (pixels & region.mask).sum() < min_inside * count:
        return None
    inside = points[pixels].astype(np.float64)
    low, high = np.percentile(inside, [2, 98], axis=0)
    if np.linalg.norm(high - low) < min_extent:
        return None
    distance = np.linalg.norm(inside - region.center, axis=1)
    return float(np.exp(-((distance / (region.radius / 2)) ** 2)).mean())
