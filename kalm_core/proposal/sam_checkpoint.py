"""Segment Anything from its authors' package `segment_anything` and one of their checkpoints."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from kalm_core.errors import BackendUnavailableError
from kalm_core.features.extractor import Pixels
from kalm_core.pretrained import model_input
from kalm_core.proposal.sam_points import PromptedMasks

ModelType = Literal["vit_b", "vit_l", "vit_h"]

_PACKAGE, _ALIAS = "segment_anything", "_kalm_segment_anything"
_BATCH = 16  # points at a time: three masks of 4 MB each


class SamCheckpoint:
    """A ViT-B, ViT-L or ViT-H of the authors' release.

    Args:
        weights: their checkpoint, such as sam_vit_b_01ec64.pth; only tensors are read from it.
        model_type: which network the checkpoint is of.
        device: where to compute.

    Raises:
        BackendUnavailableError: the package or the file is missing, or the file does not fit.
    """

    def __init__(self, weights: Path, model_type: ModelType, device: torch.device) -> None:
        if not weights.is_file():
            raise BackendUnavailableError(
                f"there is no checkpoint {weights}",
                "download one of the authors' checkpoints and set sam.weights to its path",
            )
        self.model = build_sam(model_type)
        try:
            self.model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
            raise BackendUnavailableError(
                f"{weights} is no checkpoint of a {model_type}: {reason}",
                "set sam.model_type to the checkpoint's (vit_b, vit_l or vit_h), or download the "
                "checkpoint again",
            ) from error
        self.model.eval().requires_grad_(False).to(device)
        self.device = device

    @torch.no_grad()
    def segment(self, color: NDArray[np.uint8], points: Pixels) -> PromptedMasks:
        """Return three masks per point; see `PointSegmenter`."""
        model, (height, width) = self.model, color.shape[:2]
        side = model.image_encoder.img_size
        scale = side / max(height, width)
        size = (round(height * scale), round(width * scale))
        image = model_input(color, size, self.device)
        # Zero is the mean colour: the network knows a padded border of it.
        image = torch.nn.functional.pad(image, (0, side - size[1], 0, side - size[0]))
        embedding = model.image_encoder(image)
        place = (torch.from_numpy(points).float() + 0.5) * scale
        pixels, confidence = [], []
        for part in torch.split(place.to(self.device), _BATCH):
            sparse, dense = model.prompt_encoder(
                points=(part[:, None] - 0.5, torch.ones(len(part), 1, device=self.device)),
                boxes=None,
                masks=None,
            )
            low, score = model.mask_decoder(
                image_embeddings=embedding,
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )
            masks = model.postprocess_masks(low, size, (height, width)) > model.mask_threshold
            pixels.append(masks.flatten(0, 1).cpu().numpy())
            confidence.append(score.flatten().double().cpu().numpy())
        return PromptedMasks(np.concatenate(pixels), np.concatenate(confidence))


def build_sam(model_type: ModelType) -> Any:
    """Return the network without weights.

    Raises:
        BackendUnavailableError: the package `segment_anything` is not installed.
    """
    return networks().sam_model_registry[model_type]()


def networks() -> ModuleType:
    """Return the module of `segment_anything` that builds its networks.

    Raises:
        BackendUnavailableError: the package is not installed.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise BackendUnavailableError(
            f"the package {_PACKAGE} is not installed",
            "install it: make setup (or pip install -r requirements/models.txt)",
        )
    if _ALIAS not in sys.modules:
        # The package's __init__ imports torchvision for tools that are not used here, and wheels
        # of torchvision fit only one build of torch; its networks need torch alone.
        alias = ModuleType(_ALIAS)
        alias.__path__ = list(found.submodule_search_locations)
        sys.modules[_ALIAS] = alias
    return importlib.import_module(f"{_ALIAS}.build_sam")
