"""The `dino` feature: DINOv2's patch tokens brought to pixels (paper: [12], [16])."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from kalm_core.features.extractor import Features, Pixels, unit_rows
from kalm_core.features.upsampling import BilinearUpsampler, EdgeUpsampler, Upsampler
from kalm_core.features.upsampling_learned import LearnedUpsampler
from kalm_core.pretrained import Device, choose_device, load_pretrained, model_input
from kalm_core.rgbd import RgbdFrame
from kalm_core.settings import Settings

_CLASSES = {"dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel"}


class DinoSettings(Settings):
    """Settings of the `dino` feature."""

    weights: str = Field(
        "facebook/dinov2-small",
        description="folder or hub name of a DINOv2 for transformers (small: 384 channels, "
        "base: 768)",
    )
    device: Device = Field("auto", description="where the network runs")
    input_size: int = Field(
        448, ge=56, le=2240, description="longer side that the network sees [px]"
    )
    upsampling: Literal["edges", "bilinear", "learned"] = Field(
        "edges", description="from patches to pixels; learned needs upsampler_weights"
    )
    color_step: float = Field(
        25.0, ge=1.0, le=255.0, description="edges: colour difference that parts [0-255]"
    )
    depth_step: float = Field(
        0.03, ge=0.001, le=1.0, description="edges: depth difference that parts [m]"
    )
    upsampler_weights: str = Field(
        "", description="learned: TorchScript file of FeatUp, JAFAR, LoftUp or AnyUp"
    )


class DinoFeature:
    """What DINOv2 says of the patch around a pixel, sharpened at edges.

    Raises:
        BackendUnavailableError: the package, the weights or the device is missing.
    """

    def __init__(self, settings: DinoSettings | None = None) -> None:
        self.settings = settings or DinoSettings()
        s = self.settings
        self._device = choose_device(s.device)
        self._upsampler = _make_upsampler(s, self._device)
        self._model = load_pretrained(_CLASSES, s.weights, self._device, "dino.weights")

    @property
    def name(self) -> str:
        """`dino`."""
        return "dino"

    @property
    def dimension(self) -> int:
        """Length of a feature."""
        return int(self._model.config.hidden_size)

    @torch.no_grad()
    def extract(self, frame: RgbdFrame, pixels: Pixels) -> Features:
        """Return (N, C) unit rows at (N, 2) pixels; depth is not needed."""
        if len(pixels) == 0:
            return np.zeros((0, self.dimension), np.float32)
        height, width = self._input_shape(frame)
        image = model_input(frame.color, (height, width), self._device)
        patch = int(self._model.config.patch_size)
        rows, columns = height // patch, width // patch
        tokens = self._model(pixel_values=image).last_hidden_state[0]
        # Before the patches stand a class token and, in some models, registers.
        patches = tokens[-rows * columns :].T.reshape(-1, rows, columns)
        return unit_rows(self._upsampler.sample(patches, image, frame, pixels))

    def _input_shape(self, frame: RgbdFrame) -> tuple[int, int]:
        """Return height and width of the network's input: whole patches, hardly distorted."""
        k, patch = frame.intrinsics, int(self._model.config.patch_size)
        scale = self.settings.input_size / max(k.width, k.height)
        height, width = (max(1, round(side * scale / patch)) for side in (k.height, k.width))
        return height * patch, width * patch


def _make_upsampler(s: DinoSettings, device: torch.device) -> Upsampler:
    """Build the upsampler that the settings name."""
    if s.upsampling == "learned":
        return LearnedUpsampler(Path(s.upsampler_weights).expanduser(), device)
    if s.upsampling == "bilinear":
        return BilinearUpsampler()
    return EdgeUpsampler(s.color_step, s.depth_step)
