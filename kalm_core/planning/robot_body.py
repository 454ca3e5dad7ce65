"""The arm's solid shape, for every collision checker: its links and the wrist camera."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from pydantic import Field, field_validator
from scipy.spatial.transform import Rotation

from kalm_core.hand_eye import HandEyeSettings
from kalm_core.planning.solids import link_solids
from kalm_core.se3 import Array
from kalm_core.settings import Settings

CAMERA_LINK = "wrist_camera"


class CameraBodySettings(Settings):
    """The camera in the hand as a box, so that it does not hit what the hand passes."""

    size: tuple[float, float, float] = Field(
        (0.092, 0.028, 0.028),
        description="extent along the optical frame's x, y, z; all 0: no camera [m]",
    )
    center: tuple[float, float, float] = Field(
        (0.0, 0.0, -0.012), description="centre of the box in the optical frame [m]"
    )

    @field_validator("size")
    @classmethod
    def _is_a_box_or_nothing(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(value) and not min(value) > 0.0:
            raise ValueError("every side has to be above 0, or all three 0 for no camera")
        return value


def body_urdf(
    urdf: Path, tool_frame: str, camera: CameraBodySettings, hand_eye: HandEyeSettings
) -> str:
    """Return the URDF's text with the camera's box fixed to the tool frame."""
    root = ET.parse(urdf).getroot()
    if not any(camera.size):
        return ET.tostring(root, encoding="unicode")
    T: Array = hand_eye.T_ee_cam
    link = ET.SubElement(root, "link", name=CAMERA_LINK)
    collision = ET.SubElement(link, "collision", name=f"{CAMERA_LINK}_collision")
    ET.SubElement(collision, "origin", xyz=_text(camera.center), rpy="0 0 0")
    geometry = ET.SubElement(collision, "geometry")
    ET.SubElement(geometry, "box", size=_text(camera.size))
    joint = ET.SubElement(root, "joint", name=f"{CAMERA_LINK}_joint", type="fixed")
    ET.SubElement(joint, "parent", link=tool_frame)
    ET.SubElement(joint, "child", link=CAMERA_LINK)
    # URDF's roll, pitch, yaw turn about the fixed axes
    rpy = Rotation.from_matrix(T[:3, :3]).as_euler("xyz")
    ET.SubElement(joint, "origin", xyz=_text(T[:3, 3]), rpy=_text(rpy))
    return ET.tostring(root, encoding="unicode")


def _text(values: Array | tuple[float, ...]) -> str:
    return " ".join(repr(float(v)) for v in np.asarray(values))


def grown_urdf(urdf: str, meshes: Path, folder: Path) -> str:
    """Return a URDF's text with the solids of `link_solids` as the only shapes of the links.

    Args:
        urdf: text, as of `body_urdf`.
        meshes: folder that its file names start from.
        folder: where the meshes of the solids are written; the text's file names start there.

    Raises:
        ConfigError: a mesh cannot be read.
    """
    root = ET.fromstring(urdf)
    solids = link_solids(urdf, meshes)
    for link in root.iter("link"):
        for shape in [*link.findall("visual"), *link.findall("collision")]:
            link.remove(shape)
        name = link.attrib["name"]
        checking = ET.Element("collision_checking")
        for number, mesh in enumerate(solids.get(name, [])):
            solid = f"{name}_solid{number}"
            (folder / f"{solid}.stl").write_bytes(mesh)
            collision = ET.SubElement(link, "collision", name=solid)
            ET.SubElement(ET.SubElement(collision, "geometry"), "mesh", filename=f"{solid}.stl")
            ET.SubElement(checking, "convex", name=solid)
        if len(checking):
            link.append(checking)
    return ET.tostring(root, encoding="unicode")
