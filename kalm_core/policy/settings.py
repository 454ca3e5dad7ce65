"""Settings of the trajectory policy: network, diffusion, augmentation, training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from kalm_core.settings import Settings


class NetworkSettings(Settings):
    """Size of the temporal U-Net."""

    channels: tuple[int, ...] = Field(
        (32, 64), description="channels of each level; the time axis halves between levels"
    )
    kernel: int = Field(5, ge=3, le=9, description="poses that one convolution sees; odd")
    condition: int = Field(64, ge=8, le=1024, description="width of the condition vector")

    @field_validator("channels")
    @classmethod
    def _channels_fit(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not 1 <= len(value) <= 4 or any(c % 8 or not 8 <= c <= 1024 for c in value):
            raise ValueError("expected one to four multiples of 8 in [8, 1024]")
        return value

    @field_validator("kernel")
    @classmethod
    def _kernel_is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("expected an odd number")
        return value


class DiffusionSettings(Settings):
    """Noise schedule of training and steps of sampling (section II-D)."""

    train_steps: int = Field(100, ge=10, le=1000, description="noise levels in training")
    sample_steps: int = Field(5, ge=1, le=100, description="denoising steps when sampling")


class AugmentationSettings(Settings):
    """How the keypoints of a demonstration are disturbed in training."""

    yaw: float = Field(0.8, ge=0.0, le=3.15, description="turn about gravity, up to [rad]")
    noise: float = Field(0.004, ge=0.0, le=0.05, description="noise of every coordinate, sd [m]")
    drop: float = Field(0.15, ge=0.0, le=0.9, description="share of keypoints left out")
    displace: float = Field(0.05, ge=0.0, le=0.9, description="share of keypoints put elsewhere")
    displacement: float = Field(0.04, ge=0.0, le=0.2, description="how far, sd per axis [m]")


class PolicySettings(Settings):
    """The diffusion policy and its training."""

    network: NetworkSettings = NetworkSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    steps: int = Field(200, ge=1, le=100_000, description="optimiser steps")
    batch: int = Field(32, ge=1, le=1024, description="trajectories per step")
    learning_rate: float = Field(1e-3, gt=0.0, le=0.1, description="peak of the cosine schedule")
    weight_decay: float = Field(1e-4, ge=0.0, le=1.0, description="of AdamW")
    ema: float = Field(0.99, ge=0.0, lt=1.0, description="decay of the averaged weights")
    threads: int = Field(1, ge=1, le=64, description="CPU threads; more than one is not repeatable")
    folds: int = Field(
        3,
        ge=0,
        le=100,
        description="groups of demonstrations that are left out in turn to compare the diffusion "
        "model with the simple policies; 0 compares nothing",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the network is trained; auto takes a GPU that PyTorch can use"
    )
