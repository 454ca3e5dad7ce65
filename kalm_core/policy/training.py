"""Training the diffusion policy on a handful of demonstrations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from kalm_core.errors import BackendUnavailableError, GoalError
from kalm_core.policy.alignment import AlignedDemonstrations
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.augmentation import disturb
from kalm_core.policy.base import Example
from kalm_core.policy.checkpoint import Checkpoint
from kalm_core.policy.condition import condition, deviations
from kalm_core.policy.diffusion import training_loss
from kalm_core.policy.diffusion_policy import TrajectoryPolicy
from kalm_core.policy.evaluation import TrajectoryErrors, median_errors
from kalm_core.policy.network import TrajectoryUNet
from kalm_core.policy.normalization import Normalizer
from kalm_core.policy.settings import PolicySettings
from kalm_core.policy.smoothness import Smoothness
from kalm_core.policy.threads import torch_threads
from kalm_core.progress import Progress

MIN_EXAMPLES = 2
"""One demonstration has no spread that a diffusion model could learn."""


@dataclass(frozen=True)
class TrainingRecord:
    """How a training went.

    Attributes:
        losses: mean squared error per optimiser step, normalised units.
        fit: errors on the demonstrations that were trained on.
        seconds: wall time.
    """

    losses: tuple[float, ...]
    fit: TrajectoryErrors
    seconds: float


@dataclass(frozen=True)
class Share:
    """The part of the stage "train" that one of its trainings reports, from `start` to `end`."""

    progress: Progress
    start: float = 0.0
    end: float = 1.0

    def step(self, step: int, steps: int, loss: float) -> None:
        """Report one optimiser step; raises `CancelledError`."""
        done = self.start + (self.end - self.start) * step / steps
        self.progress.step("train", done, f"step {step} of {steps}, loss {loss:.4f}")


def train(
    examples: Sequence[Example],
    settings: PolicySettings | None = None,
    seed: int = 0,
    share: Share | None = None,
    folder: Path | None = None,
) -> tuple[TrajectoryPolicy, TrainingRecord]:
    """Train one diffusion policy on all examples.

    Args:
        examples: demonstrations of one skill, two or more.
        settings: sizes and lengths; None takes the defaults.
        seed: with one thread, the same seed and examples give the same weights, also when the
            training was interrupted and resumed.
        share: of the stage "train" that is reported.
        folder: for a checkpoint, from which an interrupted training goes on, and for the scalars
            that TensorBoard shows; None keeps neither.

    Raises:
        KeypointsNotFoundError: an example has fewer than three keypoints that fit together.
        GoalError: fewer than two examples.
        BundleError: the checkpoint in the folder is of another training.
        BackendUnavailableError: the device is not there, or TensorBoard is not installed.
        CancelledError: the caller asked to stop.
    """
    settings, share = settings or PolicySettings(), share or Share(Progress())
    if len(examples) < MIN_EXAMPLES:
        raise GoalError(
            f"a diffusion policy needs {MIN_EXAMPLES} demonstrations or more, got {len(examples)}"
        )
    start = time.perf_counter()
    device = _device(settings.device)
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    batches = _Batches(AlignedDemonstrations.from_examples(examples, arrangement))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TrajectoryUNet(len(arrangement), settings.network).to(device)
    averaged = AveragedModel(network, avg_fn=_average(settings.ema))
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    networks = {"network": network, "averaged": averaged}
    checkpoint = None
    if folder is not None:
        path = Path(folder) / "checkpoint.safetensors"
        checkpoint = Checkpoint.of(path, examples, settings, seed)
    losses = checkpoint.read(networks, optimizer) if checkpoint else []
    log = _Log(folder, len(losses))
    with torch_threads(settings.threads):
        for step in range(len(losses), settings.steps):
            # Each step draws from a seed of its own: resumed or not, it draws the same.
            rng = np.random.default_rng([seed, step])
            noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
            rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            clean, told = batches.draw(settings, rng)
            loss = training_loss(
                network, clean.to(device), told.to(device), settings.diffusion, noise
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            averaged.update_parameters(network)
            losses.append(float(loss.detach()))
            log.write(step, loss=losses[-1], learning_rate=rate)
            if checkpoint and len(losses) % checkpoint.every == 0:
                checkpoint.write(networks, optimizer, losses)
            share.step(step + 1, settings.steps, losses[-1])
        network.load_state_dict(averaged.module.state_dict())
        policy = batches.policy(network.cpu().eval(), settings)
        fitted = median_errors(policy, examples)
    log.write(settings.steps, **{f"fit/{k}": v for k, v in fitted.as_dict().items()})
    log.close()
    if checkpoint:
        checkpoint.remove()
    return policy, TrainingRecord(tuple(losses), fitted, time.perf_counter() - start)


def _average(decay: float) -> Callable[..., torch.Tensor]:
    """Return how averaged weights follow: quickly at first, or a short training keeps its start."""

    def follow(
        averaged: torch.Tensor, current: torch.Tensor, count: torch.Tensor | int
    ) -> torch.Tensor:
        return torch.lerp(averaged, current, max(1.0 - decay, 9.0 / (10.0 + float(count))))

    return follow


class _Batches:
    """Disturbed demonstrations as the network sees them."""

    def __init__(self, aligned: AlignedDemonstrations) -> None:
        self.aligned = aligned
        arrangement = aligned.arrangement
        bent = deviations(arrangement, aligned.points)
        self.normalizer = Normalizer.from_rows(aligned.rows, bent, arrangement.shape, aligned.trust)

    def draw(
        self, settings: PolicySettings, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch of (B, 48, 10) clean values and of (B, K * 4) conditions."""
        aligned = self.aligned
        index = rng.choice(len(aligned.rows), size=settings.batch, p=aligned.trust)
        points = disturb(aligned.points[index], settings.augmentation, rng)
        seen = deviations(aligned.arrangement, points)
        clean = self.normalizer.normalize(aligned.rows[index], seen)
        return torch.from_numpy(clean.astype(np.float32)), condition(seen)

    def policy(self, network: TrajectoryUNet, settings: PolicySettings) -> TrajectoryPolicy:
        """Return the policy of a trained network."""
        return TrajectoryPolicy(
            network,
            self.aligned.arrangement,
            self.normalizer,
            Smoothness.from_rows(self.aligned.rows, self.aligned.trust),
            self.aligned.stamps,
            self.aligned.other_way,
            settings,
        )


def log_writer() -> Any:
    """Return the class that writes what TensorBoard shows.

    Raises:
        BackendUnavailableError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BackendUnavailableError(
            f"the log of a training needs TensorBoard: {error}",
            "pip install tensorboard, or learn without a folder for the training",
        ) from error
    return SummaryWriter


class _Log:
    """Scalars for TensorBoard, in a subfolder; nothing without a folder."""

    def __init__(self, folder: Path | None, first_step: int) -> None:
        self._writer: Any = None
        if folder is None:
            return
        self._writer = log_writer()(str(Path(folder) / "tensorboard"), purge_step=first_step)

    def write(self, step: int, **scalars: float) -> None:
        if self._writer is not None:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailableError(
            "the policy is to be trained on cuda, and PyTorch finds no such device",
            "set policy.device to auto or cpu",
        )
    return torch.device(name)
