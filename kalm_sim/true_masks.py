"""Which pixels truly show the part that is worked on, the object, other things or the robot.

For evaluation only; nothing of the suite uses it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from kalm_core.errors import GoalError
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, invert_pose, make_pose, transform_points
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.posed_scene import ROBOT, PosedScene
from kalm_sim.rendering import SceneCamera
from kalm_sim.scene import Cover, SceneParameters
from kalm_sim.tasks.registry import TASKS

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TrueMasks:
    """Masks (H, W) of one image of the wrist camera; a pixel is in at most one of the first four.

    Attributes:
        part: the part that is worked on: handle of the top drawer, lever, bowl.
        rest: the rest of the object.
        distractors: clutter, a replacement of the object, a cover.
        robot: arm, hand, and what it holds.
        geoms: (H, W) id of the geom in each pixel, -1 for none.
    """

    part: Mask
    rest: Mask
    distractors: Mask
    robot: Mask
    geoms: NDArray[np.int32]

    @property
    def object(self) -> Mask:
        """The whole object with its part."""
        return self.part | self.rest


@dataclass(frozen=True)
class GeomSets:
    """Ids of the geoms of a compiled scene, by what they belong to; see `TrueMasks`."""

    part: list[int]
    rest: list[int]
    distractors: list[int]
    robot: list[int]


def geom_sets(model: Any, scene: SceneParameters) -> GeomSets:
    """Sort the geoms of a compiled scene."""
    sets = GeomSets([], [], [], [])
    for index in range(model.ngeom):
        body = model.body(int(model.geom_bodyid[index])).name
        material = int(model.geom_matid[index])
        name = model.mat(material).name if material >= 0 else ""
        if body.startswith((ROBOT, "ball_")):
            sets.robot.append(index)
        elif body == "world":
            if model.geom(index).name == "cover":
                sets.distractors.append(index)
        elif body.startswith("clutter_") or not scene.present:
            sets.distractors.append(index)
        elif TASKS[scene.task].is_part(body, name):
            sets.part.append(index)
        else:
            sets.rest.append(index)
    return sets


def true_masks(camera: SceneCamera, posed: PosedScene) -> TrueMasks:
    """Return what the wrist camera of a posed scene sees where.

    Args:
        camera: that shows the model of `posed`.
        posed: after `pose`.
    """
    geoms = camera.wrist_geoms(posed.data)
    sets = geom_sets(posed.model, posed.scene)
    part, rest, distractors, robot = (
        np.isin(geoms, ids) for ids in (sets.part, sets.rest, sets.distractors, sets.robot)
    )
    return TrueMasks(part, rest, distractors, robot, geoms)


def render_masks(
    scene: SceneParameters, joints: Array, state: tuple[float, ...] | None = None
) -> TrueMasks:
    """Return the true masks of the image that `synthetic.render_scene` makes."""
    posed = PosedScene(scene)
    posed.pose(joints, state=state)
    with SceneCamera(posed.model, DepthNoiseSettings.off()) as camera:
        return true_masks(camera, posed)


def cover_part(
    scene: SceneParameters, joints: Array, share: float, rng: np.random.Generator
) -> SceneParameters:
    """Return the scene with a card that hides a share of the part from one view.

    Args:
        scene: with its object.
        joints: (7,) of the arm [rad], from which the part is seen.
        share: of the part's visible pixels, in (0, 1].
        rng: source of the side that is hidden and of the colour.

    Raises:
        GoalError: the part is not seen from there, or the share is out of range.
    """
    if not 0.0 < share <= 1.0:
        raise GoalError(f"a share of {share} cannot be covered", "choose one above 0 and up to 1")
    posed = PosedScene(replace(scene, cover=None))
    posed.pose(joints)
    with SceneCamera(posed.model, DepthNoiseSettings.off()) as camera:
        masks = true_masks(camera, posed)
        frame = camera.wrist_frame(posed.data, 0, rng)
    if masks.part.sum() < 20:
        raise GoalError("the part is not in view", "choose a view from which it is seen")
    pixels = np.argwhere(masks.part)[:, ::-1].astype(np.float64)
    low, high = _rectangle(pixels, share, rng)
    depth = max(0.6 * float(frame.depth[masks.part].min()), 0.18)
    return replace(scene, cover=_card(low, high, depth, frame, rng))


def _rectangle(pixels: Array, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the corners (u, v) of a rectangle over a share of pixels, from a random side."""
    margin = 0.15 * float(np.ptp(pixels, axis=0).max()) + 8.0
    low, high = pixels.min(axis=0) - margin, pixels.max(axis=0) + margin
    # along the longer side, where a share can be cut precisely
    axis, end = int(np.ptp(pixels, axis=0).argmax()), int(rng.integers(2))
    if end:
        high[axis] = np.quantile(pixels[:, axis], share) + 0.5
    else:
        low[axis] = np.quantile(pixels[:, axis], 1.0 - share) - 0.5
    return low, high


def _card(
    low: Array, high: Array, depth: float, frame: RgbdFrame, rng: np.random.Generator
) -> Cover:
    """Return a card at a depth [m] whose image is the rectangle between two corners [px]."""
    k = frame.intrinsics
    focal, center = np.array([k.fx, k.fy]), np.array([k.cx, k.cy])
    near, far = (low - center) / focal * depth, (high - center) / focal * depth
    T_cam_cover = make_pose(np.eye(3), np.array([*((near + far) / 2), depth]))
    half = (far - near) / 2
    red, green, blue = rng.uniform(0.1, 0.95, 3)
    return Cover(
        frame.T_base_cam @ T_cam_cover,
        (float(half[0]), float(half[1])),
        (float(red), float(green), float(blue)),
    )


def part_distance(posed: PosedScene, points_base: Array, geoms: list[int] | None = None) -> Array:
    """Return the distance [m] of (N, 3) points to the part that is worked on, 0 inside.

    Args:
        posed: after `pose`, with its object.
        points_base: in the base frame [m].
        geoms: other geoms to measure to; None takes those of the part that can be seen.

    Raises:
        GoalError: the object is not there.
    """
    ids = geom_sets(posed.model, posed.scene).part if geoms is None else geoms
    ids = [index for index in ids if int(posed.model.geom_group[index]) < 3]
    if not ids:
        raise GoalError("the part is not in this scene", "ask for it in a scene with its object")
    return np.min([_geom_distance(posed, index, points_base) for index in ids], axis=0)


def _geom_distance(posed: PosedScene, index: int, points_base: Array) -> Array:
    """Return (N,) distances [m] to one geom, 0 inside."""
    model, data = posed.model, posed.data
    pose = make_pose(data.geom_xmat[index].reshape(3, 3), data.geom_xpos[index])
    points, size = transform_points(invert_pose(pose), points_base), model.geom_size[index]
    kind = int(model.geom_type[index])
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return np.linalg.norm(np.maximum(np.abs(points) - size, 0.0), axis=1)
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return np.maximum(np.linalg.norm(points, axis=1) - size[0], 0.0)
    if kind in {mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER}:
        across = np.linalg.norm(points[:, :2], axis=1)
        along = np.maximum(np.abs(points[:, 2]) - size[1], 0.0)
        if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
            return np.maximum(np.hypot(across, along) - size[0], 0.0)
        return np.hypot(np.maximum(across - size[0], 0.0), along)
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        return _mesh_distance(model, int(model.geom_dataid[index]), points)
    raise GoalError(f"a geom of type {kind} has no distance", "use boxes, rods or meshes")


def _mesh_distance(model: Any, mesh: int, points: Array) -> Array:
    """Return (N,) distances [m] to a mesh's surface, in the frame that MuJoCo gave it."""
    import open3d

    first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    start, faces = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    surface = open3d.t.geometry.RaycastingScene()
    surface.add_triangles(
        open3d.core.Tensor(model.mesh_vert[first : first + count].astype(np.float32)),
        open3d.core.Tensor(model.mesh_face[start : start + faces].astype(np.uint32)),
    )
    query = open3d.core.Tensor(points.astype(np.float32))
    return np.asarray(surface.compute_distance(query).numpy(), dtype=np.float64)
