"""Models with published weights: the device they run on, how they are loaded, what they are fed.

Weights come as safetensors from a local folder or, by name, from the Hugging Face hub's cache (what
is missing there is downloaded once). Code that comes with weights is never run.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from kalm_core.errors import BackendUnavailableError

Device = Literal["auto", "cpu", "cuda"]

_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as SAM and DINOv2 want


def choose_device(name: Device) -> torch.device:
    """Return the device to compute on; `auto` is the GPU where there is one.

    Raises:
        BackendUnavailableError: `cuda` is asked for and this machine or its torch has none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise BackendUnavailableError(
            f"device is cuda, but torch {torch.__version__} finds no CUDA device",
            "set device to cpu or auto, or install the CUDA build of torch and the GPU's driver",
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def load_pretrained(
    classes: dict[str, str], weights: str, device: torch.device, setting: str
) -> Any:
    """Load a model of the `transformers` package.

    Args:
        classes: model type in the weights' config.json -> name of the class that loads it.
        weights: a local folder, or a name on the hub.
        device: where the model shall be.
        setting: name of the setting that holds `weights`, for the error text.

    Returns:
        The model, ready for inference.

    Raises:
        BackendUnavailableError: the package or the weights are missing, or are of another kind.
    """
    try:
        import transformers
    except ImportError as error:
        raise BackendUnavailableError(
            f"the package transformers cannot be imported ({error})",
            "install it: make setup (or pip install -r requirements/models.txt)",
        ) from error
    transformers.logging.set_verbosity_error()  # not what parts of SAM 2 are for videos only
    transformers.logging.disable_progress_bar()
    try:
        config = _cached_first(transformers.AutoConfig, weights)
        kind = str(config.model_type)
        if kind in classes:
            loader = getattr(transformers, classes[kind])
            model = _cached_first(loader, weights, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if not Path(weights).exists():
            reason = "there is no such folder, and no such model could be had from the hub"
        raise BackendUnavailableError(
            f"the weights {weights!r} cannot be loaded: {reason}",
            f"set {setting} to a folder with config.json and model.safetensors, or to a name that "
            "this machine can download from the Hugging Face hub",
        ) from error
    if kind not in classes:
        raise BackendUnavailableError(
            f"the weights {weights!r} are of the type {kind!r}, expected {', '.join(classes)}",
            f"set {setting} to weights of such a model",
        )
    return model.eval().requires_grad_(False).to(device)


def _cached_first(loader: Any, weights: str, **options: Any) -> Any:
    """Load from disk; ask the network only for what is not there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return loader.from_pretrained(weights, local_files_only=True, **options)
        except OSError:
            return loader.from_pretrained(weights, **options)


def model_input(
    color: NDArray[np.uint8], size: tuple[int, int], device: torch.device
) -> torch.Tensor:
    """Return an image as networks trained on ImageNet want it.

    Args:
        color: (H, W, 3) uint8, RGB.
        size: height and width of the result [px].
        device: where the result shall be.

    Returns:
        (1, 3, *size) float32, normalised.
    """
    image = torch.from_numpy(np.ascontiguousarray(color)).to(device).permute(2, 0, 1)[None] / 255.0
    if tuple(image.shape[-2:]) != size:
        image = torch.nn.functional.interpolate(
            image, size, mode="bilinear", align_corners=False, antialias=True
        )
    mean = torch.tensor(_MEAN, device=device)[:, None, None]
    spread = torch.tensor(_SPREAD, device=device)[:, None, None]
    return (image - mean) / spread
