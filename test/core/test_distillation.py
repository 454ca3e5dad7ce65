from __future__ import annotations

import numpy as np
import pytest
from distilled_cabinet import PHI, SETTINGS, demonstrations, distilled

from kalm_core.constellation import fit_upright
from kalm_core.distillation import distill
from kalm_core.distillation_settings import DistillationSettings
from kalm_core.errors import (
    CancelledError,
    ConfigError,
    DemonstrationError,
    DistillationError,
)
from kalm_core.progress import Progress
from kalm_core.proposal.geometric import GeometricProposer
from kalm_core.proposal.mask import Mask
from kalm_core.se3 import transform_points
from kalm_core.settings import parse_settings

DEMONSTRATIONS = [item for item, _ in demonstrations()]
FEW = SETTINGS.model_copy(update={"candidates": 12, "max_regions": 1})
WIDE = FEW.model_copy(update={"min_span": 0.06})


class BadFirst:
    """Proposes the clutter, which stands elsewhere in every scene, before the good masks."""

    def __init__(self, good: bool = True) -> None:
        self.good = good

    def propose(self, frame, region):
        points = frame.points_base()
        with np.errstate(invalid="ignore"):
            clutter = (points[..., 2] > 0.02) & (points[..., 2] < 0.15)
            clutter &= np.linalg.norm(points[..., :2] - region.center[:2], axis=-1) > 0.25
        good = GeometricProposer(SETTINGS.geometric).propose(frame, region) if self.good else []
        return [Mask(clutter, 1.0), *good]


class FragmentFirst:
    """Proposes a piece of each good mask, as wide as asked for, before the mask itself."""

    def __init__(self, width: float, whole: bool = True) -> None:
        self.width, self.whole = width, whole

    def propose(self, frame, region):
        good = GeometricProposer(SETTINGS.geometric).propose(frame, region)[:1]
        pieces = []
        for mask in good:
            points = frame.points_base()
            middle = np.median(points[mask.pixels], axis=0)
            near = np.linalg.norm(points - middle, axis=-1) < self.width / 2
            pieces.append(Mask(mask.pixels & near, 1.0))
        return [*pieces, *good] if self.whole else pieces


def test_keypoints_lie_on_the_top_handle_of_the_reference():
    result = distilled()
    scene = demonstrations()[result.reference_demonstration][1]
    distance = np.linalg.norm(result.reference.positions - scene.top_handle, axis=1)
    assert len(result.reference) == SETTINGS.keypoints
    assert distance.max() < 0.09
    assert np.abs(result.reference.positions[:, 2] - scene.top_handle[2]).max() < 0.03


def test_keypoints_are_spread_out():
    positions = distilled().reference.positions
    between = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    assert between[~np.eye(len(positions), dtype=bool)].min() > 0.005
    assert between.max() > 0.05


def test_every_demonstration_shows_the_same_part():
    result = distilled()
    home = demonstrations()[result.reference_demonstration][1].top_handle
    for detected, (_, scene) in zip(result.detected, demonstrations(), strict=True):
        assert detected.found.sum() >= 5
        T = fit_upright(
            result.reference.positions[detected.found], detected.positions[detected.found]
        )
        assert np.linalg.norm(transform_points(T, home[None])[0] - scene.top_handle) < 0.03


def test_the_record_tells_how_consistent_the_candidates_were():
    result = distilled()
    assert result.attempts[-1].reason == ""
    assert result.attempts[-1].accepted == result.candidate_accepted.sum()
    assert len(result.candidate_positions) == len(result.candidate_consistency)
    assert (result.reference.consistency >= 1 - SETTINGS.delta - 1e-9).all()
    assert (result.reference.min_score >= PHI.min_score).all()
    for features in result.reference.features.values():
        assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_a_bad_first_mask_is_rejected_and_the_next_is_taken():
    result = distill(DEMONSTRATIONS[:3], FEW, mask_proposer=BadFirst())
    assert len(result.attempts) == 2
    assert result.attempts[0].mask == 0
    assert "points" in result.attempts[0].reason
    assert result.attempts[1].mask == 1
    assert result.attempts[1].reason == ""


def test_when_every_mask_is_bad_the_error_lists_what_was_tried():
    with pytest.raises(DistillationError, match=r"synthetic_\d mask 1: .* points") as error:
        distill(DEMONSTRATIONS[:3], FEW, mask_proposer=BadFirst(good=False))
    assert "first images" in error.value.remedy


def spread(result):
    positions = result.reference.positions
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1).max()


def test_a_fragment_whose_keypoints_fix_no_pose_gives_way_to_the_whole_part():
    result = distill(DEMONSTRATIONS[:3], WIDE, mask_proposer=FragmentFirst(0.05))
    assert "cm, which fixes no pose well" in result.attempts[0].reason
    assert result.attempts[0].span < WIDE.min_span
    assert (len(result.attempts), result.attempts[1].mask) == (2, 1)
    assert spread(result) >= WIDE.min_span


def test_a_small_part_is_taken_where_nothing_wider_passes():
    more = WIDE.model_copy(update={"max_regions": 2})
    fragments = FragmentFirst(0.05, whole=False)
    result = distill(DEMONSTRATIONS[:3], more, mask_proposer=fragments)
    assert 0 < spread(result) < WIDE.min_span
    narrow = [attempt.span for attempt in result.attempts[:-1] if attempt.span]
    assert narrow
    assert spread(result) == pytest.approx(max(narrow))
    assert result.attempts[-1].reason == ""


def test_further_keypoints_lie_around_the_part_and_were_found_as_often():
    plain = distill(DEMONSTRATIONS, FEW)
    more = FEW.model_copy(update={"surroundings": 6, "surroundings_reach": 0.15})
    result = distill(DEMONSTRATIONS, more)
    count = len(plain.reference)
    assert count < len(result.reference) <= count + 6
    assert np.array_equal(result.reference.positions[:count], plain.reference.positions)
    middle = plain.reference.positions.mean(axis=0)
    around = result.reference.positions[count:]
    assert np.linalg.norm(around - middle, axis=1).max() <= 0.15
    assert (result.reference.consistency >= 1 - more.delta - 1e-9).all()
    assert all(len(detected) == len(result.reference) for detected in result.detected)


def test_without_verification_the_first_points_of_the_first_mask_are_kept():
    loose = FEW.model_copy(update={"verify": False})
    result = distill(DEMONSTRATIONS[:2], loose)
    assert len(result.attempts) == 1
    assert len(result.reference) == FEW.keypoints
    assert all(detected.found.all() for detected in result.detected)


def test_one_demonstration_cannot_be_verified():
    with pytest.raises(DemonstrationError, match="needs at least 2"):
        distill(DEMONSTRATIONS[:1], SETTINGS)


def test_distillation_reports_and_can_be_stopped():
    stages = []

    def stop():
        return len(stages) >= 2

    with pytest.raises(CancelledError):
        distill(DEMONSTRATIONS, SETTINGS, Progress(lambda *step: stages.append(step[0]), stop))
    assert stages == ["propose", "propose"]


def test_more_keypoints_than_candidates_are_refused_at_once():
    with pytest.raises(ConfigError, match="at most candidates, 50"):
        parse_settings(DistillationSettings, {"keypoints": 64}, "learning")
