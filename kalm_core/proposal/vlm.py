"""The `vlm` region and mask: one conversation about one demonstration (section II-C).

The model sees a few frames with a grid and names the cells of the part, then every mask and picks
one. What verification rejects it is told, in the same conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kalm_core.demonstration import Demonstration
from kalm_core.progress import Progress
from kalm_core.proposal.contact import scene_points
from kalm_core.proposal.mask import Mask
from kalm_core.proposal.region import Region, Rejection
from kalm_core.vlm.answers import MaskAnswer, RegionAnswer
from kalm_core.vlm.client import VlmClient
from kalm_core.vlm.conversation import Conversation
from kalm_core.vlm.grid import Grid
from kalm_core.vlm.message import Picture
from kalm_core.vlm.pictures import draw_mask
from kalm_core.vlm.prompts import (
    another_region_question,
    mask_question,
    region_question,
    rejected_question,
    scene_context,
)
from kalm_core.vlm.settings import VlmSettings
from kalm_core.vlm.transcript import RecordingClient, Transcript, make_client

_LEAST_PIXELS = 50
"""A region with fewer pixels that have depth is none."""

_BEHIND = 0.25
"""What is seen in the cells farther than this behind the nearest is background [m]."""


class VlmProposer:
    """Proposes regions and chooses masks by asking a VLM; one object does both.

    Args:
        settings: see there.
        progress: asked whether to stop.
        client: answers in place of the one that the settings name.

    Raises:
        BackendUnavailableError, ConfigError, BundleError: see `make_client`.
    """

    def __init__(
        self,
        settings: VlmSettings | None = None,
        progress: Progress | None = None,
        client: VlmClient | None = None,
    ) -> None:
        self.settings = settings or VlmSettings()
        self.grid = Grid(self.settings.grid_columns, self.settings.grid_rows)
        self._client = RecordingClient(
            client or make_client(self.settings, progress), self.settings.model
        )
        self._conversation: Conversation | None = None
        self._about = -1

    @property
    def transcript(self) -> Transcript:
        """All that was asked and answered."""
        return self._client.transcript

    def propose(
        self,
        demonstrations: Sequence[Demonstration],
        task: str = "",
        rejected: Sequence[Rejection] = (),
    ) -> Iterator[Region]:
        """Yield regions of one demonstration after the other, a few of each.

        Raises:
            VlmError: the model cannot be reached or gives no usable answer.
            CancelledError: the caller asked to stop.
        """
        for index, demonstration in enumerate(demonstrations):
            conversation = self._begin(index)
            frames = self._frames(demonstration)
            refused: list[str] = []
            for attempt in range(self.settings.regions_per_demonstration):
                if attempt == 0:
                    question = region_question(task, len(frames), self.grid)
                    answer = conversation.ask((question, *frames), RegionAnswer)
                else:
                    reasons = [r.reason for r in rejected if r.demonstration == index]
                    question = another_region_question(task, [*reasons, *refused])
                    answer = conversation.ask((question,), RegionAnswer)
                description = f"{answer.part} of {answer.object}"
                region = self._region(index, demonstration, answer.cells, description)
                if region is None:
                    cells = ", ".join(map(str, answer.cells))
                    refused.append(f"cells {cells}: the camera measured no depth there")
                else:
                    yield region

    def choose(
        self,
        demonstrations: Sequence[Demonstration],
        task: str,
        region: Region,
        masks: Sequence[Mask],
        rejected: Sequence[Rejection],
    ) -> Iterator[Mask]:
        """Yield the masks that the model chooses until it wants another region.

        Raises:
            VlmError: the model cannot be reached or gives no usable answer.
            CancelledError: the caller asked to stop.
        """
        color = demonstrations[region.demonstration].initial.color
        parts: list[str | Picture] = []
        conversation = self._conversation
        if conversation is None or self._about != region.demonstration:
            conversation = self._begin(region.demonstration)
            frames = self._frames(demonstrations[region.demonstration])
            parts += [scene_context(task, len(frames), self.grid), *frames]
        parts.append(mask_question(task, region.description, len(masks)))
        for number, mask in enumerate(masks, 1):
            parts += [f"Mask {number}:", Picture(draw_mask(color, mask.pixels, number))]
        left = set(range(1, len(masks) + 1))
        chosen = conversation.ask(parts, MaskAnswer, left).mask
        while chosen:
            mask = masks[chosen - 1]
            yield mask
            left.discard(chosen)
            if not left:
                return
            why = next((r.reason for r in reversed(rejected) if r.pixels is mask.pixels), "")
            picture = Picture(draw_mask(color, mask.pixels, chosen, rejected=True))
            question = rejected_question(chosen, why, sorted(left))
            chosen = conversation.ask((question, picture), MaskAnswer, {0, *left}).mask

    def _begin(self, demonstration: int) -> Conversation:
        """Begin to talk about a demonstration."""
        self._conversation = Conversation(self._client, self.grid, self.settings.reasks)
        self._about = demonstration
        return self._conversation

    def _frames(self, demonstration: Demonstration) -> list[Picture]:
        """Return some images of a demonstration with the grid, the first one first."""
        count = min(self.settings.frames, len(demonstration.frames))
        indices = np.linspace(0, len(demonstration.frames) - 1, count).round().astype(int)
        return [Picture(self.grid.draw(demonstration.frames[i].color)) for i in indices]

    def _region(
        self, index: int, demonstration: Demonstration, cells: Sequence[int], description: str
    ) -> Region | None:
        """Return the region that the cells cover; None without enough depth."""
        points = scene_points(demonstration)
        inside = self.grid.mask(cells, *points.shape[:2])
        mask = np.asarray(np.isfinite(points).all(axis=-1) & inside)
        if mask.sum() < _LEAST_PIXELS:
            return None
        depth = demonstration.initial.depth
        mask &= depth < np.percentile(depth[mask], 5) + _BEHIND
        region = points[mask].astype(np.float64)
        center = np.median(region, axis=0)
        reach = float(np.percentile(np.linalg.norm(region - center, axis=1), 90))
        return Region(index, mask, center, max(reach, 0.02), 1.0, description)
