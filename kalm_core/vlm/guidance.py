"""The third question, at run time: where the part is in a new image (section II-C, φ)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm_core.progress import Progress
from kalm_core.vlm.answers import CellsAnswer
from kalm_core.vlm.client import VlmClient
from kalm_core.vlm.conversation import Conversation
from kalm_core.vlm.grid import Grid
from kalm_core.vlm.message import Picture
from kalm_core.vlm.pictures import draw_mask
from kalm_core.vlm.prompts import cells_question
from kalm_core.vlm.settings import VlmSettings
from kalm_core.vlm.transcript import make_client


@dataclass(frozen=True)
class KnownPart:
    """What a skill knows of its part.

    Attributes:
        image: (H, W, 3) uint8, the reference image, RGB.
        mask: (H, W) bool, the part in it.
        task: the skill's sentence.
        words: the part in words; empty when nobody named it.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    task: str
    words: str = ""


def ask_guidance(
    part: KnownPart,
    color: NDArray[np.uint8],
    settings: VlmSettings | None = None,
    progress: Progress | None = None,
    *,
    client: VlmClient | None = None,
) -> NDArray[np.float32]:
    """Ask where a part is in a new image.

    Args:
        part: what to look for.
        color: (H, W, 3) the new image, RGB.
        settings: see there.
        progress: asked whether to stop.
        client: answers in place of the one that the settings name.

    Returns:
        (H, W) weights on φ's scores: 1 in the cells named, `outside_weight` elsewhere. Where the
        model does not see the part all are `outside_weight`.

    Raises:
        BackendUnavailableError, ConfigError, BundleError: see `make_client`.
        VlmError: the model is not reached in time, or answers nothing that can be used.
        CancelledError: the caller asked to stop.
    """
    settings = settings or VlmSettings()
    grid = Grid(settings.grid_columns, settings.grid_rows)
    client = client or make_client(settings, progress)
    pictures = (Picture(draw_mask(part.image, part.mask)), Picture(grid.draw(color)))
    question = cells_question(part.task, part.words, grid)
    answer = Conversation(client, grid, settings.reasks).ask((question, *pictures), CellsAnswer)
    inside = grid.mask(answer.cells, *color.shape[:2])
    return np.where(inside, 1.0, settings.outside_weight).astype(np.float32)
