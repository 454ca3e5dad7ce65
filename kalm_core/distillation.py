"""Keypoint proposal and verification (Algorithm 1): from demonstrations to keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from kalm_core.demonstration import Demonstration
from kalm_core.diagnosis import diagnose, gather
from kalm_core.distillation_settings import DistillationSettings
from kalm_core.errors import DemonstrationError, DistillationError
from kalm_core.evidence import Evidence
from kalm_core.examination import Attempt, Distillation, Examiner
from kalm_core.features.view import FeatureView
from kalm_core.progress import Progress
from kalm_core.proposal import (
    MaskChooser,
    MaskProposer,
    RegionProposer,
    Rejection,
    VlmProposer,
    make_mask_chooser,
    make_mask_proposer,
    make_region_proposer,
)
from kalm_core.proposal.contact import Contact
from kalm_core.proposal.mask import Mask
from kalm_core.proposal.region import Region

__all__ = ["Attempt", "Distillation", "DistillationSettings", "Examiner", "distill"]

_REGIONS_FOR_SPAN = 3
"""Further regions that are searched for a wider arrangement once a narrow one has passed."""


def distill(
    demonstrations: Sequence[Demonstration],
    settings: DistillationSettings | None = None,
    progress: Progress | None = None,
    *,
    task: str = "",
    region_proposer: RegionProposer | None = None,
    mask_proposer: MaskProposer | None = None,
    mask_chooser: MaskChooser | None = None,
    views: Sequence[FeatureView] | None = None,
    examiner: Examiner | None = None,
) -> Distillation:
    """Find keypoints that the task is about and that every demonstration shows (Algorithm 1).

    Args:
        demonstrations: at least two, each in its own scene.
        settings: see there.
        progress: told the stage "propose" or "verify", asked whether to stop.
        task: what they show in one sentence; a VLM needs it, the others do not read it.
        region_proposer: takes the place of the settings' backend.
        mask_proposer: takes the place of the settings' backend.
        mask_chooser: takes the place of the settings' one.
        views: features of every first image by the same settings; None computes them.
        examiner: of the same demonstrations by the same settings, in place of one made for
            `views`; it may remember what it has seen.

    Raises:
        DemonstrationError: fewer than two demonstrations.
        DistillationError: no region or no mask passes; the text lists what was tried.
        BackendUnavailableError, ConfigError: a backend cannot be built.
        VlmError: the VLM is not reached in time, or answers nothing that can be used.
    """
    settings, progress = settings or DistillationSettings(), progress or Progress()
    if len(demonstrations) < 2:
        raise DemonstrationError(
            f"{len(demonstrations)} demonstrations were given, verification needs at least 2",
            "record about ten, each in another scene or from another view",
        )
    vlm = _vlm(settings, progress, region_proposer, mask_chooser)
    region_proposer = region_proposer or make_region_proposer(
        settings.region_backend, settings.proximity, vlm
    )
    mask_proposer = mask_proposer or make_mask_proposer(
        settings.mask_backend, settings.geometric, settings.sam
    )
    mask_chooser = mask_chooser or make_mask_chooser(settings.mask_chooser, vlm)
    examiner = examiner or Examiner(demonstrations, settings, views)
    attempts: list[Attempt] = []
    narrow: list[tuple[float, Region, Mask, int]] = []  # nothing but their span against them
    last = settings.max_regions
    rejected: list[Rejection] = []
    progress.step("propose", 0.0, "looking for the part that matters")
    regions = region_proposer.propose(demonstrations, task, rejected)
    for tried, region in enumerate(islice(regions, settings.max_regions)):
        seed = region.demonstration
        masks = mask_proposer.propose(demonstrations[seed].initial, region)
        if not masks:
            attempts.append(Attempt(seed, -1, 0, 0, "no part could be segmented", Evidence(region)))
            rejected.append(Rejection(seed, None, attempts[-1].reason))
            continue
        chosen = mask_chooser.choose(demonstrations, task, region, masks, rejected)
        for mask in islice(chosen, settings.max_masks):
            rank = next(k for k, item in enumerate(masks) if item is mask)
            examiner.prepare(progress)
            fraction = (tried + rank / len(masks)) / settings.max_regions
            name = demonstrations[seed].name
            progress.step("verify", fraction, f"mask {rank + 1} of {len(masks)} in {name}")
            result = examiner.examine(region, mask, rank, settings.min_span)
            if isinstance(result, Distillation):
                return _finish(result, attempts, vlm, progress)
            attempts.append(result)
            rejected.append(Rejection(seed, mask.pixels, result.reason))
            if result.span is not None:
                last = min(last, tried + 1 + _REGIONS_FOR_SPAN)
                narrow.append((result.span, region, mask, rank))
        if tried + 1 >= last:
            break
    if narrow:
        _, region, mask, rank = max(narrow, key=lambda item: item[0])
        widest = examiner.examine(region, mask, rank, 0.0)
        if isinstance(widest, Distillation):
            return _finish(widest, attempts, vlm, progress)
    raise _failure(demonstrations, examiner.contacts, attempts)


def _finish(
    result: Distillation, attempts: list[Attempt], vlm: VlmProposer | None, progress: Progress
) -> Distillation:
    """Return the result with what was tried before it and what the VLM said."""
    progress.step("verify", 1.0, f"{len(result.reference)} keypoints kept")
    attempts = [*attempts, *result.attempts]
    transcript = vlm.transcript if vlm else None
    return replace(result, attempts=tuple(attempts), transcript=transcript)


def _vlm(
    settings: DistillationSettings,
    progress: Progress,
    region_proposer: RegionProposer | None,
    mask_chooser: MaskChooser | None,
) -> VlmProposer | None:
    """Return the VLM, one for both of its questions; None when it is not asked."""
    asked = {
        None if region_proposer else settings.region_backend,
        None if mask_chooser else settings.mask_chooser,
    }
    return VlmProposer(settings.vlm, progress) if "vlm" in asked else None


_REMEDY = (
    "look at the demonstrations' first images: the part must be fully in view, with depth, and "
    "the same part must be used in all of them"
)


def _failure(
    demonstrations: Sequence[Demonstration],
    contacts: Sequence[Contact | None],
    attempts: list[Attempt],
) -> DistillationError:
    """Declare failure (Algorithm 1): which of the three it was, and what was tried."""
    seen = [attempt.evidence for attempt in attempts if attempt.evidence]
    why = diagnose(gather(demonstrations, contacts, seen), [item.name for item in demonstrations])
    tried = _what_was_tried(demonstrations, attempts)
    return DistillationError(
        f"{why.cause.value}: {why.problem}; {tried}", f"{why.remedy}; {_REMEDY}"
    )


def _what_was_tried(demonstrations: Sequence[Demonstration], attempts: list[Attempt]) -> str:
    """Name the attempts, for the error."""
    tried = "; ".join(
        f"{demonstrations[a.demonstration].name} mask {a.mask + 1}: {a.reason}" for a in attempts
    )
    return f"none of {len(attempts)} proposals could be found again in the demonstrations: {tried}"
