"""How well the arm follows the 48 poses, in free space and while it pulls a drawer.

The error is the distance between the commanded and the reached tool at the same instant, at every
target that was sent, approach and retreat left out. Simulated time runs free of the wall clock, so
that the figures do not depend on how busy the machine is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.execution_graph import NEW_SCENES
from benchmarks.results import Row
from kalm_core.errors import KalmError
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.robot_model import RobotModel
from kalm_core.progress import Progress
from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.joint_line import joint_line
from kalm_core.robot.path_follower import PathFollower
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import Array
from kalm_core.segmentation import execution_part
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_sim.clearing import OPEN, cleared
from kalm_sim.laboratory import Laboratory
from kalm_sim.scene import SceneParameters, draw_scene
from kalm_sim.synthetic import make_demonstration
from kalm_sim.viewpoints import READY


class RecordingArm(FrankyArm):
    """Keeps the error at every target.

    Attributes:
        errors: distances between commanded and reached tool [m].
    """

    def __init__(self, settings: RobotSettings) -> None:
        super().__init__(settings)
        self.errors: list[float] = []

    def _follow(
        self, follower: PathFollower, progress: Progress, stopped: Callable[[], bool]
    ) -> float:
        note = follower._note_error

        def keep(commanded: Array, reached: Array) -> None:
            self.errors.append(float(np.linalg.norm(np.asarray(commanded) - np.asarray(reached))))
            note(commanded, reached)

        follower._note_error = keep  # type: ignore[method-assign]
        return super()._follow(follower, progress, stopped)


def shown_trajectory(seed: int, robot: RobotModel) -> tuple[EndEffectorTrajectory, Array]:
    """Return the 48 poses that a demonstration in a scene shows, and (48, 7) joints along them.

    Raises:
        KalmError: there is none that the arm can follow.
    """
    demonstration, truth = make_demonstration(seed, frames=1)
    handle = truth.handles[0].T_base_handle[None, :3, 3]
    keypoints = DetectedKeypoints(handle, np.ones(1, bool), np.ones(1))
    trajectory = execution_part(demonstration, keypoints)
    for first in robot.branches(trajectory.T_base_ee, READY, 4):
        joints = robot.follow(trajectory.T_base_ee, first).joints
        if joints is not None:
            return trajectory, joints
    raise KalmError(f"scene {seed}: no branch follows the demonstration")


def measure(seeds: list[int], say: Any) -> list[Row]:
    """Follow each scene's poses without the cabinet and with it, and return the rows."""
    robot = RobotModel.load()
    free: list[float] = []
    drawer: list[float] = []
    pulled: list[float] = []
    first = cleared(draw_scene(NEW_SCENES))
    with Laboratory(first, realtime=False) as laboratory:
        arm = RecordingArm(RobotSettings.for_simulator(laboratory.hostname, realtime=False))
        try:
            for seed in seeds:
                trajectory, joints = shown_trajectory(seed, robot)
                open_hand = replace(trajectory, gripper=np.full(len(trajectory.gripper), OPEN))
                scene = draw_scene(seed)
                free += _follow(arm, laboratory, cleared(scene), open_hand, joints)
                drawer += _follow(arm, laboratory, scene, trajectory, joints)
                pulled.append(laboratory.truth().progress)
                say(f"tracking, scene {seed}: pulled {pulled[-1] * 100:.1f} cm")
        finally:
            arm.close()
    note = f"{len(seeds)} scenes, drawers pulled by {np.median(pulled) * 100:.0f} cm (median)"
    return [
        *_rows("free", free, "the same poses without the cabinet, hand open"),
        *_rows("drawer", drawer, note),
    ]


def _follow(
    arm: RecordingArm,
    laboratory: Laboratory,
    scene: SceneParameters,
    trajectory: EndEffectorTrajectory,
    joints: Array,
) -> list[float]:
    """Follow a trajectory in a scene and return its errors [m]."""
    laboratory.reset(cleared(scene))
    arm.move_gripper(OPEN, 0.1, 0.0)
    arm.follow_joint_path(joint_line(arm.state().q, READY, 1.0))
    laboratory.reset(scene)
    arm.follow_joint_path(joint_line(arm.state().q, joints[0], 1.0))
    arm.errors.clear()
    arm.follow_ee_path(trajectory, joints)
    return list(arm.errors)


def _rows(name: str, errors: list[float], note: str) -> list[Row]:
    millimetres = 1e3 * np.array(errors)
    count = len(errors)
    return [
        Row(
            f"tracking/{name}_mm",
            round(float(np.median(millimetres)), 2),
            "mm",
            count,
            note=f"median of all targets; {note}",
        ),
        Row(
            f"tracking/{name}_p95_mm", round(float(np.percentile(millimetres, 95)), 2), "mm", count
        ),
        Row(f"tracking/{name}_max_mm", round(float(millimetres.max()), 2), "mm", count),
    ]
