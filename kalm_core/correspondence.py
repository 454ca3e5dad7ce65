"""The keypoint detection function φ (section II-C): score, group consensus, Null.

Added to the paper: keypoints must agree on one upright motion (`constellation`), and a score below
what the demonstrations showed is Null, so that an empty table yields nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kalm_core.constellation import best_near, find_upright
from kalm_core.errors import BundleError, ConfigError, KeypointsNotFoundError
from kalm_core.features import FeatureSettings, make_extractors
from kalm_core.features.extractor import Features
from kalm_core.features.view import FeatureView, make_view, valid_pixels
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.progress import Progress
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, transform_points
from kalm_core.settings import Settings


class CorrespondenceSettings(Settings):
    """Settings of φ."""

    weights: dict[str, float] = Field(
        default_factory=lambda: {"local": 1.0},
        description="feature backend -> weight of its cosine in the score (equation 3)",
    )
    features: FeatureSettings = Field(
        default_factory=FeatureSettings, description="of the feature backends"
    )
    stride: int = Field(5, ge=1, le=16, description="pixels looked at: every so many [px]")
    max_range: float = Field(1.3, ge=0.2, le=5.0, description="farthest depth looked at [m]")
    neighbors: int = Field(8, ge=1, le=32, description="group size N'")
    neighbor_radius: float = Field(0.02, ge=0.005, le=0.2, description="of the group, r [m]")
    consensus_radius: float = Field(
        0.04, ge=0.005, le=0.2, description="how near the group's matches must be to agree [m]"
    )
    consensus_slack: float = Field(
        0.02, ge=0.0, le=1.0, description="how much worse than anywhere it may match there"
    )
    consensus_share: float = Field(0.5, ge=0.0, le=1.0, description="share that must agree")
    min_score: float = Field(0.6, ge=-1.0, le=1.0, description="below is Null in any case")
    score_margin: float = Field(
        0.16, ge=0.0, le=1.0, description="allowed below the lowest score in a demonstration"
    )
    part_margin: float = Field(
        0.09, ge=0.0, le=1.0, description="the same for the mean over all keypoints"
    )
    tolerance: float = Field(
        0.03, ge=0.005, le=0.2, description="distance from where the others expect a keypoint [m]"
    )
    size_change: float = Field(
        0.35, ge=0.0, le=1.0, description="share by which distances between keypoints may change"
    )
    distance_penalty: float = Field(
        0.05, ge=0.0, le=1.0, description="taken from the score at the tolerance"
    )
    min_found: float = Field(
        0.6, ge=0.0, le=1.0, description="share of the keypoints that must be found"
    )
    verify: bool = Field(
        True, description="False takes every best match as it is (for the ablation)"
    )


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

    def score(self, view: FeatureView, features: dict[str, Features]) -> NDArray[np.float32]:
        """Return (N, K) weighted cosines of N pixels with K reference features (equation 3)."""
        weights = self.settings.weights
        total = sum(weights.values())
        parts = [
            np.float32(weight / total) * (view.features[name] @ features[name].T)
            for name, weight in weights.items()
        ]
        return np.asarray(sum(parts), np.float32)

    def match(self, view: FeatureView, reference: ReferenceKeypoints) -> Matches:
        """Return the best match of each keypoint by itself and how its group agrees."""
        scores = self.score(view, reference.features)
        best = scores.argmax(axis=0)
        agreeing = self._agreeing(view, reference, best)
        return Matches(view.points[best], scores.max(axis=0).astype(np.float64), agreeing)

    def detect(
        self, frame: RgbdFrame, reference: ReferenceKeypoints, progress: Progress | None = None
    ) -> DetectedKeypoints:
        """Find the keypoints in an image.

        Args:
            frame: the image.
            reference: the skill's keypoints.
            progress: told about the two steps, asked whether to stop.

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
        detected = self.detect_in(view, reference)
        progress.step("detect", 1.0, f"{int(detected.found.sum())} of {len(reference)} found")
        return detected

    def detect_in(self, view: FeatureView, reference: ReferenceKeypoints) -> DetectedKeypoints:
        """Find the keypoints in an image whose features are known; see `detect`."""
        s, count = self.settings, len(reference)
        if len(view) == 0 or count == 0:
            return DetectedKeypoints(
                np.full((count, 3), np.nan), np.zeros(count, bool), np.full(count, -1.0)
            )
        if not s.verify:
            matches = self.match(view, reference)
            return DetectedKeypoints(matches.positions, np.ones(count, bool), matches.score)
        scores = self.score(view, reference.features)
        threshold = np.maximum(reference.min_score - s.score_margin, s.min_score)
        if count < 2:
            chosen = scores.argmax(axis=0)
        else:
            fit = find_upright(
                reference.positions,
                view.points,
                view.tree,
                scores,
                tolerance=s.tolerance,
                size_change=s.size_change,
                penalty=s.distance_penalty,
            )
            if fit is None:
                best = scores.max(axis=0).astype(np.float64)
                return DetectedKeypoints(np.full((count, 3), np.nan), np.zeros(count, bool), best)
            expected = transform_points(fit.T_base_reference, reference.positions)
            chosen, _ = best_near(
                expected,
                view.points,
                view.tree,
                scores,
                radius=s.tolerance,
                penalty=s.distance_penalty,
            )
        score = np.where(chosen >= 0, scores[chosen, np.arange(count)], scores.max(axis=0))
        found = (chosen >= 0) & (score >= threshold)
        if (score - reference.min_score).mean() < -s.part_margin:
            found[:] = False  # a part that looks alike but lacks what was around the keypoints
        found &= self._agreeing(view, reference, chosen) >= s.consensus_share
        positions = np.where(found[:, None], view.points[chosen], np.nan)
        return DetectedKeypoints(positions, found, score.astype(np.float64))

    def _agreeing(
        self, view: FeatureView, reference: ReferenceKeypoints, rows: NDArray[np.int64]
    ) -> Array:
        """Return (K,) the share of each keypoint's group that matches near its place.

        Along a bar the best match of a neighbour slides freely, so one that matches near the place
        almost as well as anywhere (`consensus_slack`) agrees too.

        Args:
            view: the image.
            reference: the keypoints with their groups.
            rows: (K,) where each keypoint was placed, as a row of the view; -1 for nowhere.
        """
        s = self.settings
        count, group = len(reference), reference.neighbor_positions.shape[1]
        flat = {
            name: items.reshape(count * group, -1)
            for name, items in reference.neighbor_features.items()
        }
        scores = self.score(view, flat).reshape(len(view), count, group)
        needed = scores.max(axis=0) - s.consensus_slack
        share = np.zeros(count)
        places = view.points[np.maximum(rows, 0)]
        for k, near in enumerate(view.tree.query_ball_point(places, s.consensus_radius)):
            if rows[k] >= 0:
                share[k] = (scores[near, k].max(axis=0) >= needed[k]).mean()
        return share


def require_found(detected: DetectedKeypoints, settings: CorrespondenceSettings) -> None:
    """Pass when enough keypoints were found.

    Raises:
        KeypointsNotFoundError: fewer than `min_found` of them are there.
    """
    found, count = int(detected.found.sum()), len(detected)
    needed = int(np.ceil(settings.min_found * count))
    if found < max(needed, 1):
        raise KeypointsNotFoundError(
            f"{found} of {count} keypoints found, {needed} are needed",
            "bring the object fully into view, half a metre from the camera, with nothing in "
            "front of it, and try again",
        )
