"""Denoising diffusion over trajectories; the network predicts the clean one (Diffuser)."""

from __future__ import annotations

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from kalm_core.policy.encoding import CHANNELS
from kalm_core.policy.network import TrajectoryUNet
from kalm_core.policy.settings import DiffusionSettings
from kalm_core.trajectory import POSES

_SCHEDULE = "squaredcos_cap_v2"


def training_loss(
    network: TrajectoryUNet,
    clean: Tensor,
    keypoints: Tensor,
    settings: DiffusionSettings,
    generator: torch.Generator,
) -> Tensor:
    """Return the mean squared error of the clean trajectory at random noise levels.

    Args:
        network: the denoiser.
        clean: (B, 48, 10) normalised trajectories.
        keypoints: (B, K * 4) conditions.
        settings: the noise schedule.
        generator: the only source of randomness.
    """
    schedule = DDPMScheduler(settings.train_steps, beta_schedule=_SCHEDULE, clip_sample=False)
    # drawn on the CPU, whose generator gives the same on every machine
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    level = torch.randint(settings.train_steps, (len(clean),), generator=generator)
    level = level.to(clean.device)
    noisy = schedule.add_noise(clean, noise, level)
    return torch.nn.functional.mse_loss(network(noisy, level, keypoints), clean)


@torch.no_grad()
def denoise(
    network: TrajectoryUNet, keypoints: Tensor, settings: DiffusionSettings, seed: int
) -> Tensor:
    """Return (B, 48, 10) normalised trajectories for (B, K * 4) conditions, by DDIM."""
    schedule = DDIMScheduler(
        settings.train_steps,
        beta_schedule=_SCHEDULE,
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    schedule.set_timesteps(min(settings.sample_steps, settings.train_steps))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((len(keypoints), POSES, CHANNELS), generator=generator).to(keypoints.device)
    network.eval()
    for level in schedule.timesteps:
        clean = network(x, level.repeat(len(x)).to(x.device), keypoints)
        x = schedule.step(clean, level, x, eta=0.0).prev_sample
    return x
