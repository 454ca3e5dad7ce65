"""The last look before the arm moves: is this motion the certified one, and does it start here?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kalm_core.errors import GoalError, MotionRefusedError
from kalm_core.planning.limits import derivative_shares, position_margin
from kalm_core.robot.client_limits import JOINT_LOWER, JOINT_UPPER
from kalm_core.se3 import Array
from kalm_core.trajectory import JointPath

_START = 0.01  # [rad], from the resting arm to the start; the way from farther off is not certified
_JOIN = 1e-3  # [rad], between the end of a part and the start of the next
_WIDER = 0.002  # [m], by which a hand at rest is read differently from time to time
_PLAN_AGAIN = "plan again from where the arm is now"


def demand_same(stated: str, found: str) -> None:
    """Compare digests.

    Raises:
        MotionRefusedError: the motion has none, or is not the one that was certified.
    """
    if not stated:
        raise MotionRefusedError("the motion carries no certificate", "let planning_node plan it")
    if stated != found:
        raise MotionRefusedError(
            f"the motion's digest is {found[:12]}..., it was certified as {stated[:12]}...",
            "plan again; something altered the motion on its way",
        )


def demand_fresh(age: float, allowed: float) -> None:
    """Compare the age [s] of what a plan was made from with what is allowed.

    Raises:
        MotionRefusedError: it is too old, or from the future.
    """
    if not -1.0 <= age <= allowed:
        raise MotionRefusedError(
            f"the image that the motion was planned from is {age:.1f} s old, allowed are "
            f"{allowed} s",
            _PLAN_AGAIN,
        )


def demand_no_wider(planned: float, now: float) -> None:
    """Compare the opening of the fingers [m] with that for which the motion was certified.

    Raises:
        MotionRefusedError: they are wider now, or one of the two is not known.
    """
    if not now <= planned + _WIDER:
        raise MotionRefusedError(
            f"the fingers are {now * 1000:.0f} mm apart, the motion was certified for "
            f"{planned * 1000:.0f} mm",
            "plan again; nobody may move the hand in between",
        )


def speed_within(asked: float, most: float) -> float:
    """Return at which share of full speed to move.

    Args:
        asked: by whoever wants the motion, in (0, 1]; 0 leaves it to the arm's owner.
        most: that the arm's owner allows, in (0, 1].

    Raises:
        GoalError: what was asked is no share.
    """
    if asked == 0.0:
        return most
    if not 0.0 < asked <= 1.0:
        raise GoalError(f"speed_scale is {asked}, expected a number in (0, 1], or 0 for {most}")
    return min(asked, most)


def demand_executable(parts: Sequence[tuple[str, JointPath]], q: Array) -> None:
    """Check start and limits of a motion's parts anew, whoever has certified it.

    Args:
        parts: name and joint path of each, in order.
        q: (7,) where the arm is [rad].

    Raises:
        MotionRefusedError: it starts elsewhere, its parts do not meet, or a limit is exceeded.
    """
    end, tolerance = q, _START
    for name, path in parts:
        away = np.abs(path.positions[0] - end)
        if not away.max() <= tolerance:
            raise MotionRefusedError(
                f"the {name} starts {away.max():.3f} rad away at joint {int(away.argmax()) + 1}, "
                f"allowed are {tolerance} rad",
                _PLAN_AGAIN,
            )
        end, tolerance = path.positions[-1], _JOIN
        worst = position_margin(path.positions, JOINT_LOWER, JOINT_UPPER)
        if not worst.share >= 0.0:
            raise MotionRefusedError(
                f"the {name} puts joint {worst.joint + 1} {-worst.share:.3f} rad outside its limits"
            )
        words = ("velocity", "acceleration", "jerk")
        for word, found in zip(words, derivative_shares(path), strict=True):
            if not found.share <= 1.0 + 1e-6:
                raise MotionRefusedError(
                    f"the {name} needs {found.share * 100:.0f} % of joint {found.joint + 1}'s "
                    f"{word} limit before pose {found.pose + 1}"
                )
