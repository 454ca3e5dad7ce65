"""Contact motion: an end-effector trajectory, in the joints that were planned for it, compliantly.

The tool is held in its own space (J^T K J), which makes it as compliant in every posture. That says
nothing about the elbow, so a little stiffness in the joints keeps it where it was certified.
"""

from __future__ import annotations

from typing import Any

import franky
import numpy as np
from scipy.interpolate import PchipInterpolator

from kalm_core.errors import (
    GoalError,
    GripperBlockedError,
    GripperEmptyError,
    RobotError,
    TrackingError,
)
from kalm_core.fr3_limits import HAND_OPENING
from kalm_core.planning.pace import feasible_stamps
from kalm_core.robot.arm_state import ArmState
from kalm_core.robot.client_limits import JOINT_LOWER, JOINT_UPPER, JOINT_VELOCITY
from kalm_core.robot.compliance import bounded_error
from kalm_core.robot.gripper_driver import (
    FRESH,
    GripperDeadline,
    GripperDriver,
    demand_known_opening,
)
from kalm_core.robot.gripper_switches import GRIPPER_SWITCH, GripperSwitch, gripper_switches
from kalm_core.robot.joint_follower import check_limits, check_start, friction_compensation
from kalm_core.robot.path_clock import (
    calmed_stamps,
    shortest_joint_steps,
    shortest_pose_steps,
    stretched_stamps,
)
from kalm_core.robot.path_follower import PathFollower
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import Array, rotation_angle
from kalm_core.trajectory import EndEffectorTrajectory

_NAME = "end-effector path"
_NEAR = (0.002, 0.03)  # [m] a settled tool, [rad] settled joints
_MISSED = (0.01, 0.05)  # [m], [rad] by which the joints may miss the poses that they stand for
_COMMANDED = 0.001  # [m], an opening that says "closed" and not how far


class EePathFollower(PathFollower):
    """Follows an `EndEffectorTrajectory` compliantly, waiting wherever the hand has to move."""

    stage = "ee_path"

    def __init__(  # noqa: PLR0917 (a controller has many inputs)
        self,
        trajectory: EndEffectorTrajectory,
        joints: Array,
        now: ArmState,
        gripper: GripperDriver,
        speed_scale: float,
        settings: RobotSettings,
    ) -> None:
        """Check the trajectory against the arm.

        Args:
            trajectory: the path.
            joints: (N, 7) that reach its poses on one continuous branch [rad].
            now: where the arm is.
            gripper: the hand.
            speed_scale: in (0, 1].
            settings: tolerances and gains.

        Raises:
            GoalError: the joints are not 7 finite numbers for every pose.
            RobotError: the path starts elsewhere, or leaves the joint limits.
        """
        poses, T_base_ee = trajectory.T_base_ee, now.T_base_ee
        if joints.shape != (len(poses), 7) or not np.isfinite(joints).all():
            raise GoalError(
                f"the joints of the end-effector path have shape {joints.shape}, expected finite "
                f"({len(poses)}, 7)"
            )
        check_limits(joints, _NAME)
        away = float(np.linalg.norm(poses[0, :3, 3] - T_base_ee[:3, 3]))
        turn = float(rotation_angle(poses[0], T_base_ee))
        if away > settings.start_position_tolerance or turn > settings.start_rotation_tolerance:
            raise RobotError(
                f"the end-effector path starts {away:.3f} m and {turn:.3f} rad from the tool, "
                f"allowed are {settings.start_position_tolerance} m and "
                f"{settings.start_rotation_tolerance} rad",
                "plan again from where the arm is now",
            )
        check_start(joints[0], now.q, settings.start_joint_tolerance, _NAME)
        shortest = np.maximum(
            shortest_pose_steps(poses, settings.tool_speed, settings.tool_turn_rate),
            shortest_joint_steps(joints, np.minimum(JOINT_VELOCITY, settings.joint_velocity)),
        )
        stamps = stretched_stamps(trajectory.stamps, speed_scale, shortest)
        stamps = feasible_stamps(joints, stamps)  # a single slow step brakes the others' joints
        stamps = calmed_stamps(stamps, poses[:, :3, 3], settings.tool_acceleration)
        super().__init__(settings, float(stamps[-1]))
        self._joints = PchipInterpolator(stamps, joints)
        self._velocity = self._joints.derivative()
        self._position = PchipInterpolator(stamps, poses[:, :3, 3])
        self._offset, self._joint_offset = T_base_ee[:3, 3] - poses[0, :3, 3], now.q - joints[0]
        self._target = T_base_ee[:3, 3]
        self._poses, self._last = poses, joints[-1]
        self._gripper = gripper
        self._switches = [
            (float(stamps[switch.pose]), switch)
            for switch in gripper_switches(trajectory.gripper, now.gripper_width)
        ]
        self._waiting: GripperDeadline | None = None
        self._read_at_end: int | None = None
        self._before = now.gripper_width
        self._tracker: Any = None

    def start(self, robot: Any) -> None:
        """Take control of an idle `franky.Robot`, holding it where it is.

        Raises:
            RobotError: the joints lead the robot's tool elsewhere than the poses say.
        """
        s, state = self._settings, robot.state
        for index, q in enumerate(self._joints(self._joints.x)):
            self._demand_at_pose(index, _tool(robot, state, q))
        self._tracker = franky.JointImpedanceTracker(
            robot,
            stiffness=np.array(s.elbow_stiffness),
            cartesian_stiffness=np.repeat([s.translational_stiffness, s.rotational_stiffness], 3),
            friction=friction_compensation(s),
            lower_joint_limits=JOINT_LOWER,
            upper_joint_limits=JOINT_UPPER,
        )

    def _demand_at_pose(self, index: int, T_base_ee: Array) -> None:
        wanted = self._poses[index]
        away = float(np.linalg.norm(T_base_ee[:3, 3] - wanted[:3, 3]))
        turn = float(rotation_angle(T_base_ee, wanted))
        if not (away <= _MISSED[0] and turn <= _MISSED[1]):
            raise RobotError(
                f"the joints of pose {index + 1} put the tool {away:.3f} m and {turn:.3f} rad from "
                f"it, allowed are {_MISSED[0]} m and {_MISSED[1]} rad",
                "check that the end effector in Desk is the hand, and plan again",
            )

    def tick(self, robot: Any, state: Any, dt: float) -> bool:
        """Send the next joints, or wait for the hand; return True when done and settled.

        Raises:
            TrackingError: the elbow is kept from its path.
            GripperEmptyError, GripperBlockedError: the hand ended elsewhere than it was told.
        """
        s, q, reached = self._settings, np.asarray(state.q), state.O_T_EE.matrix[:3, 3]
        self._note_error(self._target, reached)
        halt = self._switches[0][0] if self._switches else self._duration
        now, offset = self._advance(dt, halt)
        self._target = self._position(now) + offset * self._offset
        wanted = self._joints(now) + offset * self._joint_offset
        error, share = bounded_error(
            wanted - q,
            robot.model.zero_jacobian(franky.Frame.EndEffector, state),
            s.translational_error_clip,
            s.rotational_error_clip,
            s.elbow_error_clip,
        )
        self._tracker.set_target(q + error, self._velocity(now) * self._clock.rate * share)
        off = float(np.abs(wanted - q).max())
        if off > s.joint_error_limit:
            raise TrackingError(
                f"a joint is {off:.2f} rad from its path, allowed are {s.joint_error_limit} rad",
                "check what holds the arm",
            )
        if self._switches and now >= self._switches[0][0]:
            self._move_gripper(state.time.to_sec())
            return False
        away = float(np.linalg.norm(reached - self._poses[-1, :3, 3]))
        joints_near = bool(np.abs(q - self._last).max() < _NEAR[1])
        return self._settled(dt, away < _NEAR[0] and joints_near)

    def end(self) -> None:
        """Stop the hand if it still moves."""
        if self._waiting is not None:
            self._gripper.abort()

    def _move_gripper(self, robot_time: float) -> None:
        """Begin the switch that the arm waits for, or see whether it has ended."""
        if self._waiting is None:
            switch = self._switches[0][1]
            force = self._settings.gripper_force if switch.closing else 0.0
            opening = float(np.clip(switch.opening, 0.0, HAND_OPENING))
            self._waiting = self._gripper.deadline(robot_time)
            self._before = self._gripper.width
            self._gripper.start(opening, self._settings.gripper_speed, force)
        elif self._gripper.finished() and self._has_read():
            self._waiting, self._read_at_end = None, None
            self._demand_reached(self._switches.pop(0)[1])
        else:
            self._waiting.check(robot_time)

    def _has_read(self) -> bool:
        """Return whether the width was read again since the hand ended its command."""
        if self._read_at_end is None:
            self._read_at_end = self._gripper.readings
        return self._gripper.readings >= self._read_at_end + FRESH

    def _demand_reached(self, switch: GripperSwitch) -> None:
        """Judge where the fingers ended; learned commands say open or closed, not how wide.

        Raises:
            GripperEmptyError: fingers that closed on the way, to hold something, met nothing.
            GripperBlockedError: the fingers stuck.
        """
        s, width = self._settings, self._gripper.width
        told = switch.opening > 2 * s.gripper_empty  # a measured width, not only a command
        demand_known_opening(width, self._gripper.error)
        said = f"the fingers ended at {width * 1000:.1f} mm"
        if told:
            said += f" instead of about {switch.opening * 1000:.0f} mm"
        holds = switch.closing and switch.pose > 0 and (told or switch.opening < _COMMANDED)
        if holds and width < s.gripper_empty:
            raise GripperEmptyError(
                f"{said}: nothing is between them",
                "open the hand, check that the object is where it was seen, then try again",
            )
        short = width - switch.opening if switch.closing else switch.opening - width
        # at pose 0 they may close on what they hold already
        moves = switch.pose > 0 or not switch.closing
        stayed = moves and abs(width - self._before) < 0.5 * GRIPPER_SWITCH < short
        if stayed or (short > s.gripper_blocked and (told or not switch.closing)):
            raise GripperBlockedError(
                f"{said}: something blocks them", "check the fingers and what is between them"
            )


def _tool(robot: Any, state: Any, q: Array) -> Array:
    """Return the (4, 4) pose of the robot's tool in the base frame for (7,) joints [rad]."""
    pose = robot.model.pose(franky.Frame.EndEffector, q, state.F_T_EE, state.EE_T_K)
    return np.asarray(pose.matrix)
