"""Scenes drawn from a seed: a cabinet with two drawers on a table, clutter, light.

The cabinet's frame has its origin on the table, in the middle below the front face; x points into
the cabinet, y to its left, z up. Seen from the base, `yaw` = 0 faces the robot squarely.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kalm_core.se3 import Array, make_pose, rotation_about_z

Color = tuple[float, float, float]
HandleShape = Literal["square_bar", "round_bar", "bow"]
HANDLE_SHAPES: tuple[HandleShape, ...] = ("square_bar", "round_bar", "bow")
TABLE_PATTERNS = ("wood", "plain", "speckled")
MOST_CLUTTER = 6
CLUTTER_KINDS = ("box", "cylinder", "mug")
TOP, BOTTOM = 0, 1
"""Index of a drawer wherever there is one value per drawer."""

FRONT_DISTANCE = (0.68, 0.80)
"""How far the front face is from the base [m]; nearer, the arm cannot pull by 15 cm."""


@dataclass(frozen=True)
class HandleParameters:
    """A horizontal handle, centred on its drawer.

    Attributes:
        shape: bar with two posts (square or round), or a bow of three segments.
        length: along the bar [m].
        thickness: of the bar [m].
        standoff: from the drawer's front surface to the axis of the bar [m].
        color: RGB in [0, 1].
        metallic: whether it shines.
    """

    shape: HandleShape
    length: float
    thickness: float
    standoff: float
    color: Color
    metallic: bool


@dataclass(frozen=True)
class CabinetParameters:
    """The cabinet: where it stands and how it is made.

    Attributes:
        x, y: origin of its frame in the base frame [m].
        yaw: about z, from the base frame [rad].
        width, height, depth: outer size [m].
        top_share: height of the top drawer as a share of both.
        body_color, front_color: RGB in [0, 1].
        wooden: whether the body shows a grain.
        handle: the same on both drawers.
        friction: of each drawer in its slide [N].
    """

    x: float
    y: float
    yaw: float
    width: float
    height: float
    depth: float
    top_share: float
    body_color: Color
    front_color: Color
    wooden: bool
    handle: HandleParameters
    friction: float

    @property
    def T_base_cabinet(self) -> Array:
        """The (4, 4) pose of the cabinet's frame in the base frame."""
        return make_pose(np.eye(3), (self.x, self.y, 0.0)) @ rotation_about_z(self.yaw)

    def drawer_span(self, drawer: int) -> tuple[float, float]:
        """Return the lowest and highest z [m] of a drawer's front."""
        edge, gap = 0.006, 0.006
        middle = edge + (self.height - 2 * edge) * (1.0 - self.top_share)
        if drawer == TOP:
            return middle + gap / 2, self.height - edge
        return edge, middle - gap / 2

    def T_base_handle(self, drawer: int, opening: float = 0.0) -> Array:
        """Return the (4, 4) pose of a handle: middle of its bar, axes those of the cabinet.

        Args:
            drawer: `TOP` or `BOTTOM`.
            opening: how far the drawer is out [m].
        """
        low, high = self.drawer_span(drawer)
        out = -(self.handle.standoff + opening)
        return self.T_base_cabinet @ make_pose(np.eye(3), (out, 0.0, (low + high) / 2))


@dataclass(frozen=True)
class ClutterItem:
    """Something that lies about; it does not move.

    Attributes:
        kind: "box", "cylinder" or "mug".
        x, y, z: middle of its foot in the base frame [m].
        yaw: about z [rad].
        width, depth, height: outer size [m]; a cylinder's diameter is its width.
        color: RGB in [0, 1].
    """

    kind: str
    x: float
    y: float
    z: float
    yaw: float
    width: float
    depth: float
    height: float
    color: Color

    @property
    def radius(self) -> float:
        """Radius [m] of a circle around its foot."""
        return float(np.hypot(self.width, self.depth) / 2)


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
class SceneParameters:
    """All that is random in a scene.

    Attributes:
        seed: what it was drawn from.
        empty: the cabinet is left out; `cabinet` then tells where it would have been.
        cabinet, clutter, light: see there.
        table_pattern: one of `TABLE_PATTERNS`.
        table_color: RGB in [0, 1].
    """

    seed: int
    empty: bool
    cabinet: CabinetParameters
    clutter: tuple[ClutterItem, ...]
    light: LightParameters
    table_pattern: str
    table_color: Color


@dataclass(frozen=True)
class HandleTruth:
    """Where a handle is.

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
        T_base_cabinet: (4, 4) pose of the cabinet; None in an empty scene.
        openings: (2,) how far the top and the bottom drawer are out [m]; (0,) in an empty scene.
        handles: of the top and the bottom drawer, at those openings; empty in an empty scene.
    """

    seed: int
    T_base_cabinet: Array | None
    openings: Array
    handles: tuple[HandleTruth, ...]


def scene_truth(scene: SceneParameters, openings: tuple[float, ...] = (0.0, 0.0)) -> SceneTruth:
    """Return the truth of a scene whose drawers are out by `openings` [m] (top, bottom)."""
    if scene.empty:
        return SceneTruth(scene.seed, None, np.zeros(0), ())
    cabinet, handle = scene.cabinet, scene.cabinet.handle
    handles = tuple(
        HandleTruth(
            cabinet.T_base_handle(drawer, openings[drawer]),
            handle.length,
            handle.thickness,
            handle.standoff,
        )
        for drawer in (TOP, BOTTOM)
    )
    return SceneTruth(scene.seed, cabinet.T_base_cabinet, np.array(openings), handles)


def draw_scene(seed: int, empty: bool = False) -> SceneParameters:
    """Draw a scene; the same seed gives the same scene, bit for bit.

    Args:
        seed: non-negative.
        empty: leave the cabinet out; the clutter then also covers its place.
    """
    rng = np.random.default_rng([seed, 20240])
    cabinet = _draw_cabinet(rng)
    return SceneParameters(
        seed=seed,
        empty=empty,
        cabinet=cabinet,
        clutter=_draw_clutter(rng, cabinet, empty),
        light=LightParameters(
            azimuth=_uniform(rng, np.radians(155), np.radians(265)),
            elevation=_uniform(rng, np.radians(35), np.radians(60)),
            intensity=_uniform(rng, 0.45, 0.75),
            ambient=_uniform(rng, 0.22, 0.38),
            warmth=_uniform(rng, 0.0, 1.0),
        ),
        table_pattern=str(rng.choice(TABLE_PATTERNS)),
        table_color=_color(rng, (0.0, 1.0), (0.03, 0.3), (0.35, 0.85)),
    )


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _color(
    rng: np.random.Generator,
    hue: tuple[float, float],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> Color:
    return colorsys.hsv_to_rgb(
        _uniform(rng, *hue) % 1.0, _uniform(rng, *saturation), _uniform(rng, *value)
    )


def luminance(color: Color) -> float:
    """Return the perceived brightness of an RGB colour, in [0, 1]."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def _draw_cabinet(rng: np.random.Generator) -> CabinetParameters:
    wooden = bool(rng.random() < 0.5)
    if wooden:
        body = _color(rng, (0.06, 0.11), (0.3, 0.65), (0.4, 0.85))
    else:
        body = _color(rng, (0.0, 1.0), (0.0, 0.45), (0.3, 0.95))
    same = rng.random() < 0.5
    front = body if same else _color(rng, (0.0, 1.0), (0.0, 0.5), (0.35, 0.95))
    return CabinetParameters(
        x=_uniform(rng, *FRONT_DISTANCE),
        y=_uniform(rng, -0.12, 0.12),
        yaw=_uniform(rng, np.radians(-25), np.radians(25)),
        width=_uniform(rng, 0.28, 0.38),
        height=_uniform(rng, 0.24, 0.32),
        depth=_uniform(rng, 0.24, 0.30),
        top_share=_uniform(rng, 0.42, 0.52),
        body_color=body,
        front_color=front,
        wooden=wooden,
        handle=_draw_handle(rng, front),
        friction=_uniform(rng, 2.0, 4.0),
    )


def _draw_handle(rng: np.random.Generator, front: Color) -> HandleParameters:
    metallic = bool(rng.random() < 0.6)
    while True:  # a handle that cannot be told from its drawer would be no handle to a person
        if metallic:
            color = _color(rng, (0.08, 0.15), (0.0, 0.35), (0.12, 0.9))
        else:
            color = _color(rng, (0.0, 1.0), (0.3, 0.9), (0.15, 0.9))
        if abs(luminance(color) - luminance(front)) > 0.2:
            break
    return HandleParameters(
        shape=HANDLE_SHAPES[int(rng.integers(len(HANDLE_SHAPES)))],
        length=_uniform(rng, 0.08, 0.14),
        thickness=_uniform(rng, 0.010, 0.018),
        standoff=_uniform(rng, 0.040, 0.050),
        color=color,
        metallic=metallic,
    )


def _draw_clutter(
    rng: np.random.Generator, cabinet: CabinetParameters, empty: bool
) -> tuple[ClutterItem, ...]:
    """Place items beside the cabinet and on it, clear of its front and of each other."""
    wanted = int(rng.integers(3, MOST_CLUTTER + 1))
    items: list[ClutterItem] = []
    for _ in range(400):
        if len(items) == wanted:
            break
        item = _draw_item(rng, cabinet, empty)
        apart = all(
            np.hypot(item.x - other.x, item.y - other.y) > item.radius + other.radius + 0.01
            for other in items
        )
        if apart:
            items.append(item)
    return tuple(items)


def _draw_item(rng: np.random.Generator, cabinet: CabinetParameters, empty: bool) -> ClutterItem:
    kind = str(rng.choice(CLUTTER_KINDS))
    on_top = rng.random() < 0.4
    if kind == "box":
        width, depth = _uniform(rng, 0.04, 0.11), _uniform(rng, 0.04, 0.09)
        height = _uniform(rng, 0.03, 0.18)
    elif kind == "cylinder":
        width = depth = _uniform(rng, 0.04, 0.08)
        height = _uniform(rng, 0.06, 0.20)
    else:
        width = depth = _uniform(rng, 0.07, 0.09)
        height = _uniform(rng, 0.08, 0.11)
    if on_top:
        height = min(height, 0.12)
    reach = float(np.hypot(width, depth) / 2) + (0.03 if kind == "mug" else 0.0)
    if on_top:  # the hand's upper corner passes over the front edge
        x = _uniform(rng, 0.10 + reach, max(0.101 + reach, cabinet.depth - reach))
        y = _uniform(rng, -1.0, 1.0) * max(cabinet.width / 2 - reach, 0.0)
    else:
        x = _uniform(rng, 0.02 + reach, 0.42)
        side = 1.0 if rng.random() < 0.5 else -1.0
        y = side * (cabinet.width / 2 + reach + _uniform(rng, 0.03, 0.18))
    position = cabinet.T_base_cabinet @ np.array([x, y, 0.0, 1.0])
    return ClutterItem(
        kind=kind,
        x=float(position[0]),
        y=float(position[1]),
        z=cabinet.height if on_top and not empty else 0.0,
        yaw=_uniform(rng, -np.pi, np.pi),
        width=width,
        depth=depth,
        height=height,
        color=_color(rng, (0.0, 1.0), (0.2, 0.85), (0.3, 0.95)),
    )
