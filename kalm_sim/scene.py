"""Scenes drawn from a seed: a task's object on a table, clutter, light.

`draw_scene(seed)` is the cabinet with two drawers; other tasks are in `kalm_sim.tasks`. For the
benchmarks of false finds the object can be left out, replaced by that of another task, or partly
covered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kalm_core.errors import GoalError
from kalm_core.se3 import Array
from kalm_sim.clutter import CLUTTER_KINDS, MOST_CLUTTER, ClutterItem, draw_clutter
from kalm_sim.drawing import Color, draw_color, luminance, uniform
from kalm_sim.tasks.base import INSTANCES, Instances, Task, TaskObject, expect
from kalm_sim.tasks.bowl import CupParameters
from kalm_sim.tasks.cabinet import (
    BOTTOM,
    FRONT_DISTANCE,
    HANDLE_SHAPES,
    TOP,
    CabinetParameters,
    HandleParameters,
)
from kalm_sim.tasks.registry import TASKS, task_named

__all__ = [
    "BOTTOM",
    "CLUTTER_KINDS",
    "FRONT_DISTANCE",
    "HANDLE_SHAPES",
    "MOST_CLUTTER",
    "TOP",
    "CabinetParameters",
    "ClutterItem",
    "Cover",
    "HandleParameters",
    "HandleTruth",
    "LightParameters",
    "SceneParameters",
    "SceneTruth",
    "draw_scene",
    "luminance",
    "scene_truth",
]

TABLE_PATTERNS = ("wood", "plain", "speckled")


@dataclass(frozen=True)
class LightParameters:
    """One lamp with shadows and the room's light.

    Attributes:
        azimuth, elevation: where the lamp is, seen from the table [rad].
        intensity: of the lamp.
        ambient: of the room.
        warmth: 0 is bluish, 1 yellowish.
    """

    azimuth: float
    elevation: float
    intensity: float
    ambient: float
    warmth: float


@dataclass(frozen=True)
class Cover:
    """A card that hides a part from one view.

    Attributes:
        T_base_cover: (4, 4) pose of its middle; the card is thin along its z.
        half: half size along its x and y [m].
        color: RGB in [0, 1].
    """

    T_base_cover: Array
    half: tuple[float, float]
    color: Color


@dataclass(frozen=True)
class SceneParameters:
    """All that is random in a scene.

    Attributes:
        seed: what it was drawn from.
        empty: the object is left out; `target` then tells where it would have been.
        target: the object that the task is about.
        clutter, light: see there.
        table_pattern: one of `TABLE_PATTERNS`.
        table_color: RGB in [0, 1].
        task: name of the task.
        instances: which instances the object was drawn from.
        held: the cup in the hand, in scenes of pouring.
        replacement: task and object that stand in the target's place instead of it.
        cover: what hides a part of the object.
        twin: another object of the same looks, see `disturbances.with_twin`.
    """

    seed: int
    empty: bool
    target: TaskObject
    clutter: tuple[ClutterItem, ...]
    light: LightParameters
    table_pattern: str
    table_color: Color
    task: str = "drawer"
    instances: Instances = "all"
    held: CupParameters | None = None
    replacement: tuple[str, TaskObject] | None = None
    cover: Cover | None = None
    twin: TaskObject | None = None

    @property
    def cabinet(self) -> CabinetParameters:
        """The target of a scene of the drawer.

        Raises:
            GoalError: the scene is of another task.
        """
        return expect(self.target, CabinetParameters)  # type: ignore[no-any-return]

    @property
    def present(self) -> bool:
        """Whether the target is there."""
        return not self.empty and self.replacement is None

    @property
    def shown(self) -> tuple[Task, TaskObject] | None:
        """What stands before the robot, with the task that it belongs to; None if nothing does."""
        if self.replacement is not None:
            return TASKS[self.replacement[0]], self.replacement[1]
        return None if self.empty else (TASKS[self.task], self.target)


@dataclass(frozen=True)
class HandleTruth:
    """Where a drawer's handle is.

    Attributes:
        T_base_handle: (4, 4) middle of the bar; x into the cabinet, y along the bar, z up.
        length, thickness, standoff: size [m], as in `HandleParameters`.
    """

    T_base_handle: Array
    length: float
    thickness: float
    standoff: float


@dataclass(frozen=True)
class SceneTruth:
    """What only the simulator knows and only evaluation may read.

    Attributes:
        seed: of the scene.
        T_base_cabinet: (4, 4) pose of the cabinet; None without one.
        openings: (2,) how far the top and the bottom drawer are out [m]; (0,) without them.
        handles: of the top and the bottom drawer, at those openings; empty without them.
        task: name of the task.
        T_base_object: (4, 4) pose of the task's object; None when it is not there.
        T_base_parts: (4, 4) poses of the part that is worked on and of others like it.
        state: positions of the object's joints, or the share of balls in the bowl.
        progress: how far the task is done, in the unit of `Task.measure`; 0 without the object.
        done: whether that is enough.
        twin_progress: how far the task is done with the twin; 0 without one.
    """

    seed: int
    T_base_cabinet: Array | None
    openings: Array
    handles: tuple[HandleTruth, ...]
    task: str
    T_base_object: Array | None
    T_base_parts: tuple[Array, ...]
    state: tuple[float, ...]
    progress: float
    done: bool
    twin_progress: float = 0.0


def scene_truth(scene: SceneParameters, state: tuple[float, ...] | None = None) -> SceneTruth:
    """Return the truth of a scene whose object is in a state.

    Args:
        scene: from `draw_scene`.
        state: of the object: openings of the top and the bottom drawer [m], angle of the lever
            [rad], or share of balls in the bowl; None is that of the beginning.
    """
    if not scene.present:
        return SceneTruth(scene.seed, None, np.zeros(0), (), scene.task, None, (), (), 0.0, False)
    task = TASKS[scene.task]
    state = task.initial_state if state is None else tuple(state)
    poses = task.part_poses(scene.target, state)
    T_base_cabinet, openings, handles = None, np.zeros(0), ()
    if isinstance(scene.target, CabinetParameters):
        handle = scene.target.handle
        T_base_cabinet, openings = scene.target.T_base_object, np.array(state)
        sizes = (handle.length, handle.thickness, handle.standoff)
        handles = tuple(HandleTruth(pose, *sizes) for pose in poses)
    return SceneTruth(
        scene.seed,
        T_base_cabinet,
        openings,
        handles,
        scene.task,
        scene.target.T_base_object,
        poses,
        state,
        task.progress(state),
        task.done(state),
    )


def draw_scene(
    seed: int,
    empty: bool = False,
    task: str = "drawer",
    instances: Instances = "all",
    replaced: bool = False,
) -> SceneParameters:
    """Draw a scene; the same arguments give the same scene, bit for bit.

    Args:
        seed: non-negative.
        empty: leave the object out; the clutter then also covers its place.
        task: "drawer", "handle" or "pour".
        instances: "train" for demonstrations, "unseen" for instances never seen in training,
            which share no shape, size or colour family with them; "all" for both.
        replaced: put the object of another task in the object's place.

    Raises:
        GoalError: there is no such task or set of instances.
    """
    if instances not in INSTANCES:
        raise GoalError(f"there are no instances {instances!r}", f"choose one of {INSTANCES}")
    chosen = task_named(task)
    # the first scenes of the drawer were drawn from the seed alone and stay what they were
    kind = [list(TASKS).index(task), INSTANCES.index(instances)]
    rng = np.random.default_rng([seed, 20240, *(kind if any(kind) else [])])
    target = chosen.draw(rng, instances)
    scene = SceneParameters(
        seed=seed,
        empty=empty,
        target=target,
        clutter=draw_clutter(rng, target, chosen.room, empty),
        light=LightParameters(
            azimuth=uniform(rng, np.radians(155), np.radians(265)),
            elevation=uniform(rng, np.radians(35), np.radians(60)),
            intensity=uniform(rng, 0.45, 0.75),
            ambient=uniform(rng, 0.22, 0.38),
            warmth=uniform(rng, 0.0, 1.0),
        ),
        table_pattern=str(rng.choice(TABLE_PATTERNS)),
        table_color=draw_color(rng, (0.0, 1.0), (0.03, 0.3), (0.35, 0.85)),
        task=task,
        instances=instances,
        held=chosen.draw_held(rng, instances),
    )
    return (
        _replace_target(scene, np.random.default_rng([seed, 20241, *kind])) if replaced else scene
    )


def _replace_target(scene: SceneParameters, rng: np.random.Generator) -> SceneParameters:
    """Return the scene with another task's object in the place of its target."""
    other = [name for name in TASKS if name != scene.task][int(rng.integers(len(TASKS) - 1))]
    place = {"x": scene.target.x, "y": scene.target.y, "yaw": scene.target.yaw}
    stranger = replace(TASKS[other].draw(rng, "all"), **place)
    clutter = tuple(item for item in scene.clutter if item.z == 0.0)
    return replace(scene, replacement=(other, stranger), clutter=clutter)
