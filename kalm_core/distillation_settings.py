"""Settings of Algorithm 1, from the backends to the bounds of its loop."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from kalm_core.correspondence import CorrespondenceSettings
from kalm_core.proposal.geometric import GeometricSettings
from kalm_core.proposal.proximity import ProximitySettings
from kalm_core.proposal.sam import SamSettings
from kalm_core.settings import Settings, parse_settings
from kalm_core.vlm.settings import VlmSettings


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
    min_span: float = Field(
        0.03,
        ge=0.0,
        le=0.5,
        description="keypoints that lie nearer together fix a pose badly and are taken only where "
        "nothing wider passes [m]",
    )
    surroundings: int = Field(
        0,
        ge=0,
        le=64,
        description="further keypoints around the part that are as consistent: they tell how a "
        "small part is turned; 0 takes none",
    )
    surroundings_reach: float = Field(
        0.2, ge=0.02, le=1.0, description="how far from the part's middle they may lie [m]"
    )
    max_regions: int = Field(20, ge=1, le=50, description="regions tried before giving up")
    max_masks: int = Field(4, ge=1, le=50, description="masks tried in each region")
    average_features: bool = Field(
        True, description="keypoint features are means over the demonstrations that found them"
    )
    verify: bool = Field(True, description="False accepts every candidate (for the ablation)")
    seed: int = Field(0, ge=0, description="of the neighbours that are sampled around keypoints")

    @model_validator(mode="after")
    def _candidates_suffice(self) -> DistillationSettings:
        if self.keypoints > self.candidates:
            raise ValueError(
                f"keypoints is {self.keypoints}, expected at most candidates, {self.candidates}"
            )
        return self

    @property
    def detection(self) -> CorrespondenceSettings:
        """Settings of φ for this distillation and, later, at run time."""
        if self.verify:
            return self.correspondence
        return self.correspondence.model_copy(update={"verify": False})


def detection_as_learned(
    perception: dict[str, Any], skill: str, own: CorrespondenceSettings | None = None
) -> CorrespondenceSettings:
    """Return the settings of φ that belong to a skill's keypoints.

    What else distilled them is not looked at: it may be of another version of the suite.

    Args:
        perception: the skill's.
        skill: its name, for the error text.
        own: those of this machine, which name the programs that may run; None names none.

    Raises:
        ConfigError: they are none that this version knows.
    """
    mine = ("correspondence", "verify")
    told = {name: value for name, value in perception.items() if name in mine}
    learned = parse_settings(DistillationSettings, told, f"skill {skill}").detection
    return learned.with_program_of(own or CorrespondenceSettings())
