"""What makes a scene harder than those shown: sensor, light, clutter, calibration, twins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kalm_core.hand_eye import HandEyeSettings
from kalm_sim.clutter import MOST_CLUTTER, draw_clutter
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.scene import SceneParameters
from kalm_sim.tasks.registry import TASKS

_BESIDE = (0.06, 0.12)
"""Gap between an object and its twin [m]."""


def worse_depth(factor: float) -> DepthNoiseSettings:
    """Return a depth sensor with noise and holes that many times those of the default."""
    usual = DepthNoiseSettings()
    return DepthNoiseSettings(
        noise_at_half_meter=usual.noise_at_half_meter * factor,
        edge_width=round(usual.edge_width * factor),
        edge_dropout=min(1.0, usual.edge_dropout * factor),
        speckle_dropout=usual.speckle_dropout * factor,
    )


def lit(scene: SceneParameters, lamp: float, room: float) -> SceneParameters:
    """Return the scene with lamp and room light that many times as strong."""
    light = scene.light
    return replace(
        scene,
        light=replace(light, intensity=light.intensity * lamp, ambient=light.ambient * room),
    )


def crowded(scene: SceneParameters) -> SceneParameters:
    """Return the scene with as much clutter as there can be; no two items touch."""
    rng = np.random.default_rng([scene.seed, 20250])
    more = draw_clutter(rng, scene.target, TASKS[scene.task].room, scene.empty)
    items = list(scene.clutter)
    for item in more:
        if all(
            np.hypot(item.x - other.x, item.y - other.y) > item.radius + other.radius + 0.01
            for other in items
        ):
            items.append(item)
    return replace(scene, clutter=tuple(items[:MOST_CLUTTER]))


def with_twin(scene: SceneParameters) -> SceneParameters:
    """Return the scene with a second object of the same looks beside the first, without clutter."""
    rng = np.random.default_rng([scene.seed, 20251])
    target = scene.target
    side = -np.sign(target.y) or 1.0  # where there is more room within reach
    along = np.array([-np.sin(target.yaw), np.cos(target.yaw)])
    away = side * (target.width + rng.uniform(*_BESIDE)) * along
    twin = replace(target, x=target.x + float(away[0]), y=target.y + float(away[1]))
    return replace(scene, twin=twin, clutter=())


def shifted_camera(distance: float) -> HandEyeSettings:
    """Return a camera that sits `distance` [m] beside, below and before its place, one each."""
    usual = HandEyeSettings()
    x, y, z = np.array(usual.translation) + distance / np.sqrt(3.0)
    return HandEyeSettings(translation=(float(x), float(y), float(z)))
