"""Certified motions between their message and the core's values, and the digest of a message."""

from __future__ import annotations

import numpy as np
from trajectory_msgs.msg import JointTrajectory

from kalm_core.bags.topics import ARM_JOINTS
from kalm_core.errors import GoalError, MotionRefusedError
from kalm_core.planning.certificate import Certificate
from kalm_core.planning.digest import digest
from kalm_core.planning.motion import Motion
from kalm_core.trajectory import EndEffectorTrajectory, JointPath
from kalm_interfaces.msg import Certificate as CertificateMsg
from kalm_interfaces.msg import CertifiedMotion
from kalm_ros.conversions import (
    BASE_FRAME,
    header_to_ros,
    joint_path_from_ros,
    joint_path_to_ros,
    trajectory_from_ros,
    trajectory_to_ros,
)

_SAME_TIME = 1e-6  # [s], to which stamps in messages are rounded and more


def motion_to_ros(
    motion: Motion, certificate: Certificate, stamp: int, gripper: float
) -> CertifiedMotion:
    """Return the message of a certified motion, digest included.

    Args:
        motion: the motion.
        certificate: of it.
        stamp: of the image that it was planned from [ns].
        gripper: opening of the fingers then [m].

    Raises:
        GoalError: the certificate says no.
    """
    if not certificate.passed:
        raise GoalError(f"the motion is {certificate}")
    header = header_to_ros(stamp, BASE_FRAME)
    return _sealed(
        CertifiedMotion(
            header=header,
            approach=joint_path_to_ros(motion.approach, header),
            execution=trajectory_to_ros(motion.execution, stamp),
            execution_joints=joint_path_to_ros(motion.execution_path, header),
            retreat=joint_path_to_ros(motion.retreat, header),
            certificate=certificate_to_ros(certificate),
            gripper=gripper,
        )
    )


def view_motion_to_ros(path: JointPath, stamp: int, gripper: float) -> CertifiedMotion:
    """Return the message of a free motion that was checked; otherwise as `motion_to_ros`."""
    header = header_to_ros(stamp, BASE_FRAME)
    approach = joint_path_to_ros(path, header)
    return _sealed(CertifiedMotion(header=header, approach=approach, gripper=gripper))


def certificate_to_ros(certificate: Certificate) -> CertificateMsg:
    """Return the message of a certificate that passed."""
    return CertificateMsg(
        clearance=float(certificate.clearance),
        joint_margin=float(certificate.joint_margin),
        velocity=float(certificate.velocity),
        acceleration=float(certificate.acceleration),
        jerk=float(certificate.jerk),
        manipulability=float(certificate.manipulability),
        checks=int(certificate.checks),
        seconds=float(certificate.seconds),
    )


def motion_from_ros(
    message: CertifiedMotion,
) -> tuple[JointPath, EndEffectorTrajectory | None, JointPath | None, JointPath | None]:
    """Return approach, execution, its joints, and retreat; the last three may be None.

    Raises:
        GoalError: there is no approach, or values that make no path.
    """
    approach = joint_path_from_ros(message.approach)
    if approach is None:
        raise GoalError("the motion has no approach")
    execution = trajectory_from_ros(message.execution)
    joints = joint_path_from_ros(message.execution_joints)
    demand_matching(execution, joints)
    return approach, execution, joints, joint_path_from_ros(message.retreat)


def demand_matching(execution: EndEffectorTrajectory | None, joints: JointPath | None) -> None:
    """Pass when an execution and the joints that follow it are both there, with the same times.

    Raises:
        GoalError: they are not.
    """
    if (execution is None) != (joints is None):
        raise GoalError("there is an execution without its joints, or the reverse")
    if execution is None or joints is None:
        return
    if len(joints.stamps) != len(execution.stamps):
        raise GoalError(
            f"the execution has {len(execution.stamps)} poses and {len(joints.stamps)} postures"
        )
    apart = float(np.abs(joints.stamps - execution.stamps).max())
    if apart > _SAME_TIME:
        raise GoalError(
            f"the execution and its joints are up to {apart:.3f} s apart, expected the same times"
        )


def motion_digest(message: CertifiedMotion) -> str:
    """Return the digest of a motion's numbers as they stand in its message.

    Raises:
        MotionRefusedError: a point of a joint path does not hold 7 positions.
    """
    positions = [(p.position.x, p.position.y, p.position.z) for p in message.execution.poses]
    turns = [
        (p.orientation.x, p.orientation.y, p.orientation.z, p.orientation.w)
        for p in message.execution.poses
    ]
    stamp = message.header.stamp
    numbers = {
        "planned": np.array([stamp.sec, stamp.nanosec]),
        "gripper": np.array([message.gripper]),
        "execution/positions": np.array(positions).reshape(-1, 3),
        "execution/turns": np.array(turns).reshape(-1, 4),
        "execution/gripper": np.array(message.execution.gripper),
        "execution/stamps": np.array(message.execution.time_from_start),
    }
    for part in ("approach", "execution_joints", "retreat"):
        path: JointTrajectory = getattr(message, part)
        if path.points and list(path.joint_names) != list(ARM_JOINTS):
            raise MotionRefusedError(
                f"the motion's {part} is for {', '.join(path.joint_names) or 'no joints'}, "
                f"expected {', '.join(ARM_JOINTS)} in this order",
                "let planning_node plan it",
            )
        for index, point in enumerate(path.points):
            if len(point.positions) != len(ARM_JOINTS):
                raise MotionRefusedError(
                    f"point {index + 1} of the motion's {part} holds {len(point.positions)} "
                    f"positions, expected {len(ARM_JOINTS)}",
                    "let planning_node plan it",
                )
        numbers[f"{part}/positions"] = np.array([list(p.positions) for p in path.points])
        numbers[f"{part}/stamps"] = np.array(
            [(p.time_from_start.sec, p.time_from_start.nanosec) for p in path.points]
        ).reshape(-1, 2)
    return digest(numbers)


def _sealed(message: CertifiedMotion) -> CertifiedMotion:
    message.digest = motion_digest(message)
    return message
