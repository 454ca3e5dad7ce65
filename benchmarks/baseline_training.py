"""Training and sampling of the paper's baselines, for all of them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.baseline_actor import PointActor
from benchmarks.baseline_models import Batch, ImageDiffuser
from benchmarks.baseline_sight import Sights
from kalm_core.policy.diffusion import denoise, training_loss
from kalm_core.policy.encoding import decode, encode
from kalm_core.policy.regression import FLOOR
from kalm_core.policy.settings import DiffusionSettings
from kalm_core.policy.threads import torch_threads
from kalm_core.se3 import Array, rotation_about_z, transform_points
from kalm_core.trajectory import EndEffectorTrajectory

KINDS = ("diffuser_rgb", "diffuser_rgb_keypoints", "actor3d", "actor3d_keypoints")
"""The baselines: on an image or on points, without and with keypoints."""

_DIFFUSION = DiffusionSettings()
_SHAKEN = 0.003  # noise of points in training, sd [m]
_SHAKEN_PIXELS = 0.01  # ... and of keypoints in the picture, of half its width


@dataclass(frozen=True)
class Effort:
    """How long and how a baseline is trained.

    Attributes:
        steps: of the optimiser.
        batch: views per step.
        rate: peak of the learning rate, which falls as a cosine.
        ema: decay of the averaged weights.
        yaw: to which a world is turned about gravity, either way [rad].
        shift: of a world along x and y, sd [m].
        points: of a scene that one step sees, drawn anew each time.
    """

    steps: int = 500
    batch: int = 32
    rate: float = 1e-3
    ema: float = 0.99
    yaw: float = 0.8
    shift: float = 0.03
    points: int = 96


EFFORT = {
    "diffuser_rgb": Effort(),
    "diffuser_rgb_keypoints": Effort(),
    "actor3d": Effort(batch=16),
    "actor3d_keypoints": Effort(batch=16),
}


@dataclass(frozen=True)
class Scaling:
    """Maps (..., 48, 10) rows in the base frame to numbers about 1 in size, and back.

    Attributes:
        mean, scale: (48, 10), or (10,) where all poses share them.
    """

    mean: Array
    scale: Array

    @staticmethod
    def of_poses(rows: Array) -> Scaling:
        """Scale (N, 48, 10) rows pose by pose, for a network that is told no places."""
        return Scaling(rows.mean(axis=0), np.sqrt(rows.var(axis=0) + FLOOR**2))

    @staticmethod
    def of_space(rows: Array) -> Scaling:
        """Scale (N, 48, 10) rows alike along all axes, so that places keep their geometry."""
        mean, scale = np.zeros(rows.shape[2]), np.full(rows.shape[2], 0.5)
        mean[:3], scale[:3] = rows[..., :3].mean(axis=(0, 1)), 0.1
        mean[9], scale[9] = rows[..., 9].mean(), FLOOR[9]
        return Scaling(mean, scale)

    def positions(self, points: Array) -> Array:
        """Return (..., 3) points [m] in the units of `of_space`."""
        mean, scale = np.broadcast_arrays(self.mean[..., :3], self.scale[..., :3])
        return np.asarray((points - mean.reshape(-1, 3)[0]) / scale.reshape(-1, 3)[0])


@dataclass(frozen=True)
class Baseline:
    """A trained baseline.

    Attributes:
        network: with averaged weights.
        scaling: of its trajectories.
        stamps: (48,) times of the poses [s].
        losses: of the training, step by step.
        seconds: of the training, processor time.
    """

    network: nn.Module
    scaling: Scaling
    stamps: Array
    losses: tuple[float, ...]
    seconds: float

    def sample(self, seen: Sights, count: int, seed: int) -> list[EndEffectorTrajectory]:
        """Denoise `count` trajectories for one view, the one nearest to their mean first."""
        with torch_threads(1), torch.no_grad():
            told = self.network.eval().observe(batch_of(seen, self.scaling))
            told = told.expand(count, *told.shape[1:])
            values = denoise(self.network, told, _DIFFUSION, seed).double().numpy()
        distance = np.linalg.norm(values - values.mean(axis=0), axis=(1, 2))
        rows = values[np.argsort(distance, kind="stable")] * self.scaling.scale + self.scaling.mean
        return [decode(r, np.eye(4), self.stamps) for r in rows]


def network_of(kind: str, keypoints: int) -> nn.Module:
    """Return the untrained network of a baseline, one of `KINDS`."""
    count = keypoints if kind.endswith("_keypoints") else 0
    return PointActor(count) if kind.startswith("actor3d") else ImageDiffuser(count)


def train_baseline(
    kind: str,
    seen: Sequence[Sights],
    trajectories: Sequence[EndEffectorTrajectory],
    seed: int,
    effort: Effort | None = None,
) -> Baseline:
    """Train a baseline; the same arguments give the same weights.

    Args:
        kind: one of `KINDS`.
        seen: views of each demonstration's first scene.
        trajectories: its execution, in the base frame.
        seed: of weights, batches and noise.
        effort: None takes that of the kind.
    """
    effort = effort or EFFORT[kind]
    rows = np.stack([encode(t, np.eye(4)) for t in trajectories])
    in_space = kind.startswith("actor3d")
    scaling = Scaling.of_space(rows) if in_space else Scaling.of_poses(rows)
    views, owner = Sights.joined(list(seen)), np.repeat(np.arange(len(seen)), [*map(len, seen)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = network_of(kind, views.keypoints.shape[1])
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(effort.ema))
    optimizer = torch.optim.AdamW(network.parameters(), effort.rate, weight_decay=1e-4)
    start, losses = time.process_time(), []
    with torch_threads(1):
        for step in range(effort.steps):
            rng = np.random.default_rng([seed, step])
            noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
            for group in optimizer.param_groups:
                group["lr"] = _rate(effort, step)
            index = rng.integers(len(views), size=effort.batch)
            drawn, clean = views[index], rows[owner[index]]
            drawn, clean = shaken(drawn, clean, effort, rng)
            values = ((clean - scaling.mean) / scaling.scale).astype(np.float32)
            told = network.observe(batch_of(drawn, scaling))
            loss = training_loss(network, torch.from_numpy(values), told, _DIFFUSION, noise)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            averaged.update_parameters(network)
            losses.append(float(loss.detach()))
    stamps = np.mean([t.stamps for t in trajectories], axis=0)
    used = time.process_time() - start
    return Baseline(averaged.module.eval(), scaling, stamps, tuple(losses), used)


def shaken(
    seen: Sights, rows: Array, effort: Effort, rng: np.random.Generator
) -> tuple[Sights, Array]:
    """Turn and shift whole worlds, shake what was measured in them and leave some points out.

    A picture cannot be turned about gravity. But when camera, object and trajectory turn together,
    it stays as it is: that is what a network on images learns from, and one on points as well.

    Args:
        seen: B views.
        rows: (B, 48, 10) trajectories in the base frame.
        effort: how much.
        rng: the only source of randomness.
    """
    keep = rng.permutation(seen.points.shape[1])[: effort.points]
    points, keypoints, camera = seen.points[:, keep].copy(), seen.keypoints.copy(), []
    turned = rows.copy()
    for i, row in enumerate(rows):
        T = rotation_about_z(float(rng.uniform(-effort.yaw, effort.yaw)))
        middle = row[:, :3].mean(axis=0)
        T[:3, 3] = middle - T[:3, :3] @ middle
        T[:2, 3] += rng.normal(0.0, effort.shift, 2)
        points[i], keypoints[i] = transform_points(T, points[i]), transform_points(T, keypoints[i])
        camera.append((T @ np.vstack([seen.camera[i].reshape(3, 4), [0, 0, 0, 1]]))[:3].ravel())
        turned[i, :, :3] = transform_points(T, row[:, :3])
        turned[i, :, 3:6], turned[i, :, 6:9] = row[:, 3:6] @ T[:3, :3].T, row[:, 6:9] @ T[:3, :3].T
    seen = replace(
        seen,
        camera=np.stack(camera),
        points=points + rng.normal(0.0, _SHAKEN, points.shape),
        colors=seen.colors[:, keep],
        places=seen.places[:, keep],
        keypoints=keypoints + rng.normal(0.0, _SHAKEN, keypoints.shape),
        pixels=seen.pixels + rng.normal(0.0, _SHAKEN_PIXELS, seen.pixels.shape),
    )
    return seen, turned


def batch_of(seen: Sights, scaling: Scaling) -> Batch:
    """Return views as tensors."""
    arrays = {f.name: np.asarray(getattr(seen, f.name), np.float32) for f in fields(Sights)}
    arrays["image"] = (arrays["image"] / 127.5 - 1.0).transpose(0, 3, 1, 2)
    arrays["colors"] = arrays["colors"] / 127.5 - 1.0
    for name in ("points", "keypoints"):
        arrays[name] = scaling.positions(getattr(seen, name)).astype(np.float32)
    return Batch(**{name: _tensor(array) for name, array in arrays.items()})


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def _rate(effort: Effort, step: int) -> float:
    warm = min(1.0, (step + 1) / 50)
    return effort.rate * warm * 0.5 * (1 + math.cos(math.pi * step / effort.steps))
