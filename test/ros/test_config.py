"""The files of `config/` say nothing that the nodes do not know."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kalm_core.commands.parameter_file import (
    config_folder,
    read_parameters,
    suite_parameters,
)
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.robot.robot_settings import RobotSettings
from kalm_core.settings import parse_settings
from kalm_ros.node_table import NODES, SIMULATION, parameter_files, select_nodes
from kalm_ros.parameters import SHARED, flat_fields

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


def test_simulator_and_robot_meet_at_the_same_address():
    nodes = {entry.name: entry for entry in NODES}
    address = merged(nodes["sim_node"], True)["host"]
    assert merged(nodes["robot_node"], True)["robot"]["host"] == address
    arm = parse_settings(RobotSettings, merged(nodes["robot_node"], True)["robot"], SIMULATION)
    assert arm == RobotSettings.for_simulator(address)


def test_the_camera_sits_where_the_core_says():
    values = read_parameters([config_folder() / "hand_eye.yaml"], "keypoint_node")["hand_eye"]
    assert parse_settings(HandEyeSettings, values, "hand_eye.yaml") == HandEyeSettings()


def test_the_file_in_the_guide_suits_every_node_and_command(tmp_path):
    guide = (config_folder().parent / "docs" / "robot.md").read_text(encoding="utf-8")
    own = tmp_path / "my_robot.yaml"
    own.write_text(guide.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    shared = read_parameters([own], "any_node")
    assert set(shared) <= set(SHARED)
    for entry in select_nodes(use_sim=False):
        files = parameter_files(entry, False, config_folder(), own)
        cls = write_config.settings_class(entry)
        values = read_parameters(files, entry.name)
        known = {name: value for name, value in values.items() if name in cls.model_fields}
        assert set(values) - set(known) <= set(SHARED)
        settings = parse_settings(cls, known, entry.name)
        if "hand_eye" in cls.model_fields:
            assert settings.hand_eye.translation == (0.071, 0.002, -0.058)
    learner = suite_parameters(("hand_eye.yaml", "learner_node.yaml"), [own], "learner_node")
    assert learner["hand_eye"] == shared["hand_eye"]
