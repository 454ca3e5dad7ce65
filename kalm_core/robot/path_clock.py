"""How far along a timed path the arm is: slower where a limit asks for it, smooth at both ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kalm_core.se3 import Array, rotation_angle

_SLOWEST = 0.05  # rate at which the last bit before a halt is covered


def stretched_stamps(stamps: Array, scale: float, shortest: Array) -> Array:
    """Slow a path down by `scale`, and further where a step would be faster than allowed.

    Args:
        stamps: (N,) times of the path [s].
        scale: speed scale in (0, 1].
        shortest: (N-1,) least time of every step [s].

    Returns:
        (N,) new times [s], the first 0.
    """
    steps = np.maximum(np.diff(stamps) / scale, shortest)
    return np.concatenate([[0.0], np.cumsum(steps)])


def shortest_joint_steps(positions: Array, highest: Array) -> Array:
    """Return the least time [s] of each step of (N, 7) positions at (7,) highest speeds."""
    return np.asarray((np.abs(np.diff(positions, axis=0)) / highest).max(axis=1))


def shortest_pose_steps(poses: Array, speed: float, turn_rate: float) -> Array:
    """Return the least time [s] of each step of (N, 4, 4) poses at [m/s] and [rad/s]."""
    length = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    turn = rotation_angle(poses[:-1], poses[1:])
    return np.asarray(np.maximum(length / speed, turn / turn_rate))


def calmed_stamps(stamps: Array, coordinates: Array, highest: float) -> Array:
    """Slow a whole path down until its acceleration is allowed.

    Args:
        stamps: (N,) times of the path [s].
        coordinates: (N, D) positions, whose accelerations are bounded one by one.
        highest: bound, in units of the coordinates per s^2.

    Returns:
        (N,) new times [s].
    """
    steps = np.diff(stamps)
    velocity = np.diff(coordinates, axis=0) / steps[:, None]
    between = 0.5 * (steps[1:] + steps[:-1])
    acceleration = np.abs(np.diff(velocity, axis=0)) / between[:, None]
    excess = float(acceleration.max(initial=0.0)) / highest
    return np.asarray(stamps * max(1.0, np.sqrt(excess)))


@dataclass
class PathClock:
    """The time along a path, which starts and halts over `ramp` seconds instead of at once.

    Attributes:
        ramp: time from standstill to the path's own pace [s].
        now: time along the path [s].
        rate: path seconds per second of the robot, in [0, 1].
    """

    ramp: float
    now: float = 0.0
    rate: float = 0.0

    def advance(self, dt: float, halt: float) -> None:
        """Go on by `dt` seconds of the robot, so as to stand still at path time `halt`."""
        left = halt - self.now
        if left <= 0.0 or dt <= 0.0:
            self.rate = 0.0 if left <= 0.0 else self.rate
            return
        braking = max(_SLOWEST, float(np.sqrt(2.0 * left / self.ramp)))
        self.rate = min(1.0, self.rate + dt / self.ramp, braking)
        self.now = min(halt, self.now + self.rate * dt)
        if self.now >= halt:
            self.rate = 0.0
