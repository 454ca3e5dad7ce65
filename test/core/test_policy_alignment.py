from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from policy_scenes import SHAPE, make_examples

from kalm_core.errors import GoalError
from kalm_core.policy.alignment import AlignedDemonstrations
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.evaluation import grasp_index
from kalm_core.policy.regression import _RIDGES, FLOOR, TrajectoryRegression, _fits
from kalm_core.policy.timing import clock_of, common_clock, rows_at
from kalm_core.se3 import interpolate_poses
from kalm_core.segmentation import CLOSED, OPEN
from kalm_core.trajectory import POSES, EndEffectorTrajectory


def lesson_of(examples):
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    return AlignedDemonstrations.from_examples(examples, arrangement)


def at_another_pace(example, power):
    """Return the same path, done slowly at first (power > 1) or at last."""
    e = example.trajectory
    when = (POSES - 1) * np.linspace(0.0, 1.0, POSES) ** power
    poses = interpolate_poses(np.arange(POSES), e.T_base_ee, when)
    gripper = e.gripper[np.rint(when).astype(int)]
    return replace(example, trajectory=EndEffectorTrajectory(poses, gripper, e.stamps))


def wave(length=POSES):
    t = np.linspace(0.0, 1.0, length)
    rows = np.zeros((length, 10))
    rows[:, 0], rows[:, 1] = 0.3 * t, 0.1 * np.sin(5.0 * t)
    return rows


@pytest.mark.parametrize("power", [0.6, 1.0, 1.7])
def test_a_clock_undoes_another_pace(power):
    truth = wave()
    when = (POSES - 1) * np.linspace(0.0, 1.0, POSES) ** power
    other = rows_at(truth[None], when[None])
    clock = clock_of(truth, other)
    assert clock[0, 0] == 0 and clock[0, -1] == POSES - 1
    assert (np.diff(clock) > 0).all()
    after = np.linalg.norm(rows_at(other, clock)[0] - truth, axis=1)
    if power == 1.0:
        assert np.array_equal(clock[0], np.arange(POSES))
    else:
        assert after.mean() < 0.4 * np.linalg.norm(other[0] - truth, axis=1).mean()


def test_the_clock_of_the_same_motion_is_its_own():
    rows = np.stack([wave()] * 4)
    assert np.array_equal(common_clock(rows, np.zeros_like(rows)), [np.arange(POSES)] * 4)


def test_the_clock_does_not_ask_where_an_object_was_moved_to():
    rng = np.random.default_rng(0)
    rows = np.stack([wave() + rng.normal(0.0, 0.002, (POSES, 10)) for _ in range(5)])
    moved = np.zeros_like(rows)
    moved[..., 2] = rng.normal(0.0, 0.1, (5, 1))
    assert np.allclose(common_clock(rows + moved, moved), common_clock(rows, 0.0 * rows))


def test_demonstrations_of_another_pace_teach_the_same():
    examples = make_examples(0, 6, noise=0.0)
    paced = [at_another_pace(e, (0.7, 1.0, 1.4)[i % 3]) for i, e in enumerate(examples)]
    closes = [grasp_index(e.trajectory) for e in paced]
    assert max(closes) - min(closes) > 8
    plain, lesson = lesson_of(examples), lesson_of(paced)
    closes = (lesson.rows[..., 9] > 0.04).sum(axis=1)
    assert max(closes) - min(closes) <= 1
    assert set(np.unique(lesson.rows[..., 9])) <= {OPEN, CLOSED}
    spread = [np.abs(x.rows - x.rows.mean(axis=0))[..., :3].max() for x in (plain, lesson)]
    assert spread[1] < spread[0] + 0.015
    assert (np.diff(lesson.stamps) > 0).all()


def test_who_does_it_another_way_has_little_say():
    examples = make_examples(0, 8, noise=0.0)
    assert lesson_of(examples).trust.max() < 1.5 / 8
    T = examples[3].trajectory.T_base_ee.copy()
    T[:, 2, 3] += 0.15 * np.sin(np.linspace(0.0, np.pi, POSES))
    stray = replace(examples[3], trajectory=replace(examples[3].trajectory, T_base_ee=T))
    lesson = lesson_of([*examples[:3], stray, *examples[4:]])
    assert lesson.trust.sum() == pytest.approx(1.0)
    assert lesson.trust[3] < 0.02
    assert lesson.trust.argmin() == 3


def test_at_one_pace_the_order_of_demonstrations_does_not_matter():
    examples = make_examples(1, 6)
    there, back = lesson_of(examples), lesson_of(examples[::-1])
    assert np.allclose(there.trust, back.trust[::-1], atol=0.01)
    assert np.allclose(there.trust @ there.rows[..., 0], back.trust @ back.rows[..., 0], atol=2e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_few_demonstrations_with_keypoints_missing_are_laid_over_one_another(count):
    whole, lesson = (lesson_of(make_examples(3, count, 0.0, missing)) for missing in (0, 2))
    assert np.isnan(lesson.deviations).any()
    assert lesson.trust.sum() == pytest.approx(1.0)
    assert lesson.trust.min() > 0.3 / count
    assert (np.diff(lesson.stamps) > 0).all()
    # objects are 0.8 to 1.2 times as large: what is not seen of one shifts its frame a little
    assert np.abs(lesson.rows - whole.rows)[..., :3].max() < 0.02


def test_a_hand_turned_by_half_at_another_pace_is_believed_as_the_others():
    examples = make_examples(0, 6, noise=0.0)
    turned = at_another_pace(examples[2], 1.4)
    half = np.diag([-1.0, -1.0, 1.0, 1.0])
    turned = replace(
        turned, trajectory=replace(turned.trajectory, T_base_ee=turned.trajectory.T_base_ee @ half)
    )
    lesson = lesson_of([*examples[:2], turned, *examples[3:]])
    assert lesson.other_way == pytest.approx(1 / 6)
    assert lesson.trust[2] > 0.5 / 6
    assert np.abs(lesson.rows[2] - lesson.rows[1])[..., 3:9].max() < 0.1


def test_no_demonstration_is_an_error():
    with pytest.raises(GoalError, match="at least one demonstration"):
        AlignedDemonstrations.from_examples([], Arrangement(SHAPE))


def test_an_axis_learns_from_its_own_deviations_and_from_the_size():
    rng = np.random.default_rng(0)
    bent = rng.normal(0.0, 0.02, (30, 8, 3))
    rows = rng.normal(0.0, 1e-4, (30, POSES, 10))
    rows[..., 2] += 3.0 * bent[:, 4, 2][:, None]
    learned = TrajectoryRegression.from_rows(rows, bent, places=SHAPE)
    still = np.zeros((1, 8, 3))
    along, across = still.copy(), still.copy()
    along[0, 4, 2] = across[0, 4, 1] = 0.02
    start = learned.predict(still)[0, :, 2]
    assert (learned.predict(along)[0, :, 2] - start).mean() > 0.03
    assert abs(learned.predict(across)[0, :, 2] - start).max() < 0.006

    grown = rng.uniform(-0.2, 0.2, 30)
    bent = grown[:, None, None] * (SHAPE - SHAPE.mean(axis=0))
    bent = bent + rng.normal(0.0, 0.003, bent.shape)
    rows = rng.normal(0.0, 1e-4, (30, POSES, 10))
    rows[..., 0] -= 0.05 * grown[:, None]
    learned = TrajectoryRegression.from_rows(rows, bent, places=SHAPE)
    larger = learned.predict(0.2 * (SHAPE - SHAPE.mean(axis=0))[None])
    smaller = learned.predict(-0.2 * (SHAPE - SHAPE.mean(axis=0))[None])
    assert (larger - smaller)[0, :, 0].mean() == pytest.approx(-0.02, abs=0.004)


def test_the_hand_follows_other_shapes_and_not_inexact_keypoints():
    rng = np.random.default_rng(0)
    wrong = rng.normal(0.0, 0.015, (10, 1, 3)) * np.ones((1, 8, 1))
    shift = np.zeros((1, 8, 3))
    shift[..., 1] = 0.03
    went = []
    for follows in (0.0, 1.0):
        rows = rng.normal(0.0, 1e-3, (10, POSES, 10))
        rows[..., :3] += follows * wrong[:, :1]
        learned = TrajectoryRegression.from_rows(rows, wrong, places=SHAPE)
        went.append((learned.predict(shift) - learned.predict(0.0 * shift))[0, :, 1].mean())
    assert went[0] < 0.006
    assert went[1] == pytest.approx(0.03, abs=0.003)


def test_the_error_left_out_is_that_of_fitting_without_the_one():
    rng = np.random.default_rng(0)
    trust = rng.uniform(0.3, 1.0, 7)
    trust /= trust.sum()
    x, y = rng.normal(0.0, 0.02, (7, 4, 3)), rng.normal(0.0, 0.02, (7, POSES, 10))
    x, y = x - np.tensordot(trust, x, 1), y - np.tensordot(trust, y, 1)
    none, grows = np.zeros((12, POSES * 10)), np.zeros((4, 3))
    fits = list(_fits(x, y, none, grows, trust))
    assert len(fits) == 1 + len(_RIDGES)
    for ridge, (_, told) in zip(sorted(_RIDGES, reverse=True), fits[1:], strict=True):
        left_out = np.zeros_like(y)
        for one in range(7):
            rest = np.arange(7) != one
            says = 7 * trust[rest]
            mean = says / says.sum()
            to, yo = x[rest], y[rest]
            predicted = np.tensordot(mean, yo, 1)
            for axis in range(3):
                bent = to[..., axis] - mean @ to[..., axis]
                gram = (says * bent.T) @ bent + ridge * np.eye(4)
                aim = (says * bent.T) @ (yo[..., axis] - mean @ yo[..., axis])
                here = x[one, :, axis] - mean @ to[..., axis]
                predicted[:, axis] += here @ np.linalg.solve(gram, aim)
            left_out[one] = np.sqrt(7 * trust[one]) * (y[one] - predicted)
        assert told == pytest.approx(float(np.mean((left_out / FLOOR) ** 2)), rel=1e-6)
