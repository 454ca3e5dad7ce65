"""The keypoint detection function φ (section II-C): score, group consensus, Null.

Added to the paper: keypoints must agree on one upright motion (`constellation`), a score below
what the demonstrations showed is Null, so that an empty table yields nothing, and so is a match
that is probably wrong (`confidence`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm_core.confidence import Cues
from kalm_core.constellation import UprightFit, best_near, find_upright, stretched
from kalm_core.correspondence_settings import CorrespondenceSettings
from kalm_core.errors import BundleError, ConfigError, KeypointsNotFoundError
from kalm_core.features import make_extractors
from kalm_core.features.extractor import Features
from kalm_core.features.view import FeatureView, make_view, valid_pixels
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.progress import Progress
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, transform_points
from kalm_core.voting import find_by_votes

__all__ = [
    "SAME",
    "CorrespondenceSettings",
    "Guidance",
    "KeypointDetector",
    "Matches",
    "Placement",
    "require_found",
]

Guidance = NDArray[np.float32]
"""(H, W) weights on the scores of an image: 1 where the part is thought to be (section II-C)."""

_ROUNDS = 3
"""So often the arrangement stretches; after that little changes."""

SAME = 0.02
"""Pixels whose score with a match is within this of the best look like it [cosine]."""


@dataclass(frozen=True)
class Matches:
    """Candidates in one image, each on its own as in the paper.

    Attributes:
        positions: (K, 3) place of the best score [m].
        score: (K,) the best score φ* (equation 1).
        agreeing: (K,) share of the group whose matches are near.
    """

    positions: Array
    score: Array
    agreeing: Array


@dataclass(frozen=True)
class Placement:
    """Where the keypoints would be in one image, before it is asked whether they are there.

    Attributes:
        rows: (K,) place of each, as a row of the view; -1 where nothing is near its place.
        score: (K,) φ* there; where there is no place, the best anywhere.
        cues: what tells whether it is right.
    """

    rows: NDArray[np.int64]
    score: Array
    cues: Cues


class KeypointDetector:
    """Finds the keypoints of a skill in an image.

    Raises:
        BackendUnavailableError, ConfigError: a feature backend cannot be built.
    """

    def __init__(self, settings: CorrespondenceSettings | None = None) -> None:
        self.settings = settings or CorrespondenceSettings()
        if not self.settings.weights or sum(self.settings.weights.values()) <= 0:
            raise ConfigError("the weights of the features are empty or add up to nothing")
        self._extractors = make_extractors(self.settings.weights, self.settings.features)

    def view(self, frame: RgbdFrame) -> FeatureView:
        """Return the features of the image on the grid of pixels that φ looks at."""
        s = self.settings
        return make_view(frame, self._extractors, valid_pixels(frame, s.stride, s.max_range))

    def score(
        self, view: FeatureView, features: dict[str, Features], guidance: Guidance | None = None
    ) -> NDArray[np.float32]:
        """Return (N, K) scores of N pixels with K reference features (equation 3).

        Args:
            view: the N pixels.
            features: name of backend -> (K, C) unit rows.
            guidance: weights on positive scores; None weighs nothing.
        """
        weights = self.settings.weights
        total = sum(weights.values())
        parts = []
        for name, weight in weights.items():
            cosine = view.features[name] @ features[name].T
            if self.settings.rescale and len(cosine):
                low = cosine.min(axis=0)
                cosine = (cosine - low) / np.maximum(cosine.max(axis=0) - low, 1e-6)
            parts.append(np.float32(weight / total) * cosine)
        scores = np.asarray(sum(parts), np.float32)
        if guidance is None:
            return scores
        outside = guidance[view.pixels[:, 1], view.pixels[:, 0]][:, None]
        return np.asarray(np.where(scores > 0, scores * outside, scores), np.float32)

    def match(self, view: FeatureView, reference: ReferenceKeypoints) -> Matches:
        """Return the best match of each keypoint by itself and how its group agrees."""
        scores = self.score(view, reference.features)
        best = scores.argmax(axis=0)
        agreeing = self._agreeing(view, reference, best)
        return Matches(view.points[best], scores.max(axis=0).astype(np.float64), agreeing)

    def detect(
        self,
        frame: RgbdFrame,
        reference: ReferenceKeypoints,
        progress: Progress | None = None,
        guidance: Guidance | None = None,
    ) -> DetectedKeypoints:
        """Find the keypoints in an image.

        Args:
            frame: the image.
            reference: the skill's keypoints.
            progress: told about the two steps, asked whether to stop.
            guidance: where the part is thought to be; None is anywhere.

        Returns:
            The keypoints; those that are Null have NaN positions.

        Raises:
            BundleError: the keypoints were made with other feature backends.
        """
        missing = set(self.settings.weights) - set(reference.features)
        if missing:
            raise BundleError(
                f"the keypoints have no features named {', '.join(sorted(missing))}",
                "detect with the backends that distilled the skill",
            )
        progress = progress or Progress()
        progress.step("detect", 0.0, "computing features")
        view = self.view(frame)
        progress.step("detect", 0.7, "matching keypoints")
        detected = self.detect_in(view, reference, guidance)
        progress.step("detect", 1.0, f"{int(detected.found.sum())} of {len(reference)} found")
        return detected

    def detect_in(
        self,
        view: FeatureView,
        reference: ReferenceKeypoints,
        guidance: Guidance | None = None,
    ) -> DetectedKeypoints:
        """Find the keypoints in an image whose features are known; see `detect`."""
        count = len(reference)
        placed = self.place(view, reference, guidance)
        if placed is None:
            return DetectedKeypoints(
                np.full((count, 3), np.nan), np.zeros(count, bool), np.full(count, -1.0)
            )
        if not self.settings.verify:
            return DetectedKeypoints(view.points[placed.rows], np.ones(count, bool), placed.score)
        return self.accept(view, reference, placed)

    def accept(
        self, view: FeatureView, reference: ReferenceKeypoints, placed: Placement
    ) -> DetectedKeypoints:
        """Decide which of the keypoints that were placed in an image are there; others are Null."""
        s, cues = self.settings, placed.cues
        confidence = reference.calibration.confidence(cues) * (placed.rows >= 0)
        threshold = np.maximum(reference.min_score - s.score_margin, s.min_score)
        found = (placed.rows >= 0) & (placed.score >= threshold)
        if cues.part_margin < -s.part_margin:
            found[:] = False  # a part that looks alike but lacks what was around the keypoints
        found &= cues.agreeing >= s.consensus_share
        found &= confidence >= s.min_confidence
        if s.max_spread > 0:
            found &= self._spread(view, placed.rows) <= s.max_spread
        positions = np.where(found[:, None], view.points[placed.rows], np.nan)
        return DetectedKeypoints(positions, found, placed.score, confidence)

    def place(
        self,
        view: FeatureView,
        reference: ReferenceKeypoints,
        guidance: Guidance | None = None,
    ) -> Placement | None:
        """Return where the keypoints are if they are there at all; None when nothing fits."""
        s, count = self.settings, len(reference)
        if len(view) == 0 or count == 0:
            return None
        scores = self.score(view, reference.features, guidance)
        rows, lead, residual = scores.argmax(axis=0), 0.0, np.zeros(count)
        if s.verify and s.arrangement and count > 1:
            fit = self._search(view, reference.positions, scores)
            if fit is None:
                return None
            upright = transform_points(fit.T_base_reference, reference.positions)
            rows, expected = self._settled(view, scores, upright)
            residual = np.linalg.norm(view.points[rows] - expected, axis=1) / s.tolerance
            lead = fit.lead
        score = np.where(rows >= 0, scores[rows, np.arange(count)], scores.max(axis=0))
        score = score.astype(np.float64)
        margin = score - reference.min_score
        agreeing = self._agreeing(view, reference, rows, guidance)
        cues = Cues(margin, float(margin.mean()), agreeing, lead, residual)
        return Placement(rows, score, cues)

    def _search(
        self, view: FeatureView, positions: Array, scores: NDArray[np.float32]
    ) -> UprightFit | None:
        """Return the upright motion of the (K, 3) reference positions that (N, K) scores favour."""
        s = self.settings
        scene = (positions, view.points, view.tree, scores)
        if s.search == "votes":
            return find_by_votes(*scene, tolerance=s.tolerance, penalty=s.distance_penalty)
        return find_upright(
            *scene,
            tolerance=s.tolerance,
            size_change=s.size_change,
            penalty=s.distance_penalty,
        )

    def _settled(
        self, view: FeatureView, scores: NDArray[np.float32], upright: Array
    ) -> tuple[NDArray[np.int64], Array]:
        """Let the arrangement stretch with its matches, and look again where it expects them.

        Args:
            view: the image.
            scores: (N, K).
            upright: (K, 3) where the upright motion expects the keypoints [m].

        Returns:
            (K,) rows of the view, -1 where nothing is near, and (K, 3) expected places [m].
        """
        s, expected = self.settings, upright
        rows = np.full(len(upright), -1, np.int64)
        for again in range(_ROUNDS + 1):
            rows, value = best_near(
                expected,
                view.points,
                view.tree,
                scores,
                radius=s.tolerance,
                penalty=s.distance_penalty,
            )
            use = rows >= 0
            if again == _ROUNDS or use.sum() < 3:
                break
            weights = np.maximum(value[use], 1e-3) ** 4
            target = view.points[rows[use]]
            expected = stretched(upright[use], target, weights, upright, s.rigidity)
        return rows, expected

    def _agreeing(
        self,
        view: FeatureView,
        reference: ReferenceKeypoints,
        rows: NDArray[np.int64],
        guidance: Guidance | None = None,
    ) -> Array:
        """Return (K,) the share of each keypoint's group that matches near its place.

        Along a bar the best match of a neighbour slides freely, so one that matches near the place
        almost as well as anywhere (`consensus_slack`) agrees too.

        Args:
            view: the image.
            reference: the keypoints with their groups.
            rows: (K,) where each keypoint was placed, as a row of the view; -1 for nowhere.
            guidance: see `score`.
        """
        s = self.settings
        count, group = len(reference), reference.neighbor_positions.shape[1]
        flat = {
            name: items.reshape(count * group, -1)
            for name, items in reference.neighbor_features.items()
        }
        scores = self.score(view, flat, guidance).reshape(len(view), count, group)
        needed = scores.max(axis=0) - s.consensus_slack
        share = np.zeros(count)
        places = view.points[np.maximum(rows, 0)]
        for k, near in enumerate(view.tree.query_ball_point(places, s.consensus_radius)):
            if rows[k] >= 0:
                share[k] = (scores[near, k].max(axis=0) >= needed[k]).mean()
        return share

    def _spread(self, view: FeatureView, rows: NDArray[np.int64]) -> Array:
        """Return (K,) distance [m] to the farthest pixel that looks like the one matched."""
        features = {name: items[rows] for name, items in view.features.items()}
        scores = self.score(view, features)
        spread = np.zeros(len(rows))
        for k, column in enumerate((scores >= scores.max(axis=0) - SAME).T):
            distance = np.linalg.norm(view.points[column] - view.points[rows[k]], axis=1)
            spread[k] = distance.max()
        return spread


def require_found(detected: DetectedKeypoints, settings: CorrespondenceSettings) -> None:
    """Pass when enough keypoints were found; it stands before every motion.

    Raises:
        KeypointsNotFoundError: fewer than `min_found` of them are there; the text names those that
            have a match which is probably wrong.
    """
    found, count = int(detected.found.sum()), len(detected)
    needed = int(np.ceil(settings.min_found * count))
    if found >= max(needed, 1):
        return
    doubtful = ~detected.found & (detected.confidence > 0)
    doubts = ", ".join(f"{k + 1} ({detected.confidence[k]:.2f})" for k in np.flatnonzero(doubtful))
    raise KeypointsNotFoundError(
        f"{found} of {count} keypoints found, {needed} are needed"
        + (f"; doubtful (with the probability that the match is right): {doubts}" * bool(doubts)),
        "bring the object fully into view, half a metre from the camera, with nothing in "
        "front of it, and try again",
    )
