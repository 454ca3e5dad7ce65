"""Ray-cast cabinets for the perception tests: boxes only, no simulator, a fraction of a second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kalm_core.demonstration import Demonstration
from kalm_core.rgbd import Intrinsics, RgbdFrame
from kalm_core.se3 import Array, invert_pose, make_pose, rotation_about_z, transform_points


@dataclass(frozen=True)
class Box:
    """A box: its pose in the base frame, half sizes [m] and colour."""

    T_base_box: Array
    half: tuple[float, float, float]
    color: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Boxes to render, and the truth about the two handles (None without a cabinet)."""

    boxes: tuple[Box, ...]
    T_base_cabinet: Array
    top_handle: Array
    bottom_handle: Array

    def rotated(self, angle: float) -> Scene:
        """Return the scene turned by `angle` [rad] about the base's z axis."""
        T = rotation_about_z(angle)
        boxes = tuple(Box(T @ b.T_base_box, b.half, b.color) for b in self.boxes)
        return Scene(
            boxes,
            T @ self.T_base_cabinet,
            transform_points(T, self.top_handle),
            transform_points(T, self.bottom_handle),
        )


def _at(x: float, y: float, z: float, yaw: float = 0.0) -> Array:
    pose = rotation_about_z(yaw)
    pose[:3, 3] = x, y, z
    return pose


def draw_scene(seed: int, empty: bool = False) -> Scene:
    """Draw a table with clutter and, unless `empty`, a cabinet with two drawers."""
    rng = np.random.default_rng(seed)
    wood = rng.uniform(90, 200, 3)
    boxes = [Box(_at(0.5, 0.0, -0.02), (1.2, 1.2, 0.02), tuple(wood))]
    boxes.append(Box(_at(1.75, 0.0, 0.5), (0.05, 3.0, 1.5), (150.0, 150.0, 140.0)))
    x, y, yaw = rng.uniform(0.62, 0.75), rng.uniform(-0.12, 0.12), rng.uniform(-0.35, 0.35)
    T = _at(x, y, 0.0, np.pi + yaw)  # the front's normal is +x of the cabinet, towards the robot
    w, d, h = rng.uniform(0.14, 0.2), rng.uniform(0.1, 0.14), rng.uniform(0.24, 0.34)
    body, front, metal = (tuple(rng.uniform(30, 230, 3)) for _ in range(3))
    length, reach = rng.uniform(0.045, 0.075), rng.uniform(0.028, 0.042)
    handles = []
    if not empty:
        boxes.append(Box(T @ _at(0, 0, h / 2), (d, w, h / 2), body))
    for lower in (h * 0.5, 0.02):
        upper = h - 0.015 if lower > 0.1 else h * 0.5 - 0.01
        z, face = (lower + upper) / 2, d + 0.012
        bar = T @ _at(face + reach, 0, z)
        handles.append(bar[:3, 3])
        if empty:
            continue
        boxes.append(Box(T @ _at(d + 0.006, 0, z), (0.006, w - 0.012, (upper - lower) / 2), front))
        boxes.append(Box(bar, (0.006, length, 0.006), metal))
        for side in (-1, 1):
            post = T @ _at(face + reach / 2, side * (length - 0.01), z)
            boxes.append(Box(post, (reach / 2, 0.005, 0.005), metal))
    for _ in range(rng.integers(2, 6)):
        half = tuple(rng.uniform(0.02, 0.06, 3))
        side, out = rng.choice([-1, 1]) * rng.uniform(0.28, 0.4), rng.uniform(-0.2, 0.25)
        if empty:
            side, out = rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.2)
        place = T @ _at(out, side, half[2], rng.uniform(-3, 3))
        boxes.append(Box(place, half, tuple(rng.uniform(20, 240, 3))))
    return Scene(tuple(boxes), T, handles[0], handles[1])


def look_at(eye: Array, target: Array) -> Array:
    """Return T_base_cam of a level camera at `eye` that looks at `target`."""
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    return make_pose(np.stack([x, np.cross(z, x), z], axis=1), eye)


def draw_camera(seed: int, scene: Scene) -> Array:
    """Draw a view of the cabinet's front from half a metre, a little from above."""
    rng = np.random.default_rng(seed + 10_000)
    azimuth, elevation = rng.uniform(-0.4, 0.4), rng.uniform(0.25, 0.65)
    distance = rng.uniform(0.48, 0.58)
    center = (scene.top_handle + scene.bottom_handle) / 2 + rng.uniform(-0.03, 0.03, 3)
    out = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), 0])
    offset = scene.T_base_cabinet[:3, :3] @ out + [0, 0, np.sin(elevation)]
    return look_at(center + distance * offset, center)


def render(scene: Scene, T_base_cam: Array, seed: int = 0, scale: float = 1.0) -> RgbdFrame:
    """Ray-cast the boxes, with depth noise, quantised depth and holes at depth edges."""
    rng = np.random.default_rng(seed)
    width, height = int(640 * scale), int(480 * scale)
    k = Intrinsics(width, height, 605 * scale, 605 * scale, (width - 1) / 2, (height - 1) / 2)
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u, float)], -1)
    rays = rays.reshape(-1, 3) @ T_base_cam[:3, :3].T
    depth = np.full(len(rays), np.inf)
    color = np.tile(np.array([140.0, 150.0, 160.0]), (len(rays), 1))
    light = np.array([0.3, 0.5, 0.8]) / np.linalg.norm([0.3, 0.5, 0.8])
    for box in scene.boxes:
        T_box_base = invert_pose(box.T_base_box)
        origin = transform_points(T_box_base, T_base_cam[:3, 3])
        direction = rays @ T_box_base[:3, :3].T
        direction = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
        near = (-np.sign(direction) * box.half - origin) / direction
        far = (np.sign(direction) * box.half - origin) / direction
        axis = near.argmax(axis=1)
        enter, leave = near.max(axis=1), far.min(axis=1)
        hit = (enter < leave) & (enter > 0.05) & (enter < depth)
        normal = -np.sign(np.take_along_axis(direction, axis[:, None], 1)[:, 0])[:, None]
        normal = normal * box.T_base_box[:3, :3].T[axis]
        shade = 0.55 + 0.45 * np.clip(normal @ light, 0, 1)
        depth = np.where(hit, enter, depth)
        color = np.where(hit[:, None], shade[:, None] * np.array(box.color), color)
    image = color.reshape(height, width, 3) + rng.normal(0, 3, (height, width, 3))
    z = depth.reshape(height, width)
    with np.errstate(invalid="ignore"):
        step = np.zeros_like(z, dtype=bool)
        step[:, 1:] |= np.abs(np.diff(z, axis=1)) > 0.015
        step[1:, :] |= np.abs(np.diff(z, axis=0)) > 0.015
    z = z + rng.normal(0, 1, z.shape) * 0.0025 * np.where(np.isfinite(z), z, 0) ** 2
    missing = ~np.isfinite(z) | (z < 0.17) | (z > 3.0) | (step & (rng.random(z.shape) < 0.6))
    z = np.where(missing, 0.0, np.round(np.where(missing, 0, z), 3)).astype(np.float32)
    return RgbdFrame(np.clip(image, 0, 255).astype(np.uint8), z, k, T_base_cam)


def make_demonstration(seed: int, scale: float = 1.0) -> tuple[Demonstration, Scene]:
    """Render a scene and make the motion that opens its top drawer."""
    scene = draw_scene(seed)
    frame = render(scene, draw_camera(seed, scene), seed, scale)
    outward = scene.T_base_cabinet[:3, 0]
    up = np.array([0.0, 0.0, 1.0])
    rotation = np.stack([np.cross(up, -outward), up, -outward], axis=1)
    steps = 120
    away = np.concatenate([np.linspace(0.2, 0, 50), np.zeros(20), np.linspace(0, 0.14, 50)])
    tips = scene.top_handle + away[:, None] * outward
    gripper = np.concatenate([np.full(50, 0.08), np.linspace(0.08, 0.012, 20), np.full(50, 0.012)])
    return (
        Demonstration(
            name=f"synthetic_{seed}",
            frames=(frame,),
            stamps=np.arange(steps) * 0.05,
            joints=np.zeros((steps, 7)),
            T_base_ee=make_pose(np.tile(rotation, (steps, 1, 1)), tips),
            gripper=gripper,
        ),
        scene,
    )


def handles_seen(frame: RgbdFrame, scene: Scene) -> NDArray[np.bool_]:
    """Tell whether the top and the bottom handle project into the image."""
    pixels = frame.project(np.stack([scene.top_handle, scene.bottom_handle]))
    k = frame.intrinsics
    return np.asarray(((pixels > 0) & (pixels < [k.width, k.height])).all(axis=1))
