"""What the arm and the hand are doing now."""

from __future__ import annotations

from dataclasses import dataclass

from kalm_core.se3 import Array


@dataclass(frozen=True)
class ArmState:
    """One reading of the robot.

    Attributes:
        time: the robot's own clock [s]; it stands still when the robot does.
        q: (7,) fr3_joint1..7 [rad].
        dq: (7,) joint speeds [rad/s].
        T_base_ee: (4, 4) pose of `fr3_hand_tcp` in `fr3_link0`.
        gripper_width: distance between the fingers [m], read a few times a second; NaN before the
            first reading and when the hand does not answer.
        moving: a motion is being executed or the arm is still being brought to rest.
        mode: franky's name of what the arm's controller does, such as "Idle", "Move", "Reflex",
            "Guiding" or "UserStopped".
        errors: names of the arm's and the hand's errors, empty when all is well.
    """

    time: float
    q: Array
    dq: Array
    T_base_ee: Array
    gripper_width: float
    moving: bool
    mode: str
    errors: tuple[str, ...]
