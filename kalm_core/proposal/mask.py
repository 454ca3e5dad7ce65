"""Masks: parts of an image that may carry the keypoints, and the suppression of near copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kalm_core.proposal.region import Region
from kalm_core.rgbd import RgbdFrame


@dataclass(frozen=True)
class Mask:
    """A part of an image (an element of M_s in Algorithm 1).

    Attributes:
        pixels: (H, W) bool; only pixels with depth.
        score: how well it fits the region; higher is better.
    """

    pixels: NDArray[np.bool_]
    score: float


class MaskProposer(Protocol):
    """Segments the surroundings of a region."""

    def propose(self, frame: RgbdFrame, region: Region) -> list[Mask]:
        """Return masks, best first; none when nothing can be segmented."""


def intersection_over_union(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the IoU of two masks; 0 when both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum()) / union if union else 0.0


def suppress_overlaps(masks: Sequence[Mask], max_iou: float) -> list[Mask]:
    """Keep masks, best first, that overlap no better one by more than `max_iou`."""
    kept: list[Mask] = []
    for mask in sorted(masks, key=lambda item: -item.score):
        if all(intersection_over_union(mask.pixels, other.pixels) <= max_iou for other in kept):
            kept.append(mask)
    return kept
