from __future__ import annotations

import hashlib
from dataclasses import astuple, replace

import numpy as np
import pytest

from kalm_core.errors import CalibrationError, GoalError
from kalm_core.planning.calibration import CalibrationSettings, check_table
from kalm_core.planning.obstacles import ObstacleSettings
from kalm_core.planning.robot_model import RobotModel
from kalm_core.se3 import invert_pose, transform_points
from kalm_sim.posed_scene import PosedScene
from kalm_sim.rendering import SceneCamera
from kalm_sim.scene import SceneParameters, draw_scene, scene_truth
from kalm_sim.synthetic import free_view, render_scene
from kalm_sim.tasks.bowl import BowlParameters, balls_in_bowl, draw_cup, share_inside
from kalm_sim.tasks.coffee_machine import CoffeeMachineParameters
from kalm_sim.tasks.registry import TASKS
from kalm_sim.true_keypoints import carry_points
from kalm_sim.true_masks import cover_part, geom_sets, part_distance, render_masks, true_masks

pytestmark = pytest.mark.sim

NAMES = tuple(TASKS)
NEW = ("handle", "pour")
SEEDS = range(40)
FIRST_DRAWERS = "fe7e64e95bd99ff4508bf1ec22c1313e1594d3beafc81c4154cffe0ab86a7127"
"""Digest of the first hundred scenes as they were drawn when the drawer was the only task."""


def seen_from(scene: SceneParameters, seed: int = 0) -> np.ndarray:
    robot = RobotModel.load()
    return free_view(scene, np.random.default_rng([seed, 5]), robot).joints


def digest(scene: SceneParameters) -> str:
    items = [astuple(item) for item in scene.clutter]
    known = (scene.seed, scene.empty, astuple(scene.cabinet), items, astuple(scene.light))
    return hashlib.sha256(
        repr((*known, scene.table_pattern, scene.table_color)).encode()
    ).hexdigest()


def test_the_scenes_of_the_drawer_are_what_they_always_were() -> None:
    total = hashlib.sha256()
    for seed in range(50):
        for empty in (False, True):
            total.update(digest(draw_scene(seed, empty)).encode())
    assert total.hexdigest() == FIRST_DRAWERS


@pytest.mark.parametrize("task", NAMES)
@pytest.mark.parametrize("instances", ["all", "train", "unseen"])
def test_the_same_arguments_give_the_same_scene_and_others_another(
    task: str, instances: str
) -> None:
    scenes = [draw_scene(seed, task=task, instances=instances) for seed in SEEDS]
    assert scenes == [draw_scene(seed, task=task, instances=instances) for seed in SEEDS]
    assert len({repr(scene.target) for scene in scenes}) == len(scenes)
    assert draw_scene(3, True, task, instances).target == scenes[3].target


def traits(scene: SceneParameters) -> dict[str, object]:
    """What must not occur both in training and among unseen instances."""
    target = scene.target
    if isinstance(target, CoffeeMachineParameters):
        return {"style": target.style, "lever": target.lever.shape}
    if isinstance(target, BowlParameters):
        return {"profile": target.profile, "exponent": round(target.exponent, 1)}
    return {"handle": scene.cabinet.handle.shape}


@pytest.mark.parametrize("task", NAMES)
def test_unseen_instances_share_neither_shape_nor_size_with_those_of_training(task: str) -> None:
    train, unseen = (
        [draw_scene(seed, task=task, instances=name) for seed in SEEDS]
        for name in ("train", "unseen")
    )
    for trait in traits(train[0]):
        assert not {traits(s)[trait] for s in train} & {traits(s)[trait] for s in unseen}, trait
    assert max(s.target.width for s in train) < min(s.target.width for s in unseen)


@pytest.mark.parametrize("task", NAMES)
def test_no_task_is_done_at_the_beginning_and_each_is_when_its_part_has_moved(task: str) -> None:
    scene = draw_scene(5, task=task)
    done = {"drawer": (0.12, 0.0), "handle": (1.0,), "pour": (0.9,)}[task]
    wrong = {"drawer": (0.05, 0.19), "handle": (0.5,), "pour": (0.7,)}[task]
    assert not scene_truth(scene).done and scene_truth(scene).progress == 0.0
    assert scene_truth(scene, done).done
    assert not scene_truth(scene, wrong).done
    assert not scene_truth(draw_scene(5, True, task), done).done


@pytest.mark.parametrize("task", NAMES)
def test_the_state_that_is_posed_is_the_state_that_is_read(task: str) -> None:
    scene = draw_scene(2, task=task)
    posed = PosedScene(scene)
    joints = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 2.1, 0.785])
    for state in ({"drawer": (0.12, 0.03), "handle": (0.9,), "pour": (1.0,)}[task], None):
        posed.pose(joints, state=state)
        read = TASKS[task].read_state(posed.model, posed.data, scene.target)
        np.testing.assert_allclose(read, state or TASKS[task].initial_state, atol=1e-9)
    assert not TASKS[task].done(read)


@pytest.mark.parametrize("task", NAMES)
def test_masks_are_where_the_truth_says_and_nowhere_without_the_object(task: str) -> None:
    scene = draw_scene(1, task=task)
    posed, joints = PosedScene(scene), seen_from(scene)
    posed.pose(joints)
    with SceneCamera(posed.model) as camera:
        masks = true_masks(camera, posed)
        camera.noise = camera.noise.off()
        frame = camera.wrist_frame(posed.data, 0, np.random.default_rng(0))
        sets = geom_sets(posed.model, scene)
        empty = PosedScene(draw_scene(1, True, task))
        empty.pose(joints)
        camera.show(empty.model)
        blank = true_masks(camera, empty)
        strange = PosedScene(draw_scene(1, task=task, replaced=True))
        strange.pose(joints)
        camera.show(strange.model)
        replaced = true_masks(camera, strange)
    assert masks.part.sum() > 500
    # the pixels of the part, lifted by the depth image, lie on the part, and no others do
    points = frame.points_base()
    inside = part_distance(posed, points[masks.part].astype(np.float64))
    assert np.quantile(inside, 0.99) < 0.003
    others = points[masks.distractors | masks.rest].reshape(-1, 3)[::50].astype(np.float64)
    assert (part_distance(posed, others) > 0.002).mean() > 0.9
    assert not (masks.part & masks.rest).any() and not (masks.part & masks.distractors).any()
    assert set(sets.part).isdisjoint(sets.rest + sets.distractors + sets.robot)

    assert not blank.object.any() and not replaced.object.any()
    assert replaced.distractors.sum() > masks.distractors.sum()


@pytest.mark.parametrize("task", NAMES)
def test_the_table_is_seen_where_it_is_and_misplaced_by_a_wrong_calibration(task: str) -> None:
    settings, obstacles = CalibrationSettings(check_table=True), ObstacleSettings()
    scene = draw_scene(2, task=task)
    frame = render_scene(scene, seen_from(scene))
    check_table(frame, settings, obstacles)
    for off in (0.1034, -0.1034):
        T_base_cam = frame.T_base_cam.copy()
        T_base_cam[2, 3] += off
        with pytest.raises(CalibrationError, match=r"the table 10\.\d cm"):
            check_table(replace(frame, T_base_cam=T_base_cam), settings, obstacles)


def test_a_card_hides_the_share_of_the_part_that_was_asked_for() -> None:
    share = 0.9
    scene = draw_scene(1, task="handle")
    joints = seen_from(scene)
    before = render_masks(scene, joints)
    covered = cover_part(scene, joints, share, np.random.default_rng(0))
    after = render_masks(covered, joints)
    assert after.part.sum() / before.part.sum() == pytest.approx(1 - share, abs=0.03)
    assert not (after.part & ~before.part).any()
    with pytest.raises(GoalError, match="cannot be covered"):
        cover_part(scene, joints, 0.0, np.random.default_rng(0))


@pytest.mark.parametrize("task", NAMES)
def test_points_carried_over_to_another_instance_stay_on_the_part(task: str) -> None:
    old = draw_scene(0, task=task, instances="train")
    new = draw_scene(0, task=task, instances="unseen")
    place, other = (scene_truth(s).T_base_parts[0][:3, 3] for s in (old, new))
    np.testing.assert_allclose(carry_points(place[None], old, new)[0], other, atol=0.012)
    points = place + np.random.default_rng(0).uniform(-0.01, 0.01, (20, 3))
    np.testing.assert_allclose(carry_points(points, old, old), points, atol=1e-9)
    there = carry_points(points, old, new)
    np.testing.assert_allclose(carry_points(there, new, old), points, atol=0.02)
    with pytest.raises(GoalError, match="has no place"):
        carry_points(points, old, draw_scene(0, task=NAMES[NAMES.index(task) - 1]))


@pytest.mark.parametrize("seed", SEEDS)
def test_balls_lie_in_the_cup_apart_from_each_other(seed: int) -> None:
    cup = draw_cup(np.random.default_rng(seed))
    places = cup.ball_places()
    assert len(places) == cup.balls and 8 <= cup.balls <= 20
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(cup.balls)
    assert apart.min() > 2 * cup.ball_radius
    assert places[:, 2].max() + cup.ball_radius < cup.height - 0.02
    assert 0.05 < cup.grasp_width < 0.075


def test_balls_are_counted_where_they_lie() -> None:
    scene = draw_scene(0, task="pour")
    bowl = scene.target
    assert isinstance(bowl, BowlParameters) and scene.held is not None
    inside = balls_in_bowl(bowl, scene.held, 6)
    beside = inside + np.array([bowl.width, 0.0, 0.0])
    above = inside + np.array([0.0, 0.0, bowl.height + 0.05])
    assert share_inside(bowl, inside) == 1.0
    assert share_inside(bowl, np.concatenate([inside, beside])) == 0.5
    assert share_inside(bowl, above) == 0.0 == share_inside(bowl, np.zeros((0, 3)))


def test_a_lever_turns_about_its_hinge() -> None:
    machine = draw_scene(0, task="handle").target
    assert isinstance(machine, CoffeeMachineParameters)
    hinge = transform_points(machine.T_base_object, machine.hinge)
    low, high = (machine.T_base_grip(angle)[:3, 3] for angle in (0.0, 1.0))
    assert np.linalg.norm(low - hinge) == pytest.approx(np.linalg.norm(high - hinge))
    assert high[2] > low[2] + 0.05
    local = invert_pose(machine.T_base_object) @ machine.T_base_grip()
    assert local[0, 3] == pytest.approx(-machine.lever.standoff)


def test_an_unknown_task_or_set_is_refused() -> None:
    with pytest.raises(GoalError, match="no task 'juggle'"):
        draw_scene(0, task="juggle")
    with pytest.raises(GoalError, match="no instances 'some'"):
        draw_scene(0, instances="some")  # type: ignore[arg-type]
    with pytest.raises(GoalError, match="BowlParameters"):
        _ = draw_scene(0, task="pour").cabinet
