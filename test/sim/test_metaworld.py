from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="pip install -r requirements/benchmarks.txt")

from benchmarks.metaworld_piece import BASELINES, Setting, demonstrations, run_piece
from kalm_core.se3 import rotation_about_z
from kalm_sim.metaworld.replay import wait
from kalm_sim.metaworld.scenes import Scene, Shape, draw_scene
from kalm_sim.metaworld.tasks import TASKS
from kalm_sim.metaworld.true_keypoints import displaced, true_keypoints
from kalm_sim.metaworld.world import World, hand_yaw

pytestmark = pytest.mark.sim

_PACKAGE = {
    "drawer-open": "SawyerDrawerOpenEnvV3",
    "drawer-close": "SawyerDrawerCloseEnvV3",
    "button-press": "SawyerButtonPressEnvV3",
    "button-press-topdown": "SawyerButtonPressTopdownEnvV3",
    "lever-pull": "SawyerLeverPullEnvV3",
}


def package_environment(task, position):
    import metaworld.envs

    env = getattr(metaworld.envs, _PACKAGE[task.name])()
    env._set_task_called = env._freeze_rand_vec = True
    env._partially_observable = False
    env._last_rand_vec = position
    observation, _ = env.reset()
    return env, observation


@pytest.mark.parametrize("name", list(TASKS))
@pytest.mark.filterwarnings("ignore")
def test_success_is_the_packages_own_at_every_step(name):
    import metaworld.policies

    task = TASKS[name]
    env, observation = package_environment(task, (np.array(task.low) + task.high) / 2)
    expert = getattr(metaworld.policies, task.policy)()
    seen = set()
    for _ in range(200):
        observation, _, _, _, info = env.step(expert.get_action(observation))
        ours = task.error(float(env.data.joint(task.joint).qpos.item())) <= task.tolerance
        assert ours == bool(info["success"])
        seen.add(ours)
    assert seen == {False, True}


@pytest.mark.parametrize("name", list(TASKS))
def test_doing_nothing_never_succeeds(name):
    world = World(TASKS[name])
    for seed in range(3):
        for shapes in (False, True):
            world.reset(draw_scene(world.task, seed, shapes))
            outcome = wait(world, steps=60)
            assert not outcome.ever and not outcome.end
            assert world.travel < 0.05  # the lever sags a little


def test_keypoints_and_handle_turn_with_the_object():
    world = World(TASKS["lever-pull"])
    still = Scene(np.array([0.05, 0.75, 0.0]), 0.0)
    world.reset(still)
    before = true_keypoints(world).positions
    world.reset(replace(still, yaw=0.7))
    after = true_keypoints(world).positions
    turn = rotation_about_z(0.7)[:3, :3]
    expected = (before - still.position) @ turn.T + still.position
    assert np.abs(after - expected).max() < 1e-6


def test_another_shape_moves_the_keypoints_and_is_undone():
    world = World(TASKS["drawer-open"])
    plain = Scene(np.array([0.0, 0.87, 0.0]), 0.0)
    world.reset(plain)
    before = true_keypoints(world).positions
    shape = Shape(np.array([1.2, 0.9, 1.1]), np.array([0.02, 0.0, 0.01]))
    world.reset(replace(plain, shape=shape))
    after = true_keypoints(world).positions
    assert np.allclose(after[2, 0] - after[0, 0], 1.2 * (before[2, 0] - before[0, 0]), atol=1e-6)
    assert np.allclose(after[:3].mean(axis=0)[0], 0.02, atol=1e-6)
    world.reset(plain)
    assert np.array_equal(true_keypoints(world).positions, before)


def test_displaced_keypoints_still_count_as_found():
    world = World(TASKS["button-press"])
    world.reset(draw_scene(world.task, 0))
    good = true_keypoints(world)
    bad = displaced(good, 2, np.random.default_rng(0))
    moved = np.linalg.norm(bad.positions - good.positions, axis=1)
    assert (moved > 0).sum() == 2 and bad.found.all()
    assert np.abs(bad.positions - good.positions).max() <= 0.10


def test_demonstrations_begin_turned_to_the_object_and_are_the_same_again():
    examples = demonstrations("button-press-topdown", 0, 3, shapes=False)
    for example in examples:
        scene = draw_scene(TASKS["button-press-topdown"], int(example.name))
        assert abs(hand_yaw(example.trajectory.T_base_ee[0]) - scene.yaw) < np.deg2rad(6.0)
    again = demonstrations("button-press-topdown", 0, 3, shapes=False)
    for a, b in zip(examples, again, strict=True):
        assert np.array_equal(a.trajectory.T_base_ee, b.trajectory.T_base_ee)


def test_the_reduced_benchmark():
    piece = run_piece(Setting(demonstrations=2), "drawer-open", seed=7, episodes=4)
    assert piece.end["kalm"] == [True] * 4
    assert piece.ever["nothing"] == piece.end["nothing"] == [False] * 4
    assert set(piece.ever) == {"kalm", *BASELINES}
    assert piece.chosen in {"mean", "linear", "rigid"}
