"""The files of `config/` say nothing that the nodes do not know."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import yaml
from rclpy.node import Node

from kalm_core.commands.parameter_file import (
    config_folder,
    read_parameters,
    suite_parameters,
)
from kalm_core.errors import ConfigError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.learning import LearningSettings
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.settings import parse_settings
from kalm_ros.node_table import HAND_EYE, NODES, SIMULATION, parameter_files, select_nodes
from kalm_ros.parameters import SHARED, declare_settings, flat_fields

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import write_config


def merged(entry, use_sim):
    return read_parameters(parameter_files(entry, use_sim, config_folder()), entry.name)


@pytest.mark.parametrize("entry", NODES, ids=lambda entry: entry.name)
@pytest.mark.parametrize("use_sim", [False, True])
def test_the_files_of_a_node_fit_its_settings(entry, use_sim):
    parse_settings(write_config.settings_class(entry), merged(entry, use_sim), entry.name)


@pytest.mark.parametrize("entry", NODES, ids=lambda entry: entry.name)
def test_every_parameter_has_a_description(entry):
    without = [
        name
        for name, field in flat_fields(write_config.settings_class(entry))
        if not field.description
    ]
    assert not without


@pytest.mark.parametrize("entry", NODES, ids=lambda entry: entry.name)
def test_the_files_are_those_that_the_tool_writes(entry):
    written = (config_folder() / f"{entry.name}.yaml").read_text(encoding="utf-8")
    assert written == write_config.config_text(entry), "run tools/write_config.py"


def test_an_empty_text_is_a_text_and_none_where_there_may_be_none(graph, tmp_path):
    (entry,) = (entry for entry in NODES if entry.name == "learner_node")
    vlm = {"key_variable": "", "replay": "somewhere"}
    first, last = (
        write(
            tmp_path / f"{i}.yaml",
            {entry.name: {"ros__parameters": {"learning": {"distillation": {"vlm": given}}}}},
        )
        for i, given in enumerate((vlm, {"replay": ""}))
    )
    files = parameter_files(entry, False, config_folder(), [first, last])
    node = declare_settings(started(graph, entry.name, files), write_config.settings_class(entry))
    assert node.learning.distillation.vlm.key_variable == ""
    assert node.learning.distillation.vlm.replay is None
    command = suite_parameters(entry.parameter_files, [first, last], entry.name)["learning"]
    assert parse_settings(LearningSettings, command, "own.yaml") == node.learning


def test_the_papers_preset_over_the_suites_files_has_the_papers_features(graph):
    (entry,) = (entry for entry in NODES if entry.name == "learner_node")
    preset = config_folder() / "presets" / "paper.yaml"
    node = started(graph, entry.name, parameter_files(entry, False, config_folder(), [preset]))
    settings = declare_settings(node, write_config.settings_class(entry)).learning
    assert settings.distillation.correspondence.weights == {"dino": 0.75, "fpfh": 0.25}
    command = suite_parameters(entry.parameter_files, [preset], entry.name)["learning"]
    assert parse_settings(LearningSettings, command, "paper.yaml") == settings


def test_simulator_and_robot_meet_at_the_same_address():
    nodes = {entry.name: entry for entry in NODES}
    address = merged(nodes["sim_node"], True)["host"]
    assert merged(nodes["robot_node"], True)["robot"]["host"] == address
    arm = parse_settings(RobotSettings, merged(nodes["robot_node"], True)["robot"], SIMULATION)
    assert arm == RobotSettings.for_simulator(address)


WITH_CAMERA = [entry for entry in NODES if HAND_EYE in entry.parameter_files]


def started(graph, name, files):
    """A node as the starters start it: the values that ROS makes of parameter files."""
    arguments = [word for file in files for word in ("--params-file", str(file))]
    return graph.add(
        Node(
            name,
            context=graph.context,
            cli_args=["--ros-args", *arguments],
            automatically_declare_parameters_from_overrides=True,
        )
    )


def write(file, content):
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file


@pytest.mark.parametrize("entry", WITH_CAMERA, ids=lambda entry: entry.name)
def test_the_camera_sits_where_the_core_says(entry):
    values = read_parameters([config_folder() / HAND_EYE], entry.name)["hand_eye"]
    assert parse_settings(HandEyeSettings, values, HAND_EYE) == HandEyeSettings()


@pytest.mark.parametrize("entry", WITH_CAMERA, ids=lambda entry: entry.name)
@pytest.mark.parametrize("form", ["/**", "its name", "/its name"])
def test_node_and_command_obey_the_users_hand_eye_in_every_form(graph, tmp_path, entry, form):
    name = form.replace("its name", entry.name)
    hand_eye = {"hand_eye": {"translation": [0.2, 0.0, 0.0]}}
    own = write(tmp_path / "own.yaml", {name: {"ros__parameters": hand_eye}})
    node = started(graph, entry.name, parameter_files(entry, False, config_folder(), [own]))
    settings = declare_settings(node, write_config.settings_class(entry))
    assert settings.hand_eye.translation == (0.2, 0.0, 0.0)
    command = suite_parameters(entry.parameter_files, [own], entry.name)["hand_eye"]
    assert parse_settings(HandEyeSettings, command, "own.yaml") == settings.hand_eye


def test_commands_make_of_files_what_ros_makes_of_them(graph, tmp_path):
    chance = random.Random(0)

    def section():
        return {
            "ros__parameters": {
                "a": chance.randrange(100),
                "b": {key: chance.randrange(100) for key in chance.sample(["x", "y"], 1)},
            }
        }

    for case in range(30):
        files = [
            write(
                tmp_path / f"{case}_{i}.yaml",
                {name: section() for name in chance.sample(["/**", "n", "/n", "other"], 3)},
            )
            for i in range(chance.randint(1, 3))
        ]
        node = started(graph, "n", files)
        nested = read_parameters(files, "n")
        plain = {f"b.{key}": value for key, value in nested["b"].items()} | {"a": nested["a"]}
        given = {name: node.get_parameter(name).value for name in plain}
        assert given == plain, [file.read_text(encoding="utf-8") for file in files]


def test_the_file_in_the_guide_suits_every_node_and_command(tmp_path):
    guide = (config_folder().parent / "docs" / "robot.md").read_text(encoding="utf-8")
    own = tmp_path / "my_robot.yaml"
    own.write_text(guide.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    shared = read_parameters([own], "any_node")
    assert set(shared) <= set(SHARED)
    for entry in select_nodes(use_sim=False):
        files = parameter_files(entry, False, config_folder(), [own])
        cls = write_config.settings_class(entry)
        values = read_parameters(files, entry.name)
        known = {name: value for name, value in values.items() if name in cls.model_fields}
        assert set(values) - set(known) <= set(SHARED)
        settings = parse_settings(cls, known, entry.name)
        if "hand_eye" in cls.model_fields:
            assert settings.hand_eye.translation == (0.071, 0.002, -0.058)
    learner = suite_parameters(("hand_eye.yaml", "learner_node.yaml"), [own], "learner_node")
    assert learner["hand_eye"] == shared["hand_eye"]


@pytest.mark.parametrize("text", ["learning:\n  seed: 3\n", "learner_node: 3\n"])
def test_a_file_whose_values_are_of_no_node_is_refused(tmp_path, text):
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(ConfigError, match="has no ros__parameters"):
        read_parameters([own], "learner_node")
    own.write_text("arm:\n  learner_node:\n    ros__parameters:\n      seed: 3\n")
    assert read_parameters([own], "learner_node") == {}  # of a node in a namespace
