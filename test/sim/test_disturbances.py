from __future__ import annotations

import mujoco
import numpy as np
import pytest

from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.disturbances import crowded, lit, shifted_camera, with_twin, worse_depth
from kalm_sim.mjcf import TWIN, compile_scene
from kalm_sim.scene import MOST_CLUTTER, draw_scene
from kalm_sim.tasks.registry import TASKS

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_twin_stands_beside_the_object_and_moves_by_itself(task: str, seed: int) -> None:
    scene = with_twin(draw_scene(seed, task=task))
    assert scene.twin is not None
    model = compile_scene(scene)
    data = mujoco.MjData(model)
    apart = np.hypot(scene.twin.x - scene.target.x, scene.twin.y - scene.target.y)
    assert scene.target.width < apart < scene.target.width + 0.13
    for name in TASKS[task].joints:
        data.joint(TWIN + name).qpos[0] = 0.05
        assert data.joint(name).qpos[0] == 0.0
    state = TASKS[task].read_state(model, data, scene.twin, TWIN)
    assert state[0] == (0.05 if TASKS[task].joints else 0.0)


@pytest.mark.parametrize("task", TASKS)
def test_a_crowded_table_has_more_on_it_and_nothing_touches(task: str) -> None:
    more = 0
    for seed in range(6):
        scene = draw_scene(seed, task=task)
        items = crowded(scene).clutter
        assert items[: len(scene.clutter)] == scene.clutter
        assert len(items) <= MOST_CLUTTER
        for k, a in enumerate(items):
            assert all(np.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius for b in items[:k])
        more += len(items) - len(scene.clutter)
    assert more > 0


def test_light_and_camera_change_by_what_is_asked() -> None:
    scene = draw_scene(3)
    dim = lit(scene, 0.3, 0.4).light
    assert dim.intensity == pytest.approx(0.3 * scene.light.intensity)
    assert dim.ambient == pytest.approx(0.4 * scene.light.ambient)
    shift = np.subtract(shifted_camera(0.01).translation, shifted_camera(0.0).translation)
    assert np.linalg.norm(shift) == pytest.approx(0.01)


def test_once_the_noise_is_the_usual_noise() -> None:
    assert worse_depth(1.0) == DepthNoiseSettings()
    assert worse_depth(4.0).noise_at_half_meter == 4 * DepthNoiseSettings().noise_at_half_meter
