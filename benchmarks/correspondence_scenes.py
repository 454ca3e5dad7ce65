"""Images and truth for the measurement of correspondence; all of it peeks at the simulator.

A test image comes with where the reference's points truly are in it. Points are carried over by the
part that they lie on (`true_keypoints.carry_points`). A bowl may be turned about its axis without
looking different, so its points are compared after the turn, the same for all, that suits them
best. A point counts as visible where the measured depth is that of the point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kalm_core.demonstration import Demonstration
from kalm_core.errors import GoalError, NoFeasibleTrajectoryError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.planning.robot_model import RobotModel
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_sim.posed_scene import PosedScene
from kalm_sim.rendering import SceneCamera
from kalm_sim.scene import SceneParameters, draw_scene
from kalm_sim.synthetic import free_view, make_demonstration
from kalm_sim.true_keypoints import carry_points
from kalm_sim.true_masks import cover_part, true_masks

TURNS = {"pour": np.radians(np.arange(0.0, 360.0, 6.0))}
"""Turns of an object about its vertical axis that nobody can tell from each other, by task."""

GRID = (11, 5)
"""Columns and rows of the grid in whose cells a VLM says where the part is."""

COVERED = (0.3, 0.9)
"""Least and greatest share of the part that a card hides."""

VISIBLE = 0.012
"""A point is visible where a depth measured around its pixel differs from its own by less [m]."""


@dataclass(frozen=True)
class TestImage:
    """One image in which keypoints are looked for.

    Attributes:
        kind: "view", "instance", "empty", "replaced" or "covered".
        scene: what it shows.
        frame: the image.
        part: (H, W) bool, the part that is worked on.
        instance: index of the demonstration whose instance it shows; -1 for an unseen one.
    """

    kind: str
    scene: SceneParameters
    frame: RgbdFrame
    part: NDArray[np.bool_]
    instance: int = -1

    @property
    def guidance(self) -> NDArray[np.float32]:
        """Weights on the scores: 1 in the grid's cells that hold the part, 0.9 elsewhere."""
        height, width = self.part.shape
        columns, rows = GRID
        row = np.arange(height) * rows // height
        column = np.arange(width) * columns // width
        cell = row[:, None] * columns + column[None]
        held = np.isin(cell, np.unique(cell[self.part]))
        return np.where(held, 1.0, 0.9).astype(np.float32)


@dataclass(frozen=True)
class Taught:
    """A demonstration with what only the simulator knows about its first image.

    Attributes:
        demonstration: of a task, with an instance used for demonstrations.
        scene: that it was made in.
        part: (H, W) bool, the part that is worked on, in its first image.
    """

    demonstration: Demonstration
    scene: SceneParameters
    part: NDArray[np.bool_]


def teach(task: str, count: int) -> list[Taught]:
    """Make demonstrations, each with its own training instance, without physics."""
    taught: list[Taught] = []
    for seed in range(10 * count):
        if len(taught) == count:
            break
        try:
            demonstration, _ = make_demonstration(seed, frames=1, task=task, instances="train")
        except NoFeasibleTrajectoryError:  # the arm cannot do it there; an operator would not try
            continue
        scene = draw_scene(seed, task=task, instances="train")
        posed = PosedScene(scene)
        posed.pose(demonstration.joints[0], float(demonstration.gripper[0]))
        with SceneCamera(posed.model) as camera:
            taught.append(Taught(demonstration, scene, true_masks(camera, posed).part))
    return taught


def shown_images(taught: list[Taught], count: int, negatives: int) -> Iterator[TestImage]:
    """Make test images one by one.

    Args:
        taught: whose instances are shown again, in turn, from other views.
        count: images of set `view`, and as many of set `instance`.
        negatives: images without the object, and as many each with another object in its place and
            with the part covered.
    """
    robot, task = RobotModel.load(), taught[0].scene.task
    for index in range(count):
        instance = index % len(taught)
        yield from _image("view", taught[instance].scene, 1000 + index, robot, instance)
    for index in range(count):
        yield from _image("instance", _unseen(task, 2000 + index), 2000 + index, robot)
    for index in range(negatives):
        seed = 3000 + index
        yield from _image("empty", _unseen(task, seed, empty=True), seed, robot)
        yield from _image("replaced", _unseen(task, seed, replaced=True), seed, robot)
        yield from _image("covered", _unseen(task, seed), seed, robot)


def _unseen(task: str, seed: int, empty: bool = False, replaced: bool = False) -> SceneParameters:
    return draw_scene(seed, empty, task, "unseen", replaced)


def _image(
    kind: str, scene: SceneParameters, seed: int, robot: RobotModel, instance: int = -1
) -> Iterator[TestImage]:
    """Yield the image, or nothing when the arm cannot look from where the dice say."""
    rng = np.random.default_rng([seed, 31])
    posed = PosedScene(scene)
    try:
        joints = free_view(scene, rng, robot, posed, HandEyeSettings()).joints
        if kind == "covered":
            scene = cover_part(scene, joints, float(rng.uniform(*COVERED)), rng)
            posed = PosedScene(scene)
    except (NoFeasibleTrajectoryError, GoalError):
        return
    posed.pose(joints)
    with SceneCamera(posed.model) as camera:
        frame = camera.wrist_frame(posed.data, 0, rng)
        part = true_masks(camera, posed).part
    yield TestImage(kind, scene, frame, part, instance)


def possible_places(points: Array, scene: SceneParameters, image: TestImage) -> Array:
    """Return where points of one scene's object are in a test image.

    Args:
        points: (K, 3) [m] in the base frame of the reference scene.
        scene: the reference scene.
        image: where they are wanted.

    Returns:
        (T, K, 3), one row for each turn of the object that nobody can tell from the others.
    """
    rows = []
    for turn in TURNS.get(image.scene.task, np.zeros(1)):
        turned = replace(scene.target, yaw=scene.target.yaw + float(turn))
        rows.append(carry_points(points, replace(scene, target=turned), image.scene))
    return np.stack(rows)


def true_places(possible: Array, found: Array) -> Array:
    """Return of (T, K, 3) possible places the (K, 3) that suit what was found best.

    Args:
        possible: from `possible_places`.
        found: (K, 3), NaN where not found.
    """
    distance = np.minimum(np.linalg.norm(possible - found, axis=2), 0.1)
    return np.asarray(possible[np.nansum(distance, axis=1).argmin()])


def visible(points: Array, frame: RgbdFrame) -> NDArray[np.bool_]:
    """Tell which (N, 3) points [m] are in the image with nothing measured before them."""
    k = frame.intrinsics
    z = (points - frame.T_base_cam[:3, 3]) @ frame.T_base_cam[:3, 2]
    pixels = np.nan_to_num(np.rint(frame.project(points)), nan=-1.0).astype(int)
    inside = (pixels >= 0).all(axis=1) & (pixels < [k.width, k.height]).all(axis=1) & (z > 0)
    u, v = np.clip(pixels, 0, [k.width - 1, k.height - 1]).T
    depth = np.where(frame.depth > 0, frame.depth, np.inf)
    offsets = [(dv, du) for dv in (-2, 0, 2) for du in (-2, 0, 2)]  # a thin bar has holes
    around = [
        np.abs(depth[np.clip(v + dv, 0, k.height - 1), np.clip(u + du, 0, k.width - 1)] - z)
        for dv, du in offsets
    ]
    return np.asarray(inside & (np.min(around, axis=0) < VISIBLE))
