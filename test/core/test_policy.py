from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from policy_scenes import GRASP, SHAPE, make_example, make_examples

from kalm_core.errors import BundleError, CancelledError, GoalError, KeypointsNotFoundError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.policy.alignment import AlignedDemonstrations
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.augmentation import disturb
from kalm_core.policy.condition import condition, deviations
from kalm_core.policy.diffusion import denoise, training_loss
from kalm_core.policy.encoding import CHANNELS, decode, encode
from kalm_core.policy.evaluation import median_errors, trajectory_errors
from kalm_core.policy.network import TrajectoryUNet
from kalm_core.policy.normalization import Normalizer
from kalm_core.policy.rigid import RigidTransferPolicy
from kalm_core.policy.settings import AugmentationSettings, NetworkSettings, PolicySettings
from kalm_core.policy.storage import read_policy, write_policy
from kalm_core.policy.symmetry import turned
from kalm_core.policy.training import Share, train
from kalm_core.progress import Progress
from kalm_core.se3 import rotation_about_z, rotation_angle, transform_points
from kalm_core.segmentation import CLOSED, OPEN
from kalm_core.trajectory import POSES

TINY = PolicySettings(
    network=NetworkSettings(channels=(8, 16), condition=16), steps=6, batch=8, folds=0
)
SMALL = PolicySettings(network=NetworkSettings(channels=(32, 64), condition=64), steps=150, folds=0)


def moved(detection, T):
    return replace(detection, positions=transform_points(T, detection.positions))


def some_motion(yaw=0.9):
    T = rotation_about_z(yaw)
    T[:3, 3] = [0.2, -0.4, 0.1]
    return T


@pytest.fixture(scope="module")
def trained():
    return train(make_examples(0, 10), SMALL, seed=0)


@pytest.fixture(scope="module")
def tiny():
    return train(make_examples(0, 4), TINY, seed=0)[0]


@pytest.mark.parametrize("missing", [0, 1])
def test_accuracy_on_unseen_scenes(trained, missing):
    policy, _ = trained
    errors = median_errors(policy, make_examples(1000, 25, missing=missing))
    slack = 0.010 if missing else 0.008
    assert errors.first < slack
    assert errors.grasp < (0.010 if missing else 0.005)
    assert errors.rotation < np.deg2rad(4.0)


def test_accuracy_with_a_keypoint_far_off(trained):
    policy, _ = trained
    examples = make_examples(2000, 25)
    for i, e in enumerate(examples):
        e.keypoints.positions[i % len(SHAPE)] += [0.0, 0.06, -0.06]
    assert median_errors(policy, examples).grasp < 0.010


def test_every_sample_grasps_and_is_a_smooth_path(trained):
    policy, _ = trained
    for sample in policy.sample(make_example(np.random.default_rng(5)).keypoints, 5, 0):
        closes = np.flatnonzero(np.diff(sample.gripper)) + 1
        assert closes.tolist() == [GRASP]
        assert set(sample.gripper) == {OPEN, CLOSED}
        bend = np.linalg.norm(np.diff(sample.positions, n=2, axis=0), axis=1)
        bend[GRASP - 2 : GRASP + 1] = 0.0  # there the hand turns round
        assert bend.max() < 0.008


def test_duration_is_the_mean_of_the_demonstrations_by_their_trust(trained):
    policy, _ = trained
    sample = policy.sample(make_examples(3, 1)[0].keypoints, 1, 0)[0]
    examples = make_examples(0, 10)
    trust = AlignedDemonstrations.from_examples(examples, policy.arrangement).trust
    durations = [e.trajectory.duration for e in examples]
    assert sample.duration == pytest.approx(trust @ durations)


def test_samples_are_the_same_for_the_same_seed_only(tiny):
    detection = make_examples(3, 1)[0].keypoints
    a, b, c = (tiny.sample(detection, 4, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(x.T_base_ee, y.T_base_ee) for x, y in zip(a, b, strict=True))
    assert not np.allclose(a[0].T_base_ee, c[0].T_base_ee)


def test_the_sample_nearest_to_the_mean_comes_first(tiny):
    samples = tiny.sample(make_examples(3, 1)[0].keypoints, 6, 0)
    values = np.stack([s.positions for s in samples])
    positions = values - values.mean(axis=0)
    distance = np.linalg.norm(positions, axis=(1, 2))
    assert distance[0] < distance[-1]


def test_samples_move_with_the_scene(tiny):
    detection = make_examples(3, 1)[0].keypoints
    for T in (some_motion(0.3), some_motion(-2.5)):
        here = tiny.sample(detection, 2, 0)[0].transformed(T)
        there = tiny.sample(moved(detection, T), 2, 0)[0]
        # The weak prior of the yaw keeps this from being exact.
        assert np.abs(here.positions - there.positions).max() < 3e-3
        assert rotation_angle(here.T_base_ee, there.T_base_ee).max() < np.deg2rad(1.0)


def test_two_trainings_with_a_seed_give_the_same_weights():
    examples = make_examples(0, 4)
    a, b = (train(examples, TINY, seed=3)[0].state()[0] for _ in range(2))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    c = train(examples, TINY, seed=4)[0].state()[0]
    assert not np.array_equal(a["network.last.bias"], c["network.last.bias"])


def test_training_leaves_torch_as_it_was():
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train(make_examples(0, 3), TINY)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_training_reports_and_can_be_cancelled():
    seen = []

    def stop():
        return len(seen) >= 3

    progress = Progress(lambda stage, fraction, text: seen.append((stage, fraction)), stop)
    with pytest.raises(CancelledError):
        train(make_examples(0, 4), TINY, share=Share(progress))
    assert [stage for stage, _ in seen] == ["train"] * 3
    assert 0 < seen[0][1] < seen[-1][1] < 1


def test_too_few_demonstrations_are_refused():
    with pytest.raises(GoalError, match="2 demonstrations or more, got 1"):
        train(make_examples(0, 1), TINY)


def test_demonstrations_with_the_hand_turned_by_half_count_as_the_same_grasp():
    examples = make_examples(0, 6)
    mixed = [
        replace(e, trajectory=turned(e.trajectory)) if i in (1, 4) else e
        for i, e in enumerate(examples)
    ]
    plain, _ = train(examples, TINY)
    policy, _ = train(mixed, TINY)
    assert np.allclose(policy.normalizer.regression.mean, plain.normalizer.regression.mean)
    detection = examples[0].keypoints
    ways = policy.sample(detection, 6, 0)
    expected = plain.sample(detection, 6, 0)
    assert np.allclose(ways[0].T_base_ee, expected[0].T_base_ee, atol=1e-5)
    assert np.allclose(ways[-1].T_base_ee, turned(expected[-1]).T_base_ee, atol=1e-5)


@pytest.mark.parametrize("make", ["diffusion", "rigid"])
def test_a_stored_policy_samples_the_same(tiny, tmp_path, make):
    examples = make_examples(0, 4)
    policy = (
        tiny
        if make == "diffusion"
        else RigidTransferPolicy.from_examples(examples, tiny.arrangement)
    )
    values = write_policy(policy, tmp_path / "policy.safetensors")
    again = read_policy(tmp_path / "policy.safetensors", values)
    assert type(again) is type(policy) and len(again) == len(policy) == 8
    for a, b in zip(
        policy.sample(examples[1].keypoints, 3, 7),
        again.sample(examples[1].keypoints, 3, 7),
        strict=True,
    ):
        assert np.array_equal(a.T_base_ee, b.T_base_ee)
        assert np.array_equal(a.stamps, b.stamps) and np.array_equal(a.gripper, b.gripper)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kind": "oracle"}, "kind is 'oracle', expected one of diffusion, regression, rigid"),
        ({"settings": {"no_such": 1}}, "no_such"),
        ({"settings": {"network": {"channels": [16, 16]}}}, "not a policy of kind diffusion"),
    ],
)
def test_a_policy_that_is_stored_wrongly_is_named(tiny, tmp_path, change, text):
    path = tmp_path / "policy.safetensors"
    values = write_policy(tiny, path) | change
    with pytest.raises(BundleError, match=text):
        read_policy(path, values)


@pytest.mark.parametrize("make", ["diffusion", "rigid"])
def test_requests_that_cannot_be_meant(tiny, make):
    examples = make_examples(0, 4)
    policy = (
        tiny
        if make == "diffusion"
        else RigidTransferPolicy.from_examples(examples, tiny.arrangement)
    )
    good = examples[0].keypoints
    with pytest.raises(GoalError, match="asked for 0"):
        policy.sample(good, 0, 0)
    five = DetectedKeypoints(good.positions[:5], good.found[:5], good.score[:5])
    with pytest.raises(GoalError, match="5 keypoints, expected the skill's 8"):
        policy.sample(five, 1, 0)
    two = replace(good, found=np.arange(8) < 2)
    with pytest.raises(KeypointsNotFoundError, match="2 of 8 keypoints were found"):
        policy.sample(two, 1, 0)


def test_rigid_transfer_replays_its_own_demonstrations():
    examples = make_examples(0, 5, noise=0.0)
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    policy = RigidTransferPolicy.from_examples(examples, arrangement)
    for e in examples:
        errors = trajectory_errors(policy.sample(e.keypoints, 1, 0)[0], e.trajectory)
        assert errors.position < 1e-9
    assert len(policy.sample(examples[0].keypoints, 99, 0)) == 5


def test_arrangement_is_found_again_wherever_it_is():
    examples = make_examples(0, 6)
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    detection = examples[2].keypoints
    frame, _ = arrangement.locate(detection)
    again, _ = arrangement.locate(moved(detection, some_motion(1.2)))
    assert np.allclose(again[:3, 3], (some_motion(1.2) @ frame)[:3, 3], atol=2e-3)
    assert np.rad2deg(rotation_angle(again, some_motion(1.2) @ frame)) < 1.0


def test_a_missing_keypoint_hardly_moves_the_frame_but_moves_the_mean():
    examples = make_examples(0, 6, noise=0.0)
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    full = examples[0].keypoints
    less = replace(full, found=np.arange(8) != 0)
    a, b = arrangement.locate(full)[0], arrangement.locate(less)[0]
    assert np.linalg.norm(a[:3, 3] - b[:3, 3]) < 0.003
    assert np.linalg.norm(full.center - less.center) > 0.006


def test_keypoints_that_do_not_fit_are_left_out():
    examples = make_examples(0, 6)
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    good = examples[1].keypoints
    bad = replace(good, positions=good.positions.copy())
    bad.positions[3] += [0.1, 0.1, 0.0]
    frame, fitting = arrangement.locate(bad)
    assert fitting.found.tolist() == [True] * 3 + [False] + [True] * 4
    assert np.linalg.norm(frame[:3, 3] - arrangement.locate(good)[0][:3, 3]) < 0.004


def test_a_keypoint_that_no_demonstration_shows_does_no_harm():
    examples = make_examples(0, 4)
    blind = [replace(e, keypoints=replace(e.keypoints, found=np.arange(8) != 5)) for e in examples]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy, _ = train(blind, TINY)
        sample = policy.sample(examples[0].keypoints, 1, 0)[0]
    assert np.isfinite(sample.T_base_ee).all()


def test_keypoints_that_each_lack_in_another_demonstration_are_all_known():
    examples = make_examples(0, 10, noise=0.0)
    full = Arrangement.from_demonstrations([e.keypoints for e in examples])
    part = [replace(e.keypoints, found=np.arange(8) != i % 8) for i, e in enumerate(examples)]
    assert np.allclose(Arrangement.from_demonstrations(part).shape, full.shape, atol=0.003)


def test_missing_keypoints_are_told_as_where_they_usually_are():
    examples = make_examples(0, 4)
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    points = examples[0].keypoints.positions[None].copy()
    points[0, 2] = np.nan
    row = condition(deviations(arrangement, points)).reshape(8, 4)
    assert row[2].tolist() == [0.0] * 4
    assert row[:, 3].sum() == 7
    assert row.abs().max() <= 3.0


def test_disturbed_keypoints_keep_three_and_leave_the_originals_alone():
    points = np.repeat(SHAPE[None], 200, axis=0)
    points[:, :4] = np.nan
    kept = points.copy()
    settings = AugmentationSettings(drop=0.9)
    out = disturb(points, settings, np.random.default_rng(0))
    assert np.array_equal(points, kept, equal_nan=True)
    assert np.isnan(out[:, :4]).all()
    assert np.isfinite(out[..., 0]).sum(axis=1).min() == 3
    again = disturb(points, settings, np.random.default_rng(0))
    assert np.array_equal(out, again, equal_nan=True)


def test_without_noise_disturbing_is_a_turn_about_gravity():
    still = AugmentationSettings(noise=0.0, drop=0.0, displace=0.0, yaw=1.0)
    out = disturb(SHAPE[None].repeat(20, axis=0), still, np.random.default_rng(0))
    assert np.allclose(out[..., 2], SHAPE[:, 2])
    assert np.allclose(np.linalg.norm(out, axis=-1), np.linalg.norm(SHAPE, axis=-1))
    assert np.abs(out - SHAPE).max() > 0.02


def test_encoding_can_be_undone_and_normalising_makes_small_numbers():
    e = make_examples(0, 3)
    T = some_motion()
    rows = np.stack([encode(x.trajectory, T) for x in e])
    bent = np.random.default_rng(0).normal(0.0, 0.01, (3, 8, 3))
    values = Normalizer.from_rows(rows, bent).normalize(rows, bent)
    assert np.abs(values).max() < 3.0
    back = decode(rows[1], T, e[1].trajectory.stamps)
    assert np.allclose(back.T_base_ee, e[1].trajectory.T_base_ee)
    assert np.array_equal(back.gripper, e[1].trajectory.gripper)


def test_a_lone_gripper_command_follows_its_neighbours():
    e = make_examples(0, 1)[0]
    rows = encode(e.trajectory, np.eye(4))
    rows[7, 9], rows[40, 9] = 0.0, 0.08
    assert np.array_equal(
        decode(rows, np.eye(4), e.trajectory.stamps).gripper, e.trajectory.gripper
    )


def test_noise_is_drawn_for_wherever_the_network_is():
    network = TrajectoryUNet(8, TINY.network).to("meta")  # as on a GPU: what is elsewhere fails
    clean = torch.zeros((4, POSES, CHANNELS), device="meta")
    told = torch.zeros((4, 32), device="meta")
    assert training_loss(network, clean, told, TINY.diffusion, torch.Generator()).is_meta
    assert denoise(network, told, TINY.diffusion, seed=0).shape == clean.shape


@pytest.mark.parametrize("channels", [(8,), (8, 16), (8, 16, 24)])
def test_network_keeps_the_shape_of_a_trajectory(channels):
    network = TrajectoryUNet(5, NetworkSettings(channels=channels, condition=8))
    out = network(torch.zeros(2, POSES, 10), torch.tensor([0, 99]), torch.zeros(2, 20))
    assert out.shape == (2, POSES, 10)
    assert not torch.allclose(out[0], out[1])  # the noise level is heard
