"""A scene as MuJoCo elements, added to the robot of franky-sim."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np
from franky_sim.mujoco_simulator import MujocoSimulator

from kalm_core.hand_eye import HandEyeSettings
from kalm_core.se3 import Array, make_pose
from kalm_sim import camera as cameras
from kalm_sim.furniture import add_clutter, add_table
from kalm_sim.mesh import SLOTS, Mesh, block
from kalm_sim.mjcf_element import add, color, find, numbers
from kalm_sim.scene import Cover, LightParameters, SceneParameters
from kalm_sim.tasks.base import Task, TaskObject
from kalm_sim.tasks.held_cup import add_cup, cup_mesh
from kalm_sim.textures import add_textures, paint_textures, table_material

TWIN = "twin_"
"""How the names of a twin begin."""

OUTSIDE_POSITION = (-0.30, -1.50, 0.98)
OUTSIDE_TARGET = (0.40, 0.02, 0.24)


def compile_scene(scene: SceneParameters, T_ee_cam: Array | None = None) -> Any:
    """Return the `mujoco.MjModel` of a scene with the robot `robot0_` at the base frame.

    Args:
        scene: what to build.
        T_ee_cam: (4, 4) hand-eye transform of the wrist camera; None takes the default mount.
    """
    simulator = MujocoSimulator()
    simulator.add_robot()
    add_scene(simulator, scene, T_ee_cam)
    return compile_model(simulator, scene)


def compile_model(simulator: MujocoSimulator, scene: SceneParameters) -> Any:
    """Compile what `add_scene` has put together and paint its textures."""
    model = copy.copy(_compiled(ET.tostring(simulator.scene, encoding="unicode")))
    model.opt.timestep = 0.001  # the arm's control period
    paint_textures(model, scene)
    return model


@lru_cache(maxsize=2)
def _compiled(xml: str) -> Any:
    """Return the model of a description; most are wanted twice, for its views and its physics."""
    return mujoco.MjModel.from_xml_string(xml)


def add_scene(
    simulator: MujocoSimulator, scene: SceneParameters, T_ee_cam: Array | None = None
) -> None:
    """Add table, object, clutter, lights and cameras to a simulator with one robot."""
    root, world = simulator.scene, simulator.worldbody
    _set_rendering(root)
    for light in world.findall("light"):
        world.remove(light)
    find(root, "actuator").clear()  # franky-sim drives the joints by applied forces
    add_textures(find(root, "asset"), scene)
    _add_light(root, world, scene.light)
    add_table(world, table_material(scene))
    _add_meshes(find(root, "asset"), scene)
    if scene.shown is not None:
        task, target = scene.shown
        task.build(world, find(root, "contact"), target)
        if scene.twin is not None:
            _add_twin(world, find(root, "contact"), task, scene.twin)
    if scene.held is not None:
        add_cup(world, scene.held)
    if scene.cover is not None:
        _add_cover(world, scene.cover)
    for index, item in enumerate(scene.clutter):
        add_clutter(world, index, item)
    _add_cameras(world, HandEyeSettings().T_ee_cam if T_ee_cam is None else T_ee_cam)


def _add_meshes(asset: ET.Element, scene: SceneParameters) -> None:
    """Fill the slots of meshes; all scenes have all of them, see `textures.add_textures`."""
    meshes: dict[str, Mesh] = {} if scene.shown is None else scene.shown[0].meshes(scene.shown[1])
    if scene.held is not None:
        meshes["held"] = cup_mesh(scene.held)
    for name in SLOTS:
        mesh = meshes.get(name) or block(0.01, 0.01, 0.01, 8.0, 0.001)
        vertices, faces = numbers(mesh.vertices.ravel()), " ".join(map(str, mesh.faces.ravel()))
        add(asset, "mesh", name=name, vertex=vertices, face=faces, inertia="shell")


def _add_twin(world: ET.Element, contact: ET.Element, task: Task, twin: TaskObject) -> None:
    """Add a second object with the meshes of the first; its names begin with `TWIN`."""
    there, excluded = ET.Element("worldbody"), ET.Element("contact")
    task.build(there, excluded, twin)
    for element in (*there.iter(), *excluded.iter()):
        for key in ("name", "body1", "body2"):
            if key in element.attrib:
                element.set(key, TWIN + element.attrib[key])
    world.extend(there)
    contact.extend(excluded)


def _add_cover(world: ET.Element, cover: Cover) -> None:
    add(
        world,
        "geom",
        name="cover",
        type="box",
        size=numbers((*cover.half, 0.0015)),
        contype="0",
        conaffinity="0",
        material="matte",
        rgba=color(cover.color),
        **cameras.pose_attributes(cover.T_base_cover),
    )


def _set_rendering(root: ET.Element) -> None:
    option = find(root, "option")
    option.set("cone", "elliptic")  # fingers must not creep along the handle
    option.set("impratio", "5")
    add(root, "statistic", center="0.5 0 0.2", extent="1.6")
    visual = find(root, "visual")
    add(visual, "map", znear="0.01", zfar="20", shadowclip="2")
    add(visual, "global", offwidth="1280", offheight="960")
    quality = find(visual, "quality")
    quality.set("shadowsize", "3072")
    quality.set("offsamples", "4")


def _add_light(root: ET.Element, world: ET.Element, light: LightParameters) -> None:
    warm = np.array([1.0, 0.93, 0.82]) * light.warmth + np.array([0.88, 0.94, 1.0]) * (
        1 - light.warmth
    )
    toward = -np.array(
        [
            np.cos(light.elevation) * np.cos(light.azimuth),
            np.cos(light.elevation) * np.sin(light.azimuth),
            np.sin(light.elevation),
        ]
    )
    headlight = find(root, "visual/headlight")
    headlight.set("ambient", numbers([light.ambient] * 3))
    headlight.set("diffuse", numbers([0.08] * 3))
    headlight.set("specular", "0 0 0")
    add(
        world,
        "light",
        name="lamp",
        directional="true",
        pos=numbers(np.array([0.5, 0.0, 0.2]) - 2.0 * toward),
        dir=numbers(toward),
        diffuse=numbers(light.intensity * warm),
        specular="0.35 0.35 0.35",
        castshadow="true",
    )
    add(
        world,
        "light",
        name="room",
        directional="true",
        pos="0.5 0 3",
        dir=numbers([-toward[0] * 0.4, -toward[1] * 0.4, -1.0]),
        diffuse=numbers([0.25] * 3),
        specular="0.05 0.05 0.05",
        castshadow="false",
    )


def _add_cameras(world: ET.Element, T_ee_cam: Array) -> None:
    hand = find(world, ".//body[@name='robot0_hand']")
    T_hand_cam = cameras.T_hand_ee @ T_ee_cam
    intrinsics = cameras.d435i_intrinsics()
    add(
        hand,
        "camera",
        name=cameras.WRIST_CAMERA,
        fovy=repr(cameras.vertical_field_of_view(intrinsics)),
        **cameras.pose_attributes(T_hand_cam @ cameras.FLIP),
    )
    _add_housing(hand, T_hand_cam)
    outside = cameras.look_at(np.array(OUTSIDE_POSITION), np.array(OUTSIDE_TARGET))
    add(
        world,
        "camera",
        name=cameras.OUTSIDE_CAMERA,
        fovy="40",
        **cameras.pose_attributes(outside @ cameras.FLIP),
    )


def _add_housing(hand: ET.Element, T_hand_cam: Array) -> None:
    """Add the camera's body behind its lens; it is in no image and in no contact."""
    parts = [
        ("box", "0.045 0.0125 0.0115", (0.0, 0.0, -0.0135), "housing"),
        ("box", "0.012 0.02 0.003", (0.0, 0.02, -0.026), "dark"),
    ]
    parts += [
        ("cylinder", "0.0045 0.001", (x, 0.0, -0.0012), "lens")
        for x in (-0.032, -0.012, 0.014, 0.032)
    ]
    for kind, size, position, material in parts:
        add(
            hand,
            "geom",
            type=kind,
            size=size,
            material=material,
            contype="0",
            conaffinity="0",
            mass="0",
            group="2",
            **cameras.pose_attributes(T_hand_cam @ make_pose(np.eye(3), position)),
        )
