from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from policy_scenes import SHAPE, make_example, make_examples

from kalm_core.errors import BundleError, CancelledError, GoalError
from kalm_core.policy import selection
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.evaluation import median_errors, trajectory_errors
from kalm_core.policy.regression import TrajectoryRegression
from kalm_core.policy.regression_policy import RegressionPolicy
from kalm_core.policy.rigid import RigidTransferPolicy
from kalm_core.policy.selection import SIMPLE, learn_policy
from kalm_core.policy.settings import NetworkSettings, PolicySettings
from kalm_core.policy.storage import read_policy, write_policy
from kalm_core.policy.training import Share, train
from kalm_core.progress import Progress
from kalm_core.se3 import rotation_about_z, rotation_angle, transform_points

TINY = PolicySettings(
    network=NetworkSettings(channels=(8, 16), condition=16), steps=8, batch=8, folds=3
)


def moved(detection, T):
    return replace(detection, positions=transform_points(T, detection.positions))


def made(name, examples):
    return SIMPLE[name](examples, Arrangement.from_demonstrations([e.keypoints for e in examples]))


@pytest.mark.parametrize(("count", "words"), [(1, "one demonstration"), (2, "two demonstrations")])
def test_one_demonstration_or_two_are_repeated(count, words):
    examples = make_examples(0, count)
    learned = learn_policy(examples, TINY)
    assert learned.training is None
    assert f"of {words} nothing can be compared" in learned.comparison.reason
    for example in examples:
        samples = learned.policy.sample(example.keypoints, 5, 0)
        assert len(samples) == count
        assert np.allclose(samples[0].T_base_ee, example.trajectory.T_base_ee, atol=1e-6)


def test_no_demonstration_is_no_skill():
    with pytest.raises(GoalError, match="at least one demonstration"):
        learn_policy([], TINY)


def test_a_network_that_learned_nothing_does_not_take_over():
    learned = learn_policy(make_examples(0, 6), TINY)
    scores = learned.comparison.scores
    assert set(scores) == {"mean", "linear", "rigid", "diffusion"}
    assert learned.comparison.chosen == "linear"
    assert scores["diffusion"] > 0.95 * scores["linear"]
    assert learned.training is None
    assert learned.comparison.chosen in learned.comparison.reason


def test_a_network_that_is_behind_is_not_trained_for_all_groups(monkeypatch):
    seen = []
    progress = Progress(lambda stage, fraction, text: seen.append(fraction))
    count = property(lambda held: float(len(held.errors)))
    monkeypatch.setattr(selection._Held, "score", count)
    behind = learn_policy(make_examples(0, 6), TINY, progress=progress)
    assert len(seen) == TINY.steps + 1  # one group, and the end
    assert behind.comparison.chosen == "linear"


def test_of_many_demonstrations_some_are_left_out_evenly(monkeypatch):
    monkeypatch.setattr(selection, "_MOST_LEFT_OUT", 4)
    examples = make_examples(0, 10)
    held = selection._left_out(examples, 0)["linear"]
    assert len(held.errors) == 4
    say = [say for _, say in selection._trusted(examples)]
    assert held.trust == [say[i] for i in (0, 3, 6, 9)]


def test_groups_too_large_for_a_network_are_compared_without_it():
    # Of three demonstrations in two groups, one group leaves one demonstration to learn from.
    few = learn_policy(make_examples(0, 3), TINY.model_copy(update={"folds": 2}))
    assert set(few.comparison.scores) == {"mean", "linear", "rigid"}
    enough = learn_policy(make_examples(0, 3), TINY)
    assert "diffusion" in enough.comparison.scores


@pytest.mark.parametrize("longer", [4, 3])
def test_two_ways_of_doing_it_are_not_averaged(longer):
    examples = make_examples(0, 8, noise=0.0)
    for i in range(longer):
        # These objects are longer, and are gripped 20 cm farther along.
        e = examples[2 * i]
        T, points = e.trajectory.T_base_ee.copy(), e.keypoints.positions.copy()
        T[:, 2, 3] += 0.20
        points[4:6, 2] += 0.05
        examples[2 * i] = replace(
            e,
            keypoints=replace(e.keypoints, positions=points),
            trajectory=replace(e.trajectory, T_base_ee=T),
        )
    learned = learn_policy(examples, TINY.model_copy(update={"folds": 4}))
    for e in examples:
        sample = learned.policy.sample(e.keypoints, 1, 0)[0]
        assert trajectory_errors(sample, e.trajectory).position < 0.03


def test_a_demonstration_gone_astray_is_named_and_spoils_nothing():
    examples, unseen = make_examples(0, 8), make_examples(60, 10)
    T = examples[2].trajectory.T_base_ee.copy()
    T[:, 1, 3] += 0.2 * np.sin(np.linspace(0.0, np.pi, len(T)))
    stray = replace(examples[2], trajectory=replace(examples[2].trajectory, T_base_ee=T))
    learned = learn_policy([*examples[:2], stray, *examples[3:]], TINY)
    assert learned.trust["demo_2"] < 0.1
    assert learned.comparison.chosen == "linear"
    without = made("linear", [e for e in examples if e is not examples[2]])
    errors = [median_errors(policy, unseen).position for policy in (learned.policy, without)]
    assert errors[0] < errors[1] + 0.002
    # an arm that can follow nothing else may still do it that way
    samples = learned.policy.sample(stray.keypoints, 16, 0)
    assert len(samples) == 9
    away = [trajectory_errors(sample, stray.trajectory).position for sample in samples]
    assert np.argmin(away) == 8 and away[8] < 0.01


def test_the_linear_map_is_found_and_held_back():
    rng = np.random.default_rng(0)
    rows = rng.normal(0.0, 0.001, (10, 48, 10))
    bent = rng.normal(0.0, 0.02, (10, 8, 3))
    assert not TrajectoryRegression.from_rows(rows, bent).weights.any()
    rows[..., :3] += bent[:, 0][:, None]
    followed = TrajectoryRegression.from_rows(rows, bent)
    assert followed.weights.any()
    new = rng.normal(0.0, 0.02, (50, 8, 3))
    truth = new[:, 0][:, None]
    plain = np.linalg.norm(truth - rows.mean(axis=0)[:, :3], axis=-1).mean()
    assert np.linalg.norm(followed.predict(new)[..., :3] - truth, axis=-1).mean() < 0.85 * plain
    unknown = np.full((1, 8, 3), np.nan)
    assert np.allclose(followed.predict(unknown), rows.mean(axis=0))


def test_bending_helps_with_objects_of_other_sizes():
    examples, unseen = make_examples(0, 10, noise=0.001), make_examples(50, 20, noise=0.001)

    def error(name):
        policy = made(name, examples)
        return np.mean(
            [
                trajectory_errors(policy.sample(e.keypoints, 1, 0)[0], e.trajectory).grasp
                for e in unseen
            ]
        )

    assert error("linear") < 0.8 * error("mean")


@pytest.mark.parametrize("name", list(SIMPLE))
def test_simple_policies_turn_and_shift_with_the_scene(name):
    policy = made(name, make_examples(0, 5))
    detection = make_example(np.random.default_rng(9)).keypoints
    T = rotation_about_z(-2.0)
    T[:3, 3] = [0.3, -0.1, 0.2]
    here = policy.sample(detection, 1, 0)[0].transformed(T)
    there = policy.sample(moved(detection, T), 1, 0)[0]
    # The weak prior of the yaw keeps this from being exact.
    assert np.abs(here.positions - there.positions).max() < 3e-3
    assert rotation_angle(here.T_base_ee, there.T_base_ee).max() < np.deg2rad(1.0)


def test_two_displaced_keypoints_change_next_to_nothing():
    policy = made("mean", make_examples(0, 6, noise=0.0))
    rng = np.random.default_rng(3)
    for _ in range(30):
        good = make_example(rng, noise=0.0).keypoints
        points = good.positions.copy()
        points[rng.permutation(len(SHAPE))[:2]] += rng.uniform(-0.1, 0.1, (2, 3))
        bad = policy.sample(replace(good, positions=points), 1, 0)[0]
        expected = policy.sample(good, 1, 0)[0]
        assert np.abs(bad.positions - expected.positions).max() < 0.02


def test_a_stored_regression_samples_the_same(tmp_path):
    examples = make_examples(0, 6)
    policy = made("linear", examples)
    values = write_policy(policy, tmp_path / "policy.safetensors")
    again = read_policy(tmp_path / "policy.safetensors", values)
    assert isinstance(again, RegressionPolicy)
    for a, b in zip(
        policy.sample(examples[1].keypoints, 3, 0),
        again.sample(examples[1].keypoints, 3, 0),
        strict=True,
    ):
        assert np.array_equal(a.T_base_ee, b.T_base_ee)
        assert np.array_equal(a.gripper, b.gripper)


def test_the_order_of_demonstrations_does_not_change_the_mean():
    examples = make_examples(0, 5, noise=0.0)
    detection = make_example(np.random.default_rng(9)).keypoints
    there, back = (
        made("mean", order).sample(detection, 1, 0)[0] for order in (examples, examples[::-1])
    )
    assert np.abs(there.positions - back.positions).max() < 1e-3


def test_further_samples_do_not_change_the_set_of_the_first():
    policy, _ = train(make_examples(0, 4), TINY)
    detection = make_examples(3, 1)[0].keypoints
    first = policy.sample(detection, 3, 0)
    again = policy.sample(detection, 3, 0)
    assert all(np.array_equal(a.T_base_ee, b.T_base_ee) for a, b in zip(first, again, strict=True))
    rigid = made("rigid", make_examples(0, 4))
    assert isinstance(rigid, RigidTransferPolicy)
    few, many = rigid.sample(detection, 2, 0), rigid.sample(detection, 4, 0)
    assert all(np.array_equal(a.T_base_ee, b.T_base_ee) for a, b in zip(few, many[:2], strict=True))


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    pytest.importorskip("tensorboard")
    examples = make_examples(0, 4)
    settings = TINY.model_copy(update={"steps": 60})
    whole, record = train(examples, settings, seed=2)
    seen = []
    stop = Share(Progress(lambda *call: seen.append(call), lambda: len(seen) >= 55))
    with pytest.raises(CancelledError):
        train(examples, settings, seed=2, share=stop, folder=tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["checkpoint.safetensors"]
    with pytest.raises(BundleError, match="other demonstrations, settings or seed"):
        train(examples, settings, seed=3, folder=tmp_path)
    seen.clear()
    count = Share(Progress(lambda *call: seen.append(call)))
    resumed, again = train(examples, settings, seed=2, share=count, folder=tmp_path)
    assert len(seen) == 10
    assert again.losses == record.losses
    a, b = whole.state()[0], resumed.state()[0]
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not list(tmp_path.glob("*.safetensors"))
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_damaged_checkpoint_is_named(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "checkpoint.safetensors").write_bytes(b"nothing of use")
    with pytest.raises(BundleError, match=r"checkpoint\.safetensors is not a checkpoint"):
        train(make_examples(0, 3), TINY, folder=tmp_path)


def test_the_hand_goes_along_with_the_keypoints_around_it():
    rng = np.random.default_rng(0)
    rows = np.zeros((6, 48, 10)) + rng.normal(0.0, 0.001, (6, 48, 10))
    rows[:, 24:, 0] += 1.0  # the second half of the motion is at the far end
    places = np.array([[0.0, y, 0.0] for y in (-0.05, 0.0, 0.05)] * 2)
    places[3:, 0] = 1.0
    bent = rng.normal(0.0, 0.001, (6, 6, 3))
    for end, keypoints in ((slice(0, 24), slice(0, 3)), (slice(24, 48), slice(3, 6))):
        shift = rng.normal(0.0, 0.03, (6, 3))
        rows[:, end, :3] += shift[:, None]
        bent[:, keypoints] += shift[:, None]
    followed = TrajectoryRegression.from_rows(rows, bent, places=places)
    new = np.zeros((1, 6, 3))
    new[0, 3:, 2] = 0.05
    moved = followed.predict(new + followed.center)[0] - followed.mean
    assert np.allclose(moved[24:, 2], 0.05, atol=0.003)
    assert np.abs(moved[:24, :3]).max() < 0.003
