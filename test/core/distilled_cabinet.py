"""One distillation of small ray-cast cabinets, shared by the tests that need keypoints."""

from __future__ import annotations

from functools import cache

from cabinet_scene import Scene, make_demonstration

from kalm_core.correspondence import CorrespondenceSettings
from kalm_core.demonstration import Demonstration
from kalm_core.distillation import Distillation, DistillationSettings, distill
from kalm_core.proposal.geometric import GeometricSettings

SCALE = 0.5
SEEDS = (8, 2, 5, 9)
PHI = CorrespondenceSettings(weights={"local": 1.0}, stride=4)
SETTINGS = DistillationSettings(correspondence=PHI, geometric=GeometricSettings(min_pixels=40))


@cache
def demonstrations() -> tuple[tuple[Demonstration, Scene], ...]:
    """Four demonstrations with the truth of their scenes."""
    return tuple(make_demonstration(seed, SCALE) for seed in SEEDS)


@cache
def distilled() -> Distillation:
    """What Algorithm 1 makes of them."""
    return distill([item for item, _ in demonstrations()], SETTINGS)
