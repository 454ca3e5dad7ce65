"""What scripted motions of a person's hand are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory

SAMPLE_TIME = 0.05
"""Time between two poses of a script [s]."""


class Script(ABC):
    """One way to do a task, from near the object on.

    Attributes:
        open_width: opening of the fingers at the start [m].
    """

    open_width: float

    @abstractmethod
    def whole(self) -> EndEffectorTrajectory:
        """Return the whole motion."""

    @abstractmethod
    def states(self, motion: EndEffectorTrajectory) -> Array:
        """Return (N, K) states of the object along `whole()` when all goes well."""

    @abstractmethod
    def may_touch(self, pair: tuple[str, str]) -> bool:
        """Tell whether two bodies may touch."""


@dataclass(frozen=True)
class GraspScript(Script):
    """Three motions, with the fingers closing and opening between.

    Attributes:
        approach: from the pregrasp pose straight in, fingers open.
        work: with the part between the fingers.
        retreat: back off the part, fingers open again.
        grasp_width: opening of the fingers on the part [m].
        open_width: opening of the fingers before and after [m].
    """

    approach: EndEffectorTrajectory
    work: EndEffectorTrajectory
    retreat: EndEffectorTrajectory
    grasp_width: float
    open_width: float

    @property
    def pieces(self) -> tuple[EndEffectorTrajectory, ...]:
        """The three motions in order."""
        return (self.approach, self.work, self.retreat)

    def whole(self, finger_speed: float = 0.05) -> EndEffectorTrajectory:
        """Return one trajectory: the hand rests while the fingers move at `finger_speed` [m/s]."""
        rest = max((self.open_width - self.grasp_width) / finger_speed, 2 * SAMPLE_TIME)
        steps = max(2, round(rest / SAMPLE_TIME))
        closing = np.linspace(self.open_width, self.grasp_width, steps + 1)[1:]
        opening = np.linspace(self.grasp_width, self.open_width, steps + 1)[1:]
        poses, gripper = [self.approach.T_base_ee], [self.approach.gripper]
        for piece, widths in ((self.work, closing), (self.retreat, opening)):
            poses += [np.repeat(poses[-1][-1:], steps, axis=0), piece.T_base_ee[1:]]
            gripper += [widths, piece.gripper[1:]]
        stacked = np.concatenate(poses)
        stamps = np.arange(len(stacked), dtype=np.float64) * SAMPLE_TIME
        return EndEffectorTrajectory(stacked, np.concatenate(gripper), stamps)


def steps(way: float, speeds: tuple[float, float], rng: np.random.Generator) -> int:
    """Return how many poses a way [m] takes at a speed drawn from a range [m/s]."""
    return max(6, round(way / rng.uniform(*speeds) / SAMPLE_TIME) + 1)


def timed(poses: Array, gripper: float) -> EndEffectorTrajectory:
    """Return (N, 4, 4) poses as a trajectory with a constant opening of the fingers [m]."""
    stamps = np.arange(len(poses), dtype=np.float64) * SAMPLE_TIME
    return EndEffectorTrajectory(poses, np.full(len(poses), gripper), stamps)


def grasp_rotation(tilt: float, side: int) -> Array:
    """Return the (3, 3) rotation of the hand in the object's frame when it grasps a bar.

    Args:
        tilt: of the hand's z below the horizontal [rad].
        side: 1 has the hand's x along the object's y, -1 against it.
    """
    z = np.array([np.cos(tilt), 0.0, -np.sin(tilt)])
    x = np.array([0.0, float(side), 0.0])
    return np.stack([x, np.cross(z, x), z], axis=1)


def ease(share: Array) -> Array:
    """Return how far (0 to 1) a motion has come when `share` of its time is over, slow at ends."""
    return np.asarray(share**3 * (10 - 15 * share + 6 * share**2))


def unsteadiness(count: int, size: float, rng: np.random.Generator) -> Array:
    """Return (count, 3) slow offsets of about `size` [m] that vanish at both ends."""
    noise = gaussian_filter1d(rng.standard_normal((count, 3)), count / 8, axis=0)
    fade = np.sin(np.pi * np.linspace(0.0, 1.0, count))[:, None]
    return np.asarray(noise * size / max(float(noise.std()), 1e-9) * fade)
