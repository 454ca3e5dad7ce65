"""How a person would guide the hand to pour a cup into a bowl.

The tool stays where it is, high enough above the bowl for the wide hand to clear it, and turns the
cup sideways, about the direction that the hand points in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.spatial.transform import Rotation

from kalm_core.errors import GoalError
from kalm_core.se3 import Array, make_pose, transform_points
from kalm_core.settings import Settings
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_sim.scripted_motion import SAMPLE_TIME, Script, ease, steps, timed, unsteadiness
from kalm_sim.tasks.bowl import PITCH, BowlParameters, CupParameters, upright_hand


class PourSettings(Settings):
    """How the scripted person pours, and how much one time differs from the next."""

    heading_min: float = Field(0.0, ge=-60.0, le=60.0, description="least lean of the hand [deg]")
    heading_max: float = Field(20.0, ge=-60.0, le=60.0, description="greatest lean of it [deg]")
    pitch_error: float = Field(2.0, ge=0.0, le=15.0, description="greatest tilt at first [deg]")
    clearance_min: float = Field(
        0.085, ge=0.01, le=0.2, description="least height of the cup's foot over the rim [m]"
    )
    clearance_max: float = Field(0.100, ge=0.01, le=0.2, description="greatest height of it [m]")
    before: float = Field(
        0.040, ge=0.0, le=0.1, description="tool to the bowl's middle, against the tilt [m]"
    )
    tilt_min: float = Field(116.0, ge=90.0, le=150.0, description="least tilt [deg]")
    tilt_max: float = Field(122.0, ge=90.0, le=150.0, description="greatest tilt [deg]")
    tilt_time_min: float = Field(2.6, ge=0.5, le=10.0, description="shortest tilting [s]")
    tilt_time_max: float = Field(3.4, ge=0.5, le=10.0, description="longest tilting [s]")
    hold: float = Field(1.2, ge=0.0, le=10.0, description="rest while the cup runs empty [s]")
    from_behind: float = Field(0.10, ge=0.0, le=0.3, description="start of the approach [m]")
    from_above: float = Field(0.05, ge=0.0, le=0.3, description="start of the approach [m]")
    speed_min: float = Field(0.07, gt=0.0, le=0.5, description="slowest mean speed [m/s]")
    speed_max: float = Field(0.11, gt=0.0, le=0.5, description="fastest mean speed [m/s]")
    wobble: float = Field(0.001, ge=0.0, le=0.01, description="unsteadiness of the hand [m]")


@dataclass(frozen=True)
class PourScript(Script):
    """One way to pour: over the bowl, turn it over, and rest until the cup is empty.

    Attributes:
        approach: to the bowl, cup upright.
        tilt: the hand turns in place.
        hold: at rest.
        tilt_angles: (N,) angle of the cup against its start, along `tilt` [rad].
        open_width: opening of the fingers, which hold the cup [m].
    """

    approach: EndEffectorTrajectory
    tilt: EndEffectorTrajectory
    hold: EndEffectorTrajectory
    tilt_angles: Array
    open_width: float

    def whole(self) -> EndEffectorTrajectory:
        """Return one trajectory."""
        poses = [self.approach.T_base_ee, self.tilt.T_base_ee[1:], self.hold.T_base_ee[1:]]
        return timed(np.concatenate(poses), self.open_width)

    def states(self, motion: EndEffectorTrajectory) -> Array:
        """Return (N, 1) shares of balls in the bowl: they leave the cup once it lies."""
        before, after = len(self.approach.stamps), len(self.hold.stamps) - 1
        angles = np.pad(self.tilt_angles[1:], (before, after), mode="edge")
        angles[:before] = 0.0
        return np.clip((angles - np.radians(90)) / np.radians(20), 0.0, 1.0)[:, None]

    def may_touch(self, pair: tuple[str, str]) -> bool:
        """Tell whether two bodies may touch: none may."""
        return False


def script_pour(
    bowl: BowlParameters,
    cup: CupParameters,
    rng: np.random.Generator,
    settings: PourSettings | None = None,
    side: int = 1,
) -> PourScript:
    """Write the script for one bowl and cup.

    Args:
        bowl: to pour into.
        cup: in the hand.
        rng: source of what differs from one time to the next.
        settings: how it is done; None takes the defaults.
        side: 1 pours to the right, seen along the hand, -1 to the left.

    Raises:
        GoalError: `side` is neither 1 nor -1.
    """
    if side not in (1, -1):
        raise GoalError(f"side is {side}, expected 1 or -1")
    s = settings or PourSettings()
    lean = rng.uniform(s.heading_min, s.heading_max)  # against the tilt, easier for the wrist
    heading = np.arctan2(bowl.y, bowl.x) + side * np.radians(lean)
    pitch = float(PITCH) + np.radians(rng.uniform(-s.pitch_error, s.pitch_error))
    forward = np.array([np.cos(heading), np.sin(heading), 0.0])
    right = side * np.array([np.sin(heading), -np.cos(heading), 0.0])
    height = bowl.height + rng.uniform(s.clearance_min, s.clearance_max) + cup.grasp
    place = transform_points(bowl.T_base_object, np.zeros(3)) - s.before * right
    place = place + np.append(rng.uniform(-0.006, 0.006, 2), height)
    over = make_pose(upright_hand(heading, pitch), place)
    speeds = (s.speed_min, s.speed_max)

    start = -forward * (s.from_behind + rng.uniform(-0.02, 0.02)) + [0, 0, s.from_above]
    count = steps(float(np.linalg.norm(start)), speeds, rng)
    approach = np.repeat(over[None], count, axis=0)
    approach[:, :3, 3] += (1 - ease(np.linspace(0.0, 1.0, count)))[:, None] * start
    approach[:, :3, 3] += unsteadiness(count, s.wobble, rng)

    count = round(rng.uniform(s.tilt_time_min, s.tilt_time_max) / SAMPLE_TIME)
    full = np.radians(rng.uniform(s.tilt_min, s.tilt_max))
    angles = full * ease(np.linspace(0.0, 1.0, count))
    turns = Rotation.from_rotvec(side * angles[:, None] * forward).as_matrix()
    tilt = np.repeat(over[None], count, axis=0)
    tilt[:, :3, :3] = turns @ over[:3, :3]

    rest = np.repeat(tilt[-1:], max(2, round(s.hold / SAMPLE_TIME)), axis=0)
    width = cup.grasp_width
    return PourScript(timed(approach, width), timed(tilt, width), timed(rest, width), angles, width)
