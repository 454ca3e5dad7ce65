from __future__ import annotations

import numpy as np
import pytest

from kalm_core.confidence import PRIOR, Calibration, Cues, calibrate
from kalm_core.correspondence import CorrespondenceSettings, require_found
from kalm_core.errors import KeypointsNotFoundError
from kalm_core.keypoints import DetectedKeypoints


def cues(margin, agreeing=1.0, lead=0.1, residual=0.2, count=8):
    margins = np.broadcast_to(np.asarray(margin, float), (count,)).copy()
    return Cues(
        margins, float(margins.mean()), np.full(count, agreeing), lead, np.full(count, residual)
    )


def samples(seed=0, images=10):
    rng = np.random.default_rng(seed)
    good = [cues(rng.normal(0.02, 0.02, 8)) for _ in range(images)]
    bad = [cues(rng.normal(-0.25, 0.05, 8), agreeing=0.3, lead=0.0) for _ in range(images)]
    right = [np.full(8, True)] * images + [np.full(8, False)] * images
    return good + bad, right


def test_without_demonstrations_the_prior_is_believed():
    assert np.array_equal(calibrate([], []).weights, PRIOR)


def test_right_matches_are_told_from_wrong_ones():
    learned = calibrate(*samples())
    assert learned.confidence(cues(0.02)).min() > 0.9
    assert learned.confidence(cues(-0.25, agreeing=0.3, lead=0.0)).max() < 0.2


def test_no_match_is_more_certain_than_the_demonstrations_allow():
    learned = calibrate(*samples(images=2))
    assert learned.confidence(cues(5.0, lead=5.0, residual=0.0)).max() <= 17 / 18


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_demonstrations_does_not_matter(seed):
    items, right = samples()
    order = np.random.default_rng(seed).permutation(len(items))
    shuffled = calibrate([items[k] for k in order], [right[k] for k in order])
    assert np.allclose(shuffled.weights, calibrate(items, right).weights, atol=1e-3)


def test_a_higher_score_is_never_less_certain():
    for learned in (Calibration.default(), calibrate(*samples())):
        one = Cues(np.linspace(-0.5, 0.3, 50), 0.0, np.ones(50), 0.1, np.zeros(50))
        assert (np.diff(learned.confidence(one)) >= 0).all()


def test_more_wrong_matches_make_the_same_cues_less_certain():
    items, right = samples()
    some = calibrate(items, right).confidence(cues(0.02))
    fewer = calibrate(items, [r & (np.arange(8) % 2 == 0) for r in right]).confidence(cues(0.02))
    assert (fewer < some).all()


def test_doubtful_keypoints_do_not_let_the_arm_move_and_are_named():
    found = np.array([True] * 3 + [False] * 5)
    confidence = np.array([0.9, 0.9, 0.9, 0.31, 0.0, 0.0, 0.0, 0.0])
    positions = np.where(found[:, None], 0.5, np.nan) * np.ones((8, 3))
    detected = DetectedKeypoints(positions, found, np.ones(8), confidence)
    with pytest.raises(KeypointsNotFoundError, match=r"3 of 8 .* doubtful .*: 4 \(0\.31\)"):
        require_found(detected, CorrespondenceSettings())
