"""The `sam` masks (section II-C): Segment Anything, prompted with points spread over the region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from kalm_core.pretrained import Device, choose_device
from kalm_core.proposal.mask import Mask, suppress_overlaps
from kalm_core.proposal.rating import closeness
from kalm_core.proposal.region import Region
from kalm_core.proposal.sam_checkpoint import ModelType, SamCheckpoint
from kalm_core.proposal.sam_points import PointSegmenter, prompt_points
from kalm_core.proposal.sam_transformers import SamTransformers
from kalm_core.rgbd import RgbdFrame
from kalm_core.settings import Settings


class SamSettings(Settings):
    """Settings of the `sam` mask proposer."""

    weights: str = Field(
        "facebook/sam-vit-base",
        description="the authors' checkpoint (a path that ends in .pth), or a folder or hub name "
        "of a SAM or SAM 2 for transformers",
    )
    model_type: ModelType = Field("vit_b", description="of a .pth checkpoint")
    device: Device = Field("auto", description="where the network runs")
    point_spacing: int = Field(16, ge=10, le=200, description="between prompt points [px]")
    max_points: int = Field(64, ge=1, le=1024, description="prompt points at most")
    min_confidence: float = Field(
        0.8, ge=0.0, le=1.0, description="less sure masks are dropped (the network's own estimate)"
    )
    max_iou: float = Field(
        0.7, ge=0.0, le=1.0, description="overlap above which the worse is dropped"
    )
    min_pixels: int = Field(120, ge=10, le=100_000, description="smaller masks are dropped [px]")
    min_extent: float = Field(0.02, ge=0.0, le=1.0, description="shorter masks are dropped [m]")
    min_inside: float = Field(
        0.5, ge=0.0, le=1.0, description="least share of a mask inside the region"
    )
    count: int = Field(8, ge=1, le=100, description="masks that are proposed at most")


class SamProposer:
    """Asks a network at many points and keeps the sure, different and sizeable answers.

    Args:
        settings: see there.
        segmenter: the network; None loads the one that the settings name.

    Raises:
        BackendUnavailableError: the package, the weights or the device is missing.
    """

    def __init__(
        self, settings: SamSettings | None = None, segmenter: PointSegmenter | None = None
    ) -> None:
        self.settings = settings or SamSettings()
        self.segmenter = segmenter or load_segmenter(self.settings)

    def propose(self, frame: RgbdFrame, region: Region) -> list[Mask]:
        """Return masks with depth that lie in the region, those nearest to its middle first."""
        s = self.settings
        prompts = prompt_points(region.mask, s.point_spacing, s.max_points)
        if len(prompts) == 0:
            return []
        answer = self.segmenter.segment(frame.color, prompts)
        points, measured = frame.points_base(), frame.depth > 0
        masks = []
        for index in np.flatnonzero(answer.confidence >= s.min_confidence):
            pixels = answer.pixels[index] & measured
            near = closeness(
                pixels,
                points,
                region,
                min_pixels=s.min_pixels,
                min_inside=s.min_inside,
                min_extent=s.min_extent,
            )
            if near is not None:
                masks.append(Mask(pixels, near * float(answer.confidence[index])))
        return suppress_overlaps(masks, s.max_iou)[: s.count]


def load_segmenter(settings: SamSettings) -> PointSegmenter:
    """Load the network that the settings name.

    Raises:
        BackendUnavailableError: the package, the weights or the device is missing.
    """
    device = choose_device(settings.device)
    if settings.weights.endswith(".pth"):
        return SamCheckpoint(Path(settings.weights).expanduser(), settings.model_type, device)
    return SamTransformers(settings.weights, device)
