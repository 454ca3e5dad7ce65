"""Settings of the keypoint detection function φ (section II-C)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kalm_core.features import FeatureSettings
from kalm_core.settings import Settings


class CorrespondenceSettings(Settings):
    """Settings of φ."""

    weights: dict[str, float] = Field(
        default_factory=lambda: {"local": 1.0, "fpfh": 0.5},
        description="feature backend -> weight of its cosine in the score (equation 3)",
    )
    features: FeatureSettings = Field(
        default_factory=FeatureSettings, description="of the feature backends"
    )
    rescale: bool = Field(
        False,
        description="stretch each cosine map of an image to 0..1 first, as the authors' code does; "
        "the best match of an empty table then scores 1 too",
    )
    stride: int = Field(5, ge=1, le=16, description="pixels looked at: every so many [px]")
    max_range: float = Field(1.3, ge=0.2, le=5.0, description="farthest depth looked at [m]")
    neighbors: int = Field(
        8, ge=1, le=32, description="group size N' of the paper; the authors' code has 10"
    )
    neighbor_radius: float = Field(
        0.02, ge=0.005, le=0.2, description="of the group, r of the paper; their code: 0.03 [m]"
    )
    consensus_radius: float = Field(
        0.04, ge=0.005, le=0.2, description="how near the group's matches must be to agree [m]"
    )
    consensus_slack: float = Field(
        0.1, ge=0.0, le=1.0, description="how much worse than anywhere it may match there"
    )
    consensus_share: float = Field(
        0.5, ge=0.0, le=1.0, description="share that must agree: the majority; 0 does not ask"
    )
    max_spread: float = Field(
        0.0,
        ge=0.0,
        le=5.0,
        description="a match is Null when pixels like it lie farther from it; their code: 0.1; "
        "0 does not ask [m]",
    )
    min_score: float = Field(0.6, ge=-1.0, le=1.0, description="below is Null in any case")
    score_margin: float = Field(
        0.16, ge=0.0, le=1.0, description="allowed below the lowest score in a demonstration"
    )
    part_margin: float = Field(
        0.09, ge=0.0, le=1.0, description="the same for the mean over all keypoints"
    )
    arrangement: bool = Field(
        True,
        description="keypoints must agree on one upright motion; false takes each by itself, as "
        "the paper does",
    )
    search: Literal["pairs", "votes"] = Field(
        "pairs",
        description="how that motion is searched: pairs of best matches fix it; or all places that "
        "look like a keypoint vote, for plain parts seen from anywhere",
    )
    tolerance: float = Field(
        0.03, ge=0.005, le=0.2, description="distance from where the others expect a keypoint [m]"
    )
    size_change: float = Field(
        0.35,
        ge=0.0,
        le=1.0,
        description="share by which distances between pairs of keypoints may change",
    )
    distance_penalty: float = Field(
        0.3, ge=0.0, le=1.0, description="taken from the score at the tolerance"
    )
    rigidity: float = Field(
        0.05,
        ge=0.01,
        le=10.0,
        description="extent of the keypoints at which their arrangement stretches with the matches "
        "by half; smaller ones stretch less [m]",
    )
    min_found: float = Field(
        0.6, ge=0.0, le=1.0, description="share of the keypoints that must be found"
    )
    min_confidence: float = Field(
        0.5, ge=0.0, le=1.0, description="a match that is less probably right is Null"
    )
    verify: bool = Field(
        True, description="False takes every best match as it is (for the ablation)"
    )

    def with_program_of(self, own: CorrespondenceSettings) -> CorrespondenceSettings:
        """Return these settings with the learned upsampler of others.

        It is a program: which one runs is for the machine to say, not for a skill that was copied.
        """
        chosen = {"upsampler_weights": own.features.dino.upsampler_weights}
        dino = self.features.dino.model_copy(update=chosen)
        features = self.features.model_copy(update={"dino": dino})
        return self.model_copy(update={"features": features})
