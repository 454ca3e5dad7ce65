"""Faults that can be put into the simulated laboratory, at the seam where the real things fail.

franky-sim raises no reflex, loses no connection and closes its hand always. What is injected here:

- A reflex. The forces on the robot that MuJoCo knows (contacts with what is not robot, and a push
  that is applied to the hand) are summed and filtered; above `REFLEX_FORCE` a moving arm is stopped
  and the protocol says what the real arm says: `kReflexAborted` for the motion, mode reflex
  and the error `cartesian_reflex` in every state, and no new motion until it was recovered. Not
  injected: the real arm's own estimate of that force from its joint torques, with its noise.
- A connection that is dropped: the arm's sockets are closed in the middle of a motion; the arm
  holds where it is, as the real one does, and listens for a new client.
- Fingers that are stuck, and a drawer that is: damping in their joints that nothing overcomes.
- A part without substance: the fingers close on nothing, as where the object is not where it was
  seen.
- A camera that shows the same image for ever, with its old stamp.
- A camera that sits elsewhere in the hand than the hand-eye transform says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
from franky_sim.franka_robot_protocol import (
    AutomaticErrorRecoveryCommand,
    BaseCommand,
    MoveStatus,
    RobotCommand,
    RobotMode,
)
from franky_sim.franka_robot_server import FrankaRobotServer
from franky_sim.franka_robot_state import FrankaRobotState
from franky_sim.simulation_server import LocalHostnames, SimulationServer

from kalm_core.se3 import Array
from kalm_sim.camera import FLIP, WRIST_CAMERA
from kalm_sim.laboratory import Capture, Laboratory
from kalm_sim.posed_scene import ROBOT
from kalm_sim.tasks.registry import TASKS

REFLEX_FORCE = 30.0
"""Filtered force on the robot at which it stops itself [N]; `RobotSettings.collision_force`."""

PUSH = (0.0, 45.0, 45.0)
"""Force of a push on the hand, in the base frame [N]."""

PUSH_TIME = 0.3
"""How long a push lasts [s, simulated], unless the arm stops itself before."""

STUCK = 1e6
"""Damping of a joint that is stuck [Ns/m]: 100 N move it by 0.1 mm in a second."""

GUARD_PERIOD = 0.005
"""Time between two looks of the guard at the forces [s, simulated]."""

FILTER_TIME = 0.05
"""The arm reacts to forces that last, not to every impact: time constant of its filter [s]."""

SHIFT = 0.03
"""How far a camera is put away from its place [m]."""

_CARTESIAN_REFLEX = 7  # its place among the errors of libfranka


class _Recovery(AutomaticErrorRecoveryCommand):  # type: ignore[misc]
    """The command after which the arm moves again."""

    def handle(self, server: Any) -> None:
        server.clear_reflex()
        super().handle(server)


class ReflexRobotServer(FrankaRobotServer):  # type: ignore[misc]
    """franky-sim's arm, which can stop itself as the real one does."""

    def __init__(self, robot: Any, hostnames: Any) -> None:
        self._reflex = False
        super().__init__(robot, hostnames)
        # the table of commands is private there, and there is no other way to hear of a recovery
        self._FrankaServer__command_class_map[RobotCommand.kAutomaticErrorRecovery] = _Recovery

    def start_reflex(self) -> None:
        """Stop as by a force over the threshold."""
        self._reflex = True
        motion = self.current_motion_id
        self.stop_motion(send_preemption_signal=False)
        if motion:
            BaseCommand.send_response(
                self._tcp_socket, RobotCommand.kMove, motion, MoveStatus.kReflexAborted
            )
            self.reset_current_motion_id()

    def clear_reflex(self) -> None:
        """Let the arm move again."""
        self._reflex = False

    def start_motion(self, *arguments: Any) -> None:
        """Begin a motion, unless the arm waits to be recovered (franky-sim's hook)."""
        if self._reflex:
            raise RuntimeError("the arm is in its reflex mode")
        super().start_motion(*arguments)

    @property
    def robot_state(self) -> FrankaRobotState:
        """The state that is sent, with the reflex in it."""
        state = super().robot_state
        if not self._reflex:
            return state
        errors = tuple(i == _CARTESIAN_REFLEX for i in range(len(state.errors)))
        return state.replace(robot_mode=RobotMode.kReflex, errors=errors, reflex_reason=errors)


class _Server(SimulationServer):  # type: ignore[misc]
    """Serves arms that have reflexes."""

    def init(self) -> None:
        for robot in self.sim.robots:
            server = ReflexRobotServer(robot, self._remaining_hostname_candidates)
            server.init()
            self.robot_servers.append(server)
        self.sim.start()


class FaultyLaboratory(Laboratory):
    """A laboratory in which things can be made to fail; without a fault it is the ordinary one.

    Faults act at once and from any thread. `clear` takes them back, and so does another scene,
    except for the frozen camera and the reflex, which ends by the arm's own recovery.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        hostname = options.get("hostname", arguments[1] if len(arguments) > 1 else None)
        self._server = _Server(
            self._simulator, LocalHostnames() if hostname is None else [hostname]
        )
        self._frozen: Capture | None = None
        self._force = 0.0
        self._looked = 0.0
        self._push_ends = -1.0
        self._undo: list[Callable[[], None]] = []
        self._simulator.register_post_step_callback(self._guard)

    @property
    def faults(self) -> dict[str, Callable[[], None]]:
        """Every fault by name, and `clear`."""
        return {
            "push": self.push,
            "jam_object": self.jam_object,
            "jam_fingers": self.jam_fingers,
            "hollow_part": self.hollow_part,
            "drop_connection": self.drop_connection,
            "freeze_camera": self.freeze_camera,
            "shift_camera_x": lambda: self.shift_camera(0),
            "shift_camera_y": lambda: self.shift_camera(1),
            "shift_camera_z": lambda: self.shift_camera(2),
            "clear": self.clear,
        }

    def push(self) -> None:
        """Push the hand for a moment, as somebody who runs into it."""

        def begin() -> None:
            data = self._simulator.data
            data.xfrc_applied[self._hand()][:3] = PUSH
            self._push_ends = float(data.time) + PUSH_TIME

        self._between_steps(begin)

    def jam_object(self) -> None:
        """Make the joints of the task's object stick."""

        def jam() -> None:
            for name in TASKS[self._simulator.current.task].joints:
                self._stick(int(self._simulator.model.joint(name).dofadr[0]))

        self._between_steps(jam)

    def jam_fingers(self) -> None:
        """Make the fingers stick where they are."""

        def jam() -> None:
            for address in self._simulator.addresses.finger_speed:
                self._stick(address)

        self._between_steps(jam)

    def hollow_part(self) -> None:
        """Take the substance from the part that is gripped; it looks as before."""

        def hollow() -> None:
            model = self._simulator.model
            task = TASKS[self._simulator.current.task]
            for geom in range(model.ngeom):
                body = model.body(int(model.geom_bodyid[geom])).name
                material = int(model.geom_matid[geom])
                if material >= 0 and task.is_part(body, model.material(material).name):
                    self._change(model.geom_contype, geom, 0)
                    self._change(model.geom_conaffinity, geom, 0)

        self._between_steps(hollow)

    def drop_connection(self) -> None:
        """Close the arm's sockets; a new client may connect."""
        self._between_steps(self._server.robot_servers[0].reset_state)

    def freeze_camera(self) -> None:
        """Show the present image from now on, with its stamp."""
        self._frozen = super().capture()

    def shift_camera(self, axis: int) -> None:
        """Put the camera in the hand `SHIFT` away along an axis of its optical frame."""

        def shift() -> None:
            model = self._simulator.model
            camera = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, WRIST_CAMERA)
            turn = np.zeros(9)
            mujoco.mju_quat2Mat(turn, model.cam_quat[camera])
            along: Array = turn.reshape(3, 3) @ FLIP[:3, axis]
            self._change(model.cam_pos, camera, model.cam_pos[camera] + SHIFT * along)

        self._between_steps(shift)

    def clear(self) -> None:
        """Take the faults back that are in scene and camera; an arm in reflex stays so."""

        def restore() -> None:
            self._simulator.data.xfrc_applied[self._hand()] = 0.0
            while self._undo:
                self._undo.pop()()

        self._frozen = None
        self._between_steps(restore)

    def capture(self) -> Capture:
        """Return what the camera in the hand sees, or what it saw when it was frozen."""
        return self._frozen or super().capture()

    def motion(self) -> tuple[float, float]:
        """Return the simulated time [s] and how fast the fastest joint moves [rad/s]."""

        def read() -> tuple[float, float]:
            simulator = self._simulator
            speeds = simulator.data.qvel[simulator.addresses.arm_speed]
            return float(simulator.data.time), float(np.abs(speeds).max())

        return self._between_steps(read)

    def _hand(self) -> int:
        return int(self._simulator.model.body(f"{ROBOT}hand").id)

    def _stick(self, dof: int) -> None:
        self._change(self._simulator.model.dof_damping, dof, STUCK)

    def _change(self, values: Any, index: int, value: Any) -> None:
        """Set one entry of a model's table, and remember what it was."""
        before = np.copy(values[index])

        def undo() -> None:
            values[index] = before

        self._undo.append(undo)
        values[index] = value

    def _guard(self, simulator: Any) -> None:
        """Raise the reflex where the forces on the robot exceed what it bears (after each step)."""
        data = simulator.data
        if 0.0 < self._push_ends < data.time:
            data.xfrc_applied[self._hand()] = 0.0
            self._push_ends = -1.0
        passed = float(data.time) - self._looked
        if 0.0 <= passed < GUARD_PERIOD:
            return
        self._looked = float(data.time)
        share = min(1.0, abs(passed) / FILTER_TIME)
        self._force += share * (force_on_robot(simulator) - self._force)
        if self._force > REFLEX_FORCE and self._follows_motion():
            self._push_ends = self._looked
            self._server.robot_servers[0].start_reflex()


def force_on_robot(simulator: Any) -> float:
    """Return the length of the sum of all forces from outside on the robot [N].

    A sum of vectors, so that what the fingers squeeze does not count.

    Args:
        simulator: between two steps.
    """
    model, data = simulator.model, simulator.data
    hand = int(model.body(f"{ROBOT}hand").id)
    total = np.array(data.xfrc_applied[hand][:3])
    inside = np.zeros(6)
    for index in range(data.ncon):
        contact = data.contact[index]
        bodies = model.geom_bodyid[[contact.geom1, contact.geom2]]
        robot = [model.body(int(body)).name.startswith(ROBOT) for body in bodies]
        if robot[0] != robot[1]:
            mujoco.mj_contactForce(model, data, index, inside)
            force = np.asarray(contact.frame).reshape(3, 3).T @ inside[:3]
            total += force if robot[1] else -force
    return float(np.linalg.norm(total))
