"""What a task of the laboratory is: an object to work on and a measure of how far it is done."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kalm_core.errors import GoalError
from kalm_core.se3 import Array, make_pose, rotation_about_z
from kalm_sim.mesh import Mesh

Instances = Literal["all", "train", "unseen"]
INSTANCES: tuple[Instances, ...] = ("all", "train", "unseen")
"""Instances used for demonstrations, instances never seen in training, or both."""


@dataclass(frozen=True)
class TaskObject:
    """An object that stands on the table.

    Its frame has its origin on the table; x points away from the robot, y to the left, z up.

    Attributes:
        x, y: origin of its frame in the base frame [m].
        yaw: about z, from the base frame [rad].
        width, height, depth: outer size along y, z and x [m].
    """

    x: float
    y: float
    yaw: float
    width: float
    height: float
    depth: float

    @property
    def T_base_object(self) -> Array:
        """The (4, 4) pose of the object's frame in the base frame."""
        return make_pose(np.eye(3), (self.x, self.y, 0.0)) @ rotation_about_z(self.yaw)


@dataclass(frozen=True)
class PartBox:
    """A part of an object, as a box in the object's frame.

    Attributes:
        middle, half: (3,) centre and half size [m].
    """

    middle: Array
    half: Array


@dataclass(frozen=True)
class ViewRange:
    """From where a task's object is looked at, seen from `Task.look_at`.

    Attributes:
        distance: least and greatest [m].
        elevation: least and greatest [deg].
        azimuth: greatest, to either side [deg].
        keep_below: rows of the image, counted from below, that shall not hold the object [px].
    """

    distance: tuple[float, float] = (0.36, 0.58)
    elevation: tuple[float, float] = (12.0, 50.0)
    azimuth: float = 30.0
    keep_below: float = 0.0


@dataclass(frozen=True)
class Room:
    """Where clutter may lie around an object.

    Attributes:
        on_top: whether some lies on the object.
        beside: least and greatest gap to the object's side [m].
        along: least and greatest x in the object's frame [m].
    """

    on_top: bool
    beside: tuple[float, float] = (0.03, 0.18)
    along: tuple[float, float] = (0.02, 0.42)


class Task(ABC):
    """One task.

    Attributes:
        name: in commands and topics.
        sentence: what the operator asks for.
        skill: name of the skill that demos learn.
        object_name, part_name: for people.
        measure: what `progress` is, with its unit.
        enough: progress from which the task counts as done.
        room, view: where clutter and camera go.
        joints: whose positions are the object's state.
        initial_state: one number per joint, or the share of balls in the bowl.
    """

    name: str
    sentence: str
    skill: str
    object_name: str
    part_name: str
    measure: str
    enough: float
    room: Room
    view: ViewRange = ViewRange()
    joints: tuple[str, ...] = ()
    initial_state: tuple[float, ...] = (0.0,)

    @abstractmethod
    def draw(self, rng: np.random.Generator, instances: Instances) -> TaskObject:
        """Draw an instance of the object and where it stands."""

    def draw_held(self, rng: np.random.Generator, instances: Instances) -> Any:
        """Draw what is in the hand from the start; None when the hand is empty."""
        return None

    @abstractmethod
    def build(self, world: ET.Element, contact: ET.Element, target: TaskObject) -> None:
        """Add the object to the world body of a MuJoCo model."""

    def meshes(self, target: TaskObject) -> dict[str, Mesh]:
        """Return the meshes that `build` needs, by slot (`mesh.SLOTS`)."""
        return {}

    @abstractmethod
    def look_at(self, target: TaskObject) -> Array:
        """Return the (3,) point in the object's frame that the camera is aimed at [m]."""

    @abstractmethod
    def look_points(self, target: TaskObject) -> Array:
        """Return (N, 3) points in the object's frame that shall be in the image [m]."""

    @abstractmethod
    def boxes(self, target: TaskObject) -> tuple[PartBox, ...]:
        """Return the parts that scale by themselves between instances, the smallest first."""

    @abstractmethod
    def part_poses(self, target: TaskObject, state: tuple[float, ...]) -> tuple[Array, ...]:
        """Return T_base_part (4, 4) of the part that is worked on, and of others like it."""

    @abstractmethod
    def is_part(self, body: str, material: str) -> bool:
        """Tell whether a geom, by its body and material, is of the part that is worked on."""

    def progress(self, state: tuple[float, ...]) -> float:
        """Return how far the task is done, in the unit of `measure`."""
        return float(state[0])

    def read_state(
        self, model: Any, data: Any, target: TaskObject, prefix: str = ""
    ) -> tuple[float, ...]:
        """Read the object's state off MuJoCo's; `prefix` is that of a twin's names."""
        return tuple(float(data.joint(prefix + name).qpos[0]) for name in self.joints)

    def done(self, state: tuple[float, ...]) -> bool:
        """Tell whether the task counts as done."""
        return self.progress(state) >= self.enough


def expect(target: TaskObject, kind: type[Any]) -> Any:
    """Return the object if it is of a task's kind.

    Raises:
        GoalError: it belongs to another task.
    """
    if not isinstance(target, kind):
        raise GoalError(
            f"this is a {type(target).__name__}, expected {kind.__name__}",
            "draw the scene of the right task",
        )
    return target
