"""Follow a trajectory of 48 poses, with the same controller for every policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kalm_core.segmentation import CLOSED
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_sim.metaworld.expert import fly
from kalm_sim.metaworld.world import World, hand_yaw

_REACHED = 0.005  # the hand is at a pose when it is this close [m]
_PATIENCE = 16  # control steps that it may take for one pose
_REST = 80  # control steps at the last pose


@dataclass(frozen=True)
class Outcome:
    """How an episode went.

    Attributes:
        ever: whether it was a success at any time.
        end: whether it is one at the end, the hand resting at the last pose.
    """

    ever: bool
    end: bool


def replay(world: World, trajectory: EndEffectorTrajectory) -> Outcome:
    """Fly to the first pose, follow all poses, and rest at the last.

    The hand of the package looks down in every task: of the rotation its yaw is followed.

    Args:
        world: reset into the scene.
        trajectory: of the tool, in the base frame.
    """
    ever = False

    def note() -> None:
        nonlocal ever
        ever = ever or world.succeeded

    poses, closed = trajectory.T_base_ee, trajectory.gripper == CLOSED
    yaws = [hand_yaw(pose) for pose in poses]
    fly(world, poses[0, :3, 3], yaws[0], bool(closed[0]), note)
    for pose, yaw, close in zip(poses, yaws, closed, strict=True):
        for _ in range(_PATIENCE):
            note()
            world.drive(pose[:3, 3], yaw, bool(close))
            if np.linalg.norm(world.hand - pose[:3, 3]) < _REACHED:
                break
    for _ in range(_REST):
        note()
        world.drive(poses[-1, :3, 3], yaws[-1], bool(closed[-1]))
    note()
    return Outcome(ever, world.succeeded)


def wait(world: World, steps: int = 250) -> Outcome:
    """Do nothing: the hand stays at home. Anything but failure is a fault of the benchmark."""
    ever, home, yaw = world.succeeded, world.hand, 0.0
    for _ in range(steps):
        world.drive(home, yaw, world.task.closed)
        ever = ever or world.succeeded
    return Outcome(ever, world.succeeded)
