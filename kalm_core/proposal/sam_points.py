"""What every Segment Anything offers, points in and masks out, and where the points are put."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kalm_core.features.extractor import Pixels


@dataclass(frozen=True)
class PromptedMasks:
    """Masks that a network answered to single points; several per point, of growing extent.

    Attributes:
        pixels: (M, H, W) bool.
        confidence: (M,) float, the network's own estimate of each mask's IoU with a true part.
    """

    pixels: NDArray[np.bool_]
    confidence: NDArray[np.float64]


class PointSegmenter(Protocol):
    """A promptable segmentation network."""

    def segment(self, color: NDArray[np.uint8], points: Pixels) -> PromptedMasks:
        """Segment an image at some points.

        Args:
            color: (H, W, 3) uint8, RGB.
            points: (P, 2) pixels (u, v), each a prompt of its own; at least one.
        """


def prompt_points(mask: NDArray[np.bool_], spacing: int, most: int) -> Pixels:
    """Return points spread evenly over a mask (section II-C: uniform in the chosen region).

    Args:
        mask: (H, W) bool.
        spacing: distance between neighbours [px]; grows until no more than `most` points are left.
        most: how many at most.

    Returns:
        (P, 2) pixels (u, v) in the mask; one at least unless the mask is empty.
    """
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        return np.zeros((0, 2), np.int64)
    while True:
        # Centred in the mask's box, so that a mirrored mask has mirrored points.
        v, u = (_centred(int(a.min()), int(a.max()), spacing) for a in (rows, columns))
        grid = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
        inside = grid[mask[grid[:, 1], grid[:, 0]]]
        if len(inside) > most:
            spacing += max(1, spacing // 8)
            continue
        if len(inside) == 0:  # a thin mask between the grid's points
            middle = np.hypot(columns - columns.mean(), rows - rows.mean()).argmin()
            inside = np.array([[columns[middle], rows[middle]]])
        return inside.astype(np.int64)


def _centred(low: int, high: int, spacing: int) -> NDArray[np.int64]:
    """Return positions `spacing` apart from low to high, with equal margins."""
    margin = ((high - low) % spacing) // 2
    return np.arange(low + margin, high + 1, spacing)
