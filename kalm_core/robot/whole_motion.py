"""A certified motion on the arm: its parts one after the other."""

from __future__ import annotations

from collections.abc import Callable

from kalm_core.errors import GoalError, RobotError
from kalm_core.fr3_limits import HAND_OPENING
from kalm_core.progress import Progress
from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.gripper_driver import demand_known_opening
from kalm_core.robot.gripper_switches import opening_before
from kalm_core.robot.punctuality import Punctuality
from kalm_core.se3 import Array
from kalm_core.trajectory import EndEffectorTrajectory, JointPath

_WORDS = {"approach": "on the way there", "execution": "at work", "retreat": "on the way back"}


def do_motion(  # noqa: PLR0917 (the parts of a motion, in their order)
    arm: FrankyArm,
    approach: JointPath,
    execution: EndEffectorTrajectory | None,
    execution_joints: Array | None,
    retreat: JointPath | None,
    speed_scale: float = 1.0,
    progress: Progress | None = None,
) -> float:
    """Approach, execute and retreat, and wait.

    Args:
        arm: stands where the approach begins.
        approach: free joint motion.
        execution: followed compliantly; None: there is none.
        execution_joints: (N, 7) that reach its poses [rad]; None only without an execution.
        retreat: free joint motion; None: the arm stays.
        speed_scale: in (0, 1].
        progress: reports "approach/...", "execution/..." and "retreat/...".

    Returns:
        The largest tracking error of all parts [m]; `arm.punctuality` counts its late targets.

    Raises:
        GoalError: there is an execution without joints.
        ConnectionLostError: the hand does not answer.
        KalmError: as `FrankyArm.follow_joint_path`, `follow_ee_path` and `move_gripper` do; the
            text of a `RobotError` begins with the part in which it happened.
    """
    progress = progress or Progress()
    arm.punctuality = Punctuality(arm.settings.late_target)
    if execution is not None and execution_joints is None:
        raise GoalError("the execution comes without the joints that follow it", "plan again")
    errors = [0.0]

    def follow(name: str, move: Callable[[Progress], float]) -> None:
        def report(stage: str, fraction: float, text: str) -> None:
            progress.report(f"{name}/{stage}", fraction, text)

        try:
            errors.append(float(move(Progress(report, progress.should_stop))))
        except RobotError as error:
            raise type(error)(f"{_WORDS[name]}: {error.problem}", error.remedy) from error

    if execution is not None:
        state = arm.state()
        width = state.gripper_width
        demand_known_opening(width, ", ".join(state.errors))  # else the way there is in vain
        opening = opening_before(min(float(execution.gripper[0]), HAND_OPENING), width)
        if opening > width:
            arm.move_gripper(opening, 0.0, 0.0, progress)
    follow("approach", lambda p: arm.follow_joint_path(approach, speed_scale, p))
    if execution is not None and execution_joints is not None:
        follow(
            "execution",
            lambda p: arm.follow_ee_path(execution, execution_joints, speed_scale, p),
        )
    if retreat is not None:
        tolerance = arm.settings.retreat_joint_tolerance if execution is not None else None
        follow("retreat", lambda p: arm.follow_joint_path(retreat, speed_scale, p, tolerance))
    return max(errors)
