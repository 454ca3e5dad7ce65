from __future__ import annotations

import numpy as np
import pytest

from kalm_sim.mjcf import compile_scene
from kalm_sim.scene import draw_scene

pytestmark = pytest.mark.sim


def test_models_of_one_scene_are_equal_and_independent() -> None:
    scene = draw_scene(1)
    first, second = compile_scene(scene), compile_scene(scene)
    assert np.array_equal(first.body_pos, second.body_pos)
    assert np.array_equal(first.tex_data, second.tex_data)
    margin = second.geom_margin.copy()
    first.geom_margin[:] += 1.0
    first.tex_data[:] = 0
    assert np.array_equal(second.geom_margin, margin)
    third = compile_scene(scene)
    assert np.array_equal(third.geom_margin, margin)
    assert np.array_equal(third.tex_data, second.tex_data)


def test_another_scene_is_another_model() -> None:
    one, other = compile_scene(draw_scene(1)), compile_scene(draw_scene(2))
    cabinet = [model.body("cabinet").pos for model in (one, other)]
    assert not np.allclose(*cabinet)
