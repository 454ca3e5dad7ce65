"""A temporal U-Net that is told the keypoints by feature-wise scaling (FiLM)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from kalm_core.policy.encoding import CHANNELS
from kalm_core.policy.settings import NetworkSettings


class _Block(nn.Module):
    """Two convolutions over time with a skip; the condition scales and shifts the first."""

    def __init__(self, inputs: int, outputs: int, condition: int, kernel: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
        self.second = nn.Conv1d(outputs, outputs, kernel, padding=kernel // 2)
        self.norms = nn.ModuleList([nn.GroupNorm(8, outputs), nn.GroupNorm(8, outputs)])
        self.film = nn.Linear(condition, 2 * outputs)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.act = nn.Mish()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[:, :, None].chunk(2, dim=1)
        y = self.act(self.norms[0](self.first(x)) * (1.0 + scale) + shift)
        y = self.act(self.norms[1](self.second(y)))
        summed: Tensor = y + self.skip(x)
        return summed


class TrajectoryUNet(nn.Module):
    """Predicts the clean trajectory from a noisy one, the noise level and the keypoints.

    About 0.23 million parameters with the default settings and eight keypoints.

    Args:
        keypoints: K; four numbers of each are the condition.
        settings: sizes.
    """

    def __init__(self, keypoints: int, settings: NetworkSettings) -> None:
        super().__init__()
        width, kernel = settings.condition, settings.kernel
        self.frequencies = width // 2
        self.level = nn.Sequential(nn.Linear(width, width), nn.Mish(), nn.Linear(width, width))
        self.keypoints = nn.Sequential(
            nn.Linear(4 * keypoints, width), nn.Mish(), nn.Linear(width, width)
        )
        sizes = [CHANNELS, *settings.channels]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for a, b in pairwise(sizes):
            self.down.append(
                nn.ModuleList([_Block(a, b, width, kernel), _Block(b, b, width, kernel)])
            )
        top = settings.channels[-1]
        self.middle = _Block(top, top, width, kernel)
        levels = list(settings.channels)
        for a, b in pairwise(levels):
            self.shrink.append(nn.Conv1d(a, a, 3, stride=2, padding=1))
            self.grow.append(nn.ConvTranspose1d(b, b, 4, stride=2, padding=1))
            self.up.append(_Block(b + a, a, width, kernel))
        self.last = nn.Conv1d(levels[0], CHANNELS, 1)

    def forward(self, noisy: Tensor, level: Tensor, keypoints: Tensor) -> Tensor:
        """Return (B, 48, 10) clean values from (B, 48, 10) noisy ones.

        Args:
            noisy: (B, 48, 10) normalised trajectories with noise.
            level: (B,) noise levels, 0 to the number of training levels.
            keypoints: (B, K * 4) the condition, see `kalm_core.policy.condition`.
        """
        condition = self.level(_waves(level, self.frequencies)) + self.keypoints(keypoints)
        condition = nn.functional.mish(condition)
        x = noisy.transpose(1, 2)
        skips: list[Tensor] = []
        for i, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, condition)
            if i < len(self.shrink):
                skips.append(x)
                x = self.shrink[i](x)
        x = self.middle(x, condition)
        for i in reversed(range(len(self.up))):
            x = self.up[i](torch.cat([self.grow[i](x), skips[i]], dim=1), condition)
        clean: Tensor = self.last(x)
        return clean.transpose(1, 2)


def _waves(level: Tensor, frequencies: int) -> Tensor:
    """Return (B, 2 * frequencies) sines and cosines of (B,) noise levels."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(frequencies) / max(frequencies - 1, 1))
    angles = level.float()[:, None] * rates[None].to(level.device)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
