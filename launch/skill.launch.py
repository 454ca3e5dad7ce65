"""The whole graph, on hardware or in the simulator: `ros2 launch kalm_ros skill.launch.py`.

The nodes, their parameter files and what the arguments set are in `kalm_ros/node_table.py`, which
`kalm up` reads too.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessIO
from launch_ros.actions import Node

from kalm_core.commands.parameter_file import config_folder
from kalm_ros.node_table import (
    files_to_start,
    parameters_from_arguments,
    select_nodes,
)

SWITCHES = {"choices": ["true", "false"]}
ARGUMENTS = (
    ("use_sim", "true", "simulated arm and camera instead of the real ones", SWITCHES),
    ("learning", "true", "start the recorder and the learner too", SWITCHES),
    ("camera", "true", "start realsense_node; false where realsense2_camera runs", SWITCHES),
    ("robot_host", "", "address of the arm's FCI; empty: as in config/", {}),
    ("skills_folder", "", "folder of the learned skills; empty: as in config/", {}),
    ("demonstrations_folder", "", "folder of the recorded bags; empty: as in config/", {}),
    ("scene_seed", "", "the simulated scene to begin with; empty: as in config/", {}),
    ("params_file", "", "read after the suite's own; commas between several, the last wins", {}),
    ("uncalibrated", "false", "on hardware: start only the nodes without hand_eye", SWITCHES),
    (
        "log_level",
        "info",
        "how much the nodes say",
        {"choices": ["debug", "info", "warn", "error"]},
    ),
)


def generate_launch_description():
    """Return the arguments and the nodes."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text, **options)
                for name, default, text, options in ARGUMENTS
            ),
            OpaqueFunction(function=make_nodes),
        ]
    )


def make_nodes(context):
    """Return the actions that start the nodes which the arguments ask for."""
    given = {name: context.launch_configurations[name] for name, *_ in ARGUMENTS}
    if given["scene_seed"]:
        given["scene_seed"] = int(given["scene_seed"])
    use_sim = given["use_sim"] == "true"
    learning, camera, uncalibrated = (
        given[name] == "true" for name in ("learning", "camera", "uncalibrated")
    )
    entries = select_nodes(use_sim, learning, camera, not uncalibrated)
    own = [Path(name.strip()).expanduser() for name in given["params_file"].split(",") if name]
    files = files_to_start(entries, use_sim, config_folder(), own)
    nodes = {}
    for entry in entries:
        values = parameters_from_arguments(entry, given)
        nodes[entry.name] = Node(
            package="kalm_ros",
            executable=entry.executable,
            name=entry.name,
            parameters=[*(str(file) for file in files[entry.name]), *([values] if values else [])],
            ros_arguments=["--log-level", f"{entry.name}:={given['log_level']}"],
            output="screen",
            on_exit=Shutdown(reason=f"{entry.name} ended"),
        )
    return [
        start_when_ready(nodes[entry.after], entry.after, nodes[entry.name])
        if entry.after in nodes
        else nodes[entry.name]
        for entry in entries
    ]


def start_when_ready(other, other_name, node):
    """Return the action that starts `node` once the node `other` has said that it is ready."""
    started = []

    def listen(event):
        ready = f"[{other_name}]: ready".encode()
        if started or ready not in event.text:
            return None
        started.append(node)
        return [node]

    return RegisterEventHandler(
        OnProcessIO(target_action=other, on_stdout=listen, on_stderr=listen)
    )
