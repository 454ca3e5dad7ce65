"""The nodes of the suite: one table for `launch/skill.launch.py` and for `kalm up`.

This module needs neither ROS nor launch, so that both starters and the tests can read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from kalm_core.commands.parameter_file import read_parameters
from kalm_core.errors import ConfigError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.settings import parse_settings


class Condition(Enum):
    """When a node is started."""

    ALWAYS = "always"
    SIMULATION = "simulation only"
    CAMERA = "hardware only, unless another camera driver runs"
    LEARNING = "unless only execution is wanted"


@dataclass(frozen=True)
class NodeEntry:
    """One node.

    Attributes:
        executable: the console script, the module in `kalm_ros` and the node's name.
        description: what the node does, in half a sentence.
        condition: when it is started.
        parameter_files: files of `config/`, the later ones win.
        arguments: (start argument, parameter that it sets) pairs.
        after: the node whose "ready" this one needs before it can start, if that one is started.
    """

    executable: str
    description: str
    condition: Condition = Condition.ALWAYS
    parameter_files: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    after: str = ""

    @property
    def module(self) -> str:
        """The module that `python -m` runs."""
        return f"kalm_ros.{self.executable}"

    @property
    def name(self) -> str:
        """The node's name on the graph."""
        return self.executable


HAND_EYE = "hand_eye.yaml"
"""The camera's place in the hand, for every node that needs it."""

SIMULATION = "simulation.yaml"
"""Read after a node's own file when the arm and the camera are simulated."""

NODES = (
    NodeEntry(
        "sim_node",
        "the simulated laboratory: arm, camera, table and cabinet",
        Condition.SIMULATION,
        ("sim_node.yaml", HAND_EYE),
        (("scene_seed", "seed"), ("robot_host", "host")),
    ),
    NodeEntry(
        "realsense_node",
        "the D435i in the hand, through librealsense",
        Condition.CAMERA,
        ("realsense_node.yaml",),
    ),
    NodeEntry(
        "robot_node",
        "the arm and the gripper, through franky",
        Condition.ALWAYS,
        ("robot_node.yaml",),
        (("robot_host", "robot.host"),),
        after="sim_node",
    ),
    NodeEntry(
        "keypoint_node",
        "finds a skill's keypoints in the camera's image",
        Condition.ALWAYS,
        ("keypoint_node.yaml", HAND_EYE),
        (("skills_folder", "skills"),),
    ),
    NodeEntry(
        "trajectory_node",
        "samples tool trajectories from a skill's diffusion model",
        Condition.ALWAYS,
        ("trajectory_node.yaml",),
        (("skills_folder", "skills"),),
    ),
    NodeEntry(
        "planning_node",
        "plans a collision-free approach and checks the whole motion",
        Condition.ALWAYS,
        ("planning_node.yaml", HAND_EYE),
    ),
    NodeEntry(
        "skill_node",
        "serves execute_skill with the actions of the others",
        Condition.ALWAYS,
        ("skill_node.yaml",),
        (("skills_folder", "skills"),),
    ),
    NodeEntry(
        "recorder_node",
        "records demonstrations as rosbag2",
        Condition.LEARNING,
        ("recorder_node.yaml",),
        (("demonstrations_folder", "folder"),),
    ),
    NodeEntry(
        "learner_node",
        "learns a skill from recorded demonstrations",
        Condition.LEARNING,
        ("learner_node.yaml", HAND_EYE),
        (("skills_folder", "skills"),),
    ),
)


def select_nodes(
    use_sim: bool = True, learning: bool = True, camera: bool = True, calibrated: bool = True
) -> tuple[NodeEntry, ...]:
    """Return the nodes to start.

    Args:
        use_sim: the arm and the camera are simulated.
        learning: the recorder and the learner are wanted too.
        camera: on hardware, `realsense_node` serves the camera; False where realsense2_camera runs.
        calibrated: on hardware, it is known where the camera sits; False leaves out the nodes that
            need `hand_eye`, so that it can be calibrated with the others.
    """
    wanted = {
        Condition.ALWAYS: True,
        Condition.SIMULATION: use_sim,
        Condition.CAMERA: camera and not use_sim,
        Condition.LEARNING: learning,
    }
    return tuple(
        entry
        for entry in NODES
        if wanted[entry.condition]
        and (calibrated or use_sim or HAND_EYE not in entry.parameter_files)
    )


def files_to_start(
    entries: Sequence[NodeEntry], use_sim: bool, config: Path, params_files: Sequence[Path] = ()
) -> dict[str, tuple[Path, ...]]:
    """Return the parameter files of the nodes that are to be started, by node name.

    Args: as of `parameter_files`.

    Raises:
        ConfigError: a file is missing; or the arm is real and `hand_eye` still the suite's own.
    """
    files = {entry.name: parameter_files(entry, use_sim, config, params_files) for entry in entries}
    for entry in entries:
        if not use_sim and HAND_EYE in entry.parameter_files:
            _require_calibration(entry.name, files[entry.name])
    return files


def _require_calibration(node: str, files: Sequence[Path]) -> None:
    values = read_parameters(files, node).get("hand_eye", {})
    if parse_settings(HandEyeSettings, values, node) == HandEyeSettings():
        raise ConfigError(
            f"{node} would take hand_eye from config/, where no real camera sits",
            "calibrate yours and name the file that holds its hand_eye (docs/robot.md) with "
            "--params-file my_robot.yaml (ros2 launch: params_file:=my_robot.yaml); to calibrate, "
            "--uncalibrated (uncalibrated:=true) starts the nodes that do without",
        )


def parameter_files(
    entry: NodeEntry, use_sim: bool, config: Path, params_files: Sequence[Path] = ()
) -> tuple[Path, ...]:
    """Return the parameter files of a node in the order in which they are read; the last wins.

    Args:
        entry: the node.
        use_sim: whether `simulation.yaml` is read too.
        config: the folder of the suite's own files.
        params_files: the user's files, read last.

    Raises:
        ConfigError: a file is missing.
    """
    names = (*entry.parameter_files, *((SIMULATION,) if use_sim else ()))
    files = (*(config / name for name in names), *params_files)
    for file in files:
        if not file.is_file():
            raise ConfigError(f"the parameter file {file} does not exist", "check the path")
    return files


def parameters_from_arguments(entry: NodeEntry, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that start arguments set on a node; an empty argument sets nothing."""
    return {
        parameter: arguments[argument]
        for argument, parameter in entry.arguments
        if arguments.get(argument, "") not in ("", None)
    }
