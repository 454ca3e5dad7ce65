"""The whole graph for benchmarks: in separate processes, on its own domain and address."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from benchmarks.execution_sim import FAULT_SERVICE, SPEED_TOPIC
from kalm_core.errors import KalmError, Outcome
from kalm_core.learning import LearningSettings, learn_from_demonstrations
from kalm_core.planning.robot_model import RobotModel
from kalm_core.robot.joint_line import joint_line
from kalm_core.se3 import Array
from kalm_interfaces.action import ExecuteSkill, ExecuteTrajectory
from kalm_ros import conversions as c
from kalm_ros.client import GraphClient
from kalm_ros.laboratory_operator import LaboratoryOperator
from kalm_ros.node_table import NodeEntry, select_nodes
from kalm_ros.private_graph import free_domain, free_loopback
from kalm_ros.supervisor import Supervisor
from kalm_sim.laboratory import STILL_SPEED
from kalm_sim.synthetic import free_view, make_demonstration

SKILL = "open_top_drawer"
TASK = "open the top drawer"
NEW_SCENES = 1000
"""Seeds from here on are of scenes that no demonstration shows."""

TIMEOUT = 180.0
"""Of one goal [s, wall]."""


@dataclass(frozen=True)
class StandInEntry(NodeEntry):
    """A node whose module another one takes the place of."""

    by: str = ""

    @property
    def module(self) -> str:
        """The module that `python -m` runs."""
        return self.by


@dataclass(frozen=True)
class Ended:
    """How a goal ended: outcome, its sentence, and seconds by phase in their order."""

    outcome: Outcome
    message: str
    seconds: dict[str, float]


class Bench:
    """A running graph, its operator, and the arm's true speed.

    Attributes:
        supervisor: of the nodes.
        client: of the graph.
        operator: the person beside the arm.
        speeds: (wall time [s], simulated time [s], fastest joint [rad/s]), the last minute.
        lines: what the nodes said, with the wall time of each line [s].
    """

    def __init__(self, supervisor: Supervisor, client: GraphClient, lines: deque[Any]) -> None:
        self.supervisor, self.client, self.lines = supervisor, client, lines
        self._robot = RobotModel.load()
        self.operator = LaboratoryOperator(client, self._robot)
        self.speeds: deque[tuple[float, float, float]] = deque(maxlen=6000)
        client.listen(
            SPEED_TOPIC, Float64MultiArray, lambda m: self.speeds.append(tuple(map(float, m.data)))
        )
        self._view: Array | None = None

    def joints(self) -> Array:
        """Return the (7,) joints [rad] that robot_node publishes."""
        return c.joint_state_from_ros(self.client.read_topic("joint_states", JointState, 20.0))[0]

    def begin(self, seed: int, view: int = 0) -> None:
        """Put a new scene before the arm and look at it."""
        scene = self.operator.change_scene(seed)
        rng = np.random.default_rng([seed, 5, view])
        self._view = free_view(scene, rng, self._robot).joints
        self.operator.look(scene, np.random.default_rng([seed, 5, view]))

    def at_view(self) -> bool:
        """Tell whether the arm is where it looks at the present scene from."""
        assert self._view is not None
        return bool(np.abs(self.joints() - self._view).max() < 0.01)

    def look(self) -> None:
        """Bring the arm back to the view of the present scene, if it is elsewhere.

        Raises:
            KalmError: it did not get there.
        """
        if not self.at_view():
            ended = self.end(self.move(self._view))
            if ended.outcome is not Outcome.SUCCEEDED:
                raise KalmError(f"the way back ended in {ended.outcome.name}: {ended.message}")

    def move(self, target: Array, speed: float = 1.0) -> Any:
        """Begin a free motion of the simulated operator."""
        path = joint_line(self.joints(), target, speed)
        message = c.joint_path_to_ros(path, c.header_to_ros(0, c.BASE_FRAME))
        goal = ExecuteTrajectory.Goal(joint_path=message, speed_scale=1.0)
        return self.client.send_goal("robot/execute_trajectory", ExecuteTrajectory, goal)

    def start(
        self,
        mode: int = ExecuteSkill.Goal.RUN,
        hear: Callable[[Any], None] | None = None,
        action: str = "execute_skill",
    ) -> Any:
        """Begin the skill at full speed."""
        goal = ExecuteSkill.Goal(skill=SKILL, mode=mode, speed_scale=1.0)
        return self.client.send_goal(action, ExecuteSkill, goal, hear)

    def end(self, handle: Any) -> Ended:
        """Wait for a goal's end."""
        result = self.client.wait(handle.get_result_async(), TIMEOUT, "the result").result
        phases = getattr(result, "phases", [])
        spent: dict[str, float] = {}
        for name, seconds in zip(phases, getattr(result, "seconds", []), strict=True):
            spent[name] = spent.get(name, 0.0) + float(seconds)
        return Ended(Outcome(result.outcome.code), result.outcome.message, spent)

    def plan_only(self) -> Ended:
        """Plan without moving."""
        return self.end(self.start(ExecuteSkill.Goal.VIEW_ONLY))

    def trigger(self, service: str) -> Trigger.Response:
        """Call a service without arguments."""
        return self.client.call_service(service, Trigger, Trigger.Request(), 60.0)

    def fault(self, name: str) -> None:
        """Bring a fault about.

        Raises:
            KalmError: the laboratory could not.
        """
        response = self.trigger(FAULT_SERVICE.format(name))
        if not response.success:
            raise KalmError(f"the fault {name} was not injected: {response.message}")

    def is_still(self, seconds: float = 0.5) -> bool:
        """Tell by the simulator's truth whether the arm is still from `seconds` from now on."""
        time.sleep(seconds)
        begin = time.time()
        time.sleep(seconds)
        now = [speed for wall, _, speed in list(self.speeds) if wall > begin]
        return bool(now) and max(now) < STILL_SPEED

    def standstill(self, begin: float) -> tuple[float, float] | None:
        """Return wall and simulated time from `begin` [s, wall] until the arm stayed still.

        None where it did not move at `begin`, or still moves.
        """
        after = [sample for sample in list(self.speeds) if sample[0] >= begin]
        moving = [i for i, sample in enumerate(after) if sample[2] >= STILL_SPEED]
        if not moving or moving[0] > 2 or moving[-1] + 1 >= len(after):
            return None
        end = after[moving[-1] + 1]
        return end[0] - begin, end[1] - after[0][1]


def learned_skills(folder: Path) -> Path:
    """Return a folder with the skill in it, learned from ten rendered demonstrations if absent."""
    if not (folder / SKILL / "skill.yaml").is_file():
        demonstrations = [make_demonstration(seed, frames=2)[0] for seed in range(10)]
        learn_from_demonstrations(SKILL, TASK, demonstrations, folder, LearningSettings())
    return folder.resolve()


@contextmanager
def running(
    skills: Path,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    stand_ins: Mapping[str, str] | None = None,
) -> Iterator[Bench]:
    """Start the graph, and end every process of it afterwards.

    Args:
        skills: folder with the skill.
        parameters: by node name, beside those that the benchmark needs.
        stand_ins: node name -> module that takes its place.
    """
    os.environ["ROS_DOMAIN_ID"] = str(free_domain())
    host = free_loopback()
    places = {"sim_node": "benchmarks.execution_sim", **(stand_ins or {})}
    entries = []
    for entry in select_nodes(learning=False):
        if entry.name in places:
            fields = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
            entries.append(StandInEntry(**fields, by=places[entry.name]))
        else:
            entries.append(replace(entry))
    given: dict[str, dict[str, Any]] = {
        "sim_node": {"host": host, "seed": NEW_SCENES},
        "robot_node": {"robot.host": host},
    }
    for name in ("keypoint_node", "trajectory_node", "skill_node"):
        given[name] = {"skills": str(skills)}
    for name, values in (parameters or {}).items():
        given.setdefault(name, {}).update(values)
    lines: deque[tuple[float, str]] = deque(maxlen=5000)
    with Supervisor(
        entries, given, echo=lambda line: lines.append((time.time(), line))
    ) as supervisor:
        supervisor.wait_ready(180.0)
        with GraphClient("benchmark") as client:
            yield Bench(supervisor, client, lines)


class Reached:
    """Feedback of a goal: an event that is set where a condition holds for the first time.

    Attributes:
        event: set once.
        at: wall time of it [s].
        began: phase -> wall time of its first feedback [s].
    """

    def __init__(self, condition: Callable[[Any], bool] = lambda _: False) -> None:
        self._condition = condition
        self.event = threading.Event()
        self.at = 0.0
        self.began: dict[str, float] = {}

    def __call__(self, feedback: Any) -> None:
        """Take a feedback message."""
        self.began.setdefault(feedback.phase, time.time())
        if not self.event.is_set() and self._condition(feedback):
            self.at = time.time()
            self.event.set()


def load_note() -> str:
    """Say how busy the machine is."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
