"""What a stereo depth camera adds to true depth: range limits, noise, holes at edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import binary_dilation, gaussian_filter, maximum_filter, minimum_filter

from kalm_core.settings import Settings


class DepthNoiseSettings(Settings):
    """The depth of a D435i in short range; every part can be turned off by a zero."""

    min_range: float = Field(0.17, ge=0.0, le=1.0, description="nearer gives no measurement [m]")
    max_range: float = Field(3.0, gt=0.0, le=20.0, description="farther gives none [m]")
    noise_at_half_meter: float = Field(
        0.0013, ge=0.0, le=0.02, description="standard deviation at 0.5 m; grows with z² [m]"
    )
    noise_size: float = Field(
        2.5, ge=0.0, le=20.0, description="size of the patches that err together [px]"
    )
    edge_step: float = Field(
        0.025, ge=0.0, le=1.0, description="step of depth that makes a hole; 0 makes none [m]"
    )
    edge_width: int = Field(2, ge=0, le=20, description="half width of the hole at an edge [px]")
    edge_dropout: float = Field(
        0.8, ge=0.0, le=1.0, description="share of the pixels at an edge that are lost"
    )
    speckle_dropout: float = Field(
        0.002, ge=0.0, le=0.5, description="share of all pixels that are lost at random"
    )
    resolution: float = Field(
        0.001, ge=0.0, le=0.01, description="depth is a multiple of this; 0 leaves it exact [m]"
    )

    @classmethod
    def off(cls) -> DepthNoiseSettings:
        """Return settings that leave depth as it is, within 0 to 20 m."""
        return cls(
            min_range=0.0,
            max_range=20.0,
            noise_at_half_meter=0.0,
            edge_step=0.0,
            speckle_dropout=0.0,
            resolution=0.0,
        )


def add_depth_noise(
    depth: NDArray[np.float32], settings: DepthNoiseSettings, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the depth that the sensor would report.

    Args:
        depth: (H, W) true distance along the optical axis [m]; 0 where there is none.
        settings: how bad the sensor is.
        rng: where the noise comes from.

    Returns:
        (H, W) float32 [m]; 0 is "no measurement".
    """
    z = depth.astype(np.float64)
    lost = (z < settings.min_range) | (z > settings.max_range) | (z <= 0)
    if settings.edge_step > 0 and settings.edge_dropout > 0:
        lost |= _edges(z, settings) & (rng.random(z.shape) < settings.edge_dropout)
    if settings.speckle_dropout > 0:
        lost |= rng.random(z.shape) < settings.speckle_dropout
    if settings.noise_at_half_meter > 0:
        z = z + settings.noise_at_half_meter * (z / 0.5) ** 2 * _patches(z.shape, settings, rng)
    if settings.resolution > 0:
        z = np.round(z / settings.resolution) * settings.resolution
    return np.where(lost, 0.0, z).astype(np.float32)


def _edges(z: NDArray[np.float64], settings: DepthNoiseSettings) -> NDArray[np.bool_]:
    """Return where depth steps by more than a slanted surface would at that distance."""
    step = maximum_filter(z, 3) - minimum_filter(z, 3)
    edges = step > settings.edge_step * np.maximum(z / 0.5, 0.5)
    if settings.edge_width > 0:
        edges = binary_dilation(edges, iterations=settings.edge_width)
    return np.asarray(edges)


def _patches(
    shape: tuple[int, ...], settings: DepthNoiseSettings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return noise of unit variance whose neighbours are alike."""
    noise = rng.standard_normal(shape)
    if settings.noise_size > 0:
        noise = gaussian_filter(noise, settings.noise_size / 2)
    return np.asarray(noise / noise.std())
