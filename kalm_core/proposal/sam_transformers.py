"""Segment Anything and Segment Anything 2 from the package `transformers`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kalm_core.features.extractor import Pixels
from kalm_core.pretrained import load_pretrained, model_input
from kalm_core.proposal.sam_points import PromptedMasks

_CLASSES = {"sam": "SamModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model"}
"""The published SAM 2 weights are those of the video model; its image part is what is loaded."""
_BATCH = 16


class SamTransformers:
    """A SAM or SAM 2, by a local folder or a name on the hub.

    Args:
        weights: for example facebook/sam-vit-base, or a folder that holds such weights.
        device: where to compute.

    Raises:
        BackendUnavailableError: the package or the weights are missing.
    """

    def __init__(self, weights: str, device: torch.device) -> None:
        self.model = load_pretrained(_CLASSES, weights, device, "sam.weights")
        self.device = device
        self._stretched = self.model.config.model_type != "sam"
        self._side = _side(self.model.config.prompt_encoder_config.image_size)

    @torch.no_grad()
    def segment(self, color: NDArray[np.uint8], points: Pixels) -> PromptedMasks:
        """Return three masks per point; see `PointSegmenter`."""
        (height, width), side = color.shape[:2], self._side
        # SAM pads the shorter side, SAM 2 stretches it.
        scale = np.array([side / width, side / height])
        if not self._stretched:
            scale[:] = scale.min()
        size = (round(height * scale[1]), round(width * scale[0]))
        image = model_input(color, size, self.device)
        image = torch.nn.functional.pad(image, (0, side - size[1], 0, side - size[0]))
        embedding: Any = self.model.get_image_embeddings(image)
        # The prompt encoder itself adds half a pixel.
        place = torch.from_numpy((points + 0.5) * scale - 0.5).float().to(self.device)
        pixels, confidence = [], []
        for part in torch.split(place, _BATCH):
            answer = self.model(
                image_embeddings=embedding,
                input_points=part[None, :, None],
                multimask_output=True,
            )
            logits = torch.nn.functional.interpolate(
                answer.pred_masks[0], (side, side), mode="bilinear", align_corners=False
            )[..., : size[0], : size[1]]
            logits = torch.nn.functional.interpolate(
                logits, (height, width), mode="bilinear", align_corners=False
            )
            pixels.append((logits > 0).flatten(0, 1).cpu().numpy())
            confidence.append(answer.iou_scores[0].flatten().double().cpu().numpy())
        return PromptedMasks(np.concatenate(pixels), np.concatenate(confidence))


def _side(size: int | list[int] | tuple[int, ...]) -> int:
    """Return the side of the square input [px] as configurations write it."""
    return int(size if isinstance(size, int) else size[0])
