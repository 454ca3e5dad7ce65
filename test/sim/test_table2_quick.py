"""A reduced Table II: one task, a skill learned from three synthetic demonstrations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.table2_episode import summary
from benchmarks.table2_lesson import Learned, Method
from benchmarks.table2_quick import QuickRunner
from kalm_core.errors import Outcome
from kalm_core.learning import learn_from_demonstrations
from kalm_core.skill import load_skill
from kalm_sim.scene import draw_scene
from kalm_sim.synthetic import make_demonstration

pytestmark = pytest.mark.sim

SCENE = 3000


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    seeds = range(3)
    shown = [make_demonstration(seed, frames=2, instances="train")[0] for seed in seeds]
    root = tmp_path_factory.mktemp("skills")
    skill = load_skill(learn_from_demonstrations("open", "open the top drawer", shown, root))
    names = [demonstration.name for demonstration in shown]
    seed = names.index(str(skill.record["reference_demonstration"]))
    return Learned(skill, draw_scene(seed, instances="train"), 1.0)


@pytest.fixture(scope="module")
def runner() -> Iterator[QuickRunner]:
    with QuickRunner(draw_scene(SCENE)) as runner:
        yield runner


def test_a_skill_opens_the_drawer_of_another_cabinet(
    runner: QuickRunner, learned: Learned, tmp_path: Path
) -> None:
    scene = draw_scene(SCENE, instances="train")
    episode = runner.one(scene, learned, Method("kalm"), tmp_path / "failed.png")
    assert episode.success and episode.progress > 0.1, episode
    assert not (tmp_path / "failed.png").exists()
    assert summary("row", [episode]).value == 1.0


def test_an_absent_cabinet_is_looked_for_twice_and_told_with_a_picture(
    runner: QuickRunner, learned: Learned, tmp_path: Path
) -> None:
    scene = replace(draw_scene(SCENE, instances="train"), empty=True)
    episode = runner.one(scene, learned, Method("search", search=True), tmp_path / "failed.png")
    assert (episode.outcome, episode.looks) == (Outcome.KEYPOINTS_NOT_FOUND.name, 2)
    assert episode.failed_in == "detection"
    assert (tmp_path / "failed.png").stat().st_size > 10_000
