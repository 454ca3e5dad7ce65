"""Keypoint proposal and verification (Algorithm 1): from demonstrations to keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kalm_core.correspondence import CorrespondenceSettings, KeypointDetector
from kalm_core.demonstration import Demonstration
from kalm_core.diagnosis import diagnose, gather
from kalm_core.errors import DemonstrationError, DistillationError
from kalm_core.evidence import Evidence
from kalm_core.features.view import FeatureView
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
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
from kalm_core.proposal.contact import Contact, find_contact
from kalm_core.proposal.geometric import GeometricSettings
from kalm_core.proposal.mask import Mask
from kalm_core.proposal.proximity import ProximitySettings
from kalm_core.proposal.region import Region
from kalm_core.proposal.sam import SamSettings
from kalm_core.proposal.sampling import farthest_points
from kalm_core.relevance import why_irrelevant
from kalm_core.se3 import Array
from kalm_core.settings import Settings
from kalm_core.verification import (
    CandidateMatches,
    Verifier,
    described,
    subset_keypoints,
)
from kalm_core.vlm.settings import VlmSettings
from kalm_core.vlm.transcript import Transcript


class DistillationSettings(Settings):
    """Settings of Algorithm 1."""

    region_backend: Literal["proximity", "vlm"] = Field(
        "proximity", description="which backend proposes regions"
    )
    mask_backend: Literal["geometric", "sam"] = Field(
        "geometric", description="which backend proposes masks"
    )
    mask_chooser: Literal["score", "vlm"] = Field(
        "score", description="who chooses among the masks: their score, or the VLM by looking"
    )
    proximity: ProximitySettings = Field(default_factory=ProximitySettings, description="of it")
    vlm: VlmSettings = Field(default_factory=VlmSettings, description="of the VLM, where asked")
    geometric: GeometricSettings = Field(default_factory=GeometricSettings, description="of it")
    sam: SamSettings = Field(default_factory=SamSettings, description="of it")
    correspondence: CorrespondenceSettings = Field(
        default_factory=CorrespondenceSettings, description="of φ, here and at run time"
    )
    candidates: int = Field(50, ge=8, le=500, description="points sampled in a mask, N_c")
    keypoints: int = Field(8, ge=2, le=64, description="kept at the end")
    delta: float = Field(
        0.3, ge=0.0, le=1.0, description="share of demonstrations a keypoint may be missing in, δ"
    )
    gamma: float = Field(
        0.5, ge=0.0, le=1.0, description="share of candidates that must be consistent, γ"
    )
    contact_tolerance: float = Field(
        0.05,
        ge=0.0,
        le=1.0,
        description="a match must keep its height and distance from the contact; 0 ignores it [m]",
    )
    work_slack: float = Field(
        0.02,
        ge=0.0,
        le=5.0,
        description="how much farther from the tool a part may be than what the arm works on [m]",
    )
    work_reach: float = Field(
        0.08,
        ge=0.0,
        le=5.0,
        description="the same for half of the part: a larger one is more than the part; 0 lets "
        "parts be anywhere [m]",
    )
    max_regions: int = Field(10, ge=1, le=50, description="regions tried before giving up")
    max_masks: int = Field(4, ge=1, le=50, description="masks tried in each region")
    average_features: bool = Field(
        True, description="keypoint features are means over the demonstrations that found them"
    )
    verify: bool = Field(True, description="False accepts every candidate (for the ablation)")
    seed: int = Field(0, ge=0, description="of the neighbours that are sampled around keypoints")

    @property
    def detection(self) -> CorrespondenceSettings:
        """Settings of φ for this distillation and, later, at run time."""
        if self.verify:
            return self.correspondence
        return self.correspondence.model_copy(update={"verify": False})


@dataclass(frozen=True)
class Attempt:
    """One mask that was tried.

    Attributes:
        demonstration: index of the demonstration whose first image it is in.
        mask: rank of the mask in its region, from 0; -1 when no mask was proposed.
        candidates: points sampled in it.
        accepted: how many of them are consistent.
        reason: why it was rejected; empty when it was taken.
        evidence: what was seen, for the report.
    """

    demonstration: int
    mask: int
    candidates: int
    accepted: int
    reason: str
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    @property
    def share(self) -> float:
        """Share of the candidates that were accepted."""
        return self.accepted / self.candidates if self.candidates else 0.0

    def record(self) -> dict[str, Any]:
        """Return plain values for the skill's record."""
        return {
            "demonstration": self.demonstration,
            "mask": self.mask,
            "candidates": self.candidates,
            "accepted": self.accepted,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Distillation:
    """The result of Algorithm 1.

    Attributes:
        reference_demonstration: index of the demonstration whose first image is the reference.
        reference: the keypoints kept.
        detected: the keypoints in each demonstration's first image, in order.
        region, mask: where they came from.
        candidate_positions: (N_c, 3) all candidates of the mask taken [m], reference base frame.
        candidate_consistency: (N_c,) share of demonstrations in which each was found (Φ).
        needed_consistency: the share 1 - δ from which a candidate was accepted.
        attempts: everything tried, the last one successful.
        transcript: what the VLM was asked and answered; None when it was not asked.
    """

    reference_demonstration: int
    reference: ReferenceKeypoints
    detected: tuple[DetectedKeypoints, ...]
    region: Region
    mask: Mask
    candidate_positions: Array
    candidate_consistency: Array
    needed_consistency: float
    attempts: tuple[Attempt, ...]
    transcript: Transcript | None = None

    @property
    def candidate_accepted(self) -> NDArray[np.bool_]:
        """Which candidates were accepted, (N_c,)."""
        return np.asarray(self.candidate_consistency >= self.needed_consistency)


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
    search = _Search(demonstrations, KeypointDetector(settings.detection), settings, views)
    attempts: list[Attempt] = []
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
            search.prepare(progress)
            fraction = (tried + rank / len(masks)) / settings.max_regions
            name = demonstrations[seed].name
            progress.step("verify", fraction, f"mask {rank + 1} of {len(masks)} in {name}")
            result = search.examine(region, mask, rank)
            if isinstance(result, Attempt):
                attempts.append(result)
                rejected.append(Rejection(seed, mask.pixels, result.reason))
                continue
            progress.step("verify", 1.0, f"{len(result.reference)} keypoints kept")
            return replace(
                result,
                attempts=(*attempts, *result.attempts),
                transcript=vlm.transcript if vlm else None,
            )
    raise _failure(demonstrations, search.contacts, attempts)


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


class _Search:
    """Examines masks; holds what all attempts share."""

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        detector: KeypointDetector,
        settings: DistillationSettings,
        views: Sequence[FeatureView] | None,
    ) -> None:
        self.demonstrations = demonstrations
        self.views = list(views or ())
        self.detector = detector
        self.settings = settings
        width = settings.proximity.contact_width
        self.contacts = [find_contact(item, width) for item in demonstrations]

    def prepare(self, progress: Progress) -> None:
        """Compute the features of all first images, once."""
        count = len(self.demonstrations)
        for index in range(len(self.views), count):
            name = self.demonstrations[index].name
            progress.step("propose", index / count, f"features of {name}")
            self.views.append(self.detector.view(self.demonstrations[index].initial))

    def examine(self, region: Region, mask: Mask, rank: int) -> Distillation | Attempt:
        """Verify one mask: the finished result, or the attempt with its reason."""
        s, seed = self.settings, region.demonstration
        view = self.views[seed]
        inside = np.flatnonzero(mask.pixels[view.pixels[:, 1], view.pixels[:, 0]])
        inside = inside[described(view, inside)]
        if len(inside) < s.keypoints:
            reason = f"only {len(inside)} points have features"
            return Attempt(seed, rank, len(inside), 0, reason, Evidence(region, mask.pixels))
        verifier = Verifier(self.views, self.contacts, self.detector, seed, s.contact_tolerance)
        chosen = inside[farthest_points(view.points[inside], s.candidates)]
        candidates = verifier.describe(chosen, s.seed)
        if not s.verify:
            reference = subset_keypoints(candidates, np.arange(s.keypoints))
            return Distillation(
                reference_demonstration=seed,
                reference=reference,
                detected=tuple(self.detector.detect_in(item, reference) for item in self.views),
                region=region,
                mask=mask,
                candidate_positions=candidates.positions,
                candidate_consistency=np.ones(len(chosen)),
                needed_consistency=0.0,
                attempts=(
                    Attempt(
                        seed,
                        rank,
                        len(chosen),
                        len(chosen),
                        "",
                        Evidence(region, mask.pixels, candidates.positions),
                    ),
                ),
            )
        matches = verifier.match(candidates)
        evidence = Evidence.of_candidates(
            region, mask.pixels, candidates.positions, matches, self.views
        )
        needed_consistency = 1.0 - s.delta - 1e-9
        accepted = matches.consistency >= needed_consistency
        count = int(accepted.sum())
        needed = max(int(np.ceil(s.gamma * len(chosen))), s.keypoints)
        if count < needed:
            reason = f"{count} of {len(chosen)} points are consistent, {needed} are needed"
            return Attempt(seed, rank, len(chosen), count, reason, evidence)
        demonstration, contact = self.demonstrations[seed], self.contacts[seed]
        reason = why_irrelevant(demonstration, contact, mask.pixels, s.work_slack, s.work_reach)
        if reason:
            return Attempt(seed, rank, len(chosen), count, reason, evidence)
        kept = _choose(candidates.positions, matches, accepted, s.keypoints)
        reference, matches_kept = subset_keypoints(candidates, kept), matches.subset(kept)
        reference = verifier.learned(reference, matches_kept, s.average_features)
        return Distillation(
            reference_demonstration=seed,
            reference=reference,
            detected=verifier.detected(reference),
            region=region,
            mask=mask,
            candidate_positions=candidates.positions,
            candidate_consistency=matches.consistency,
            needed_consistency=needed_consistency,
            attempts=(Attempt(seed, rank, len(chosen), count, "", evidence),),
        )


def _choose(
    positions: Array, matches: CandidateMatches, accepted: NDArray[np.bool_], count: int
) -> NDArray[np.int64]:
    """Choose the keypoints that are kept: the better half of the accepted ones, spread out."""
    indices = np.flatnonzero(accepted)
    found = matches.found
    mean = (matches.score * found).sum(axis=0) / np.maximum(found.sum(axis=0), 1)
    order = indices[np.lexsort((-mean[indices], -matches.consistency[indices]))]
    better = order[: max(2 * count, (len(order) + 1) // 2)]
    return np.sort(better[farthest_points(positions[better], count)])
