"""From one feature per image patch to one per pixel, only at the pixels that are asked for.

`edges` is joint bilateral upsampling (Kopf et al. 2007): a pixel takes from those patches around it
that look as it does and lie at its depth. It needs no weights and no compiled operator. `bilinear`
looks at nothing, for comparison.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from kalm_core.features.extractor import Features, Pixels
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array

_REACH = 2  # patches to each side
_FLOOR = 1e-3  # least share that a patch keeps when none looks like the pixel


class Upsampler(Protocol):
    """Brings a coarse map of features to pixels."""

    def sample(
        self, patches: torch.Tensor, image: torch.Tensor, frame: RgbdFrame, pixels: Pixels
    ) -> Features:
        """Return the features at some pixels.

        Args:
            patches: (C, h, w) float32, a feature for each patch of the image.
            image: (1, 3, H, W) the normalised image that the network was fed.
            frame: the original image, of which both cover the whole.
            pixels: (N, 2) integer (u, v) of the original image.

        Returns:
            (N, C) float32.
        """


class EdgeUpsampler:
    """Joint bilateral upsampling on colour and depth.

    Args:
        color_step: colour difference [0-255] at which a patch weighs 1/e.
        depth_step: depth difference [m] at which a patch weighs 1/e.
    """

    def __init__(self, color_step: float, depth_step: float) -> None:
        self.color_step = color_step
        self.depth_step = depth_step

    def sample(
        self, patches: torch.Tensor, image: torch.Tensor, frame: RgbdFrame, pixels: Pixels
    ) -> Features:
        """Return the features at some pixels; see `Upsampler`."""
        _, height, width = patches.shape
        cells, weights = _neighbours(frame, pixels, height, width)
        color, depth = _patch_means(frame, height, width)
        own = frame.color[pixels[:, 1], pixels[:, 0]].astype(np.float32)
        tint = np.linalg.norm(own[:, None] - color[cells], axis=-1) / self.color_step
        here = frame.depth[pixels[:, 1], pixels[:, 0]]
        step = np.abs(here[:, None] - depth[cells]) / self.depth_step
        step[here == 0] = 0.0  # a pixel without depth is judged by colour alone
        likeness = np.exp(-(tint**2) - np.nan_to_num(step, nan=0.0) ** 2)
        return _mix(patches, cells, weights * (likeness + _FLOOR))


class BilinearUpsampler:
    """Bilinear interpolation."""

    def sample(
        self, patches: torch.Tensor, image: torch.Tensor, frame: RgbdFrame, pixels: Pixels
    ) -> Features:
        """Return the features at some pixels; see `Upsampler`."""
        return sample_map(patches, frame, pixels)


def sample_map(features: torch.Tensor, frame: RgbdFrame, pixels: Pixels) -> Features:
    """Return (N, C) bilinear samples of a (C, h, w) map that covers the whole frame."""
    k = frame.intrinsics
    place = (torch.from_numpy(pixels).double() + 0.5) / torch.tensor([k.width, k.height]) * 2 - 1
    sampled = torch.nn.functional.grid_sample(
        features[None].cpu().float(),
        place.float()[None, None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return np.ascontiguousarray(sampled[0, :, 0].T.numpy())


def _neighbours(
    frame: RgbdFrame, pixels: Pixels, height: int, width: int
) -> tuple[NDArray[np.int64], Array]:
    """Return (N, 16) the patches around each pixel, row by row, and their spatial weights.

    The weight vanishes two patches away, so that the choice of 4 by 4 patches leaves no trace.
    """
    k = frame.intrinsics
    offsets = np.arange(1 - _REACH, _REACH + 1)
    index, weight = [], []
    for position, size, count in ((pixels[:, 1], k.height, height), (pixels[:, 0], k.width, width)):
        place = (position + 0.5) / size * count - 0.5
        cell = np.floor(place).astype(np.int64)[:, None] + offsets
        near = np.clip(1 - ((place[:, None] - cell) / _REACH) ** 2, 0, 1) ** 3
        weight.append(np.where((cell >= 0) & (cell < count), near, 0.0))
        index.append(np.clip(cell, 0, count - 1))
    cells = index[0][:, :, None] * width + index[1][:, None, :]
    weights = weight[0][:, :, None] * weight[1][:, None, :]
    return cells.reshape(len(pixels), -1), weights.reshape(len(pixels), -1)


def _patch_means(
    frame: RgbdFrame, height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (h·w, 3) mean colour and (h·w,) mean depth [m] of the patches; NaN without depth."""
    depth = torch.from_numpy(frame.depth)[None]
    valid = (depth > 0).float()
    color = torch.from_numpy(np.ascontiguousarray(frame.color)).permute(2, 0, 1).float()
    stack = torch.cat([color, depth * valid, valid])[None]
    mean = torch.nn.functional.adaptive_avg_pool2d(stack, (height, width))[0].flatten(1).numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.ascontiguousarray(mean[:3].T), mean[3] / mean[4]


def _mix(patches: torch.Tensor, cells: NDArray[np.int64], weights: Array) -> Features:
    """Return the weighted means of patch features, (N, C), as one sparse product."""
    count, around = cells.shape
    weights = weights / weights.sum(axis=1, keepdims=True)
    rows = np.arange(0, count * around + 1, around)
    features = patches.cpu().float().flatten(1).T.numpy()
    matrix = csr_matrix(
        (weights.astype(np.float32).ravel(), cells.ravel(), rows), (count, len(features))
    )
    return np.asarray(matrix @ np.ascontiguousarray(features), np.float32)
