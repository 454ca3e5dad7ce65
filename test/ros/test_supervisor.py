"""Starting and ending the graph: all nodes or none, and never an orphan.

Small programs in a temporary folder stand for the nodes; one test starts a real one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kalm_ros import node_process, tether
from kalm_ros.node_process import command_line
from kalm_ros.node_table import NODES, Condition, NodeEntry, select_nodes
from kalm_ros.supervisor import GraphError, Supervisor

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = {entry.name: entry for entry in NODES}

READY = 'print("[INFO] [{name}]: ready", flush=True)'
GOOD = f"import time\n{READY}\ntime.sleep(60)\n"
DYING = f'import sys, time\n{READY}\ntime.sleep(0.3)\nprint("out of luck")\nsys.exit(3)\n'
STUBBORN = f"""
import signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
{READY}
while True:
    time.sleep(1)
"""


@dataclass(frozen=True)
class ProgramEntry(NodeEntry):
    """A node whose module is a program of this test."""

    @property
    def module(self) -> str:
        return self.executable


Program = Callable[..., ProgramEntry]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}:{os.environ.get('PYTHONPATH', '')}")

    def make(name: str, source: str, after: str = "", world: bool = False) -> ProgramEntry:
        (tmp_path / f"{name}.py").write_text(source.replace("{name}", name))
        condition = Condition.SIMULATION if world else Condition.ALWAYS
        return ProgramEntry(name, "a test's program", condition, after=after)

    return make


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def test_leaving_ends_every_node(program: Program) -> None:
    entries = [program("first", GOOD), program("second", GOOD)]
    with Supervisor(entries, use_sim=False, echo=None) as graph:
        graph.wait_ready(20.0)
        pids = [node.process.pid for node in graph.nodes.values()]
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)


def test_every_line_is_shown_with_its_nodes_name(program: Program) -> None:
    lines: list[str] = []
    with Supervisor([program("talker", GOOD)], use_sim=False, echo=lines.append) as graph:
        graph.wait_ready(20.0)
    assert lines[0] == "[talker] [INFO] [talker]: ready"


def test_a_node_that_dies_is_an_error_with_its_last_words_and_ends_the_others(
    program: Program,
) -> None:
    entries = [program("good", GOOD), program("dying", DYING)]
    pids: list[int] = []
    with (
        pytest.raises(GraphError, match=r"(?s)dying ended with status 3.*out of luck"),
        Supervisor(entries, use_sim=False, echo=None) as graph,
    ):
        graph.wait_ready(20.0)
        pids = [node.process.pid for node in graph.nodes.values()]
        graph.watch()
    assert pids and not any(alive(pid) for pid in pids)


def test_a_node_that_ignores_signals_is_killed_with_its_children(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_process, "INTERRUPT_SECONDS", 0.3)
    monkeypatch.setattr(node_process, "TERMINATE_SECONDS", 0.3)
    with Supervisor([program("stubborn", STUBBORN)], use_sim=False, echo=None) as graph:
        graph.wait_ready(20.0)
        node = graph.nodes["stubborn"]
        child = next(int(line.split()[1]) for line in node.lines if line.startswith("child"))
        pid = node.process.pid
        assert alive(child)
    assert not alive(pid)
    assert gone_within(child, 2.0)


def test_a_node_that_waits_for_another_starts_after_it(program: Program) -> None:
    slow = "import time\ntime.sleep(0.5)\n" + GOOD
    lines: list[str] = []
    entries = [program("world", slow, world=True), program("arm", GOOD, after="world")]
    with Supervisor(entries, use_sim=False, echo=lines.append) as graph:
        assert set(graph.nodes) == {"world"}
        graph.wait_ready(20.0)
        assert set(graph.nodes) == {"world", "arm"}
    assert [line.split()[0] for line in lines if line.endswith("ready")] == ["[world]", "[arm]"]


def test_a_node_that_never_is_ready_is_named_with_what_it_said(program: Program) -> None:
    lost = 'import time\nprint("where am I?", flush=True)\ntime.sleep(60)\n'
    with (
        pytest.raises(GraphError, match=r"(?s)not ready after 1 s: lost.*where am I"),
        Supervisor([program("lost", lost)], use_sim=False, echo=None) as graph,
    ):
        graph.wait_ready(1.0)


def test_nodes_end_when_the_supervisor_is_killed(program: Program) -> None:
    program("survivor", GOOD)
    script = """
import sys, time
from test_supervisor import ProgramEntry
from kalm_ros.supervisor import Supervisor
with Supervisor([ProgramEntry("survivor", "")], use_sim=False, echo=None) as graph:
    graph.wait_ready(20.0)
    print(graph.nodes["survivor"].process.pid, flush=True)
    time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parent}:{os.environ['PYTHONPATH']}"}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    ) as starter:
        try:
            assert starter.stdout is not None
            pid = int(starter.stdout.readline())
            assert alive(pid)
        finally:
            starter.kill()
    assert gone_within(pid, tether.GRACE + 2.0)


def test_no_real_arm_starts_with_the_camera_of_the_suites_files(tmp_path: Path) -> None:
    moveit, robot = tmp_path / "moveit.yaml", tmp_path / "my_robot.yaml"
    moveit.write_text("planning_node: {ros__parameters: {planning: {backend: moveit}}}")
    robot.write_text("/**: {ros__parameters: {hand_eye: {translation: [0.071, 0.0, -0.06]}}}")
    line = [sys.executable, "-m", "kalm_ros.supervisor", "--hardware", "--params-file", str(moveit)]
    done = subprocess.run(line, capture_output=True, check=False, text=True, timeout=60.0)
    assert done.returncode == 1 and "hand_eye" in done.stderr and "--params-file" in done.stderr
    assert "ready" not in done.stdout
    entries = select_nodes(use_sim=False)
    Supervisor(entries, use_sim=False, params_files=[robot, moveit])  # has nothing against it
    Supervisor(select_nodes(use_sim=False, calibrated=False), use_sim=False)


def test_parameters_for_a_node_that_is_not_started_are_refused(program: Program) -> None:
    with pytest.raises(GraphError, match="not started"):
        Supervisor([program("only", GOOD)], {"other": {"a": 1}}, use_sim=False)


def test_parameters_keep_their_types_on_the_command_line() -> None:
    values = {"a": 1, "b": 1.0, "c": True, "d": "1", "e": [1.0, 2.0], "f": Path("x y")}
    command = command_line(ENTRIES["robot_node"], [Path("p.yaml")], values, "warn")
    assert command[1:5] == ["-m", "kalm_ros.tether", "kalm_ros.robot_node", "--ros-args"]
    assert command[command.index("--params-file") + 1] == "p.yaml"
    given = [command[i + 1] for i, word in enumerate(command) if word == "-p"]
    assert given == ["a:=1", "b:=1.0", "c:=true", 'd:="1"', "e:=[1.0, 2.0]", 'f:="x y"']


@pytest.mark.graph
def test_a_real_node_starts_with_its_file_and_an_override_and_ends_by_itself(
    tmp_path: Path,
) -> None:
    lines: list[str] = []
    overrides = {"recorder_node": {"folder": tmp_path, "silence": 2.5}}
    with Supervisor(
        [ENTRIES["recorder_node"]], overrides, use_sim=False, echo=lines.append
    ) as graph:
        graph.wait_ready(60.0)
        process = graph.nodes["recorder_node"].process
        process.send_signal(signal.SIGINT)
        assert process.wait(10.0) == 0
    assert any(line.endswith("[recorder_node]: ready") for line in lines)


@pytest.mark.graph
def test_a_misspelt_parameter_stops_the_start_and_is_named() -> None:
    with (
        pytest.raises(GraphError, match=r"(?s)recorder_node ended with status 2.*foldr"),
        Supervisor(
            [ENTRIES["recorder_node"]],
            {"recorder_node": {"foldr": "x"}},
            use_sim=False,
            echo=None,
        ) as graph,
    ):
        graph.wait_ready(60.0)
