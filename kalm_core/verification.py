"""Cross-instance consistency (section II-C): candidates against all demonstrations.

The arm shows in every demonstration where the part is, so a match counts only where it lies to the
contact as the candidate lies to the seed's contact; a match on the other handle is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from kalm_core.confidence import Calibration, calibrate
from kalm_core.correspondence import KeypointDetector, Placement
from kalm_core.features.extractor import Features
from kalm_core.features.view import FeatureView
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.proposal.contact import Contact
from kalm_core.se3 import Array


@dataclass(frozen=True)
class CandidateMatches:
    """What φ says about K candidates in D demonstrations.

    Attributes:
        found: (D, K) whether it was found.
        score: (D, K) best score φ*.
        rows: (D, K) its match, as a row of the demonstration's view.
    """

    found: NDArray[np.bool_]
    score: Array
    rows: NDArray[np.int64]

    @property
    def consistency(self) -> Array:
        """Share of the demonstrations in which each was found, (K,) (Φ, equation 2)."""
        return np.asarray(self.found.mean(axis=0))

    def subset(self, columns: NDArray[np.int64]) -> CandidateMatches:
        """Keep some of the candidates."""
        return CandidateMatches(
            self.found[:, columns], self.score[:, columns], self.rows[:, columns]
        )

    def joined(self, other: CandidateMatches) -> CandidateMatches:
        """Append further candidates in the same demonstrations."""
        return CandidateMatches(
            np.concatenate([self.found, other.found], axis=1),
            np.concatenate([self.score, other.score], axis=1),
            np.concatenate([self.rows, other.rows], axis=1),
        )


class Verifier:
    """Checks candidates of one seed demonstration against all demonstrations.

    Args:
        views: features of every demonstration's first image.
        contacts: where every demonstration touched its scene; None where unknown.
        detector: φ.
        seed: index of the demonstration that the candidates are in.
        contact_tolerance: by which height above and distance from the contact may change [m];
            0 ignores the contacts.
    """

    def __init__(
        self,
        views: Sequence[FeatureView],
        contacts: Sequence[Contact | None],
        detector: KeypointDetector,
        seed: int,
        contact_tolerance: float,
    ) -> None:
        self.views = views
        self.contacts = contacts
        self.detector = detector
        self.seed = seed
        self.contact_tolerance = contact_tolerance

    def describe(self, rows: NDArray[np.int64], random_seed: int) -> ReferenceKeypoints:
        """Describe points of the seed image, rows of its view, and N' neighbours of each."""
        view, phi = self.views[self.seed], self.detector.settings
        rng = np.random.default_rng(random_seed)
        groups = []
        for row in rows:
            near = np.asarray(
                view.tree.query_ball_point(view.points[row], phi.neighbor_radius), np.int64
            )
            near = np.sort(near[described(view, near)])
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

    def match(self, candidates: ReferenceKeypoints) -> CandidateMatches:
        """Apply φ to every candidate in every demonstration."""
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
            ok &= self._at_the_contact(candidates.positions, matches.positions, index)
            found.append(ok)
            scores.append(matches.score)
            rows.append(view.tree.query(matches.positions)[1])
        return CandidateMatches(np.stack(found), np.stack(scores), np.stack(rows))

    def averaged(
        self,
        reference: ReferenceKeypoints,
        matches: CandidateMatches,
        left_out: int | None = None,
    ) -> ReferenceKeypoints:
        """Replace each keypoint's feature by the mean over the images it was found in.

        Args:
            reference: the keypoints with the seed image's features, kept where nothing is found.
            matches: of the same keypoints.
            left_out: index of a demonstration that does not count.
        """
        features: dict[str, Features] = {}
        for name, own in reference.features.items():
            total = np.zeros(own.shape)
            for index, view in enumerate(self.views):
                if index != left_out and len(view):
                    total += (
                        view.features[name][matches.rows[index]] * matches.found[index][:, None]
                    )
            norm = np.linalg.norm(total, axis=1, keepdims=True)
            mean = total / np.maximum(norm, 1e-9)
            features[name] = np.where(norm > 1e-9, mean, own).astype(np.float32)
        return replace(reference, features=features)

    def learned(
        self, reference: ReferenceKeypoints, matches: CandidateMatches, average: bool
    ) -> ReferenceKeypoints:
        """Give the keypoints what the demonstrations teach about their features and scores.

        Lowest scores and confidence come from each demonstration left out in turn: a score against
        a mean that the image itself is part of would promise too much.

        Args:
            reference: the keypoints with the seed image's features.
            matches: of the same keypoints.
            average: whether features become means over the demonstrations.
        """
        final = self.averaged(reference, matches) if average else reference
        left_out: list[_LeftOut] = []
        for index, view in enumerate(self.views):
            if index == self.seed and not average:
                continue
            others = self.averaged(reference, matches, left_out=index) if average else reference
            placed, best = self.detector.place(view, others), self.detector.place(view, final)
            if placed is None or best is None:
                continue
            points = view.points[placed.rows]
            right = (placed.rows >= 0) & (best.rows >= 0)
            right &= self._at_the_contact(reference.positions, points, index)
            right &= np.linalg.norm(points - view.points[best.rows], axis=1) < _SAME_PLACE
            left_out.append(_LeftOut(placed, right))
            elsewhere = self.detector.place(_without(view, view.points[best.rows]), others)
            if elsewhere is not None:
                left_out.append(_LeftOut(elsewhere, np.zeros(len(reference), bool)))
        lowest = _lowest(left_out, self.detector.settings.min_score)
        return replace(
            final,
            consistency=matches.consistency,
            min_score=lowest,
            calibration=_calibrated(left_out, lowest, self.detector.settings.min_score),
        )

    def detected(self, reference: ReferenceKeypoints) -> tuple[DetectedKeypoints, ...]:
        """Find the keypoints in all demonstrations; a match that is not at the contact is Null."""
        results = []
        for index, view in enumerate(self.views):
            item = self.detector.detect_in(view, reference)
            found = item.found & self._at_the_contact(reference.positions, item.positions, index)
            positions = np.where(found[:, None], item.positions, np.nan)
            results.append(DetectedKeypoints(positions, found, item.score, item.confidence))
        return tuple(results)

    def _at_the_contact(self, reference: Array, positions: Array, index: int) -> NDArray[np.bool_]:
        """Tell which matches lie to the demonstration's contact as the candidates to the seed's."""
        tolerance = self.contact_tolerance
        here, there = self.contacts[index], self.contacts[self.seed]
        if tolerance == 0 or here is None or there is None:
            return np.ones(len(positions), bool)
        a, b = _height_and_distance(reference, there), _height_and_distance(positions, here)
        return np.asarray((np.abs(a - b) <= tolerance).all(axis=1))


@dataclass(frozen=True)
class _LeftOut:
    """What the other demonstrations' keypoints are placed at in one, and which of it is right."""

    placed: Placement
    right: NDArray[np.bool_]


_SAME_PLACE = 0.02
"""A match is right when it lies this near to where all demonstrations together put it [m]."""
_AWAY = 0.06
"""What is nearer to a keypoint than this is taken out when a part shall be missing [m]."""


def _lowest(left_out: Sequence[_LeftOut], floor: float) -> Array:
    """Return (K,) the lowest score of a right match; the floor where there is none."""
    if not left_out:
        return np.zeros(0)
    scores = np.stack([np.where(item.right, item.placed.score, np.inf) for item in left_out])
    lowest = scores.min(axis=0)
    return np.asarray(np.maximum(np.where(np.isfinite(lowest), lowest, floor), floor))


def _calibrated(left_out: Sequence[_LeftOut], lowest: Array, floor: float) -> Calibration:
    """Fit the confidence; a demonstration's own scores do not count among the lowest for it."""
    cues = []
    for item in left_out:
        rest = [other for other in left_out if other is not item]
        expected = _lowest(rest, floor) if item.right.any() and rest else lowest
        margin = item.placed.score - expected
        cues.append(replace(item.placed.cues, margin=margin, part_margin=float(margin.mean())))
    return calibrate(cues, [item.right for item in left_out])


def _without(view: FeatureView, points: Array) -> FeatureView:
    """Return the view without what is near (K, 3) points [m], as if the part were not there."""
    far = np.ones(len(view), bool)
    for near in view.tree.query_ball_point(points, _AWAY):
        far[near] = False
    features = {name: items[far] for name, items in view.features.items()}
    return FeatureView(view.pixels[far], view.points[far], features, cKDTree(view.points[far]))


def described(view: FeatureView, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which rows of a view have a feature of every kind."""
    defined = np.ones(len(rows), bool)
    for features in view.features.values():
        defined &= np.abs(features[rows]).max(axis=1, initial=0.0) > 0
    return defined


def _height_and_distance(points: Array, contact: Contact) -> Array:
    """Return (N, 2): height above the contact and horizontal distance from it [m]."""
    offset = points - contact.position
    return np.stack([offset[:, 2], np.hypot(offset[:, 0], offset[:, 1])], axis=1)


def subset_keypoints(reference: ReferenceKeypoints, rows: NDArray[np.int64]) -> ReferenceKeypoints:
    """Keep some of the keypoints."""
    return ReferenceKeypoints(
        positions=reference.positions[rows],
        features={name: item[rows] for name, item in reference.features.items()},
        neighbor_features={n: item[rows] for n, item in reference.neighbor_features.items()},
        neighbor_positions=reference.neighbor_positions[rows],
        consistency=reference.consistency[rows],
        min_score=reference.min_score[rows],
        calibration=reference.calibration,
    )


def joined_keypoints(first: ReferenceKeypoints, second: ReferenceKeypoints) -> ReferenceKeypoints:
    """Append keypoints of the same image; the calibration is that of the first."""
    return ReferenceKeypoints(
        positions=np.concatenate([first.positions, second.positions]),
        features={n: np.concatenate([i, second.features[n]]) for n, i in first.features.items()},
        neighbor_features={
            name: np.concatenate([item, second.neighbor_features[name]])
            for name, item in first.neighbor_features.items()
        },
        neighbor_positions=np.concatenate([first.neighbor_positions, second.neighbor_positions]),
        consistency=np.concatenate([first.consistency, second.consistency]),
        min_score=np.concatenate([first.min_score, second.min_score]),
        calibration=first.calibration,
    )
