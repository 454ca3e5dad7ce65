"""What has been shown about a motion before the arm moves, and where it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from kalm_core.se3 import Array
from kalm_core.settings import Settings

FailureKind = Literal[
    "start",
    "stamps",
    "pose",
    "jump",
    "position",
    "velocity",
    "acceleration",
    "jerk",
    "singularity",
    "collision",
    "exception",
]

WORDS: dict[FailureKind, str] = {
    "start": "do not start where the arm is",
    "stamps": "have time stamps that cannot be followed",
    "pose": "have joints that miss their poses",
    "jump": "jump between two poses",
    "position": "leave the joints' positions",
    "velocity": "exceed the joints' velocities",
    "acceleration": "exceed the joints' accelerations",
    "jerk": "exceed the joints' jerks",
    "singularity": "pass close to a singular posture",
    "collision": "touch something outside the contact",
    "exception": "could not be checked",
}


class CertificateSettings(Settings):
    """What a motion has to keep to be certified."""

    sweep_step: float = Field(
        0.005,
        ge=0.001,
        le=0.005,
        description="no point of the arm moves farther between two collision checks [m]",
    )
    start_tolerance: float = Field(
        0.02, ge=0.001, le=0.05, description="a motion must start this near the arm [rad]"
    )
    pose_tolerance: float = Field(
        0.002, ge=0.0001, le=0.01, description="joints may miss their pose by this [m]"
    )
    turn_tolerance: float = Field(
        0.01, ge=0.0001, le=0.1, description="joints may miss their pose by this [rad]"
    )
    longest_step: float = Field(
        1.0, ge=0.01, le=2.0, description="longest time between two stamps [s]"
    )
    candidates: int = Field(
        3, ge=1, le=32, description="certified trajectories among which the best is chosen"
    )


@dataclass(frozen=True)
class Failure:
    """Why a motion is not certified.

    Attributes:
        kind: what was violated.
        part: "approach", "execution" or "retreat".
        pose: index in that part's path before which it happens.
        link: the link that touches; empty for the other kinds.
        point: (3,) where, in the base frame [m]; None for the other kinds.
        centimetres: how far inside an obstacle, or how far off a pose; 0 where that says nothing.
        text: all of it in plain words.
    """

    kind: FailureKind
    part: str
    pose: int
    text: str
    link: str = ""
    point: Array | None = None
    centimetres: float = 0.0


@dataclass(frozen=True)
class Certificate:
    """The answer of `Certifier.certify`. Shares are of the FR3's limits: above 1 is too much.

    Attributes:
        failure: why the motion may not be executed; None when it may.
        clearance: estimate of the smallest distance to what was seen, outside the contact [m];
            the guaranteed one is the setting `obstacles.clearance`.
        joint_margin: smallest distance of a joint from its position limits [rad].
        velocity, acceleration, jerk: largest share of the joints' limits.
        manipulability: smallest sqrt(det(J J^T)) of the execution.
        checks: postures whose collisions were checked.
        seconds: how long the check took on the wall clock [s].
    """

    failure: Failure | None
    clearance: float = 0.0
    joint_margin: float = 0.0
    velocity: float = np.inf
    acceleration: float = np.inf
    jerk: float = np.inf
    manipulability: float = 0.0
    checks: int = 0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the motion may be executed."""
        return self.failure is None

    @property
    def margin(self) -> float:
        """How far from failing, in [0, 1]: the smallest of all margins; 0 when it failed.

        1 stands for 5 cm of clearance, 0.5 rad from a joint's end, a joint at rest, and ten times
        the least manipulability that matters.
        """
        if not self.passed:
            return 0.0
        shares = (
            self.clearance / 0.05,
            self.joint_margin / 0.5,
            1.0 - self.velocity,
            1.0 - self.acceleration,
            self.manipulability / 0.1,
        )
        return float(np.clip(min(shares), 0.0, 1.0))

    def __str__(self) -> str:
        """Say it in one plain sentence."""
        if self.failure is not None:
            return f"not certified: {self.failure.text}"
        return (
            f"certified: {self.clearance * 100:.1f} cm clear, {self.joint_margin:.2f} rad from the "
            f"joint limits, at most {self.velocity * 100:.0f} % of the speed limits"
        )
