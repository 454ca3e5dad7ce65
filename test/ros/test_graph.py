"""The whole graph in separate processes, used as an ordinary rclpy client uses it.

One graph serves all tests of this file; each of them leaves the arm still, and in view of the
cabinet or somewhere else: whoever needs the view asks for it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.qos import qos_profile_action_status_default
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from kalm_core.bags import inspect_bag, read_demonstration
from kalm_core.correspondence import CorrespondenceSettings
from kalm_core.distillation import DistillationSettings
from kalm_core.errors import Outcome
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.learning import LearningSettings, learn_from_demonstrations
from kalm_core.planning.robot_model import RobotModel, RobotModelSettings
from kalm_core.policy.settings import PolicySettings
from kalm_core.robot.joint_line import joint_line
from kalm_core.skill import summarize_skill
from kalm_core.trajectory import EndEffectorTrajectory, JointPath
from kalm_interfaces.action import ExecuteSkill, ExecuteTrajectory, RecordDemonstration
from kalm_interfaces.srv import ListSkills
from kalm_ros import conversions as c
from kalm_ros.client import GraphClient
from kalm_ros.laboratory_operator import LaboratoryOperator
from kalm_ros.node_table import select_nodes
from kalm_ros.qos import LISTEN_SENSOR
from kalm_ros.supervisor import Supervisor
from kalm_sim.scene import draw_scene
from kalm_sim.synthetic import free_view, make_demonstration

pytestmark = pytest.mark.graph

SCENE = 1
SKILL = "open_top_drawer"
SUCCEEDED, CANCELED, ABORTED = 4, 5, 6
GOAL_TIMEOUT = 180.0


def learn_a_little(root: Path) -> None:
    """A skill from three demonstrations without physics, for the scenes that it has seen.

    Three say little about how much scores vary, hence the wide margins.
    """
    demonstrations = [make_demonstration(seed, frames=2)[0] for seed in (SCENE, 2, 3)]
    settings = LearningSettings(
        distillation=DistillationSettings(
            correspondence=CorrespondenceSettings(score_margin=0.12, part_margin=0.12)
        ),
        policy=PolicySettings(steps=60, folds=3),
    )
    learn_from_demonstrations(SKILL, "open the top drawer", demonstrations, root, settings)


class World:
    """The running graph and a client of it."""

    def __init__(self, supervisor: Supervisor, client: GraphClient, folder: Path) -> None:
        self.supervisor = supervisor
        self.client = client
        self.folder = folder
        robot = RobotModel(RobotModelSettings())
        self.operator = LaboratoryOperator(client, robot)
        view = free_view(draw_scene(SCENE), np.random.default_rng([SCENE, 5]), robot)
        self.view = view.joints
        self.stamps: list[float] = []
        client.node.create_subscription(JointState, "joint_states", self._hear, LISTEN_SENSOR)

        self.guided = False
        client.node.create_subscription(
            GoalStatusArray,
            "robot/guide_by_hand/_action/status",
            self._hear_status,
            qos_profile_action_status_default,
        )

    def _hear_status(self, message: GoalStatusArray) -> None:
        running = (GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_CANCELING)
        self.guided = any(status.status in running for status in message.status_list)

    def _hear(self, message: JointState) -> None:
        self.stamps.append(time.monotonic())

    def joints(self) -> np.ndarray:
        return c.joint_state_from_ros(self.client.read_topic("joint_states", JointState, 20.0))[0]

    def opening(self) -> float:
        return c.joint_state_from_ros(self.client.read_topic("joint_states", JointState, 20.0))[1]

    def move(self, target: np.ndarray, speed: float = 0.8):
        path = joint_line(self.joints(), target, speed)
        message = c.joint_path_to_ros(path, c.header_to_ros(0, c.BASE_FRAME))
        goal = ExecuteTrajectory.Goal(joint_path=message, speed_scale=1.0)
        return self.client.send_goal("robot/execute_trajectory", ExecuteTrajectory, goal)

    def end(self, handle):
        """Status, outcome and result of a goal."""
        answer = self.client.wait(handle.get_result_async(), GOAL_TIMEOUT, "the result")
        return answer.status, Outcome(answer.result.outcome.code), answer.result

    def look(self) -> None:
        """Bring the arm to where the camera sees the cabinet."""
        if np.abs(self.joints() - self.view).max() > 0.02:
            self.operator.change_scene(SCENE)
            _, outcome, result = self.end(self.move(self.view))
            assert outcome is Outcome.SUCCEEDED, result.outcome.message

    def start(self, skill=SKILL, mode=ExecuteSkill.Goal.RUN, on_feedback=None):
        goal = ExecuteSkill.Goal(skill=skill, mode=mode, speed_scale=1.0)
        return self.client.send_goal("execute_skill", ExecuteSkill, goal, on_feedback)

    def view_only(self):
        return self.end(self.start(mode=ExecuteSkill.Goal.VIEW_ONLY))

    def assert_still(self) -> None:
        before = self.joints()
        time.sleep(0.5)
        assert np.abs(self.joints() - before).max() < 2e-3

    def cancel(self, handle) -> None:
        self.client.wait(handle.cancel_goal_async(), 10.0, "the cancel")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    host = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
    learn_a_little(folder / "skills")
    skills = {"skills": str(folder / "skills")}
    overrides = {
        "sim_node": {"host": host, "seed": SCENE},
        "robot_node": {"robot.host": host},
        "keypoint_node": skills,
        "trajectory_node": skills,
        "skill_node": skills,
        "recorder_node": {"folder": str(folder / "demonstrations")},
        "learner_node": skills,
    }
    lines: list[str] = []
    with Supervisor(select_nodes(), overrides, echo=lines.append) as supervisor:
        supervisor.wait_ready(180.0)
        with GraphClient("graph_test") as client:
            yield World(supervisor, client, folder)
    print("\n".join(lines[-100:]))


def test_nobody_in_the_suite_listens_to_the_truth(world):
    node = world.client.node
    suite = {entry.name for entry in world.supervisor.entries}
    topics: list[str] = []
    end = time.monotonic() + 30.0
    while len(topics) < 4 or not suite <= set(node.get_node_names()):
        assert time.monotonic() < end, "the graph is not discovered"
        time.sleep(0.1)
        names = [name for name, _ in node.get_topic_names_and_types()]
        topics = [name for name in names if "/kalm_sim/truth/" in name]
    assert len(topics) == 4
    for topic in topics:
        listeners = {info.node_name for info in node.get_subscriptions_info_by_topic(topic)}
        assert not listeners & suite
        assert {info.node_name for info in node.get_publishers_info_by_topic(topic)} == {"sim_node"}


def test_the_skills_are_listed(world):
    skills = world.client.call_service("kalm/list_skills", ListSkills, ListSkills.Request()).skills
    assert [(skill.name, skill.demonstrations, skill.problem) for skill in skills] == [
        (SKILL, 3, "")
    ]


@pytest.mark.parametrize(
    ("skill", "outcome"), [("", Outcome.BAD_GOAL), ("close_it", Outcome.UNKNOWN_SKILL)]
)
def test_a_goal_without_a_known_skill_is_refused_with_a_sentence(world, skill, outcome):
    status, ended, result = world.end(world.start(skill=skill))
    assert (status, ended) == (ABORTED, outcome)
    assert result.outcome.message
    assert list(result.phases) == []


def test_view_only_plans_and_does_not_move(world):
    world.look()
    before = world.joints()
    status, outcome, result = world.view_only()
    assert (status, outcome) == (SUCCEEDED, Outcome.SUCCEEDED), result.outcome.message
    assert list(result.phases) == ["detect", "predict", "plan"]
    assert np.abs(world.joints() - before).max() < 2e-3


def test_states_come_at_50_hz_while_the_arm_moves(world):
    world.look()
    start = len(world.stamps)
    begin = time.monotonic()
    target = world.view.copy()
    target[0] += 0.5
    assert world.end(world.move(target))[1] is Outcome.SUCCEEDED
    rate = (len(world.stamps) - start) / (time.monotonic() - begin)
    assert rate > 50.0


def test_the_stop_service_stops_the_arm_until_somebody_recovers(world):
    target = world.view.copy()
    target[0] += 0.8 if world.joints()[0] < world.view[0] + 0.2 else -0.6
    handle = world.move(target, speed=0.3)
    time.sleep(1.5)
    assert world.client.call_service("robot/stop", Trigger, Trigger.Request()).success
    status, outcome, result = world.end(handle)
    assert (status, outcome) == (ABORTED, Outcome.ROBOT_ERROR)
    assert "stopped" in result.outcome.message
    world.assert_still()
    assert np.abs(world.joints() - target).max() > 0.05
    assert world.end(world.move(world.view))[1] is Outcome.MOTION_REFUSED  # nobody recovered
    assert world.client.call_service("robot/recover", Trigger, Trigger.Request()).success
    assert world.end(world.move(world.view))[1] is Outcome.SUCCEEDED


def test_the_scripted_operator_recovers_once_and_goes_on(world):
    assert world.client.call_service("robot/stop", Trigger, Trigger.Request()).success
    world.operator.persistently(lambda: world.operator.look_at_new(SCENE))
    np.testing.assert_allclose(world.joints(), world.view, atol=0.02)


@pytest.mark.parametrize(
    ("joints", "problem"), [(None, "without its joints"), (47, "48 poses and 47 postures")]
)
def test_a_tool_path_without_its_joints_moves_nothing(world, joints, problem):
    world.look()
    before = world.joints()
    T_base_ee = np.repeat(RobotModel.load().forward(before)[None], 48, axis=0)
    still = EndEffectorTrajectory(T_base_ee, np.full(48, 0.05), np.linspace(0.0, 2.0, 48))
    away = joint_line(before, before + 0.2, 0.8)
    header = c.header_to_ros(0, c.BASE_FRAME)
    goal = ExecuteTrajectory.Goal(
        joint_path=c.joint_path_to_ros(away, header),
        ee_path=c.trajectory_to_ros(still, 0),
        speed_scale=1.0,
    )
    if joints is not None:
        path = JointPath(np.repeat(before[None], joints, axis=0), still.stamps[:joints])
        goal.ee_joints = c.joint_path_to_ros(path, header)
    handle = world.client.send_goal("robot/execute_trajectory", ExecuteTrajectory, goal)
    _, outcome, result = world.end(handle)
    assert outcome is Outcome.BAD_GOAL and problem in result.outcome.message
    assert np.abs(world.joints() - before).max() < 2e-3


@pytest.mark.parametrize("phase", ["detect", "predict", "plan", "execute"])
def test_a_cancel_in_any_phase_leaves_the_arm_still_and_the_next_goal_works(world, phase):
    world.look()
    reached = threading.Event()

    def hear(feedback) -> None:
        if feedback.phase == phase and (phase != "execute" or feedback.progress > 0.1):
            reached.set()

    handle = world.start(on_feedback=hear)
    assert reached.wait(GOAL_TIMEOUT)
    world.cancel(handle)
    status, outcome, result = world.end(handle)
    assert (status, outcome) == (CANCELED, Outcome.CANCELLED)
    assert result.phases[-1] == phase
    assert len(result.phases) == len(result.seconds)
    world.assert_still()
    world.look()
    status, outcome, result = world.view_only()
    assert (status, outcome) == (SUCCEEDED, Outcome.SUCCEEDED), result.outcome.message


def test_a_goal_while_another_runs_is_refused_and_does_not_disturb_it(world):
    world.look()
    running = threading.Event()
    first = world.start(mode=ExecuteSkill.Goal.VIEW_ONLY, on_feedback=lambda _: running.set())
    assert running.wait(GOAL_TIMEOUT)
    assert world.end(world.start())[:2] == (ABORTED, Outcome.BUSY)
    status, outcome, result = world.end(first)
    assert (status, outcome) == (SUCCEEDED, Outcome.SUCCEEDED), result.outcome.message


def test_the_skill_runs_through_all_phases_and_the_drawer_moves(world):
    world.look()
    status, outcome, result = world.end(world.start())
    assert (status, outcome) == (SUCCEEDED, Outcome.SUCCEEDED), result.outcome.message
    assert list(result.phases) == ["detect", "predict", "plan", "execute"]
    assert all(seconds > 0 for seconds in result.seconds)
    world.assert_still()
    opening = world.client.read_topic("kalm_sim/truth/drawer_opening", Float64MultiArray)
    assert opening.data[0] > 0.02


def kalm(*arguments: str) -> subprocess.Popen[str]:
    """Start `kalm` as an operator does."""
    pipe = subprocess.PIPE
    line = [sys.executable, "-m", "kalm_core.cli", *arguments]
    return subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def said(process: subprocess.Popen[str], typed: str = "") -> tuple[int, str]:
    """Exit code and everything that was printed, on one line."""
    out, err = process.communicate(typed, timeout=GOAL_TIMEOUT)
    return process.returncode, " ".join((out + err).split())


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_operators_commands_say_how_it_ended(world):
    world.look()
    code, text = said(kalm("do", SKILL, "--view-only"))
    assert code == 0 and "The arm was not moved" in text, text
    code, text = said(kalm("do", "close_it"))
    assert code == 1 and text.startswith("UNKNOWN_SKILL: no skill 'close_it' is in")
    assert said(kalm("hand", "0.05")) == (0, "The gripper is open by 50 mm.")
    code, text = said(kalm("hand", "0.05", "--force", "20"))
    assert code == 1 and "no width to reach" in text
    assert said(kalm("stop")) == (0, "The arm has stopped.")
    code, text = said(kalm("hand", "0.08"))
    assert code == 1 and "robot/stop" in text and "robot/recover" in text
    assert said(kalm("recover")) == (0, "The arm is ready.")
    assert said(kalm("hand", "0.08"))[0] == 0


def test_another_scene_is_looked_at_from_where_the_skill_was_shown(world):
    code, text = said(kalm("scene", "--seed", "2"))
    assert (code, text) == (0, "Scene 2 of the task drawer is before the robot.")
    code, text = said(kalm("look", SKILL))
    assert code == 0 and "go to view" in text, text
    view = summarize_skill(world.folder / "skills" / SKILL).view
    assert np.abs(world.joints() - view).max() < 0.02


def test_a_demonstration_is_recorded_until_enter(world):
    recording = kalm("record", "typed")
    bag = world.folder / "demonstrations" / "typed"
    wait_until(bag.with_name("typed.recording").is_dir)
    time.sleep(2.0)
    code, text = said(recording, "\n")
    assert code == 0 and f"kalm demonstrations {bag}" in text, text
    assert all(topic.messages > 0 for topic in inspect_bag(bag).topics)


def test_a_recording_whose_terminal_is_closed_is_no_demonstration(world):
    recording = kalm("record", "left")
    bag = world.folder / "demonstrations" / "left"
    wait_until(bag.with_name("left.recording").is_dir)
    recording.send_signal(signal.SIGHUP)
    code, text = said(recording)
    assert code == 130 and text.endswith("the recording was cancelled.")
    assert not bag.exists() and not bag.with_name("left.recording").exists()


def test_a_demonstration_is_shown_by_hand_with_keys_for_the_fingers(world):
    world.look()
    assert said(kalm("hand", "0.05"))[0] == 0
    showing = kalm("record", "shown", "--guide")
    wait_until((world.folder / "demonstrations" / "shown.recording").is_dir)
    wait_until(lambda: world.guided)
    assert world.end(world.move(world.view))[1] is Outcome.BUSY
    assert showing.stdin is not None
    showing.stdin.write("c\n")
    showing.stdin.flush()
    wait_until(lambda: world.opening() < 0.01)
    code, text = said(showing, "\n")
    assert code == 0 and "kalm demonstrations" in text, text
    assert np.abs(world.joints() - world.view).max() < 0.05  # nobody pushed it
    assert world.end(world.move(world.view))[1] is Outcome.SUCCEEDED  # and it holds again


def test_guiding_ends_with_where_the_tool_is(world):
    guiding = kalm("guide")
    wait_until(lambda: world.guided)
    code, text = said(guiding, "\n")
    x, y, z = RobotModel.load().forward(world.joints())[:3, 3]
    assert code == 0
    told = [float(word) for word in text.partition("its tool at ")[2].split()[:3]]
    assert told == pytest.approx([x, y, z], abs=2e-3)


def test_a_guided_arm_holds_when_the_operator_is_gone(world):
    guiding = kalm("guide")
    wait_until(lambda: world.guided)
    guiding.kill()
    guiding.wait()
    wait_until(lambda: not world.guided)
    assert world.end(world.move(world.view))[1] is Outcome.SUCCEEDED


def test_ctrl_c_on_the_command_line_stops_the_arm(world):
    world.look()
    working = kalm("do", SKILL, "--speed", "0.3")
    end = time.monotonic() + GOAL_TIMEOUT
    while np.abs(world.joints() - world.view).max() < 0.05:
        assert time.monotonic() < end and working.poll() is None
    working.send_signal(signal.SIGINT)
    code, text = said(working)
    world.assert_still()
    assert code == 130 and text.endswith(f"{SKILL} was cancelled.")


def test_a_scene_without_the_cabinet_is_recognised_and_the_arm_stays(world):
    world.operator.change_scene(SCENE, empty=True)
    assert world.end(world.move(world.view))[1] is Outcome.SUCCEEDED
    before = world.joints()
    status, outcome, result = world.end(world.start())
    assert (status, outcome) == (ABORTED, Outcome.KEYPOINTS_NOT_FOUND), result.outcome.message
    assert list(result.phases) == ["detect"]
    assert np.abs(world.joints() - before).max() < 2e-3


def test_a_finished_demonstration_survives_kill_9_a_second_later(world):
    """Runs last: the recorder is gone afterwards."""
    recording = threading.Event()
    goal = RecordDemonstration.Goal(name="kept")
    handle = world.client.send_goal(
        "kalm/record_demonstration",
        RecordDemonstration,
        goal,
        lambda feedback: recording.set() if feedback.messages > 0 else None,
    )
    assert recording.wait(30.0)
    time.sleep(1.0)
    target = world.joints()
    target[0] += 0.3
    assert world.end(world.move(target))[1] is Outcome.SUCCEEDED
    finished = world.client.call_service("kalm/finish_recording", Trigger, Trigger.Request(), 30.0)
    assert finished.success, finished.message
    assert world.end(handle)[:2] == (SUCCEEDED, Outcome.SUCCEEDED)
    time.sleep(1.0)
    os.killpg(world.supervisor.nodes["recorder_node"].process.pid, signal.SIGKILL)
    report = inspect_bag(Path(finished.message))
    assert all(topic.messages > 0 for topic in report.topics)
    demonstration = read_demonstration(Path(finished.message), HandEyeSettings().T_ee_cam)
    assert len(demonstration.stamps) > 20
