"""Check the MoveIt backend on a machine that has MoveIt: does it start, plan, and pass our checks?

    python tools/check_moveit.py --write moveit.yaml --urdf fr3.urdf --srdf fr3.srdf
    python tools/check_moveit.py --ros-args --params-file moveit.yaml

The first command writes the parameters that moveit_py needs, for the arm whose description and
semantics (both after xacro) are given. The second starts MoveIt in this process as planning_node
does, plans free motions with nothing in the way, around a post and to a place that is blocked,
certifies what it finds with the suite's own checks, and ends with status 0 where all is as it
should be. Nothing moves. See docs/moveit.md.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from kalm_core import fr3_limits
from kalm_core.errors import KalmError
from kalm_core.planning.certified_planner import CertifiedPlanner
from kalm_core.planning.joint_motion import SearchError
from kalm_core.planning.obstacles import Obstacles, voxelize
from kalm_core.planning.planner import PlanningSettings
from kalm_core.se3 import Array
from kalm_ros.moveit_motion import MoveItFreeMotion, MoveItSettings, moveit_motion

START = np.array([0.0, -0.7, 0.0, -2.3, 0.0, 1.6, 0.8])
GOAL = START + np.array([0.9, 0.2, 0.0, 0.2, 0.0, 0.0, -0.3])
OPENING = 0.04
TRIALS = 20


def parameters(urdf: str, srdf: str, settings: MoveItSettings) -> dict[str, Any]:
    """Return the parameters of moveit_py's node: the description, one OMPL pipeline, no execution.

    Args:
        urdf: text of the arm's description.
        srdf: text of its semantics, with the group of the seven joints.
        settings: names of group, pipeline and planner.
    """
    adapters = "default_planning_request_adapters/"
    answers = "default_planning_response_adapters/"
    return {
        "robot_description": urdf,
        "robot_description_semantic": srdf,
        "robot_description_kinematics": {
            settings.group: {
                "kinematics_solver": "kdl_kinematics_plugin/KDLKinematicsPlugin",
                "kinematics_solver_search_resolution": 0.005,
                "kinematics_solver_timeout": 0.005,
            }
        },
        "robot_description_planning": {"joint_limits": joint_limits()},
        "planning_scene_monitor_options": {
            "name": "planning_scene_monitor",
            "robot_description": "robot_description",
            "wait_for_initial_state_timeout": 0.0,  # the suite names the start of every plan
        },
        "planning_pipelines": {"pipeline_names": [settings.pipeline]},
        "plan_request_params": {
            "planning_pipeline": settings.pipeline,
            "planner_id": settings.planner_id,
            "planning_time": settings.seconds,
            "planning_attempts": settings.attempts,
            "max_velocity_scaling_factor": settings.speed,
            "max_acceleration_scaling_factor": settings.speed,
        },
        settings.pipeline: {
            "planning_plugins": ["ompl_interface/OMPLPlanner"],
            "request_adapters": [
                f"{adapters}ResolveConstraintFrames",
                f"{adapters}ValidateWorkspaceBounds",
                f"{adapters}CheckStartStateBounds",
                f"{adapters}CheckStartStateCollision",
            ],
            "response_adapters": [
                f"{answers}AddTimeOptimalParameterization",
                f"{answers}ValidateSolution",
            ],
            "planner_configs": {settings.planner_id: {"type": "geometric::RRTConnect"}},
            settings.group: {"planner_configs": [settings.planner_id]},
        },
    }


def joint_limits() -> dict[str, Any]:
    """Return the limits of the arm's joints as MoveIt reads them."""
    pairs = zip(
        fr3_limits.JOINT_NAMES, fr3_limits.velocity(), fr3_limits.acceleration(), strict=True
    )
    return {
        name: {
            "has_velocity_limits": True,
            "max_velocity": float(speed),
            "has_acceleration_limits": True,
            "max_acceleration": float(acceleration),
        }
        for name, speed, acceleration in pairs
    }


def write(path: Path, urdf: Path, srdf: Path) -> None:
    """Write the parameter file; JSON is YAML, with every type kept."""
    settings = MoveItSettings()
    values = parameters(urdf.read_text(), srdf.read_text(), settings)
    path.write_text(json.dumps({settings.node_name: {"ros__parameters": values}}, indent=1) + "\n")


def post_between(planner: CertifiedPlanner) -> Obstacles:
    """Return a post that stands in the straight way from start to goal."""
    middle = planner.model.forward((START + GOAL) / 2)[:3, 3]
    heights = np.arange(0.0, middle[2] + 0.15, 0.01)
    points = np.column_stack([np.tile(middle[:2], (len(heights), 1)), heights])
    return Obstacles(voxelize(points, 0.02), 0.02, floor=-0.02)


def wall_at_goal(planner: CertifiedPlanner) -> Obstacles:
    """Return boxes that the tool stands in at the goal."""
    place = planner.model.forward(GOAL)[:3, 3]
    grid = np.linspace(-0.08, 0.08, 9)
    points = np.stack(np.meshgrid(grid, grid, grid), axis=-1).reshape(-1, 3) + place
    return Obstacles(voxelize(points, 0.02), 0.02)


def plan(planner: CertifiedPlanner, motion: MoveItFreeMotion, goal: Array) -> float:
    """Plan and certify one motion; return the time of the search [s].

    Raises:
        SearchError: MoveIt found none, or what it found does not pass.
    """
    begin = time.perf_counter()
    path = motion.path_to(START, goal, OPENING)
    took = time.perf_counter() - begin
    planner.certifier.demand_free(path, START, OPENING)
    return took


def check(motion: MoveItFreeMotion) -> int:
    """Plan in three scenes, print a line for each, and return how many went wrong."""
    planner = CertifiedPlanner(PlanningSettings(), motion)
    wrong = 0
    scenes = (
        ("nothing in the way", Obstacles(np.zeros((0, 3)), 0.02), True),
        ("a post in the way", post_between(planner), True),
        ("the goal is blocked", wall_at_goal(planner), False),
        ("nothing in the way again", Obstacles(np.zeros((0, 3)), 0.02), True),
    )
    for name, obstacles, possible in scenes:
        planner.surroundings.set_obstacles(obstacles)
        motion.see(obstacles)
        found: list[float] = []
        said = ""
        for _ in range(TRIALS if possible else 1):
            try:
                found.append(plan(planner, motion, GOAL))
            except SearchError as error:
                said = str(error)
        enough = len(found) >= TRIALS - 1 if possible else not found
        wrong += not enough
        times = f", median {1e3 * float(np.median(found)):.0f} ms" if found else ""
        print(
            f"{'ok  ' if enough else 'FAIL'} {name}: {len(found)} certified{times} {said}".rstrip()
        )
    return wrong


def main(arguments: list[str]) -> int:
    """Write the parameters, or check; returns the exit status."""
    try:
        if arguments[:1] == ["--write"]:
            if len(arguments) != 6 or (arguments[2], arguments[4]) != ("--urdf", "--srdf"):
                print(__doc__)
                return 2
            write(Path(arguments[1]), Path(arguments[3]), Path(arguments[5]))
            return 0
        return 1 if check(moveit_motion(MoveItSettings())) else 0
    except KalmError as error:
        print(error)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
