"""One mask under examination (Algorithm 1): are its points found again, and does the arm use it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from kalm_core.correspondence import KeypointDetector
from kalm_core.demonstration import Demonstration
from kalm_core.distillation_settings import DistillationSettings
from kalm_core.evidence import Evidence
from kalm_core.features.view import FeatureView
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.progress import Progress
from kalm_core.proposal.contact import find_contact
from kalm_core.proposal.mask import Mask
from kalm_core.proposal.region import Region
from kalm_core.proposal.sampling import farthest_points
from kalm_core.relevance import why_irrelevant
from kalm_core.se3 import Array
from kalm_core.verification import (
    CandidateMatches,
    Verifier,
    described,
    joined_keypoints,
    subset_keypoints,
)
from kalm_core.vlm.transcript import Transcript

_SAMPLES = 8
"""Points looked at around the part, for each keypoint that is wanted there."""


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
        span: distance of the outermost keypoints when only that spoke against it [m]; else None.
    """

    demonstration: int
    mask: int
    candidates: int
    accepted: int
    reason: str
    evidence: Evidence | None = field(default=None, repr=False, compare=False)
    span: float | None = None

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


class Examiner:
    """Examines masks of one set of demonstrations; holds what all attempts share.

    Args:
        demonstrations: at least two.
        settings: see there.
        views: features of every first image by the same settings; None computes them when they
            are needed.

    Raises:
        BackendUnavailableError, ConfigError: a feature backend cannot be built.
    """

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        settings: DistillationSettings,
        views: Sequence[FeatureView] | None = None,
    ) -> None:
        self.demonstrations = demonstrations
        self.views = list(views or ())
        self.detector = KeypointDetector(settings.detection)
        self.settings = settings
        where = settings.proximity
        self.contacts = [
            find_contact(item, where.contact_width, where.rest) for item in demonstrations
        ]

    def prepare(self, progress: Progress) -> None:
        """Compute the features of all first images, once."""
        count = len(self.demonstrations)
        for index in range(len(self.views), count):
            name = self.demonstrations[index].name
            progress.step("propose", index / count, f"features of {name}")
            self.views.append(self.detector.view(self.demonstrations[index].initial))

    def examine(
        self, region: Region, mask: Mask, rank: int, min_span: float
    ) -> Distillation | Attempt:
        """Verify one mask; `prepare` comes first.

        Args:
            region: that the mask was proposed for.
            mask: in the first image of the region's demonstration.
            rank: of the mask in its region, for the record.
            min_span: how far apart the outermost of its keypoints must lie [m].

        Returns:
            The finished result, or the attempt with its reason.
        """
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
                detected=self.detected(reference),
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
        span = float(pdist(candidates.positions[kept]).max())
        if span < min_span:
            reason = f"its keypoints lie within {100 * span:.1f} cm, which fixes no pose well"
            return Attempt(seed, rank, len(chosen), count, reason, evidence, span)
        reference, matches_kept = subset_keypoints(candidates, kept), matches.subset(kept)
        if s.surroundings:
            # What holds still around a small part tells how it is turned.
            away = np.linalg.norm(view.points - reference.positions.mean(axis=0), axis=1)
            outside = ~mask.pixels[view.pixels[:, 1], view.pixels[:, 0]]
            more = np.flatnonzero(outside & (away < s.surroundings_reach))
            reference, matches_kept = self._joined(verifier, reference, matches_kept, more)
        reference, detected = self.learned(verifier, reference, matches_kept)
        return Distillation(
            reference_demonstration=seed,
            reference=reference,
            detected=detected,
            region=region,
            mask=mask,
            candidate_positions=candidates.positions,
            candidate_consistency=matches.consistency,
            needed_consistency=needed_consistency,
            attempts=(Attempt(seed, rank, len(chosen), count, "", evidence),),
        )

    def _joined(
        self,
        verifier: Verifier,
        reference: ReferenceKeypoints,
        matches: CandidateMatches,
        rows: NDArray[np.int64],
    ) -> tuple[ReferenceKeypoints, CandidateMatches]:
        """Join keypoints with the most consistent of other points, rows of the seed's view."""
        s = self.settings
        points = self.views[verifier.seed].points
        rows = rows[described(self.views[verifier.seed], rows)]
        chosen = rows[farthest_points(points[rows], _SAMPLES * s.surroundings)]
        if len(chosen) == 0:
            return reference, matches
        others = verifier.describe(chosen, s.seed)
        found = verifier.match(others)
        accepted = found.consistency >= 1.0 - s.delta - 1e-9
        if not accepted.any():
            return reference, matches
        kept = _choose(others.positions, found, accepted, s.surroundings)
        return (
            joined_keypoints(reference, subset_keypoints(others, kept)),
            matches.joined(found.subset(kept)),
        )

    def detected(self, reference: ReferenceKeypoints) -> tuple[DetectedKeypoints, ...]:
        """Find keypoints that nothing verified in all first images."""
        return tuple(self.detector.detect_in(view, reference) for view in self.views)

    def learned(
        self, verifier: Verifier, reference: ReferenceKeypoints, matches: CandidateMatches
    ) -> tuple[ReferenceKeypoints, tuple[DetectedKeypoints, ...]]:
        """Return accepted keypoints with what all demonstrations teach, and where they are.

        Where the keypoints lie in the reference no longer changes.
        """
        final = verifier.learned(reference, matches, self.settings.average_features)
        return final, verifier.detected(final)


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
