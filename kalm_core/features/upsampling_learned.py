"""A learned upsampler (FeatUp, JAFAR, LoftUp, AnyUp) from a TorchScript file.

Their code stays with their authors: whoever wants one exports it once, with all that it needs, to
a file (docs/perception.md shows how). The exported function takes

    image     (1, 3, H, W) float32, normalised with ImageNet's mean and deviation,
    features  (1, C, h, w) float32, what DINOv2 says of each patch,

and returns (1, C, H', W') float32 that covers the same image, at least as fine as `features`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from kalm_core.errors import BackendUnavailableError
from kalm_core.features.extractor import Features, Pixels
from kalm_core.features.upsampling import sample_map
from kalm_core.rgbd import RgbdFrame

_REMEDY = "export it as docs/perception.md shows, for this image size and these features"


class LearnedUpsampler:
    """Runs an exported upsampler. Use only files that you exported or trust: they are programs.

    Args:
        weights: the TorchScript file.
        device: where to compute.

    Raises:
        BackendUnavailableError: the file is missing or is no TorchScript.
    """

    def __init__(self, weights: Path, device: torch.device) -> None:
        if not weights.is_file():
            raise BackendUnavailableError(
                f"there is no upsampler {str(weights)!r}",
                "set dino.upsampler_weights to a TorchScript file, or dino.upsampling to edges, "
                "which needs none",
            )
        try:
            with warnings.catch_warnings():
                # torch would like torch.export better, whose files are unpickled when loaded.
                warnings.simplefilter("ignore")
                load: Any = torch.jit.load
                self._module = load(str(weights), map_location=device)
        except RuntimeError as error:
            raise BackendUnavailableError(f"{weights} is no TorchScript file", _REMEDY) from error
        self._module.eval()
        self._weights = weights

    @torch.no_grad()
    def sample(
        self, patches: torch.Tensor, image: torch.Tensor, frame: RgbdFrame, pixels: Pixels
    ) -> Features:
        """Return the features at some pixels; see `Upsampler`.

        Raises:
            BackendUnavailableError: the upsampler fails on these sizes, or answers in another form.
        """
        try:
            dense = self._module(image, patches[None])
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise BackendUnavailableError(
                f"{self._weights} fails on an image {tuple(image.shape)} with features "
                f"{tuple(patches[None].shape)}: {reason}",
                _REMEDY,
            ) from error
        self._check(dense, patches)
        return sample_map(dense[0], frame, pixels)

    def _check(self, dense: object, patches: torch.Tensor) -> None:
        """Pass when the answer is a finite map of the same channels, at least as fine."""
        channels, height, width = patches.shape
        form = tuple(dense.shape) if isinstance(dense, torch.Tensor) else type(dense).__name__
        good = (
            isinstance(dense, torch.Tensor)
            and dense.dim() == 4
            and dense.shape[:2] == (1, channels)
            and dense.shape[2] >= height
            and dense.shape[3] >= width
        )
        if not good:
            raise BackendUnavailableError(
                f"{self._weights} answers {form}, expected (1, {channels}, H', W') with H' from "
                f"{height} and W' from {width}",
                _REMEDY,
            )
        if isinstance(dense, torch.Tensor) and not bool(torch.isfinite(dense).all()):
            raise BackendUnavailableError(
                f"{self._weights} answers with numbers that are not finite", _REMEDY
            )
