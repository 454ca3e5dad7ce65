from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from policy_scenes import make_example, make_examples

from kalm_core.policy import selection
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.encoding import encode
from kalm_core.policy.selection import SIMPLE, learn_policy
from kalm_core.policy.settings import NetworkSettings, PolicySettings
from kalm_core.policy.smoothness import Smoothness, roughness, slow_part
from kalm_core.policy.training import train
from kalm_core.se3 import rotation_angle
from kalm_core.trajectory import POSES

TINY = PolicySettings(
    network=NetworkSettings(channels=(8, 16), condition=16), steps=2, batch=8, folds=3
)


def demonstrated_rows(count=5, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.stack([encode(make_example(rng).trajectory, np.eye(4)) for _ in range(count)])
    return rows, rng


def differences(rows, order, first, last):
    return np.linalg.norm(np.diff(rows[..., first:last], n=order, axis=1), axis=-1)


def test_slow_waves_pass_and_fast_ones_do_not():
    time = (np.arange(POSES) + 0.5) / POSES
    slow = np.cos(np.pi * 3 * time)[None, :, None] * np.ones((1, 1, 10))
    fast = np.cos(np.pi * 30 * time)[None, :, None] * np.ones((1, 1, 10))
    assert np.allclose(slow_part(slow), slow)
    assert np.allclose(slow_part(fast)[..., :9], 0.0)
    assert np.allclose(slow_part(fast)[..., 9], fast[..., 9])  # the gripper's command may jump
    assert np.allclose(slow_part(slow_part(fast + slow)), slow_part(fast + slow))


def test_demonstrations_and_their_mean_are_held_as_they_are():
    rows, _ = demonstrated_rows()
    smoothness = Smoothness.from_rows(rows)
    assert np.array_equal(smoothness.hold(rows), rows)
    assert np.array_equal(smoothness.hold(rows.mean(axis=0)[None])[0], rows.mean(axis=0))


@pytest.mark.parametrize("size", [0.001, 0.01, 0.1, 10.0])
def test_whatever_is_predicted_no_step_and_no_bend_passes_the_limits(size):
    rows, rng = demonstrated_rows()
    smoothness = Smoothness.from_rows(rows)
    expected = rows + rng.normal(0.0, size, rows.shape)
    held = smoothness.hold(expected, expected + rng.normal(0.0, size, rows.shape))
    for order in (1, 2):
        for kind, (first, last) in enumerate(((0, 3), (3, 9))):
            limit = smoothness.limits[order - 1, : POSES - order, kind]
            assert (differences(held, order, first, last) <= limit * (1.0 + 1e-6)).all()


def test_strays_set_no_limit():
    rows, rng = demonstrated_rows()
    without = Smoothness.from_rows(rows)
    stray = rows[:1] + rng.normal(0.0, 0.05, rows[:1].shape)
    trust = np.append(np.full(len(rows), 1.0), 1e-3)
    held = Smoothness.from_rows(np.concatenate([rows, stray]), trust / trust.sum())
    assert np.array_equal(held.limits, without.limits)
    assert np.abs(held.mean - without.mean).max() < 1e-3
    equal = Smoothness.from_rows(np.concatenate([rows, stray]))
    assert (equal.limits > 2.0 * without.limits).any()


def test_of_a_sum_as_much_is_kept_as_the_limits_allow():
    rows, _ = demonstrated_rows()
    smoothness = Smoothness.from_rows(rows)
    jump = np.zeros((1, POSES, 10))
    jump[0, 20:, 0] = 0.05
    base = rows.mean(axis=0)[None]
    added = (smoothness.hold(base, base + jump) - base)[0, -1, 0]
    assert 0.0 < added < 0.05
    slide = np.full((1, POSES, 10), 0.05)
    assert np.allclose(smoothness.hold(base, base + slide), base + slide)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_samples_of_a_network_that_learned_nothing_are_smooth(count):
    examples = make_examples(0, count)
    policy, _ = train(examples, TINY)
    for e in make_examples(40, 4):
        for sample in policy.sample(e.keypoints, 5, 0):
            turn = rotation_angle(sample.T_base_ee[1:], sample.T_base_ee[:-1])
            assert turn.max() < np.deg2rad(0.8)  # demonstrated: 0.2 degrees
            assert np.linalg.norm(np.diff(sample.positions, axis=0), axis=1).max() < 0.008
            assert roughness(sample) < 1.5 * max(roughness(x.trajectory) for x in examples)


class Trembling:
    """A policy that is right on average and shakes."""

    def __init__(self, examples, arrangement):
        self.inner = SIMPLE["linear"](examples, arrangement)

    def sample(self, keypoints, count, seed):
        found = []
        for sample in self.inner.sample(keypoints, count, seed):
            poses = sample.T_base_ee.copy()
            poses[::2, 2, 3] += 0.002
            found.append(replace(sample, T_base_ee=poses))
        return found


def test_a_candidate_that_is_rougher_than_the_demonstrations_is_not_taken(monkeypatch):
    examples = make_examples(0, 6)
    monkeypatch.setattr(selection, "SIMPLE", {**SIMPLE, "linear": Trembling})
    monkeypatch.setitem(selection._ADVANTAGE, "rigid", 0.0)
    monkeypatch.setitem(selection._ADVANTAGE, "diffusion", 0.0)
    learned = learn_policy(examples, TINY)
    assert learned.comparison.chosen == "mean"
    assert learned.comparison.scores["mean"] > 0.8 * learned.comparison.scores["linear"]
    assert learned.comparison.roughness["linear"] > 1.5 > learned.comparison.roughness["mean"]
    assert "(too rough)" in learned.comparison.reason
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    trembling = Trembling(examples, arrangement).sample(examples[0].keypoints, 1, 0)[0]
    assert roughness(trembling) > 0.002
