"""What colcon installs, the launch file and the requirements agree with the table of nodes.

`launch` is not among the ROS wheels: here small stand-ins record what the launch file asks of it.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import types
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from kalm_core.commands.parameter_file import config_folder
from kalm_core.errors import ConfigError
from kalm_ros.node_table import (
    NODES,
    SIMULATION,
    Condition,
    parameter_files,
    parameters_from_arguments,
    select_nodes,
)

ROOT = Path(__file__).resolve().parents[2]


# --- setup.py and package.xml


def setup_arguments() -> dict[str, Any]:
    """What setup.py hands to setuptools, without building anything."""
    import setuptools

    found: dict[str, Any] = {}
    real = setuptools.setup
    setuptools.setup = lambda **arguments: found.update(arguments)  # type: ignore[assignment]
    try:
        source = (ROOT / "setup.py").read_text(encoding="utf-8")
        exec(compile(source, str(ROOT / "setup.py"), "exec"), {"__name__": "setup"})
    finally:
        setuptools.setup = real  # type: ignore[assignment]
    return found


@pytest.fixture(scope="module")
def packaging() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return setup_arguments()


def test_every_node_is_a_console_script(packaging: dict[str, Any]) -> None:
    scripts = dict(s.split(" = ") for s in packaging["entry_points"]["console_scripts"])
    assert scripts.pop("kalm") == "kalm_core.cli:main"
    assert scripts == {entry.executable: f"{entry.module}:main" for entry in NODES}


def test_all_packages_with_their_subpackages_are_installed(packaging: dict[str, Any]) -> None:
    folders = {
        str(file.parent.relative_to(ROOT)).replace("/", ".")
        for package in ("kalm_core", "kalm_ros", "kalm_sim")
        for file in (ROOT / package).rglob("*.py")
    }
    assert folders == set(packaging["packages"])


def test_launch_and_configuration_files_are_installed(packaging: dict[str, Any]) -> None:
    installed = {Path(name).name for _, files in packaging["data_files"] for name in files}
    assert "skill.launch.py" in installed
    assert {file.name for file in (ROOT / "config").glob("*.yaml")} <= installed


def test_package_xml_names_every_ros_package_that_is_imported() -> None:
    root = ET.parse(ROOT / "package.xml").getroot()
    assert (root.findtext("name"), root.get("format")) == ("kalm_ros", "3")
    assert root.findtext("export/build_type") == "ament_python"
    named = {e.text for tag in ("depend", "exec_depend") for e in root.findall(tag)}
    imported = set()
    for file in [*(ROOT / "kalm_ros").glob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
    ros = {
        name
        for name in imported
        if name.endswith(("_msgs", "_interfaces", "_srvs")) or name in ("rclpy", "launch")
    }
    assert ros and ros <= named, ros - named


def test_the_versions_agree(packaging: dict[str, Any]) -> None:
    versions = {
        ET.parse(ROOT / folder / "package.xml").getroot().findtext("version")
        for folder in (".", "kalm_interfaces")
    }
    assert versions == {packaging["version"]}


# --- requirements


def test_every_requirement_is_pinned_and_says_why() -> None:
    files = sorted((ROOT / "requirements").glob("*.txt"))
    assert {file.stem for file in files} >= {"core", "ros_wheels", "simulator", "development"}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                assert re.search(r" # +\S", line), f"{file.name}: {line!r} does not say why"
                assert file.stem == "debian" or "==" in line, f"{file.name}: {line!r}"
                assert "/" not in line.split("#")[0], f"{file.name}: {line!r} names a place"


# --- the table


def test_each_node_comes_once() -> None:
    names = [entry.name for entry in NODES]
    assert len(names) == len(set(names))
    assert all(entry.after in ("", *names[:i]) for i, entry in enumerate(NODES))


@pytest.mark.parametrize("use_sim", [True, False])
@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("camera", [True, False])
def test_the_selected_nodes_meet_their_conditions(
    use_sim: bool, learning: bool, camera: bool
) -> None:
    names = {entry.name for entry in select_nodes(use_sim, learning, camera)}
    assert {e.name for e in NODES if e.condition is Condition.ALWAYS} <= names
    assert ("sim_node" in names) == use_sim
    assert ("realsense_node" in names) == (camera and not use_sim)
    assert ({"recorder_node", "learner_node"} <= names) == learning


def test_parameter_files_exist_and_the_users_comes_last(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("{}")
    for entry in NODES:
        files = parameter_files(entry, True, config_folder(), [own])
        assert files[0].name == f"{entry.name}.yaml"
        assert [file.name for file in files[-2:]] == [SIMULATION, "own.yaml"]
        assert SIMULATION not in [f.name for f in parameter_files(entry, False, config_folder())]


def test_a_missing_parameter_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        parameter_files(NODES[0], True, config_folder(), [tmp_path / "nowhere.yaml"])


def test_every_section_of_every_parameter_file_is_for_a_known_node() -> None:
    names = {entry.name for entry in NODES}
    for file in config_folder().glob("*.yaml"):
        sections = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert sections and set(sections) <= {*names, "/**"}, file.name
        readers = {e.name for e in NODES if file.name in (*e.parameter_files, SIMULATION)}
        assert set(sections) <= {*readers, "/**"}, f"{file.name} is not read by all whom it names"
        assert all(list(section) == ["ros__parameters"] for section in sections.values())


def test_empty_arguments_set_nothing() -> None:
    nodes = {entry.name: entry for entry in NODES}
    robot = nodes["robot_node"]
    assert parameters_from_arguments(robot, {"robot_host": ""}) == {}
    assert parameters_from_arguments(robot, {"robot_host": "10.0.0.2"}) == {
        "robot.host": "10.0.0.2"
    }
    assert parameters_from_arguments(nodes["sim_node"], {"scene_seed": 0}) == {"seed": 0}


# --- the launch file


class Recorded:
    """Stands in for a launch action: keeps what it was made with."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.positional, self.named = positional, named


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    def stand_in(name: str, *classes: str) -> None:
        module = types.ModuleType(name)
        for each in classes:
            setattr(module, each, type(each, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, name, module)

    stand_in("launch", "LaunchDescription")
    stand_in(
        "launch.actions",
        "DeclareLaunchArgument",
        "OpaqueFunction",
        "RegisterEventHandler",
        "Shutdown",
    )
    stand_in("launch.event_handlers", "OnProcessIO")
    stand_in("launch_ros")
    stand_in("launch_ros.actions", "Node")
    spec = importlib.util.spec_from_file_location("skill", ROOT / "launch" / "skill.launch.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def actions_for(launch_file: types.ModuleType, **given: str) -> list[Recorded]:
    declared = launch_file.generate_launch_description().positional[0]
    configurations = {
        a.positional[0]: a.named["default_value"] for a in declared if a.positional
    } | given
    make = declared[-1].named["function"]
    return make(types.SimpleNamespace(launch_configurations=configurations))


def node_names(actions: list[Recorded]) -> set[str]:
    return {action.named["name"] for action in actions if type(action).__name__ == "Node"}


def test_the_launch_file_declares_its_arguments_with_descriptions(
    launch_file: types.ModuleType,
) -> None:
    declared = launch_file.generate_launch_description().positional[0][:-1]
    names = {action.positional[0] for action in declared}
    assert {"use_sim", "robot_host", "skills_folder", "params_file", "log_level"} <= names
    assert all(action.named["description"] for action in declared)
    settable = {argument for entry in NODES for argument, _ in entry.arguments}
    assert settable <= names


@pytest.fixture
def calibrated(tmp_path: Path) -> Path:
    """The file of a user who knows where the camera sits."""
    file = tmp_path / "my_robot.yaml"
    file.write_text("/**: {ros__parameters: {hand_eye: {translation: [0.071, 0.0, -0.06]}}}")
    return file


@pytest.mark.parametrize("use_sim", ["true", "false"])
def test_the_launch_file_starts_the_nodes_of_the_table(
    launch_file: types.ModuleType, calibrated: Path, use_sim: str
) -> None:
    actions = actions_for(launch_file, use_sim=use_sim, params_file=str(calibrated))
    waiting = {"robot_node"} if use_sim == "true" else set()
    assert node_names(actions) == {e.name for e in select_nodes(use_sim == "true")} - waiting


def test_launch_arguments_reach_the_parameters_after_all_files(
    launch_file: types.ModuleType, calibrated: Path, tmp_path: Path
) -> None:
    (tmp_path / "more.yaml").write_text("{}")
    own = [str(calibrated), str(tmp_path / "more.yaml")]
    actions = actions_for(
        launch_file, use_sim="false", robot_host="10.0.0.2", params_file=",".join(own)
    )
    robot = next(action for action in actions if action.named["name"] == "robot_node")
    assert robot.named["parameters"][-3:] == [*own, {"robot.host": "10.0.0.2"}]
    assert robot.named["executable"] == "robot_node"


def test_no_real_arm_is_launched_with_the_camera_of_the_suites_files(
    launch_file: types.ModuleType,
) -> None:
    with pytest.raises(ConfigError, match=r"hand_eye.*params_file:=my_robot\.yaml"):
        actions_for(launch_file, use_sim="false")
    without = node_names(actions_for(launch_file, use_sim="false", uncalibrated="true"))
    assert without == {entry.name for entry in select_nodes(use_sim=False, calibrated=False)}
    assert {"robot_node", "recorder_node", "realsense_node"} <= without
    assert not {"keypoint_node", "planning_node", "learner_node"} & without


def test_the_robot_starts_once_when_the_simulator_is_ready(
    launch_file: types.ModuleType,
) -> None:
    actions = actions_for(launch_file)
    handler = next(a for a in actions if type(a).__name__ == "RegisterEventHandler").positional[0]
    listen = handler.named["on_stderr"]

    def say(text: bytes) -> Any:
        return listen(types.SimpleNamespace(text=text))

    assert say(b"[INFO] [1.0] [sim_node]: loading") is None
    (robot,) = say(b"[INFO] [1.0] [sim_node]: ready\n")
    assert robot.named["name"] == "robot_node"
    assert say(b"[INFO] [1.0] [sim_node]: ready\n") is None
