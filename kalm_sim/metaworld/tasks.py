"""The five tasks: which object, which joint, when it counts as done, where its keypoints are."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kalm_core.errors import ConfigError
from kalm_core.se3 import Array

_DRAWER_LENGTH = 0.19  # from the closed handle to where the package wants it [m]
_BUTTON_LENGTH = 0.093  # from the button's front to the hole [m]


@dataclass(frozen=True)
class Point:
    """A place on the object, fixed to one of its bodies.

    Attributes:
        body: its name in the model.
        position: (3,) in that body's frame [m].
        moves: whether it belongs to the part that `Shape.part` shifts.
    """

    body: str
    position: tuple[float, float, float]
    moves: bool


@dataclass(frozen=True)
class Task:
    """One task of the package.

    Success is the package's own test. It compares world positions, which a turned object would
    break; but as each object has one joint, the test is a function of that joint alone, and this
    is written here (a test compares the two at yaw 0, step by step).

    Attributes:
        name: ours, for rows and pictures.
        model: name of the package's model.
        policy: name of the package's scripted expert.
        root: body that is placed and turned.
        joint: of the moving part.
        start: of the joint [m or rad].
        low, high: (x, y, z) range of the root [m].
        yaw: largest turn either way, as far as the expert succeeds [rad].
        home: (x, y, z) of the hand before an episode [m].
        closed: whether the fingers are closed throughout.
        error: distance from success as a function of the joint's value at scale 1.
        tolerance: largest `error` that counts as success.
        slide: axis of the root along which the joint moves, whose scale its range follows; None
            for a hinge.
        handle: what the expert works on.
        offset: (x, y, z) from there to what the package tells the expert, before any turn [m].
        keypoints: eight places.
        shift: largest (x, y, z) shift of the moving part in its body's frame, either way, [m].
        part_geoms: body whose geoms `Shape.part` shifts, and the first of them.
    """

    name: str
    model: str
    policy: str
    root: str
    joint: str
    start: float
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    yaw: float
    home: tuple[float, float, float]
    closed: bool
    error: Callable[[float], float]
    tolerance: float
    slide: int | None
    handle: Point
    offset: tuple[float, float, float]
    keypoints: tuple[Point, ...]
    shift: tuple[float, float, float]
    part_geoms: tuple[str, int]


def _on(body: str, moves: bool, *positions: tuple[float, float, float]) -> tuple[Point, ...]:
    return tuple(Point(body, position, moves) for position in positions)


_DRAWER = _on(
    "drawer_link",
    True,
    (-0.05, -0.159, 0.0),
    (0.0, -0.159, 0.0),
    (0.05, -0.159, 0.0),
) + _on(
    "drawer_link",
    False,
    (-0.09, -0.09, 0.05),
    (0.09, -0.09, 0.05),
    (-0.09, -0.09, -0.05),
    (0.09, -0.09, -0.05),
    (0.0, -0.09, 0.05),
)
_BUTTON = _on(
    "button",
    True,
    (0.0, -0.194, 0.0),
    (-0.035, -0.194, 0.0),
    (0.035, -0.194, 0.0),
    (0.0, -0.194, 0.035),
) + _on(
    "buttonbox",
    False,
    (-0.11, -0.09, 0.10),
    (0.11, -0.09, 0.10),
    (-0.11, -0.09, -0.10),
    (0.11, -0.09, -0.10),
)
_LEVER = _on(
    "lever_link1",
    True,
    (0.0, -0.23, 0.0),
    (0.0, -0.20, 0.03),
    (0.03, -0.20, 0.0),
    (0.0, -0.10, 0.012),
) + _on(
    "lever",
    False,
    (0.0, -0.083, 0.25),
    (0.0, 0.0, 0.333),
    (0.041, -0.083, 0.10),
    (-0.041, -0.083, 0.10),
)

TASKS = {
    task.name: task
    for task in (
        Task(
            name="drawer-open",
            model="sawyer_drawer.xml",
            policy="SawyerDrawerOpenV3Policy",
            root="drawer",
            joint="goal_slidey",
            start=0.0,
            low=(-0.1, 0.85, 0.0),
            high=(0.1, 0.90, 0.0),
            yaw=np.deg2rad(60.0),
            home=(0.0, 0.6, 0.2),
            closed=False,
            error=lambda q: abs(_DRAWER_LENGTH + q),
            tolerance=0.03,
            slide=1,
            handle=Point("drawer_link", (0.0, -0.15, 0.0), True),
            offset=(0.0, -0.01, 0.0),
            keypoints=_DRAWER,
            shift=(0.05, 0.0, 0.035),
            part_geoms=("drawer_link", -3),
        ),
        Task(
            name="drawer-close",
            model="sawyer_drawer.xml",
            policy="SawyerDrawerCloseV3Policy",
            root="drawer",
            joint="goal_slidey",
            start=-0.15,
            low=(-0.1, 0.85, 0.0),
            high=(0.1, 0.90, 0.0),
            yaw=np.deg2rad(60.0),
            home=(0.0, 0.6, 0.2),
            closed=True,
            # The package compares the handle with a target 5 cm lower, with 6.5 cm of tolerance.
            error=lambda q: float(np.hypot(q - 0.01, 0.05)),
            tolerance=0.065,
            slide=1,
            handle=Point("drawer_link", (0.0, -0.15, 0.0), True),
            offset=(0.0, -0.01, 0.05),
            keypoints=_DRAWER,
            shift=(0.05, 0.0, 0.035),
            part_geoms=("drawer_link", -3),
        ),
        Task(
            name="button-press",
            model="sawyer_button_press.xml",
            policy="SawyerButtonPressV3Policy",
            root="box",
            joint="btnbox_joint",
            start=0.0,
            low=(-0.1, 0.85, 0.115),
            high=(0.1, 0.90, 0.115),
            yaw=np.deg2rad(60.0),
            home=(0.0, 0.4, 0.2),
            closed=True,
            error=lambda q: abs(_BUTTON_LENGTH + q),
            tolerance=0.02,
            slide=1,
            handle=Point("button", (0.0, -0.193, 0.0), True),
            offset=(0.0, 0.0, 0.0),
            keypoints=_BUTTON,
            shift=(0.06, 0.0, 0.02),
            part_geoms=("button", 0),
        ),
        Task(
            name="button-press-topdown",
            model="sawyer_button_press_topdown.xml",
            policy="SawyerButtonPressTopdownV3Policy",
            root="box",
            joint="btnbox_joint",
            start=0.0,
            low=(-0.1, 0.80, 0.115),
            high=(0.1, 0.90, 0.115),
            yaw=np.deg2rad(60.0),
            home=(0.0, 0.4, 0.2),
            closed=True,
            error=lambda q: abs(_BUTTON_LENGTH + q),
            tolerance=0.024,
            slide=1,
            handle=Point("button", (0.0, -0.193, 0.0), True),
            offset=(0.0, 0.0, 0.0),
            keypoints=_BUTTON,
            shift=(0.06, 0.0, 0.06),
            part_geoms=("button", 0),
        ),
        Task(
            name="lever-pull",
            model="sawyer_lever_pull.xml",
            policy="SawyerLeverPullV3Policy",
            root="lever",
            joint="LeverAxis",
            start=0.0,
            low=(-0.1, 0.70, 0.0),
            high=(0.1, 0.80, 0.0),
            yaw=np.deg2rad(60.0),
            home=(0.0, 0.4, 0.2),
            closed=True,
            error=lambda q: abs(-q - np.pi / 2),
            tolerance=np.pi / 24,
            slide=None,
            handle=Point("lever_link1", (0.0, -0.20, 0.0), True),
            offset=(0.0, 0.0, 0.0),
            keypoints=_LEVER,
            shift=(0.05, 0.0, 0.05),
            part_geoms=("lever_link1", 0),
        ),
    )
}
"""The tasks of the paper's table I by name, in its order."""


def model_path(task: Task) -> Path:
    """Return the package's model of a task.

    Raises:
        ConfigError: the package is not installed.
    """
    spec = importlib.util.find_spec("metaworld")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "the package metaworld is not installed",
            "pip install -r requirements/benchmarks.txt",
        )
    return Path(spec.origin).parent / "assets" / "sawyer_xyz" / task.model


def place(point: Point, scale: Array, part: Array) -> Array:
    """Return the (3,) position of a point in its body's frame, on an object of another shape [m].

    For points of a body that is shifted as a whole (`part_geoms` from geom 0) the shift is in the
    body's own position; `kalm_sim.metaworld.world` accounts for it.
    """
    return np.asarray(point.position) * scale + (part if point.moves else 0.0)
