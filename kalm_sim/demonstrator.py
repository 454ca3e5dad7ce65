"""How a person would guide the hand to open the top drawer, as end-effector trajectories.

The script knows where the handle is, because it stands in for a person who sees it. The hand is
tilted down, its fingers open across the bar (hand y), its z points at the front.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy.spatial.transform import Rotation

from kalm_core.errors import GoalError
from kalm_core.se3 import Array, make_pose
from kalm_core.settings import Settings
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_sim.scene import HandleTruth
from kalm_sim.scripted_motion import SAMPLE_TIME, GraspScript, ease, grasp_rotation, unsteadiness

__all__ = ["DemonstratorSettings", "OpeningScript", "grasp_rotation", "script_opening"]


class DemonstratorSettings(Settings):
    """How the scripted person opens the drawer, and how much one time differs from the next."""

    tilt_min: float = Field(22.0, ge=0.0, le=80.0, description="hand below the horizontal [deg]")
    tilt_max: float = Field(36.0, ge=0.0, le=80.0, description="hand below the horizontal [deg]")
    pregrasp_distance: float = Field(
        0.12, ge=0.03, le=0.3, description="tool to handle before the approach [m]"
    )
    pull_min: float = Field(0.150, ge=0.0, le=0.2, description="least length of the pull [m]")
    pull_max: float = Field(0.162, ge=0.0, le=0.2, description="greatest length of the pull [m]")
    retreat: float = Field(0.04, ge=0.01, le=0.2, description="way back off the handle [m]")
    open_width: float = Field(
        0.065, ge=0.02, le=0.08, description="opening of the fingers before the grasp [m]"
    )
    speed_min: float = Field(0.07, gt=0.0, le=0.5, description="slowest mean speed [m/s]")
    speed_max: float = Field(0.12, gt=0.0, le=0.5, description="fastest mean speed [m/s]")
    along_handle: float = Field(
        0.012, ge=0.0, le=0.05, description="greatest distance from the bar's middle [m]"
    )
    wobble: float = Field(0.001, ge=0.0, le=0.01, description="unsteadiness of the hand [m]")
    hand_yaw: float = Field(
        4.0, ge=0.0, le=30.0, description="greatest turn of the hand against the front [deg]"
    )


class OpeningScript(GraspScript):
    """One way to open the drawer: straight in, straight out along its axis, back off the handle."""

    @property
    def pull(self) -> EndEffectorTrajectory:
        """The motion with the bar between the fingers."""
        return self.work

    def states(self, motion: EndEffectorTrajectory) -> Array:
        """Return (N, 2) openings of both drawers [m] along `whole()` when the grasp holds."""
        opening = drawer_openings(self, motion)
        return np.stack([opening, np.zeros(len(opening))], axis=1)

    def may_touch(self, pair: tuple[str, str]) -> bool:
        """Tell whether two bodies may touch: fingers and top drawer."""
        return "top_drawer_body" in pair and any("finger" in name for name in pair)


def drawer_openings(script: OpeningScript, motion: EndEffectorTrajectory) -> Array:
    """Return (N,) how far the drawer is out [m] along `script.whole()` when the grasp holds."""
    start, out = script.pull.positions[0], script.pull.positions[-1] - script.pull.positions[0]
    length = float(np.linalg.norm(out))
    pulled = (motion.positions - start) @ (out / length)
    pulled[motion.gripper > script.grasp_width + 1e-9] = 0.0
    return np.asarray(np.maximum.accumulate(np.clip(pulled, 0.0, length)))


def script_opening(
    handle: HandleTruth,
    rng: np.random.Generator,
    settings: DemonstratorSettings | None = None,
    side: int = 1,
) -> OpeningScript:
    """Write the script for one handle.

    Args:
        handle: of the drawer to open.
        rng: source of what differs from one time to the next.
        settings: how it is done; None takes the defaults.
        side: 1 puts the camera to the left of the hand (hand x along +y of the cabinet), -1 to
            the right.

    Raises:
        GoalError: `side` is neither 1 nor -1.
    """
    if side not in (1, -1):
        raise GoalError(f"side is {side}, expected 1 or -1")
    s = settings or DemonstratorSettings()
    tilt = np.radians(rng.uniform(s.tilt_min, s.tilt_max))
    turn = np.radians(rng.uniform(-s.hand_yaw, s.hand_yaw))
    reach = min(s.along_handle, max(handle.length / 2 - 0.03, 0.0))
    along, above = rng.uniform(-reach, reach), rng.uniform(-0.0015, 0.0015)
    short = rng.uniform(0.0, 0.003)  # the finger tips reach a little less far behind the bar

    rotation_cabinet = Rotation.from_euler("z", turn).as_matrix() @ grasp_rotation(tilt, side)
    T_base_handle = handle.T_base_handle
    grasp = T_base_handle @ make_pose(rotation_cabinet, (-short, along, above))
    out = -T_base_handle[:3, 0]
    length = rng.uniform(s.pull_min, s.pull_max)
    speeds = (s.speed_min, s.speed_max)

    def line(start: float, end: float, gripper: float, wobble: float) -> EndEffectorTrajectory:
        count = max(6, round(abs(end - start) / rng.uniform(*speeds) / SAMPLE_TIME) + 1)
        share = np.linspace(0.0, 1.0, count)
        poses = np.repeat(grasp[None], count, axis=0)
        poses[:, :3, 3] += (start + (end - start) * ease(share))[:, None] * out
        poses[:, :3, 3] += unsteadiness(count, wobble, rng)
        stamps = np.arange(count, dtype=np.float64) * SAMPLE_TIME
        return EndEffectorTrajectory(poses, np.full(count, gripper), stamps)

    bar = handle.thickness
    return OpeningScript(
        approach=line(s.pregrasp_distance + rng.uniform(-0.02, 0.02), 0.0, s.open_width, s.wobble),
        work=line(0.0, length, bar, 0.0),
        retreat=line(length, length + s.retreat, s.open_width, 0.0),
        grasp_width=bar,
        open_width=s.open_width,
    )
