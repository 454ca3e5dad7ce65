from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from kalm_sim.episode import EpisodeRunner
from kalm_sim.scene import draw_scene

pytestmark = pytest.mark.sim

FEW_BALLS = 14
"""Seed of a pouring scene with few balls, which is fast to simulate."""


@pytest.fixture(scope="module")
def runner() -> Iterator[EpisodeRunner]:
    with EpisodeRunner(None, draw_scene(0, task="handle")) as runner:
        yield runner


@pytest.mark.parametrize(
    ("task", "seed"), [("handle", 1), pytest.param("pour", FEW_BALLS, marks=pytest.mark.slow)]
)
def test_the_scripted_person_does_the_task_with_the_simulated_arm(
    runner: EpisodeRunner, task: str, seed: int
) -> None:
    scene = draw_scene(seed, task=task)
    runner.begin_at_ready(scene)
    before = runner.truth
    assert before.progress < 0.01 and not before.done
    after = runner.demonstrate(scene, np.random.default_rng([seed, 4]))
    assert after.done, f"{after.progress:.2f}"
