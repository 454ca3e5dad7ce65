"""What is drawn from a seed: where the object is, how it is turned, what shape it has."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kalm_core.se3 import Array, rotation_about_z
from kalm_sim.metaworld.tasks import Task

SCALES = (0.8, 1.25)
"""Smallest and largest scale of an object along each of its axes."""


@dataclass(frozen=True)
class Shape:
    """How an object differs from the package's.

    Attributes:
        scale: (3,) along the axes of the object's root body.
        part: (3,) shift of the moving part, same axes [m].
    """

    scale: Array = field(default_factory=lambda: np.ones(3))
    part: Array = field(default_factory=lambda: np.zeros(3))


@dataclass(frozen=True)
class Scene:
    """One arrangement of the table.

    Attributes:
        position: (3,) of the object's root [m].
        yaw: of the object about z through its root [rad].
        shape: of the object.
        seed: that it was drawn from.
    """

    position: Array
    yaw: float
    shape: Shape = field(default_factory=Shape)
    seed: int = 0

    @property
    def T_base_object(self) -> Array:
        """The root's pose (4, 4) at yaw 0 turned by the yaw: z up also where the root lies."""
        pose = rotation_about_z(self.yaw)
        pose[:3, 3] = self.position
        return pose


def draw_scene(task: Task, seed: int, shapes: bool = False) -> Scene:
    """Draw a scene; with `shapes`, of an object of another shape.

    Position and yaw of a seed are the same with and without `shapes`.
    """
    rng = np.random.default_rng([seed, 11])
    position = rng.uniform(task.low, task.high)
    yaw = float(rng.uniform(-task.yaw, task.yaw))
    if not shapes:
        return Scene(position, yaw, seed=seed)
    scale = np.exp(rng.uniform(*np.log(SCALES), size=3))
    part = rng.uniform(-1.0, 1.0, size=3) * task.shift
    return Scene(position, yaw, Shape(scale, part), seed)
