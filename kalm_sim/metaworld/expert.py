"""Demonstrations by the package's scripted experts, turned along with the object."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from kalm_core.demonstration import Demonstration
from kalm_core.errors import DemonstrationError
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_core.se3 import Array
from kalm_sim.metaworld.scenes import Scene
from kalm_sim.metaworld.world import World

CONTROL_PERIOD = 0.0125
"""Time of one control step [s]."""

_LONGEST = 400  # control steps
_CLOSE, _CARE = 4.0, 0.4  # nearer to the goal than this the expert goes at a share of its speed
_DONE = 0.4  # the expert stops here, well inside what counts as success
_AFTER = 15  # ... or so many control steps after the success, where that is not reached
_HOLD = 25  # control steps at the end in which the hand stays where it is
_LOW, _HIGH = np.array([-0.5, 0.4, 0.05]), np.array([0.5, 1.0, 0.5])  # the package's box [m]
_OBSERVATION = 39
_TRAVEL_HEIGHT = 0.42  # of the hand in free motion [m]
_NEAR, _TURNED = 0.01, np.deg2rad(2.0)  # where a stop of it counts as reached


def demonstrate(world: World, scene: Scene, name: str) -> Demonstration:
    """Have the expert do the task in a scene.

    Raises:
        DemonstrationError: it failed, or its success did not last while the hand stayed.
        ConfigError: the package is not installed.
    """
    world.reset(scene)
    task = world.task
    expert = _expert(task.policy)
    rotation = scene.T_base_object[:3, :3]
    middle = (np.array(task.low) + np.array(task.high)) / 2
    start = scene.position + rotation @ (np.array(task.home) - middle)
    poses, joints, opening = [], [], []

    def note() -> None:
        poses.append(world.T_base_tool)
        joints.append(world.joints)
        opening.append(world.opening)

    fly(world, start, scene.yaw, task.closed, note)
    after = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns of its own gains
        for _ in range(_LONGEST):
            note()
            action = np.clip(expert.get_action(_observe(world))[:3], -1.0, 1.0)
            action *= _CARE if world.error < _CLOSE else 1.0
            world.act(rotation @ _inside(action, world), scene.yaw, task.closed)
            after += world.succeeded
            if world.error <= _DONE or after > _AFTER:
                break
    stay = world.hand
    for _ in range(_HOLD):
        note()
        world.drive(stay, scene.yaw, task.closed)
    if not world.succeeded:
        raise DemonstrationError(f"{name}: the scripted expert failed in scene {scene.seed}")
    return Demonstration(
        name,
        (_blank(),),
        np.arange(len(poses)) * CONTROL_PERIOD,
        np.stack(joints),
        np.stack(poses),
        np.array(opening),
    )


@cache
def _expert(name: str) -> Any:
    import metaworld.policies

    return getattr(metaworld.policies, name)()


def fly(world: World, position: Array, yaw: float, closed: bool, note: Callable[[], None]) -> None:
    """Bring the hand to a position [m] and yaw [rad] in free motion: up, across, down.

    Args:
        world: the task.
        position: (3,) of the hand [m].
        yaw: of the hand [rad].
        closed: whether the fingers press together.
        note: called before every control step.
    """
    top = max(_TRAVEL_HEIGHT, position[2])
    stops = (
        np.array([*world.hand[:2], top]),
        np.array([*position[:2], top]),
        np.asarray(position),
    )
    for stop in stops:
        for _ in range(_LONGEST // 4):
            note()
            world.drive(stop, yaw, closed)
            if np.linalg.norm(world.hand - stop) < _NEAR and abs(world.turn_left(yaw)) < _TURNED:
                break


def _inside(action: Array, world: World) -> Array:
    """Keep the mocap body in the package's box: some experts lean on it."""
    at = _unturned(world, world.mocap)
    return np.clip(at + 0.01 * action, _LOW, _HIGH) / 0.01 - at / 0.01


def _observe(world: World) -> Array:
    """Return what the package would tell the expert, had the object not been turned."""
    observation = np.zeros(_OBSERVATION)
    observation[:3] = _unturned(world, world.hand)
    observation[3] = world.opening / 0.1
    observation[4:7] = _unturned(world, world.position(world.task.handle)) + world.task.offset
    return observation


def _unturned(world: World, position: Array) -> Array:
    """Return where a position (3,) would be, had the object not been turned [m]."""
    scene = world.scene
    return np.asarray((position - scene.position) @ scene.T_base_object[:3, :3] + scene.position)


def _blank() -> RgbdFrame:
    """Return a picture of nothing: with oracle keypoints no picture is looked at."""
    intrinsics = Intrinsics(2, 2, 1.0, 1.0, 0.5, 0.5)
    return RgbdFrame(
        np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), np.float32), intrinsics, np.eye(4)
    )
