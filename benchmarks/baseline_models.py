"""The paper's first baseline: a Diffuser that sees an image, with or without 2D keypoints.

As in the paper it is a temporal network over the trajectory, told what an image encoder makes of
the picture and where the camera is; here the encoder is a small convolutional network, trained
from nothing, in place of DINO.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kalm_core.policy.network import TrajectoryUNet
from kalm_core.policy.settings import NetworkSettings

_TOLD = 64  # numbers that the temporal network is told
_MAPS = 32  # feature maps of an image, each of which names one place in it
_CAMERA = 12  # numbers of a camera's pose


@dataclass(frozen=True)
class Batch:
    """Views as tensors; positions are in units of the trajectory's scaling.

    Attributes:
        image: (B, 3, 96, 96) in [-1, 1].
        camera: (B, 12) its pose, position in metres.
        points: (B, N, 3).
        colors: (B, N, 3) in [-1, 1].
        places: (B, N, 2) in the image, -1 to 1.
        keypoints: (B, K, 3).
        pixels: (B, K, 2) in the image, -1 to 1.
    """

    image: Tensor
    camera: Tensor
    points: Tensor
    colors: Tensor
    places: Tensor
    keypoints: Tensor
    pixels: Tensor


class ImageFeatures(nn.Module):
    """Returns (B, channels, 24, 24) features of (B, 3, 96, 96) images."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 24, 5, stride=2, padding=2),
            nn.GroupNorm(4, 24),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.GroupNorm(4, 32),
            nn.ReLU(),
            nn.Conv2d(32, channels, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        features: Tensor = self.layers(image.contiguous(memory_format=torch.channels_last))
        return features


class ImageDiffuser(nn.Module):
    """Predicts the clean trajectory from a noisy one, the noise level and an image.

    Args:
        keypoints: K whose 2D places it is told; 0 for none.
    """

    def __init__(self, keypoints: int = 0) -> None:
        super().__init__()
        self.with_keypoints = keypoints > 0
        self.features = ImageFeatures(_MAPS)
        self.deeper = nn.Sequential(
            nn.ReLU(), nn.Conv2d(_MAPS, _MAPS, 3, padding=1), nn.ReLU(), nn.Conv2d(_MAPS, _MAPS, 1)
        )
        self.sharpness = nn.Parameter(torch.ones(_MAPS))
        inputs = 2 * _MAPS + _CAMERA + 2 * keypoints
        self.fuse = nn.Sequential(
            nn.Linear(inputs, 128), nn.Mish(), nn.Linear(128, 128), nn.Mish(), nn.Linear(128, _TOLD)
        )
        self.temporal = TrajectoryUNet(_TOLD // 4, NetworkSettings())

    def observe(self, batch: Batch) -> Tensor:
        """Return (B, 64) numbers of a view, which `forward` is told."""
        maps = self.deeper(self.features(batch.image)) * self.sharpness[:, None, None]
        seen = [spatial_softmax(maps), batch.camera]
        if self.with_keypoints:
            seen.append(batch.pixels.flatten(1))
        told: Tensor = self.fuse(torch.cat(seen, dim=1))
        return told

    def forward(self, noisy: Tensor, level: Tensor, told: Tensor) -> Tensor:
        """Return (B, 48, 10) clean values from (B, 48, 10) noisy ones at (B,) noise levels."""
        clean: Tensor = self.temporal(noisy, level, told)
        return clean


def spatial_softmax(maps: Tensor) -> Tensor:
    """Return (B, 2 * C) the mean place, x and y in [-1, 1], of each of (B, C, H, W) maps."""
    height, width = maps.shape[2:]
    share = maps.flatten(2).softmax(dim=2).unflatten(2, (height, width))
    x = torch.linspace(-1.0, 1.0, width, device=maps.device)
    y = torch.linspace(-1.0, 1.0, height, device=maps.device)
    return torch.cat([(share.sum(dim=2) * x).sum(dim=2), (share.sum(dim=3) * y).sum(dim=2)], dim=1)
