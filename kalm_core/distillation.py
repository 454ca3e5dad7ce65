"""Keypoint proposal and verification (Algorithm 1): from demonstrations to keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kalm_core.correspondence import CorrespondenceSettings, KeypointDetector
from kalm_core.demonstration import Demonstration
from kalm_core.errors import DemonstrationError, DistillationError
from kalm_core.features.extractor import Features
from kalm_core.features.view import FeatureView
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.progress import Progress
from kalm_core.proposal import make_mask_proposer, make_region_proposer
from kalm_core.proposal.contact import Contact, find_contact
from kalm_core.proposal.geometric import GeometricSettings
from kalm_core.proposal.mask import Mask, MaskProposer
from kalm_core.proposal.proximity import ProximitySettings
from kalm_core.proposal.region import Region, RegionProposer
from kalm_core.proposal.sampling import farthest_points
from kalm_core.se3 import Array
from kalm_core.settings import Settings


class DistillationSettings(Settings):
    """Settings of Algorithm 1."""

    region_backend: Literal["proximity", "vlm"] = Field(
        "proximity", description="which backend proposes regions"
    )
    mask_backend: Literal["geometric", "sam"] = Field(
        "geometric", description="which backend proposes masks"
    )
    proximity: ProximitySettings = Field(default_factory=ProximitySettings, description="of it")
    geometric: GeometricSettings = Field(default_factory=GeometricSettings, description="of it")
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
    max_regions: int = Field(4, ge=1, le=50, description="regions tried before giving up")
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
    """

    demonstration: int
    mask: int
    candidates: int
    accepted: int
    reason: str

    @property
    def share(self) -> float:
        """Share of the candidates that were accepted."""
        return self.accepted / self.candidates if self.candidates else 0.0


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

    @property
    def candidate_accepted(self) -> NDArray[np.bool_]:
        """Which candidates were accepted, (N_c,)."""
        return np.asarray(self.candidate_consistency >= self.needed_consistency)


def distill(
    demonstrations: Sequence[Demonstration],
    settings: DistillationSettings | None = None,
    progress: Progress | None = None,
    *,
    region_proposer: RegionProposer | None = None,
    mask_proposer: MaskProposer | None = None,
) -> Distillation:
    """Find keypoints that the task is about and that every demonstration shows (Algorithm 1).

    Args:
        demonstrations: at least two, each in its own scene.
        settings: see there.
        progress: told the stage "propose" or "verify", asked whether to stop.
        region_proposer: takes the place of the settings' backend.
        mask_proposer: takes the place of the settings' backend.

    Raises:
        DemonstrationError: fewer than two demonstrations.
        DistillationError: no region or no mask passes; the text lists what was tried.
        BackendUnavailableError, ConfigError: a backend cannot be built.
    """
    settings, progress = settings or DistillationSettings(), progress or Progress()
    if len(demonstrations) < 2:
        raise DemonstrationError(
            f"{len(demonstrations)} demonstrations were given, verification needs at least 2",
            "record about ten, each in another scene or from another view",
        )
    region_proposer = region_proposer or make_region_proposer(
        settings.region_backend, settings.proximity
    )
    mask_proposer = mask_proposer or make_mask_proposer(settings.mask_backend, settings.geometric)
    detector = KeypointDetector(settings.detection)
    progress.step("propose", 0.0, "looking for where the gripper works")
    regions = region_proposer.propose(demonstrations)[: settings.max_regions]
    views = []
    for index, demonstration in enumerate(demonstrations):
        progress.step("propose", index / len(demonstrations), f"features of {demonstration.name}")
        views.append(detector.view(demonstration.initial))
    search = _Search(demonstrations, views, detector, settings)
    attempts: list[Attempt] = []
    for tried, region in enumerate(regions):
        frame = demonstrations[region.demonstration].initial
        masks = mask_proposer.propose(frame, region)[: settings.max_masks]
        if not masks:
            attempts.append(Attempt(region.demonstration, -1, 0, 0, "no part could be segmented"))
        for rank, mask in enumerate(masks):
            fraction = (tried + rank / len(masks)) / len(regions)
            name = demonstrations[region.demonstration].name
            progress.step("verify", fraction, f"mask {rank + 1} of {len(masks)} in {name}")
            result = search.examine(region, mask, rank)
            if isinstance(result, Attempt):
                attempts.append(result)
                continue
            progress.step("verify", 1.0, f"{len(result.reference)} keypoints kept")
            return replace(result, attempts=(*attempts, *result.attempts))
    raise DistillationError(_what_was_tried(demonstrations, attempts), _REMEDY)


_REMEDY = (
    "look at the demonstrations' first images: the part must be fully in view, with depth, and "
    "the same part must be used in all of them"
)


def _what_was_tried(demonstrations: Sequence[Demonstration], attempts: list[Attempt]) -> str:
    """Name the attempts, for the error."""
    tried = "; ".join(
        f"{demonstrations[a.demonstration].name} mask {a.mask + 1}: {a.reason}" for a in attempts
    )
    return f"none of {len(attempts)} proposals could be found again in the demonstrations: {tried}"


class _Search:
    """Samples and verifies candidates; holds what all attempts share."""

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        views: list[FeatureView],
        detector: KeypointDetector,
        settings: DistillationSettings,
    ) -> None:
        self.demonstrations = demonstrations
        self.views = views
        self.detector = detector
        self.settings = settings
        width = settings.proximity.contact_width
        self.contacts = [find_contact(item, width) for item in demonstrations]

    def examine(self, region: Region, mask: Mask, rank: int) -> Distillation | Attempt:
        """Verify one mask: the finished result, or the attempt with its reason."""
        s = self.settings
        index, view = region.demonstration, self.views[region.demonstration]
        inside = np.flatnonzero(mask.pixels[view.pixels[:, 1], view.pixels[:, 0]])
        inside = inside[self._described(view, inside)]
        if len(inside) < s.keypoints:
            return Attempt(index, rank, len(inside), 0, f"only {len(inside)} points have features")
        chosen = inside[farthest_points(view.points[inside], s.candidates)]
        candidates = self._reference(view, chosen)
        if not s.verify:
            candidates = _subset(candidates, np.arange(s.keypoints))
            detected = [self.detector.detect_in(item, candidates) for item in self.views]
            attempt = Attempt(index, rank, len(chosen), len(chosen), "")
            positions = candidates.positions
            return Distillation(
                index, candidates, tuple(detected), region, mask,
                positions, np.ones(len(positions)), 0.0, (attempt,),
            )  # fmt: skip
        found, scores, matched = self._verify(candidates, index)
        consistency = found.mean(axis=0)
        accepted = consistency >= 1.0 - s.delta - 1e-9
        count = int(accepted.sum())
        needed = max(int(np.ceil(s.gamma * len(chosen))), s.keypoints)
        if count < needed:
            reason = f"{count} of {len(chosen)} points are consistent, {needed} are needed"
            return Attempt(index, rank, len(chosen), count, reason)
        kept = self._spread(candidates.positions, consistency, scores, found, accepted)
        reference = _subset(candidates, kept)
        reference = replace(reference, consistency=consistency[kept])
        if s.average_features:
            reference = self._averaged(reference, found[:, kept], matched[:, kept], index)
        reference, detected_all = self._calibrated(reference, index)
        attempt = Attempt(index, rank, len(chosen), count, "")
        return Distillation(
            index, reference, detected_all, region, mask,
            candidates.positions, consistency, 1.0 - s.delta - 1e-9, (attempt,),
        )  # fmt: skip

    def _described(self, view: FeatureView, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which rows have a feature of every kind."""
        defined = np.ones(len(rows), bool)
        for features in view.features.values():
            defined &= np.abs(features[rows]).max(axis=1, initial=0.0) > 0
        return defined

    def _reference(self, view: FeatureView, rows: NDArray[np.int64]) -> ReferenceKeypoints:
        """Describe points of the seed image and N' random neighbours of each."""
        phi = self.detector.settings
        rng = np.random.default_rng(self.settings.seed)
        groups = []
        for row in rows:
            near = np.asarray(
                view.tree.query_ball_point(view.points[row], phi.neighbor_radius), np.int64
            )
            near = np.sort(near[self._described(view, near)])
            groups.append(rng.choice(near, phi.neighbors, replace=len(near) < phi.neighbors))
        group = np.stack(groups)
        return ReferenceKeypoints(
            positions=view.points[rows],
            features={name: rows_[rows] for name, rows_ in view.features.items()},
            neighbor_features={name: rows_[group] for name, rows_ in view.features.items()},
            neighbor_positions=view.points[group],
            consistency=np.ones(len(rows)),
            min_score=np.full(len(rows), phi.min_score),
        )

    def _verify(
        self, candidates: ReferenceKeypoints, seed: int
    ) -> tuple[NDArray[np.bool_], Array, NDArray[np.int64]]:
        """Apply φ to every candidate in every demonstration.

        Returns:
            (D, K) whether it was found, (D, K) its score, (D, K) row of its match in the view.
        """
        phi = self.detector.settings
        found, scores, rows = [], [], []
        for index, view in enumerate(self.views):
            if len(view) == 0:
                found.append(np.zeros(len(candidates), bool))
                scores.append(np.full(len(candidates), -1.0))
                rows.append(np.zeros(len(candidates), np.int64))
                continue
            matches = self.detector.match(view, candidates)
            ok = (matches.score >= phi.min_score) & (matches.agreeing >= phi.consensus_share)
            ok &= self._at_the_contact(candidates.positions, seed, matches.positions, index)
            found.append(ok)
            scores.append(matches.score)
            rows.append(view.tree.query(matches.positions)[1])
        return np.stack(found), np.stack(scores), np.stack(rows)

    def _at_the_contact(
        self, reference: Array, seed: int, positions: Array, index: int
    ) -> NDArray[np.bool_]:
        """Tell which matches lie to the demonstration's contact as the candidates to the seed's.

        The arm shows where the part is: a match on the other handle is no match.
        """
        tolerance = self.settings.contact_tolerance
        here, there = self.contacts[index], self.contacts[seed]
        if tolerance == 0 or here is None or there is None:
            return np.ones(len(positions), bool)
        a, b = _height_and_distance(reference, there), _height_and_distance(positions, here)
        return np.asarray((np.abs(a - b) <= tolerance).all(axis=1))

    def _spread(
        self,
        positions: Array,
        consistency: Array,
        scores: Array,
        found: NDArray[np.bool_],
        accepted: NDArray[np.bool_],
    ) -> NDArray[np.int64]:
        """Choose the keypoints that are kept: the better half of the accepted ones, spread out."""
        indices = np.flatnonzero(accepted)
        mean = (scores * found).sum(axis=0) / np.maximum(found.sum(axis=0), 1)
        order = indices[np.lexsort((-mean[indices], -consistency[indices]))]
        better = order[: max(2 * self.settings.keypoints, (len(order) + 1) // 2)]
        return np.sort(better[farthest_points(positions[better], self.settings.keypoints)])

    def _averaged(
        self,
        reference: ReferenceKeypoints,
        found: NDArray[np.bool_],
        rows: NDArray[np.int64],
        seed: int,
    ) -> ReferenceKeypoints:
        """Replace each keypoint's feature by the mean over the images it was found in."""
        features: dict[str, Features] = {}
        for name, own in reference.features.items():
            total = own.astype(np.float64).copy()
            for index, view in enumerate(self.views):
                if index != seed:
                    total += view.features[name][rows[index]] * found[index][:, None]
            norm = np.linalg.norm(total, axis=1, keepdims=True)
            features[name] = (total / np.maximum(norm, 1e-9)).astype(np.float32)
        return replace(reference, features=features)

    def _calibrated(
        self, reference: ReferenceKeypoints, seed: int
    ) -> tuple[ReferenceKeypoints, tuple[DetectedKeypoints, ...]]:
        """Set the lowest score in a demonstration, and detect the keypoints in all of them."""
        detected = [self.detector.detect_in(view, reference) for view in self.views]
        lowest = np.full(len(reference), np.inf)
        for index, item in enumerate(detected):
            if index == seed:
                continue
            here = item.found.copy()
            here[item.found] &= self._at_the_contact(
                reference.positions[item.found], seed, item.positions[item.found], index
            )
            lowest = np.minimum(lowest, np.where(here, item.score, np.inf))
        fallback = self.detector.settings.min_score
        reference = replace(reference, min_score=np.where(np.isfinite(lowest), lowest, fallback))
        return reference, tuple(self.detector.detect_in(view, reference) for view in self.views)


def _height_and_distance(points: Array, contact: Contact) -> Array:
    """Return (N, 2): height above the contact and horizontal distance from it [m]."""
    offset = points - contact.position
    return np.stack([offset[:, 2], np.hypot(offset[:, 0], offset[:, 1])], axis=1)


def _subset(reference: ReferenceKeypoints, rows: NDArray[np.int64]) -> ReferenceKeypoints:
    """Keep some of the keypoints."""
    return ReferenceKeypoints(
        positions=reference.positions[rows],
        features={name: item[rows] for name, item in reference.features.items()},
        neighbor_features={n: item[rows] for n, item in reference.neighbor_features.items()},
        neighbor_positions=reference.neighbor_positions[rows],
        consistency=reference.consistency[rows],
        min_score=reference.min_score[rows],
    )
