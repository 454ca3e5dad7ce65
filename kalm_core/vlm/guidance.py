"""The third question, at run time: where the part is in a new image (section II-C, φ)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kalm_core.errors import BackendUnavailableError, BundleError
from kalm_core.progress import Progress
from kalm_core.settings import Settings
from kalm_core.skill import Skill
from kalm_core.vlm.answers import CellsAnswer
from kalm_core.vlm.client import VlmClient
from kalm_core.vlm.conversation import Conversation
from kalm_core.vlm.grid import Grid
from kalm_core.vlm.message import Picture
from kalm_core.vlm.pictures import draw_mask
from kalm_core.vlm.prompts import cells_question
from kalm_core.vlm.settings import VlmSettings
from kalm_core.vlm.transcript import make_client

_log = logging.getLogger(__name__)


class GuidanceSettings(Settings):
    """Settings of the VLM's guidance at run time.

    They are the robot's own: a skill names no server, for a copied skill must not be able to send
    images and a key elsewhere.
    """

    use: Literal["required", "optional", "off"] = Field(
        "required",
        description="ask the VLM for skills that were distilled with region_backend vlm; required "
        "ends in an error when it cannot be asked, optional goes on without",
    )
    vlm: VlmSettings = Field(default_factory=VlmSettings, description="of the VLM")


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


def guide(
    skill: Skill,
    color: NDArray[np.uint8],
    settings: GuidanceSettings,
    progress: Progress | None = None,
) -> NDArray[np.float32] | None:
    """Ask where a skill's part is in a new image, if the skill was distilled by asking.

    Args:
        skill: that is about to be executed.
        color: (H, W, 3) the new image, RGB.
        settings: see there.
        progress: told that the VLM is asked, asked whether to stop.

    Returns:
        (H, W) weights, see `ask_guidance`; None where nobody is asked.

    Raises:
        BundleError: the skill keeps no mask.
        ConfigError: address or name of the key's variable cannot be right.
        BackendUnavailableError, VlmError: the VLM cannot be asked and is required.
        CancelledError: the caller asked to stop.
    """
    if settings.use == "off" or skill.perception.get("region_backend") != "vlm":
        return None
    if skill.mask is None:
        raise BundleError(
            f"the skill {skill.name} keeps no mask of its part, which the VLM would be shown",
            "learn it again, or set guidance.use to off",
        )
    progress = progress or Progress()
    progress.step("detect", 0.0, f"asking {settings.vlm.model} where the part is")
    words = str(skill.record.get("vlm", {}).get("part", ""))
    part = KnownPart(skill.image, skill.mask, skill.task, words)
    try:
        return ask_guidance(part, color, settings.vlm, progress)
    except BackendUnavailableError as error:
        if settings.use == "required":
            raise
        _log.warning("going on without the VLM's guidance: %s", error)
        return None
