"""How a person would guide the hand to open the top drawer, as end-effector trajectories.

The script knows where the handle is, because it stands in for a person who sees it. The hand is
tilted down, its fingers open across the bar (hand y), its z points at the front.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from kalm_core.errors import GoalError
from kalm_core.se3 import Array, make_pose
from kalm_core.settings import Settings
from kalm_core.trajectory import EndEffectorTrajectory
from kalm_sim.scene import HandleTruth

SAMPLE_TIME = 0.05
"""Time between two poses of a script [s]."""


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


@dataclass(frozen=True)
class OpeningScript:
    """One way to open the drawer: three motions, with the fingers closing and opening between.

    Attributes:
        approach: from the pregrasp pose straight in, fingers open.
        pull: straight out along the drawer's axis, fingers closed on the bar.
        retreat: back off the handle, fingers open again.
        grasp_width: opening of the fingers on the bar [m].
        open_width: opening of the fingers before and after [m].
    """

    approach: EndEffectorTrajectory
    pull: EndEffectorTrajectory
    retreat: EndEffectorTrajectory
    grasp_width: float
    open_width: float

    @property
    def T_base_pregrasp(self) -> Array:
        """The (4, 4) pose from which the approach starts."""
        return np.asarray(self.approach.T_base_ee[0])

    @property
    def pieces(self) -> tuple[EndEffectorTrajectory, ...]:
        """The three motions in order."""
        return (self.approach, self.pull, self.retreat)

    def whole(self, finger_speed: float = 0.05) -> EndEffectorTrajectory:
        """Return one trajectory: the hand rests while the fingers move at `finger_speed` [m/s]."""
        rest = max((self.open_width - self.grasp_width) / finger_speed, 2 * SAMPLE_TIME)
        steps = max(2, round(rest / SAMPLE_TIME))
        closing = np.linspace(self.open_width, self.grasp_width, steps + 1)[1:]
        opening = np.linspace(self.grasp_width, self.open_width, steps + 1)[1:]
        poses, gripper = [self.approach.T_base_ee], [self.approach.gripper]
        for piece, widths in ((self.pull, closing), (self.retreat, opening)):
            poses += [np.repeat(poses[-1][-1:], steps, axis=0), piece.T_base_ee[1:]]
            gripper += [widths, piece.gripper[1:]]
        stacked = np.concatenate(poses)
        stamps = np.arange(len(stacked), dtype=np.float64) * SAMPLE_TIME
        return EndEffectorTrajectory(stacked, np.concatenate(gripper), stamps)


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
        poses[:, :3, 3] += _unsteadiness(count, wobble, rng)
        stamps = np.arange(count, dtype=np.float64) * SAMPLE_TIME
        return EndEffectorTrajectory(poses, np.full(count, gripper), stamps)

    bar = handle.thickness
    return OpeningScript(
        approach=line(s.pregrasp_distance + rng.uniform(-0.02, 0.02), 0.0, s.open_width, s.wobble),
        pull=line(0.0, length, bar, 0.0),
        retreat=line(length, length + s.retreat, s.open_width, 0.0),
        grasp_width=bar,
        open_width=s.open_width,
    )


def grasp_rotation(tilt: float, side: int) -> Array:
    """Return the (3, 3) rotation of the hand in the cabinet's frame when it grasps a bar.

    Args:
        tilt: of the hand's z below the horizontal [rad].
        side: 1 has the hand's x along the cabinet's y, -1 against it.
    """
    z = np.array([np.cos(tilt), 0.0, -np.sin(tilt)])
    x = np.array([0.0, float(side), 0.0])
    return np.stack([x, np.cross(z, x), z], axis=1)


def ease(share: Array) -> Array:
    """Return how far (0 to 1) a motion has come when `share` of its time is over, slow at ends."""
    return np.asarray(share**3 * (10 - 15 * share + 6 * share**2))


def _unsteadiness(count: int, size: float, rng: np.random.Generator) -> Array:
    """Return (count, 3) slow offsets of about `size` [m] that vanish at both ends."""
    noise = gaussian_filter1d(rng.standard_normal((count, 3)), count / 8, axis=0)
    fade = np.sin(np.pi * np.linspace(0.0, 1.0, count))[:, None]
    return np.asarray(noise * size / max(float(noise.std()), 1e-9) * fade)
