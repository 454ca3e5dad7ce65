"""The paper's second baseline: a model in the style of 3D Diffuser Actor, on points with features.

Every pose of the noisy trajectory is a token at its place in space and attends to the scene's
points, each with a feature of the image where it is seen. Attention knows only where two tokens
are relative to each other, so that the prediction shifts with the scene. Relative places are coded
twice: by turning queries and keys (rotary, as published), and by what attention returns, which
holds the mean offset to what was attended to (not published; it learns from fewer scenes).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchmarks.baseline_models import Batch, ImageFeatures
from kalm_core.policy.encoding import CHANNELS
from kalm_core.trajectory import POSES

_WIDTH, _HEADS, _LAYERS = 96, 4, 3
_PER_HEAD = _WIDTH // _HEADS
_WAVES = _PER_HEAD // 6  # wave lengths per axis; a sine and a cosine of each
_LONGEST, _SHORTEST = 20.0, 0.8  # of the waves, in units of the trajectory's scaling
_SEEN = 32  # features of the image at each point


class PointActor(nn.Module):
    """Predicts the clean trajectory from a noisy one, the noise level and points of the scene.

    Args:
        keypoints: K that are points of their own, each with a feature that says which it is; 0 for
            none.
    """

    def __init__(self, keypoints: int = 0) -> None:
        super().__init__()
        self.features = ImageFeatures(_SEEN)
        self.point = nn.Sequential(
            nn.Linear(_SEEN + 3, _WIDTH), nn.Mish(), nn.Linear(_WIDTH, _WIDTH)
        )
        self.names = nn.Parameter(torch.randn(keypoints, _WIDTH)) if keypoints else None
        self.around = _Attention()
        self.pose = nn.Parameter(0.5 * torch.randn(POSES, _WIDTH))
        self.other = nn.Linear(CHANNELS - 3, _WIDTH)
        self.level = nn.Sequential(
            nn.Linear(_WIDTH, _WIDTH), nn.Mish(), nn.Linear(_WIDTH, _WIDTH), nn.Mish()
        )
        self.layers = nn.ModuleList([_Layer() for _ in range(_LAYERS)])
        self.share = nn.Parameter(torch.full((_HEADS,), 1.0 / _HEADS))
        self.last = nn.Sequential(nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, CHANNELS))

    def observe(self, batch: Batch) -> Tensor:
        """Return (B, N + K, 3 + 96) places and features of the scene's tokens."""
        maps = self.features(batch.image)
        grid = batch.places[:, :, None]
        seen = nn.functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)
        tokens = self.point(torch.cat([seen[..., 0].transpose(1, 2), batch.colors], dim=2))
        places = batch.points
        if self.names is not None:
            places = torch.cat([places, batch.keypoints], dim=1)
            tokens = torch.cat([tokens, self.names.expand(len(tokens), -1, -1)], dim=1)
        tokens = tokens + self.around(tokens, places, tokens, places)[0]
        return torch.cat([places, tokens], dim=2)

    def forward(self, noisy: Tensor, level: Tensor, scene: Tensor) -> Tensor:
        """Return (B, 48, 10) clean values from (B, 48, 10) noisy ones.

        Args:
            noisy: (B, 48, 10) scaled trajectories with noise; all positions in one unit.
            level: (B,) noise levels.
            scene: (B, M, 3 + 96) from `observe`, places in the same unit.
        """
        places, tokens = scene[..., :3], scene[..., 3:]
        at = noisy[..., :3]
        told = self.level(_waves(level))
        x = self.pose + self.other(noisy[..., 3:])
        offset = torch.zeros(())
        for layer in self.layers:
            x, offset = layer(x, at, tokens, places, told)
        rest = self.last(x)
        position = at + torch.einsum("bhni,h->bni", offset, self.share) + rest[..., :3]
        return torch.cat([position, rest[..., 3:]], dim=2)


class _Attention(nn.Module):
    """Attention between tokens at places; returns features, and each head's mean offset."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(_WIDTH, _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.value = nn.Linear(_WIDTH, _WIDTH)
        self.out = nn.Linear(_WIDTH + 3 * _HEADS, _WIDTH)
        rates = 2 * math.pi / torch.logspace(math.log10(_LONGEST), math.log10(_SHORTEST), _WAVES)
        self.register_buffer("rates", rates, persistent=False)

    def forward(
        self, x: Tensor, at: Tensor, tokens: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return (B, N, 96) features and (B, heads, N, 3) offsets."""
        query = self._turned(_split(self.query(x)), at)
        key = self._turned(_split(self.key(tokens)), places)
        weight = (query @ key.transpose(2, 3) / math.sqrt(_PER_HEAD)).softmax(dim=3)
        taken = (weight @ _split(self.value(tokens))).transpose(1, 2).flatten(2)
        offset = weight @ places[:, None] - at[:, None]
        told = offset.permute(0, 2, 1, 3).flatten(2)
        return self.out(torch.cat([taken, told], dim=2)), offset

    def _turned(self, x: Tensor, at: Tensor) -> Tensor:
        """Turn (B, H, N, d) pairs of numbers by angles that grow with (B, N, 3) places."""
        angle = (at[..., None] * self.rates).flatten(2)[:, None]  # (B, 1, N, d / 2)
        a, b = x.chunk(2, dim=3)
        cosine, sine = angle.cos(), angle.sin()
        return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=3)


class _Layer(nn.Module):
    """Poses look at the scene, then at each other; the noise level scales and shifts them."""

    def __init__(self) -> None:
        super().__init__()
        self.look, self.agree = _Attention(), _Attention()
        self.norms = nn.ModuleList([nn.LayerNorm(_WIDTH) for _ in range(3)])
        self.film = nn.Linear(_WIDTH, 6 * _WIDTH)
        self.rest = nn.Sequential(
            nn.Linear(_WIDTH, 2 * _WIDTH), nn.Mish(), nn.Linear(2 * _WIDTH, _WIDTH)
        )
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(
        self, x: Tensor, at: Tensor, tokens: Tensor, places: Tensor, told: Tensor
    ) -> tuple[Tensor, Tensor]:
        film = self.film(told)[:, None].chunk(6, dim=2)
        seen, offset = self.look(self._normed(x, 0, film), at, tokens, places)
        x = x + seen
        own = self._normed(x, 1, film)
        x = x + self.agree(own, at, own, at)[0]
        return x + self.rest(self._normed(x, 2, film)), offset

    def _normed(self, x: Tensor, index: int, film: tuple[Tensor, ...]) -> Tensor:
        normed: Tensor = self.norms[index](x)
        return normed * (1.0 + film[2 * index]) + film[2 * index + 1]


def _split(x: Tensor) -> Tensor:
    """Turn (B, N, 96) into (B, heads, N, 24)."""
    return x.unflatten(2, (_HEADS, _PER_HEAD)).transpose(1, 2)


def _waves(level: Tensor) -> Tensor:
    """Return (B, 96) sines and cosines of (B,) noise levels."""
    rates = torch.exp(torch.linspace(0.0, -math.log(1000.0), _WIDTH // 2))
    angles = level.float()[:, None] * rates.to(level.device)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
