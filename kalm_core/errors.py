"""The outcomes that a goal can end in, and the errors that lead to them."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Outcome(IntEnum):
    """How a goal ended; the numbers are those of `kalm_interfaces/msg/Outcome`."""

    SUCCEEDED = 0
    CANCELLED = 1

    BAD_GOAL = 10
    UNKNOWN_SKILL = 11
    BUSY = 12
    BAD_BUNDLE = 13
    BAD_CONFIG = 14
    BACKEND_UNAVAILABLE = 15

    NO_IMAGE = 20
    KEYPOINTS_NOT_FOUND = 21
    CALIBRATION_MISMATCH = 22

    NO_FEASIBLE_TRAJECTORY = 30
    PLANNER_FAILED = 31

    ROBOT_ERROR = 40
    REFLEX = 41
    CONNECTION_LOST = 42
    GRIPPER_EMPTY = 43
    GRIPPER_BLOCKED = 44
    TRACKING_ERROR = 45
    MOTION_REFUSED = 46
    CLIENT_GONE = 47
    TOO_SLOW = 48

    BAD_DEMONSTRATION = 50
    DISTILLATION_FAILED = 51

    INTERNAL_ERROR = 99


class KalmError(Exception):
    """Base of every error of the suite.

    Args:
        problem: what is wrong, naming the value and what was expected instead.
        remedy: what the reader can do about it; empty when nothing can be done.
    """

    outcome: ClassVar[Outcome] = Outcome.INTERNAL_ERROR

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem.strip().rstrip(".")
        self.remedy = remedy.strip().rstrip(".")
        super().__init__(". ".join(part for part in (self.problem, self.remedy) if part) + ".")


class GoalError(KalmError):
    """A request that cannot be meant: empty, out of range, contradictory."""

    outcome = Outcome.BAD_GOAL


class UnknownSkillError(KalmError):
    """No skill of that name is in the skill folder."""

    outcome = Outcome.UNKNOWN_SKILL


class BusyError(KalmError):
    """Another goal runs and this one would have to wait."""

    outcome = Outcome.BUSY


class BundleError(KalmError):
    """A skill folder is incomplete, altered, or of another schema version."""

    outcome = Outcome.BAD_BUNDLE


class ConfigError(KalmError):
    """A configuration file or parameter has an unknown name or a value out of range."""

    outcome = Outcome.BAD_CONFIG


class BackendUnavailableError(KalmError):
    """A chosen backend lacks its package, weights, key or device."""

    outcome = Outcome.BACKEND_UNAVAILABLE


class VlmError(BackendUnavailableError):
    """The vision-language model is not reached in time, or answers nothing that can be used."""


class NoImageError(KalmError):
    """No usable RGB-D frame came from the camera in time."""

    outcome = Outcome.NO_IMAGE


class KeypointsNotFoundError(KalmError):
    """The keypoint detection function φ answered Null for too many keypoints."""

    outcome = Outcome.KEYPOINTS_NOT_FOUND


class CalibrationError(KalmError):
    """The tool frame or the camera's place in the hand is not what the settings say."""

    outcome = Outcome.CALIBRATION_MISMATCH


class NoFeasibleTrajectoryError(KalmError):
    """None of the sampled trajectories can be reached and followed."""

    outcome = Outcome.NO_FEASIBLE_TRAJECTORY


class PlannerFailedError(KalmError):
    """The planner ended in an exception of its own; nothing is known to be free."""

    outcome = Outcome.PLANNER_FAILED


class RobotError(KalmError):
    """The arm or the gripper refused, stopped or lost a motion."""

    outcome = Outcome.ROBOT_ERROR


class ReflexError(RobotError):
    """The arm's own safety stopped it: a contact force or torque over its threshold."""

    outcome = Outcome.REFLEX


class ConnectionLostError(RobotError):
    """The arm does not answer any more."""

    outcome = Outcome.CONNECTION_LOST


class GripperEmptyError(RobotError):
    """The fingers closed on nothing where something was to be held."""

    outcome = Outcome.GRIPPER_EMPTY


class GripperBlockedError(RobotError):
    """The fingers did not reach their opening, or not in time."""

    outcome = Outcome.GRIPPER_BLOCKED


class TrackingError(RobotError):
    """The tool was farther from its path than allowed."""

    outcome = Outcome.TRACKING_ERROR


class MotionRefusedError(RobotError):
    """A motion is not certified, was altered, is old, or does not start where the arm is."""

    outcome = Outcome.MOTION_REFUSED


class ClientGoneError(RobotError):
    """Whoever asked for a motion fell silent while the arm moved."""

    outcome = Outcome.CLIENT_GONE


class TooSlowError(RobotError):
    """The program that moves the arm, or the way to it, could not keep up."""

    outcome = Outcome.TOO_SLOW


class DemonstrationError(KalmError):
    """A bag cannot teach: unreadable, cut short, without depth, without motion."""

    outcome = Outcome.BAD_DEMONSTRATION


class DistillationError(KalmError):
    """No proposed part could be found again in enough demonstrations (Algorithm 1 failed)."""

    outcome = Outcome.DISTILLATION_FAILED


class CancelledError(KalmError):
    """The caller asked to stop; whatever was half done has been undone."""

    outcome = Outcome.CANCELLED

    def __init__(self, what: str = "the work") -> None:
        super().__init__(f"{what} was cancelled")
