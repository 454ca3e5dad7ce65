"""Contact motion: an end-effector trajectory streamed to a Cartesian impedance tracker."""

from __future__ import annotations

from typing import Any

import franky
import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation, RotationSpline

from kalm_core.errors import GoalError, GripperBlockedError, GripperEmptyError, RobotError
from kalm_core.robot.arm_state import ArmState
from kalm_core.robot.client_limits import JOINT_LOWER, JOINT_UPPER
from kalm_core.robot.gripper_driver import GripperDeadline, GripperDriver
from kalm_core.robot.gripper_switches import GripperSwitch, gripper_switches
from kalm_core.robot.joint_follower import friction_compensation
from kalm_core.robot.path_clock import calmed_stamps, shortest_pose_steps, stretched_stamps
from kalm_core.robot.path_follower import PathFollower, fading
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.se3 import Array, make_pose, rotation_angle
from kalm_core.trajectory import EndEffectorTrajectory

_NEAR = 0.002  # [m], a settled tool
_COMMANDED = 0.001  # [m], an opening that says "closed" and not how far
_READING = 0.15  # [s], in which the hand's width is read again


class EePathFollower(PathFollower):
    """Follows an `EndEffectorTrajectory` compliantly, waiting wherever the hand has to move."""

    stage = "ee_path"

    def __init__(  # noqa: PLR0917 (a controller has many inputs)
        self,
        trajectory: EndEffectorTrajectory,
        now: ArmState,
        gripper: GripperDriver,
        speed_scale: float,
        settings: RobotSettings,
        posture: Array | None = None,
    ) -> None:
        """Check the trajectory against the arm.

        Args:
            trajectory: the path.
            now: where the arm is.
            gripper: the hand.
            speed_scale: in (0, 1].
            settings: tolerances and gains.
            posture: (7,) joints [rad] that the elbow is drawn to; None: those of `now`.

        Raises:
            GoalError: the posture is not 7 finite numbers.
            RobotError: the path starts elsewhere.
        """
        if posture is not None and (posture.shape != (7,) or not np.isfinite(posture).all()):
            raise GoalError(f"the posture is {posture}, expected 7 finite joint positions [rad]")
        poses, T_base_ee = trajectory.T_base_ee, now.T_base_ee
        away = float(np.linalg.norm(poses[0, :3, 3] - T_base_ee[:3, 3]))
        turn = float(rotation_angle(poses[0], T_base_ee))
        if away > settings.start_position_tolerance or turn > settings.start_rotation_tolerance:
            raise RobotError(
                f"the end-effector path starts {away:.3f} m and {turn:.3f} rad from the tool, "
                f"allowed are {settings.start_position_tolerance} m and "
                f"{settings.start_rotation_tolerance} rad",
                "plan again from where the arm is now",
            )
        stamps = stretched_stamps(
            trajectory.stamps,
            speed_scale,
            shortest_pose_steps(poses, settings.tool_speed, settings.tool_turn_rate),
        )
        stamps = calmed_stamps(stamps, poses[:, :3, 3], settings.tool_acceleration)
        super().__init__(settings, float(stamps[-1]))
        self._posture = now.q if posture is None else posture
        self._position = PchipInterpolator(stamps, poses[:, :3, 3])
        self._velocity = self._position.derivative()
        rotations = Rotation.from_matrix(poses[:, :3, :3])
        self._rotation = RotationSpline(stamps, rotations)
        self._offset = T_base_ee[:3, 3] - poses[0, :3, 3]
        self._offset_turn = (
            Rotation.from_matrix(T_base_ee[:3, :3]) * rotations[0].inv()
        ).as_rotvec()
        self._target = T_base_ee
        self._end = poses[-1, :3, 3]
        self._gripper = gripper
        self._switches = [
            (float(stamps[switch.pose]), switch)
            for switch in gripper_switches(
                trajectory.gripper, gripper.width, settings.gripper_switch
            )
        ]
        self._waiting: GripperDeadline | None = None
        self._ended: float | None = None
        self._before = gripper.width
        self._tracker: Any = None

    def start(self, robot: Any) -> None:
        """Take control of an idle `franky.Robot`, holding it where it is."""
        s = self._settings
        self._tracker = franky.CartesianImpedanceTracker(
            robot,
            translational_stiffness=s.translational_stiffness,
            rotational_stiffness=s.rotational_stiffness,
            translational_error_clip=np.full(3, s.translational_error_clip),
            rotational_error_clip=np.full(3, s.rotational_error_clip),
            posture_task=franky.PostureTask(self._posture, s.posture_stiffness),
            friction=friction_compensation(s),
            lower_joint_limits=JOINT_LOWER,
            upper_joint_limits=JOINT_UPPER,
        )

    def tick(self, robot: Any, state: Any, dt: float) -> bool:
        """Send the next pose, or wait for the hand; return True when done and settled."""
        reached = state.O_T_EE.matrix[:3, 3]
        self._note_error(self._target[:3, 3], reached)
        self._clock.advance(dt, self._switches[0][0] if self._switches else self._duration)
        now = self._clock.now
        turned = Rotation.from_rotvec(fading(now) * self._offset_turn) * self._rotation(now)
        self._target = make_pose(
            turned.as_matrix(), self._position(now) + fading(now) * self._offset
        )
        twist = franky.Twist(
            self._velocity(now) * self._clock.rate, self._rotation(now, 1) * self._clock.rate
        )
        self._tracker.set_target(franky.Affine(self._target), twist)
        if self._switches and now >= self._switches[0][0]:
            self._move_gripper(state.time.to_sec())
            return False
        return self._settled(dt, bool(np.linalg.norm(reached - self._end) < _NEAR))

    def end(self) -> None:
        """Stop the hand if it still moves."""
        if self._waiting is not None:
            self._gripper.abort()

    def _move_gripper(self, robot_time: float) -> None:
        """Begin the switch that the arm waits for, or see whether it has ended."""
        if self._waiting is None:
            switch = self._switches[0][1]
            force = self._settings.gripper_force if switch.closing else 0.0
            opening = float(np.clip(switch.opening, 0.0, 0.08))
            self._waiting = self._gripper.deadline(robot_time)
            self._before = self._gripper.width
            self._gripper.start(opening, self._settings.gripper_speed, force)
        elif not self._gripper.finished():
            self._waiting.check(robot_time)
        elif not self._has_read(robot_time):
            return
        else:
            self._waiting, self._ended = None, None
            self._demand_reached(self._switches.pop(0)[1])

    def _has_read(self, robot_time: float) -> bool:
        """Return whether the width was read again since the hand ended its command."""
        if self._ended is None:
            self._ended = robot_time
        return robot_time - self._ended > _READING

    def _demand_reached(self, switch: GripperSwitch) -> None:
        """Judge where the fingers ended; learned commands say open or closed, not how wide.

        Raises:
            GripperEmptyError: fingers that closed on the way, to hold something, met nothing.
            GripperBlockedError: the fingers stuck.
        """
        s, width = self._settings, self._gripper.width
        told = switch.opening > 2 * s.gripper_empty  # a measured width, not only a command
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
        stayed = moves and abs(width - self._before) < 0.5 * s.gripper_switch < short
        if stayed or (short > s.gripper_blocked and (told or not switch.closing)):
            raise GripperBlockedError(
                f"{said}: something blocks them", "check the fingers and what is between them"
            )
