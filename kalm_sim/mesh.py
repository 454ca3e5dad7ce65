"""Smooth shapes: a profile swept around a superellipse, as a closed triangle mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm_core.se3 import Array

SLOTS = ("shape_0", "shape_1", "shape_2", "held")
"""Every scene has meshes of these names, so that one graphics context serves all scenes."""


@dataclass(frozen=True)
class Mesh:
    """A closed surface.

    Attributes:
        vertices: (N, 3) [m].
        faces: (M, 3) indices, counter-clockwise seen from outside.
    """

    vertices: Array
    faces: NDArray[np.int64]


def sweep(
    profile: list[tuple[float, float]],
    half_x: float,
    half_y: float,
    exponent: float = 2.0,
    segments: int = 40,
) -> Mesh:
    """Sweep a profile around the z axis.

    Args:
        profile: (scale, z [m]) from the middle of the bottom outwards, up, and to the middle of
            the top; the first and the last have scale 0.
        half_x: half axis of the cross-section along x where the scale is 1 [m].
        half_y: the same along y [m].
        exponent: of the superellipse; 2 is an ellipse, large ones are boxes with round edges.
        segments: vertices of each ring.
    """
    angle = np.linspace(0.0, 2 * np.pi, segments, endpoint=False) + np.pi / segments
    c, s = np.cos(angle), np.sin(angle)
    ring = np.stack(
        [
            half_x * np.sign(c) * np.abs(c) ** (2 / exponent),
            half_y * np.sign(s) * np.abs(s) ** (2 / exponent),
        ],
        axis=1,
    )
    vertices = [np.array([0.0, 0.0, profile[0][1]])]
    for scale, z in profile[1:-1]:
        vertices.extend(np.array([scale * x, scale * y, z]) for x, y in ring)
    vertices.append(np.array([0.0, 0.0, profile[-1][1]]))
    rings, last = len(profile) - 2, len(vertices) - 1
    faces: list[tuple[int, int, int]] = []
    for i in range(segments):
        j = (i + 1) % segments
        faces.append((0, 1 + j, 1 + i))
        top = 1 + (rings - 1) * segments
        faces.append((last, top + i, top + j))
        for r in range(rings - 1):
            a, b = 1 + r * segments, 1 + (r + 1) * segments
            faces += [(a + i, a + j, b + j), (a + i, b + j, b + i)]
    return Mesh(np.stack(vertices), np.array(faces))


def block(half_x: float, half_y: float, height: float, exponent: float, bevel: float) -> Mesh:
    """Return an upright block from z = 0 to `height` with rounded edges of `bevel` [m]."""
    shrink = 1.0 - bevel / min(half_x, half_y)
    corner = 1.0 - 0.3 * bevel / min(half_x, half_y)
    profile = [(0.0, 0.0), (shrink, 0.0), (corner, 0.3 * bevel), (1.0, bevel)]
    profile += [(s, height - z) for s, z in reversed(profile)]
    return sweep(profile, half_x, half_y, exponent)


def vessel(
    outline: list[tuple[float, float]], half_x: float, half_y: float, wall: float, exponent: float
) -> Mesh:
    """Return an open vessel of a given outer outline with walls of `wall` [m].

    Args:
        outline: (scale, z [m]) from the outer edge of the foot up to the rim.
        half_x: half axis along x at scale 1 [m].
        half_y: half axis along y at scale 1 [m].
        wall: thickness [m].
        exponent: of the cross-section.
    """
    thin = wall / min(half_x, half_y)
    foot = outline[0][1]
    inner = [(scale - thin, max(z, foot + wall)) for scale, z in reversed(outline)]
    rim = (outline[-1][0] - thin / 2, outline[-1][1] + 0.5 * wall)
    return sweep(
        [(0.0, foot), *outline, rim, *inner, (0.0, foot + wall)], half_x, half_y, exponent, 48
    )
