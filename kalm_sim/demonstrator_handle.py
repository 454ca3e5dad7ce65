"""How a person would guide the hand to lift the lever of a coffee machine.

The hand grasps the grip from the front, fingers above and below it, and goes with it around the
hinge. It turns by half the lever's angle; for the other half the round grip turns in the fingers.
A hand that turned all the way would come close to the arm's singular postures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.spatial.transform import Rotation

from kalm_core.errors import GoalError
from kalm_core.se3 import Array, invert_pose, make_pose, transform_points
from kalm_core.settings import Settings
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_sim.scripted_motion import (
    GraspScript,
    ease,
    grasp_rotation,
    steps,
    timed,
    unsteadiness,
)
from kalm_sim.tasks.coffee_machine import LEVER, CoffeeMachineParameters


class LiftSettings(Settings):
    """How the scripted person lifts the lever, and how much one time differs from the next."""

    tilt_min: float = Field(20.0, ge=0.0, le=80.0, description="hand below the horizontal [deg]")
    tilt_max: float = Field(36.0, ge=0.0, le=80.0, description="hand below the horizontal [deg]")
    pregrasp_distance: float = Field(
        0.12, ge=0.03, le=0.3, description="tool to grip before the approach [m]"
    )
    angle_min: float = Field(58.0, ge=10.0, le=75.0, description="least angle of the lift [deg]")
    angle_max: float = Field(66.0, ge=10.0, le=75.0, description="greatest angle of it [deg]")
    turn_share: float = Field(
        0.5, ge=0.0, le=1.0, description="share of the lever's angle by which the hand turns"
    )
    retreat: float = Field(0.05, ge=0.01, le=0.2, description="way back off the grip [m]")
    open_width: float = Field(
        0.065, ge=0.02, le=0.08, description="opening of the fingers before the grasp [m]"
    )
    speed_min: float = Field(0.07, gt=0.0, le=0.5, description="slowest mean speed [m/s]")
    speed_max: float = Field(0.11, gt=0.0, le=0.5, description="fastest mean speed [m/s]")
    along_grip: float = Field(
        0.010, ge=0.0, le=0.05, description="greatest distance from the grip's middle [m]"
    )
    wobble: float = Field(0.001, ge=0.0, le=0.01, description="unsteadiness of the hand [m]")
    hand_yaw: float = Field(
        4.0, ge=0.0, le=30.0, description="greatest turn of the hand against the front [deg]"
    )


@dataclass(frozen=True)
class LiftScript(GraspScript):
    """One way to lift the lever: straight in, along the lever's arc, straight back off.

    Attributes:
        T_base_hinge: (4, 4) pose of the hinge, whose y is its axis, while the lever lies.
    """

    T_base_hinge: Array

    def states(self, motion: EndEffectorTrajectory) -> Array:
        """Return (N, 1) angles of the lever [rad] along `whole()` when the grasp holds."""
        T_hinge_base = invert_pose(self.T_base_hinge)
        x, _, z = transform_points(T_hinge_base, motion.positions).T
        x_0, _, z_0 = transform_points(T_hinge_base, self.work.positions[0])
        angles = np.arctan2(z, -x) - np.arctan2(z_0, -x_0)
        angles[motion.gripper > self.grasp_width + 1e-9] = 0.0
        return np.asarray(np.maximum.accumulate(np.maximum(angles, 0.0)))[:, None]

    def may_touch(self, pair: tuple[str, str]) -> bool:
        """Tell whether two bodies may touch: fingers and lever."""
        return LEVER in pair and any("finger" in name for name in pair)


def script_lift(
    machine: CoffeeMachineParameters,
    rng: np.random.Generator,
    settings: LiftSettings | None = None,
    side: int = 1,
) -> LiftScript:
    """Write the script for one machine; see `demonstrator.script_opening`.

    Raises:
        GoalError: `side` is neither 1 nor -1.
    """
    if side not in (1, -1):
        raise GoalError(f"side is {side}, expected 1 or -1")
    s = settings or LiftSettings()
    tilt = np.radians(rng.uniform(s.tilt_min, s.tilt_max))
    turn = np.radians(rng.uniform(-s.hand_yaw, s.hand_yaw))
    reach = min(s.along_grip, max(machine.lever.length / 2 - 0.025, 0.0))
    along, above = rng.uniform(-reach, reach), rng.uniform(-0.0015, 0.0015)
    short = rng.uniform(0.0, 0.003)
    rotation = Rotation.from_euler("z", turn).as_matrix() @ grasp_rotation(tilt, side)
    grasp = machine.T_base_grip() @ make_pose(rotation, (-short, along, above))
    back = -grasp[:3, 2]
    speeds = (s.speed_min, s.speed_max)
    angle = np.radians(rng.uniform(s.angle_min, s.angle_max))
    arm = float(np.linalg.norm(machine.grip))

    start = s.pregrasp_distance + rng.uniform(-0.02, 0.02)
    count = steps(start, speeds, rng)
    approach = np.repeat(grasp[None], count, axis=0)
    approach[:, :3, 3] += (start * (1 - ease(np.linspace(0, 1, count))))[:, None] * back
    approach[:, :3, 3] += unsteadiness(count, s.wobble, rng)

    count = steps(angle * arm, speeds, rng)
    angles = angle * ease(np.linspace(0.0, 1.0, count))
    lift = turned(machine, grasp, angles, s.turn_share)

    count = steps(s.retreat, speeds, rng)
    retreat = np.repeat(lift[-1:], count, axis=0)
    way = s.retreat * ease(np.linspace(0.0, 1.0, count))
    retreat[:, :3, 3] -= way[:, None] * lift[-1, :3, 2]

    return LiftScript(
        approach=timed(approach, s.open_width),
        work=timed(lift, machine.lever.thickness),
        retreat=timed(retreat, s.open_width),
        grasp_width=machine.lever.thickness,
        open_width=s.open_width,
        T_base_hinge=machine.T_base_hinge(),
    )


def turned(
    machine: CoffeeMachineParameters, grasp: Array, angles: Array, turn_share: float
) -> Array:
    """Return (N, 4, 4) poses of a hand that holds the lever at `angles` (N,) [rad].

    Args:
        machine: whose lever it is.
        grasp: (4, 4) T_base_ee while the lever lies.
        angles: of the lever.
        turn_share: by how much of them the hand turns.
    """
    T_base_hinge = machine.T_base_hinge()
    T_hinge_ee = invert_pose(T_base_hinge) @ grasp
    around = Rotation.from_euler("y", angles[:, None]).as_matrix()
    turn = Rotation.from_euler("y", turn_share * angles[:, None]).as_matrix()
    poses = np.repeat(np.eye(4)[None], len(angles), axis=0)
    poses[:, :3, :3] = turn @ T_hinge_ee[:3, :3]
    poses[:, :3, 3] = around @ T_hinge_ee[:3, 3]
    return np.asarray(T_base_hinge @ poses)
