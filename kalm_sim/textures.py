"""Materials, and textures that are painted into the compiled model."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from kalm_sim.clutter import MOST_CLUTTER
from kalm_sim.mjcf_element import add
from kalm_sim.tasks.cabinet import CabinetParameters

if TYPE_CHECKING:
    from kalm_sim.scene import SceneParameters

SIZE = 512
FINISHES = {"matte": 0.05, "satin": 0.3, "gloss": 0.6, "chrome": 0.95}
"""Materials for geoms with a colour of their own, and how much they shine."""


def add_textures(asset: ET.Element, scene: SceneParameters) -> None:
    """Add the textures (flat until `paint_textures`) and the materials.

    All scenes have the same list of both, whether they use them or not, so that one graphics
    context serves all scenes.
    """
    for name, kind in (("planks", "2d"), ("top", "2d"), ("wood", "cube"), ("floor", "2d")):
        size = {"width": str(SIZE), "height": str(SIZE)}
        add(asset, "texture", name=name, type=kind, builtin="flat", rgb1="1 1 1", **size)
    add(
        asset,
        "texture",
        name="sky",
        type="skybox",
        builtin="gradient",
        rgb1="0.82 0.85 0.88",
        rgb2="0.55 0.57 0.6",
        width="64",
        height="384",
    )
    _material(asset, "table_planks", (1, 1, 1), 0.15, texture="planks", texrepeat="1 1")
    _material(asset, "table_top", (1, 1, 1), 0.15, texture="top", texrepeat="3 3")
    _material(asset, "floor", (1, 1, 1), 0.05, texture="floor", texrepeat="14 14")
    _add_cabinet_materials(asset, shown_cabinet(scene))
    _material(asset, "wall", (0.93, 0.93, 0.9), 0.0)
    _material(asset, "metal", (0.45, 0.46, 0.48), 0.6)
    _material(asset, "dark", (0.12, 0.11, 0.10), 0.1)
    _material(asset, "lid", (0.92, 0.92, 0.9), 0.3)
    _material(asset, "housing", (0.72, 0.74, 0.76), 0.6)
    _material(asset, "lens", (0.03, 0.03, 0.04), 0.9)
    for name, shine in FINISHES.items():  # of geoms that bring their own colour
        _material(asset, name, (1, 1, 1), shine)
    for index in range(MOST_CLUTTER):
        item = scene.clutter[index] if index < len(scene.clutter) else None
        color = item.color if item else (1.0, 1.0, 1.0)
        _material(asset, f"clutter_{index}", color, 0.1 if item and item.kind == "box" else 0.5)


def _add_cabinet_materials(asset: ET.Element, cabinet: CabinetParameters | None) -> None:
    white = (1.0, 1.0, 1.0)
    body, front = (cabinet.body_color, cabinet.front_color) if cabinet else (white, white)
    handle, shines = (cabinet.handle.color, cabinet.handle.metallic) if cabinet else (white, False)
    _material(asset, "body_wood", body, 0.15, texture="wood")
    _material(asset, "front_wood", front, 0.2, texture="wood")
    _material(asset, "body", body, 0.15)
    _material(asset, "front", front, 0.2)
    _material(asset, "inside", tuple(0.55 * c + 0.32 for c in body), 0.0)
    _material(asset, "handle", handle, 0.9 if shines else 0.3)


def shown_cabinet(scene: SceneParameters) -> CabinetParameters | None:
    """Return the cabinet that stands in a scene, or that is left out of it."""
    for thing in (scene.shown[1] if scene.shown else None, scene.target):
        if isinstance(thing, CabinetParameters):
            return thing
    return None


def table_material(scene: SceneParameters) -> str:
    """Return the name of the material of the table's top."""
    return "table_planks" if scene.table_pattern == "wood" else "table_top"


def cabinet_materials(cabinet: CabinetParameters) -> tuple[str, str]:
    """Return the names of the materials of body and drawer fronts."""
    if not cabinet.wooden:
        return "body", "front"
    same = cabinet.front_color == cabinet.body_color
    return "body_wood", "front_wood" if same else "front"


def _material(
    asset: ET.Element, name: str, color: Iterable[float], specular: float, **attributes: str
) -> None:
    add(
        asset,
        "material",
        name=name,
        rgba=" ".join(f"{c:.6g}" for c in color) + " 1",
        specular=f"{specular:.3g}",
        shininess=f"{0.2 + 0.6 * specular:.3g}",
        **attributes,
    )


def paint_textures(model: Any, scene: SceneParameters) -> None:
    """Paint table, wood and floor into a compiled model; the same scene gets the same picture."""
    rng = np.random.default_rng([scene.seed, 31337])
    color = np.array(scene.table_color)
    if scene.table_pattern == "wood":
        warm = np.array([0.78, 0.58, 0.40]) * (0.6 + 0.6 * color.max())
        _write(model, "planks", wood_grain(rng, SIZE, planks=6)[..., None] * warm)
    elif scene.table_pattern == "speckled":
        _write(model, "top", speckles(rng, SIZE)[..., None] * color)
    else:
        _write(model, "top", smooth_noise(rng, SIZE, 100, 0.03)[..., None] * color)
    cabinet = shown_cabinet(scene)
    if cabinet is not None and cabinet.wooden:
        grain = wood_grain(rng, SIZE, planks=1)
        _write(model, "wood", np.tile(grain[..., None] * np.ones(3), (6, 1, 1)))
    tiles = smooth_noise(rng, SIZE, 8, 0.05) * 0.62
    tiles[:4], tiles[:, :4] = 0.45, 0.45
    _write(model, "floor", tiles[..., None] * np.array([1.0, 0.99, 0.96]))


def _write(model: Any, name: str, image: NDArray[np.float64]) -> None:
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_TEXTURE, name)
    start = int(model.tex_adr[index])
    shape = (int(model.tex_height[index]), int(model.tex_width[index]), 3)
    data = (np.clip(image, 0.0, 1.0) * 255).astype(np.uint8).reshape(shape)
    model.tex_data[start : start + data.size] = data.ravel()


def blurred_noise(
    rng: np.random.Generator, size: int, width: tuple[float, float]
) -> NDArray[np.float64]:
    """Return (size, size) noise of unit variance, blurred by `width` pixels along rows, columns."""
    shrink = max(1, int(min(width) / 3))
    small = rng.standard_normal((size // shrink, size // shrink))
    small = gaussian_filter(small, (width[0] / shrink, width[1] / shrink), mode="wrap")
    noise = zoom(small, size / len(small), order=1, mode="grid-wrap", grid_mode=True)
    return np.asarray(noise / noise.std())


def smooth_noise(
    rng: np.random.Generator, size: int, scale: float, amount: float
) -> NDArray[np.float64]:
    """Return (size, size) noise around 1 with features of `scale` pixels and a little grain."""
    noise = blurred_noise(rng, size, (scale / 2, scale / 2))
    return np.asarray(1.0 + amount * (noise + 0.1 * rng.standard_normal((size, size))))


def speckles(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return (size, size) brightness of a stone-like surface."""
    fine = smooth_noise(rng, size, 1.5, 1.0) - 1.0
    image = 1.0 + 0.03 * fine
    image[fine > 1.5] *= 1.25
    image[fine < -1.5] *= 0.75
    return np.asarray(image)


def wood_grain(rng: np.random.Generator, size: int, planks: int) -> NDArray[np.float64]:
    """Return (size, size) brightness of wood whose grain runs along the rows."""
    lines = gaussian_filter(rng.standard_normal(size * 2), 1.5) * 2.2
    rings = gaussian_filter(rng.standard_normal(size * 2), 9) * 6.0
    profile = 1.0 + 0.05 * (lines + rings)
    bend = blurred_noise(rng, size, (18, 90))
    row = np.arange(size, dtype=np.float64)[:, None] + 14 * bend
    plank = (np.arange(size) * planks // size)[:, None]
    image = map_coordinates(profile, [(row + 177 * plank) % (2 * size)], order=1, mode="wrap")
    image = image * (0.94 + 0.12 * rng.random(planks))[plank]
    if planks > 1:
        edges = np.flatnonzero(np.diff(plank[:, 0], prepend=-1))
        image[edges] *= 0.72
    return np.asarray(image * (1 + 0.015 * rng.standard_normal((size, size))))
