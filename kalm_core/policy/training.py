"""Training the diffusion policy on a handful of demonstrations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kalm_core.errors import GoalError
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.augmentation import disturb
from kalm_core.policy.base import Example
from kalm_core.policy.condition import condition
from kalm_core.policy.diffusion import training_loss
from kalm_core.policy.diffusion_policy import TrajectoryPolicy
from kalm_core.policy.encoding import encode
from kalm_core.policy.evaluation import TrajectoryErrors, median_errors
from kalm_core.policy.network import TrajectoryUNet
from kalm_core.policy.normalization import Normalizer
from kalm_core.policy.rigid import RigidTransferPolicy
from kalm_core.policy.settings import PolicySettings
from kalm_core.policy.symmetry import to_one_way
from kalm_core.policy.threads import torch_threads
from kalm_core.progress import Progress

_MIN_FOR_HOLDING_OUT = 5


@dataclass(frozen=True)
class Validation:
    """Errors on demonstrations that a second, equal training did not see.

    Attributes:
        held_out: names of those demonstrations.
        policy: of the diffusion policy.
        rigid: of the most similar demonstration moved rigidly, the baseline.
    """

    held_out: tuple[str, ...]
    policy: TrajectoryErrors
    rigid: TrajectoryErrors


@dataclass(frozen=True)
class TrainingRecord:
    """How a training went.

    Attributes:
        losses: mean squared error per optimiser step, normalised units.
        fit: errors on the demonstrations that were trained on.
        validation: None when too few demonstrations were there to hold some out.
        seconds: wall time.
    """

    losses: tuple[float, ...]
    fit: TrajectoryErrors
    validation: Validation | None
    seconds: float


@dataclass(frozen=True)
class _Share:
    """The part of the stage "train" that one of its trainings reports, from `start` to `end`."""

    progress: Progress
    start: float
    end: float

    def step(self, step: int, steps: int, loss: float) -> None:
        done = self.start + (self.end - self.start) * step / steps
        self.progress.step("train", done, f"step {step} of {steps}, loss {loss:.4f}")


def train(
    examples: Sequence[Example],
    settings: PolicySettings | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[TrajectoryPolicy, TrainingRecord]:
    """Train a policy, and measure a second one on demonstrations that it did not see.

    Args:
        examples: demonstrations of one skill, three or more.
        settings: sizes and lengths; None takes the defaults.
        seed: with one thread, the same seed and examples give the same weights.
        progress: stage "train".

    Raises:
        KeypointsNotFoundError: an example has fewer than three keypoints that fit together.
        GoalError: fewer than three examples.
        CancelledError: the caller asked to stop.
    """
    settings, progress = settings or PolicySettings(), progress or Progress()
    if len(examples) < 3:
        raise GoalError(f"a policy needs 3 demonstrations or more, got {len(examples)}")
    start = time.perf_counter()
    out = round(settings.held_out * len(examples)) if len(examples) >= _MIN_FOR_HOLDING_OUT else 0
    with torch_threads(settings.threads):
        validation = None
        if out:
            first_half = _Share(progress, 0.0, 0.5)
            validation = _validate(examples, out, settings, seed, first_half)
        share = _Share(progress, 0.5 if out else 0.0, 1.0)
        policy, losses = _fit(examples, settings, seed, share)
        fitted = median_errors(policy, examples)
    seconds = time.perf_counter() - start
    return policy, TrainingRecord(tuple(losses), fitted, validation, seconds)


def _validate(
    examples: Sequence[Example],
    out: int,
    settings: PolicySettings,
    seed: int,
    share: _Share,
) -> Validation:
    """Train without `out` demonstrations drawn by the seed, and measure on them."""
    chosen = set(np.random.default_rng(seed).permutation(len(examples))[:out].tolist())
    seen = [e for i, e in enumerate(examples) if i not in chosen]
    unseen = [e for i, e in enumerate(examples) if i in chosen]
    policy, _ = _fit(seen, settings, seed, share)
    rigid = RigidTransferPolicy.from_examples(seen, policy.arrangement)
    return Validation(
        tuple(e.name for e in unseen), median_errors(policy, unseen), median_errors(rigid, unseen)
    )


def _fit(
    examples: Sequence[Example],
    settings: PolicySettings,
    seed: int,
    share: _Share,
) -> tuple[TrajectoryPolicy, list[float]]:
    """Train one policy on all examples."""
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    located = [arrangement.locate(e.keypoints) for e in examples]
    points = np.stack([fitting.positions for _, fitting in located])
    frames = [frame for frame, _ in located]
    examples, other_way = to_one_way(examples, frames)
    rows = np.stack([encode(e.trajectory, T) for e, T in zip(examples, frames, strict=True)])
    normalizer = Normalizer.from_rows(rows)
    clean = torch.from_numpy(normalizer.normalize(rows).astype(np.float32))

    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TrajectoryUNet(len(arrangement), settings.network)
    ema = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(network, multi_avg_fn=ema)
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    losses: list[float] = []
    for step in range(settings.steps):
        index = rng.integers(len(examples), size=settings.batch)
        told = condition(arrangement.shape, disturb(points[index], settings.augmentation, rng))
        loss = training_loss(network, clean[index], told, settings.diffusion, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(network)
        losses.append(float(loss.detach()))
        share.step(step + 1, settings.steps, losses[-1])
    network.load_state_dict(averaged.module.state_dict())
    stamps = np.mean([e.trajectory.stamps for e in examples], axis=0)
    policy = TrajectoryPolicy(
        network.eval(), arrangement, normalizer, stamps, float(other_way.mean()), settings
    )
    return policy, losses
