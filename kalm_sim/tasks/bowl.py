"""The bowl, and the cup of balls that is poured into it: parameters and how they are drawn.

The bowl's frame has its origin in the middle of its foot; x points away from the robot, z up. The
cup's frame has its origin in the middle of its foot, z to its mouth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from kalm_core.se3 import Array, invert_pose, make_pose, transform_points
from kalm_sim.drawing import Color, Range, draw_color, uniform
from kalm_sim.tasks.base import Instances, TaskObject

Profile = Literal["hemisphere", "cone", "steep", "flared"]
Outline = list[tuple[float, float]]
WALL = 0.004
"""Of bowls and cups [m]."""

PITCH = np.radians(38.0)
"""How far the hand points below the horizontal when the cup in it stands upright [rad]."""


@dataclass(frozen=True)
class BowlParameters(TaskObject):
    """A bowl that stands fast; `width` and `depth` are those of its rim.

    Attributes:
        profile: of its wall.
        exponent: of its cross-section: 2 is round, larger ones squarish.
        foot: size of the foot as a share of the rim.
        color: RGB in [0, 1].
        finish: material.
    """

    profile: Profile
    exponent: float
    foot: float
    color: Color
    finish: str

    @property
    def outline(self) -> Outline:
        """The outer outline: (share of the rim's half axes, z [m]) from the foot to the rim."""
        t = np.linspace(0.0, 1.0, 7)
        rise = {
            "hemisphere": np.sin(t * np.pi / 2) ** 1.0,
            "cone": t,
            "steep": np.clip(t * 3.2, 0, 1) ** 0.5 * (0.88 + 0.12 * t),
            "flared": t**1.6,
        }[self.profile]
        return [
            (float(self.foot + (1 - self.foot) * r), float(z * self.height))
            for r, z in zip(rise, t, strict=True)
        ]


@dataclass(frozen=True)
class CupParameters:
    """A cup that is held from the start, with balls in it.

    It is grasped across its middle; the hand's x is up along the cup when the hand points `PITCH`
    below the horizontal.

    Attributes:
        bottom, mouth: outer radius at the foot and at the mouth [m].
        height: [m].
        grasp: height of the tool above the foot [m].
        color: RGB in [0, 1].
        balls: how many.
        ball_radius: [m].
        ball_color: RGB in [0, 1].
    """

    bottom: float
    mouth: float
    height: float
    grasp: float
    color: Color
    balls: int
    ball_radius: float
    ball_color: Color

    @property
    def grasp_width(self) -> float:
        """Opening of the fingers that hold it [m]."""
        return 2 * (self.bottom + (self.mouth - self.bottom) * self.grasp / self.height)

    @property
    def T_ee_cup(self) -> Array:
        """The (4, 4) pose of the cup in the tool's frame."""
        # columns: the cup's axes in the tool's frame; its z is up when the hand points PITCH down
        up = np.array([np.cos(PITCH), 0.0, -np.sin(PITCH)])
        forward = np.array([np.sin(PITCH), 0.0, np.cos(PITCH)])
        rotation = np.stack([forward, np.cross(up, forward), up], axis=1)
        return make_pose(rotation, -self.grasp * up)

    def ball_places(self) -> Array:
        """Return (balls, 3) places in the cup's frame [m]: rings in layers, none overlapping."""
        r = self.ball_radius * 1.04
        places: list[tuple[float, float, float]] = []
        layer = 0
        while len(places) < self.balls:
            z = WALL + r + layer * 2 * r
            inner = self.bottom + (self.mouth - self.bottom) * z / self.height - WALL - 0.001
            ring = inner - r
            count = max(1, int(np.pi / np.arcsin(min(r / ring, 1.0)))) if ring > r else 1
            start = 0.5 * layer
            places += [
                (ring * np.cos(start + a), ring * np.sin(start + a), z)
                for a in 2 * np.pi * np.arange(count) / count
            ]
            if ring > 2 * r:
                places.append((0.0, 0.0, z))
            layer += 1
        return np.array(places[: self.balls])


@dataclass(frozen=True)
class BowlRanges:
    """What distinguishes one set of bowls from another.

    Attributes:
        profiles: of the wall.
        exponent: of the cross-section.
        stretch: width over depth.
        radius: half the width [m].
        hue: of the colour [turns].
    """

    profiles: tuple[Profile, ...]
    exponent: Range
    stretch: Range
    radius: Range
    hue: Range


RANGES: dict[Instances, BowlRanges] = {
    "all": BowlRanges(
        ("hemisphere", "cone", "steep", "flared"), (2.0, 3.6), (0.9, 1.15), (0.07, 0.10), (0, 1)
    ),
    "train": BowlRanges(
        ("hemisphere", "cone"), (2.0, 2.2), (0.95, 1.05), (0.07, 0.086), (0.0, 0.5)
    ),
    "unseen": BowlRanges(("steep", "flared"), (2.6, 3.6), (1.05, 1.15), (0.086, 0.10), (0.5, 1.0)),
}
"""Instances for demonstrations and unseen ones share no profile, cross-section, size or hue."""


def draw_bowl(rng: np.random.Generator, instances: Instances) -> BowlParameters:
    """Draw a bowl and where it stands."""
    ranges = RANGES[instances]
    radius = uniform(rng, *ranges.radius)
    white = rng.random() < 0.2
    saturation = (0.05, 0.12) if white else (0.3, 0.85)
    return BowlParameters(
        x=uniform(rng, 0.50, 0.66),
        y=uniform(rng, -0.14, 0.14),
        yaw=uniform(rng, np.radians(-20), np.radians(20)),
        width=2 * radius,
        height=uniform(rng, 0.05, 0.075),
        depth=2 * radius / uniform(rng, *ranges.stretch),
        profile=ranges.profiles[int(rng.integers(len(ranges.profiles)))],
        exponent=uniform(rng, *ranges.exponent),
        foot=uniform(rng, 0.45, 0.6),
        color=draw_color(rng, ranges.hue, saturation, (0.8, 0.95) if white else (0.4, 0.9)),
        finish=str(rng.choice(("matte", "satin", "gloss"))),
    )


def draw_cup(rng: np.random.Generator) -> CupParameters:
    """Draw a cup with balls; the skill moves it by its grasp, so cups differ little in shape."""
    height = uniform(rng, 0.090, 0.100)
    bottom = uniform(rng, 0.026, 0.028)
    return CupParameters(
        bottom=bottom,
        mouth=bottom + uniform(rng, 0.004, 0.006),
        height=height,
        grasp=height - uniform(rng, 0.028, 0.032),
        color=draw_color(rng, (0.0, 1.0), (0.0, 0.6), (0.5, 0.95)),
        balls=int(rng.integers(8, 21)),
        ball_radius=uniform(rng, 0.006, 0.0072),
        ball_color=draw_color(rng, (0.0, 1.0), (0.6, 0.9), (0.5, 0.95)),
    )


def share_inside(bowl: BowlParameters, points_base: Array) -> float:
    """Return the share of (N, 3) points [m] that lie in the bowl, below its rim."""
    if len(points_base) == 0:
        return 0.0
    x, y, z = transform_points(invert_pose(bowl.T_base_object), points_base).T
    e = bowl.exponent
    across = np.abs(x / (bowl.depth / 2)) ** e + np.abs(y / (bowl.width / 2)) ** e
    return float(((across < 1.0) & (z > 0.0) & (z < bowl.height + 0.005)).mean())


def balls_in_bowl(bowl: BowlParameters, cup: CupParameters, count: int) -> Array:
    """Return (count, 3) places in the base frame where poured balls may lie [m]."""
    r, turn = cup.ball_radius, 2.4
    index = np.arange(count)
    spread = bowl.foot * min(bowl.depth, bowl.width) / 2 - r - WALL
    out = np.minimum(1.9 * r * np.sqrt(index), spread)
    height = WALL + r + 2 * r * (index // 7)
    places = np.stack([out * np.cos(turn * index), out * np.sin(turn * index), height], axis=1)
    return transform_points(bowl.T_base_object, places)


def upright_hand(heading: float, pitch: float = float(PITCH)) -> Array:
    """Return the (3, 3) rotation of a hand that holds the cup upright.

    Args:
        heading: where the hand points, about z [rad].
        pitch: how far below the horizontal it points [rad].
    """
    return np.asarray(
        Rotation.from_euler("z", heading).as_matrix()
        @ np.array(
            [
                [np.sin(pitch), 0.0, np.cos(pitch)],
                [0.0, -1.0, 0.0],
                [np.cos(pitch), 0.0, -np.sin(pitch)],
            ]
        )
    )
