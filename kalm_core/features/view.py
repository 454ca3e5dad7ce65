"""The valid pixels of one image with their points and features: where φ looks for a match."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from kalm_core.features.extractor import FeatureExtractor, Features, Pixels
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array


@dataclass(frozen=True)
class FeatureView:
    """Sampled pixels of an image.

    Attributes:
        pixels: (N, 2) integer (u, v).
        points: (N, 3) [m] in the base frame.
        features: name of extractor -> (N, C) float32 unit rows.
        tree: nearest-neighbour structure over `points`.
    """

    pixels: Pixels
    points: Array
    features: dict[str, Features]
    tree: cKDTree = field(repr=False)

    def __len__(self) -> int:
        return len(self.pixels)


def valid_pixels(frame: RgbdFrame, stride: int, max_range: float) -> Pixels:
    """Return the (N, 2) pixels (u, v) on a grid of `stride` with depth below `max_range` [m]."""
    start = stride // 2
    depth = frame.depth[start::stride, start::stride]
    v, u = np.nonzero((depth > 0) & (depth < max_range))
    return np.stack([u * stride + start, v * stride + start], axis=1).astype(np.int64)


def make_view(
    frame: RgbdFrame, extractors: Mapping[str, FeatureExtractor], pixels: Pixels
) -> FeatureView:
    """Extract the features at some pixels with depth.

    Args:
        frame: the image.
        extractors: by name.
        pixels: (N, 2) integer (u, v), all with depth.
    """
    points = frame.points_base()[pixels[:, 1], pixels[:, 0]].astype(np.float64)
    features = {name: item.extract(frame, pixels) for name, item in extractors.items()}
    return FeatureView(pixels, points, features, cKDTree(points))
