"""The arm of franky-sim among solids, as a MuJoCo model for the dense checker."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import mujoco
import numpy as np
from franky_sim.mujoco_simulator import MujocoSimulator
from scipy.spatial import ConvexHull

from kalm_core.hand_eye import HandEyeSettings
from kalm_core.se3 import make_pose
from kalm_sim.camera import T_hand_ee, pose_attributes

SLOTS = 48
"""Solids of each kind that can be in a scene."""
KINDS = ("box", "cylinder", "capsule")
PREFIX = "robot0_"


def compile_arm() -> mujoco.MjModel:
    """Return the arm with all of its meshes as hulls, and bodies `slot_KIND_NUMBER` far away."""
    simulator = MujocoSimulator()
    simulator.add_robot()
    root, world = simulator.scene, simulator.worldbody
    folder = Path(next(root.iter("compiler")).get("meshdir", ""))
    for mesh in root.iter("mesh"):
        if mesh.get("file", "").endswith("_vis.obj"):
            mesh.set("name", mesh.get("name") or Path(mesh.attrib["file"]).stem)
            _as_hull(mesh, folder / mesh.attrib.pop("file"))
    for geom in list(world.findall("geom")):
        world.remove(geom)
    for geom in root.iter("geom"):
        # MuJoCo's own function for two boxes that are near reports depths where there is a gap, so
        # the arm gets none; the pads of the fingers lie within the hulls of their visible meshes
        visible, pad = (geom.get("class", "").startswith(x) for x in ("visual", "fingertip_pad"))
        if visible or pad:
            geom.attrib.update(contype=str(int(visible)), conaffinity=str(int(visible)))
    hand = next(b for b in root.iter("body") if b.get("name") == f"{PREFIX}hand")
    T = T_hand_ee @ HandEyeSettings().T_ee_cam @ make_pose(np.eye(3), (0.0, 0.0, -0.0135))
    asset = root.find("asset")
    assert asset is not None
    corners = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3), axis=-1).reshape(-1, 3)
    vertex = " ".join(f"{v:.7g}" for v in (corners * [0.045, 0.0125, 0.0115]).ravel())
    ET.SubElement(asset, "mesh", name="camera", vertex=vertex)
    ET.SubElement(hand, "geom", type="mesh", mesh="camera", **pose_attributes(T))
    contact = root.find("contact")
    assert contact is not None
    fingers = {f"body{i + 1}": f"{PREFIX}{side}_finger" for i, side in enumerate(("left", "right"))}
    ET.SubElement(contact, "exclude", fingers)  # closed fingers touch
    for kind in KINDS:
        for k in range(SLOTS):
            slot = ET.SubElement(world, "body", name=f"slot_{kind}_{k}", mocap="true")
            ET.SubElement(slot, "geom", type=kind, size="0.01 0.01 0.01")
    model = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
    # the solids' sizes change after compilation, which the trees of the midphase do not notice
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
    return model


def _as_hull(mesh: ET.Element, file: Path) -> None:
    """Put the corners of its hull in the place of a file; MuJoCo would take very long for it."""
    lines = [line.split()[1:4] for line in file.read_text().splitlines() if line[:2] == "v "]
    points = np.array(lines, dtype=np.float64)
    hull = points[ConvexHull(points).vertices]
    mesh.set("vertex", " ".join(f"{v:.7g}" for v in hull.ravel()))
