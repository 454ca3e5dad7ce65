"""The laboratory with physics: the arm answers the real arm's protocol, cameras see the scene.

One thread steps MuJoCo and serves the arm; one renders. Whoever wants something of the state asks
the first one, which answers between two steps, so that pictures and truth are of one instant.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

import mujoco
import numpy as np
from franky_sim.simulation_server import LocalHostnames, SimulationServer
from numpy.typing import NDArray

from kalm_core.errors import BusyError, GoalError, RobotError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.lockstep import StateSender, take_command
from kalm_sim.mjcf import TWIN
from kalm_sim.painter import Instant, Painter
from kalm_sim.posed_scene import robot_contacts
from kalm_sim.scene import SceneParameters, SceneTruth, draw_scene, scene_truth
from kalm_sim.simulator import ArmPosture, SceneSimulator
from kalm_sim.tasks.registry import TASKS

T = TypeVar("T")
TICK = 0.001
"""Time between two states of the arm [s]."""
SLOW_TICK = 0.02
"""Time on the wall between two of them while nobody waits for the arm [s]."""
STILL_SPEED = 0.02
"""Joint speed below which the arm counts as still [rad/s]."""
SETTLE_TIME = 2.0
"""How long a reset waits for an arm that follows no motion to come to rest [s, simulated]."""
ANSWER_TIMEOUT = 10.0
"""Longest wait for the simulating thread [s]; a step takes about a millisecond."""


@dataclass(frozen=True)
class Capture:
    """One image of the camera in the hand.

    Attributes:
        frame: the image; its stamp is the wall clock [ns] of the instant it shows.
        robot_time: the simulation's time of that instant [s].
        joints: (7,) posture of the arm at that instant [rad].
    """

    frame: RgbdFrame
    robot_time: float
    joints: Array


class Laboratory:
    """A simulated FR3 at its table, reached by franky at `hostname`.

    Args:
        scene: the first scene; None takes that of seed 0.
        hostname: loopback address to serve at; None takes the first free one.
        realtime: False steps as fast as the client answers while the arm moves; True never faster
            than the wall clock.
        noise: of the depth sensor; None takes the defaults.
        hand_eye: where the camera sits; None takes the default mount.
        seed: of the depth noise.
    """

    def __init__(  # noqa: PLR0917  # all of them are parameters of one node
        self,
        scene: SceneParameters | None = None,
        hostname: str | None = None,
        realtime: bool = True,
        noise: DepthNoiseSettings | None = None,
        hand_eye: HandEyeSettings | None = None,
        seed: int = 0,
    ) -> None:
        T_ee_cam = (hand_eye or HandEyeSettings()).T_ee_cam
        self._simulator = SceneSimulator(scene or draw_scene(0), T_ee_cam)
        candidates = LocalHostnames() if hostname is None else [hostname]
        self._server = SimulationServer(self._simulator, candidates)
        self._realtime = realtime
        self._idle_tick = TICK
        self._sender = StateSender()
        self._questions: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._failure: BaseException | None = None
        self._running = False
        self._physics = threading.Thread(target=self._run, name="kalm_sim physics", daemon=True)
        self._painter = Painter(noise, seed)
        self._reset_lock = threading.Lock()

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Serve the arm and let time run.

        Raises:
            RobotError: the address is in use.
            BackendUnavailableError: no off-screen renderer works here.
        """
        self._simulator.init()
        try:
            self._server.init()
        except OSError as error:
            raise RobotError(
                f"the simulated arm cannot be served: {error}",
                "stop the other simulator or choose another loopback address",
            ) from error
        # now, because nothing else in this process runs while the graphics come up
        self._painter.start(self._simulator.model)
        self._running = True
        self._physics.start()

    def close(self) -> None:
        """Stop time, the server and the cameras."""
        self._running = False
        if self._physics.is_alive():
            self._physics.join()
        self._server.cleanup()
        self._painter.close()
        if self._simulator.is_initialized and not self._simulator.is_cleaned_up:
            self._simulator.cleanup()

    def __enter__(self) -> Laboratory:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def hostname(self) -> str:
        """The loopback address of the arm and its gripper."""
        hostname = self._simulator.robot.hostname
        if hostname is None:
            raise RobotError("the laboratory is not started", "call `start` first")
        return str(hostname)

    @property
    def scene(self) -> SceneParameters:
        """The scene in the simulator now."""
        return self._simulator.current

    # -- the thread that steps -------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._running:
                self._tick()
                self._answer()
        except Exception as error:
            # kept for everybody who asks from now on: the thread has no caller to raise to
            self._failure = error
        finally:
            self._running = False
            self._answer()

    def _tick(self) -> None:
        """Go on by a millisecond; while the arm is idle there is no hurry."""
        start = time.perf_counter()
        server = self._simulator.robot.server
        take_command(server)
        self._simulator.step()
        self._sender.send(server)
        if self._realtime or not self._follows_motion():
            time.sleep(max(0.0, self._idle_tick - (time.perf_counter() - start)))

    @contextmanager
    def slowed(self) -> Iterator[None]:
        """Let time go slowly while the arm rests and somebody in this process thinks.

        A thousand steps a second would take much of the interpreter from what is waited for.
        """
        self._idle_tick = SLOW_TICK
        try:
            yield
        finally:
            self._idle_tick = TICK

    def _answer(self) -> None:
        """Answer what was asked since the last step."""
        while True:
            try:
                question, answer = self._questions.get_nowait()
            except Empty:
                return
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)

    def _between_steps(self, question: Callable[[], T]) -> T:
        """Let the stepping thread call `question` and return its answer.

        Raises:
            RobotError: the simulation has stopped.
        """
        if not self._running:
            raise RobotError(
                f"the simulation does not run: {self._failure or 'it is not started or is closed'}",
                "start the simulator again",
            )
        answer: Future[T] = Future()
        self._questions.put((question, answer))
        try:
            return answer.result(timeout=ANSWER_TIMEOUT)
        except FutureTimeoutError as error:
            raise RobotError(
                f"the simulation gave no answer within {ANSWER_TIMEOUT:.0f} s: "
                f"{self._failure or 'it hangs or the machine is overloaded'}",
                "start the simulator again",
            ) from error

    # -- the scene -------------------------------------------------------------------------------

    def reset(self, scene: SceneParameters, posture: ArmPosture | None = None) -> None:
        """Put another scene before the robot.

        Args:
            scene: the other scene.
            posture: where arm and fingers are put; None leaves them as they are.

        Raises:
            BusyError: the arm moves, or another reset is under way.
            GoalError: the arm would stand inside the new scene.
            RobotError: the simulation has stopped.
        """
        if not self._reset_lock.acquire(blocking=False):
            raise BusyError("the scene is being exchanged already")
        try:
            self._await_stillness()
            model, data = self._simulator.build(scene)  # takes about a second; time runs on

            def exchange() -> None:
                self._demand_stillness()
                self._simulator.carry_state(scene, model, data, posture)
                touched = [
                    pair
                    for pair in robot_contacts(model, data, depth=0.001)
                    if not all(name.startswith("robot0_") for name in pair)
                ]
                if touched:
                    raise GoalError(
                        f"scene {scene.seed} does not fit: {touched[0][0]} would touch "
                        f"{touched[0][1]}",
                        "move the arm to its ready posture first",
                    )
                self._simulator.exchange(scene, model, data, posture)

            self._between_steps(exchange)
        finally:
            self._reset_lock.release()

    def _await_stillness(self) -> None:
        """Wait up to `SETTLE_TIME` for the arm to swing out after a motion."""
        end = self.robot_time + SETTLE_TIME
        while True:
            try:
                self._between_steps(self._demand_stillness)
                return
            except BusyError:
                if self._between_steps(self._follows_motion) or self.robot_time > end:
                    raise
            time.sleep(0.01)

    def _follows_motion(self) -> bool:
        server = self._simulator.robot.server
        return server is not None and bool(server.current_motion_id)

    def _demand_stillness(self) -> None:
        if self._follows_motion():
            raise BusyError("the arm follows a motion", "wait for its end, then reset the scene")
        simulator = self._simulator
        speed = float(np.abs(simulator.data.qvel[simulator.addresses.arm_speed]).max())
        if speed > STILL_SPEED:
            raise BusyError(
                f"the arm moves at {speed:.2f} rad/s",
                "wait until it is still, then reset the scene",
            )

    def truth(self) -> SceneTruth:
        """Return where the object and its parts are now, and how far the task is done."""

        def read() -> SceneTruth:
            model, data = self._simulator.model, self._simulator.data
            scene = self._simulator.current
            if not scene.present:
                return scene_truth(scene)
            task = TASKS[scene.task]
            truth = scene_truth(scene, task.read_state(model, data, scene.target))
            if scene.twin is None:
                return truth
            twin = task.read_state(model, data, scene.twin, TWIN)
            return replace(truth, twin_progress=task.progress(twin))

        return self._between_steps(read)

    @property
    def robot_time(self) -> float:
        """The simulation's time [s]."""
        return self._between_steps(lambda: float(self._simulator.data.time))

    def contact_force(self) -> float:
        """Return the sum of the normal forces on the robot [N]."""

        def read() -> float:
            model, data = self._simulator.model, self._simulator.data
            total, force = 0.0, np.zeros(6)
            for index in range(data.ncon):
                contact = data.contact[index]
                bodies = model.geom_bodyid[[contact.geom1, contact.geom2]]
                robot = [model.body(int(body)).name.startswith("robot0_") for body in bodies]
                if robot[0] != robot[1]:
                    mujoco.mj_contactForce(model, data, index, force)
                    total += float(force[0])
            return total

        return self._between_steps(read)

    # -- the cameras -----------------------------------------------------------------------------

    def capture(self) -> Capture:
        """Return what the camera in the hand sees now; time runs on while it is rendered.

        Raises:
            RobotError: the simulation has stopped.
        """
        frame, instant = self._painter.wrist(self._instant)
        joints = np.array(instant.positions[self._simulator.addresses.arm])
        return Capture(frame, instant.robot_time, joints)

    def outside_image(self) -> NDArray[np.uint8]:
        """Return the (480, 640, 3) RGB image of the camera that looks on."""
        return self.outside_later()()

    def outside_later(self) -> Callable[[], NDArray[np.uint8]]:
        """Return what renders this instant's `outside_image` when it is called.

        A picture takes a third of a second, and most that tell why something failed are not wanted.
        """
        return partial(self._painter.outside, self._instant())

    def _instant(self) -> Instant:
        def copy() -> Instant:
            now = self._simulator.data
            return Instant(self._simulator.model, now.qpos.copy(), float(now.time), time.time_ns())

        return self._between_steps(copy)
