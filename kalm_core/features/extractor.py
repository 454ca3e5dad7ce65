"""What a dense feature is, and which are built by name."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kalm_core.rgbd import RgbdFrame

Features = NDArray[np.float32]
Pixels = NDArray[np.int64]


class FeatureExtractor(Protocol):
    """A feature F(p) at pixels of an RGB-D image (section II-C)."""

    @property
    def name(self) -> str:
        """The backend's name, under which a skill stores its features."""

    @property
    def dimension(self) -> int:
        """Length C of a feature."""

    def extract(self, frame: RgbdFrame, pixels: Pixels) -> Features:
        """Return the features at some pixels.

        Args:
            frame: the image.
            pixels: (N, 2) integer (u, v) inside the image.

        Returns:
            (N, C) float32 unit rows; a row is zero where the feature is undefined.
        """


def unit_rows(rows: NDArray[np.floating]) -> Features:
    """Scale rows to length one; rows that are zero or not finite become zero."""
    clean = np.where(np.isfinite(rows).all(axis=-1, keepdims=True), rows, 0.0)
    norm = np.linalg.norm(clean, axis=-1, keepdims=True)
    return np.asarray(np.where(norm > 1e-9, clean / np.maximum(norm, 1e-9), 0.0), np.float32)
