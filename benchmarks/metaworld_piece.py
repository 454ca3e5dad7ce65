"""One piece of the Meta-World benchmark: one setting, task and seed, with all policies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.metaworld_detected import learn_keypoints
from kalm_core.errors import DemonstrationError, KeypointsNotFoundError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.base import Example
from kalm_core.policy.selection import SIMPLE, LearnedPolicy, learn_policy
from kalm_core.policy.settings import PolicySettings
from kalm_core.segmentation import SegmentationSettings, execution_part
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_sim.metaworld.expert import demonstrate
from kalm_sim.metaworld.replay import Outcome, replay, wait
from kalm_sim.metaworld.scenes import Scene, draw_scene
from kalm_sim.metaworld.tasks import TASKS
from kalm_sim.metaworld.true_keypoints import displaced, true_keypoints
from kalm_sim.metaworld.world import World

CUT = SegmentationSettings(radius=0.15)
"""Our tool's origin is the palm here, 4.5 cm behind the fingers' tips; so the radius is larger."""

BASELINES = ("nothing", "translated", "rigid", "mean")
OURS = "kalm"
FIRST_TEST = 50_000  # seed of the first test scene; demonstrations are far below


@dataclass(frozen=True)
class Setting:
    """What differs from oracle keypoints and ten demonstrations."""

    demonstrations: int = 10
    displaced: int = 0
    shapes: bool = False
    detected: bool = False


SETTINGS = {
    "oracle": Setting(),
    "detected": Setting(detected=True),
    "outlier1": Setting(displaced=1),
    "outlier2": Setting(displaced=2),
    "outlier3": Setting(displaced=3),
    "shape": Setting(shapes=True),
    "demos1": Setting(demonstrations=1),
    "demos2": Setting(demonstrations=2),
    "demos3": Setting(demonstrations=3),
    "demos5": Setting(demonstrations=5),
    "demos30": Setting(demonstrations=30),
    "demos100": Setting(demonstrations=100),
}


@dataclass
class Piece:
    """What one piece measured.

    Attributes:
        ever, end: policy -> success of each episode, at any time and at the end.
        chosen: the policy that the comparison took.
        reason: why.
        seconds: of learning, wall time.
        refused: scenes left out, for the expert's own trajectory fails when replayed there.
        found: of each episode, whether enough keypoints were; empty when nobody looked for them.
        errors: of every keypoint found, distance from where it is [m].
        views_refused: views drawn that do not show the object, in training and test.
        taught: demonstrations that the policies learned from; 0 is all of them.
        distill_s, episode_s: wall time of the distillation, and of an episode with all policies.
    """

    ever: dict[str, list[bool]] = field(default_factory=dict)
    end: dict[str, list[bool]] = field(default_factory=dict)
    chosen: str = ""
    reason: str = ""
    seconds: float = 0.0
    refused: int = 0
    found: list[bool] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    views_refused: int = 0
    taught: int = 0
    distill_s: float = 0.0
    episode_s: float = 0.0

    def add(self, policy: str, outcome: Outcome) -> None:
        """Note one episode."""
        self.ever.setdefault(policy, []).append(outcome.ever)
        self.end.setdefault(policy, []).append(outcome.end)


def run_piece(setting: Setting, task: str, seed: int, episodes: int) -> Piece:
    """Learn from the demonstrations of a seed, and run all policies in the same test scenes."""
    if setting.detected:
        return _run_detected(setting, task, seed, episodes)
    world = world_of(task)
    examples = demonstrations(task, seed, setting.demonstrations, setting.shapes)
    learned = _learned(task, seed, setting.demonstrations, setting.shapes)
    predict = _policies(examples, learned, seed)
    piece = _begin(learned)
    for scene in _test_scenes(world, seed, episodes, setting.shapes, piece):
        world.reset(scene)
        keypoints = true_keypoints(world)
        if setting.displaced:
            rng = np.random.default_rng([scene.seed, 12])
            keypoints = displaced(keypoints, setting.displaced, rng)
        piece.add("nothing", do_nothing(task, scene.seed, setting.shapes))
        done: dict[bytes, Outcome] = {}
        for name, policy in predict.items():
            piece.add(name, _episode(world, scene, policy, keypoints, done))
    return piece


def _run_detected(setting: Setting, task: str, seed: int, episodes: int) -> Piece:
    """Do the same with keypoints that are looked for; what is not found is a failure."""
    world, start = world_of(task), time.perf_counter()
    scenes = demonstrations(task, seed, setting.demonstrations, shapes=False)
    eye = learn_keypoints(world, [int(example.name) for example in scenes], CUT)
    distill_s = time.perf_counter() - start
    learned = learn_policy(eye.examples, PolicySettings(), seed)
    predict = _policies(eye.examples, learned, seed)
    piece = _begin(learned)
    piece.distill_s, piece.taught = round(distill_s, 2), len(eye.examples)
    piece.views_refused = eye.refused
    start = time.perf_counter()
    for scene in _test_scenes(world, seed, episodes, False, piece):
        piece.add("nothing", do_nothing(task, scene.seed, False))
        look = eye.look(world, scene)
        piece.views_refused += look.refused
        try:
            eye.require(look)
        except KeypointsNotFoundError:
            piece.found.append(False)
            for name in predict:
                piece.add(name, Outcome(False, False))
            continue
        piece.found.append(True)
        piece.errors.extend(np.round(look.errors, 5).tolist())
        done: dict[bytes, Outcome] = {}
        for name, policy in predict.items():
            piece.add(name, _episode(world, scene, policy, look.keypoints, done))
    piece.episode_s = round((time.perf_counter() - start) / episodes, 2)
    return piece


def _begin(learned: LearnedPolicy) -> Piece:
    return Piece(
        chosen=learned.comparison.chosen,
        reason=learned.comparison.reason,
        seconds=round(learned.seconds, 2),
    )


def _test_scenes(
    world: World, seed: int, episodes: int, shapes: bool, piece: Piece
) -> Iterator[Scene]:
    """Yield the first test scenes in which the expert's own trajectory succeeds."""
    number = given = 0
    while given < episodes:
        scene = draw_scene(world.task, 100_000 * seed + FIRST_TEST + number, shapes)
        number += 1
        if expert_example(world, scene) is None:
            piece.refused += 1
            continue
        given += 1
        yield scene


def demonstrations(task: str, seed: int, count: int, shapes: bool) -> list[Example]:
    """Return the first demonstrations of a seed that the expert manages and that replay well."""
    world, found, number = world_of(task), list[Example](), 0
    while len(found) < count:
        scene = draw_scene(world.task, 100_000 * seed + number, shapes)
        number += 1
        example = expert_example(world, scene)
        if example is not None:
            found.append(example)
    return found


@lru_cache(maxsize=5)
def world_of(task: str) -> World:
    """Return the world of a task, made once."""
    return World(TASKS[task])


@lru_cache(maxsize=4)
def _learned(task: str, seed: int, count: int, shapes: bool) -> LearnedPolicy:
    """Learn once for the settings that share their demonstrations."""
    return learn_policy(demonstrations(task, seed, count, shapes), PolicySettings(), seed)


@lru_cache(maxsize=512)
def _cached_example(task: str, seed: int, shapes: bool) -> Example | None:
    """Return the expert's execution in a scene if it succeeds there when replayed."""
    world = world_of(task)
    scene = draw_scene(world.task, seed, shapes)
    try:
        demonstration = demonstrate(world, scene, str(seed))
        world.reset(scene)
        keypoints = true_keypoints(world)
        part = execution_part(demonstration, keypoints, CUT)
    except DemonstrationError:
        return None
    return Example(str(seed), keypoints, part) if replay(world, part).end else None


@lru_cache(maxsize=512)
def do_nothing(task: str, seed: int, shapes: bool) -> Outcome:
    """Leave a scene alone; settings share the outcome."""
    world = world_of(task)
    world.reset(draw_scene(world.task, seed, shapes))
    return wait(world)


def expert_example(world: World, scene: Scene) -> Example | None:
    """Return the expert's demonstration of a scene; None where it fails when it is replayed."""
    shapes = bool((scene.shape.scale != 1.0).any())
    return _cached_example(world.task.name, scene.seed, shapes)


def _policies(
    examples: Sequence[Example], learned: LearnedPolicy, seed: int
) -> dict[str, Callable[[DetectedKeypoints], EndEffectorTrajectory]]:
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    made: dict[str, Any] = {name: SIMPLE[name](examples, arrangement) for name in ("rigid", "mean")}
    made[OURS] = learned.policy
    predict = {
        name: (lambda keypoints, policy=policy: policy.sample(keypoints, 5, seed)[0])
        for name, policy in made.items()
    }
    return {"translated": lambda keypoints: _translated(examples, keypoints), **predict}


def _translated(examples: Sequence[Example], keypoints: DetectedKeypoints) -> EndEffectorTrajectory:
    """Shift the demonstration whose keypoints, relative to their centre, are most similar."""
    distance, shifts = [], []
    for example in examples:
        both = keypoints.found & example.keypoints.found
        if not both.any():
            distance.append(np.inf)
            shifts.append(np.zeros(3))
            continue
        here, there = keypoints.positions[both], example.keypoints.positions[both]
        off = there - there.mean(axis=0) - (here - here.mean(axis=0))
        distance.append(np.linalg.norm(off, axis=1).mean())
        shifts.append(here.mean(axis=0) - there.mean(axis=0))
    nearest = int(np.argmin(distance))
    if not np.isfinite(distance[nearest]):
        raise KeypointsNotFoundError("no demonstration shows a keypoint that was found")
    shift = np.eye(4)
    shift[:3, 3] = shifts[nearest]
    return examples[nearest].trajectory.transformed(shift)


def _episode(
    world: World,
    scene: Scene,
    policy: Callable[[DetectedKeypoints], EndEffectorTrajectory],
    keypoints: DetectedKeypoints,
    done: dict[bytes, Outcome],
) -> Outcome:
    """Run one policy; one that gives up has failed, and the same trajectory ends the same."""
    try:
        trajectory = policy(keypoints)
    except KeypointsNotFoundError:
        return Outcome(False, False)
    key = trajectory.T_base_ee.tobytes() + trajectory.gripper.tobytes()
    if key not in done:
        world.reset(scene)
        done[key] = replay(world, trajectory)
    return done[key]
