"""The commands towards the graph: they hand over to the ROS side, which the core never imports."""

from __future__ import annotations

import importlib.util
import os
import sys

import typer

from kalm_core.commands.terminal import DEBUG
from kalm_core.errors import BackendUnavailableError


def up(context: typer.Context) -> None:
    """Start the graph: every node in its own process, until Ctrl-C."""
    hand_over("kalm_ros.supervisor", context)


def do(context: typer.Context) -> None:
    """Do a learned skill; Ctrl-C stops the arm."""
    hand_over("kalm_ros.operate", context, "do")


def look(context: typer.Context) -> None:
    """Move the arm to where its camera saw the demonstrations."""
    hand_over("kalm_ros.operate", context, "look")


def record(context: typer.Context) -> None:
    """Record one demonstration until Enter is pressed."""
    hand_over("kalm_ros.operate", context, "record")


def guide(context: typer.Context) -> None:
    """Let go of the arm, to move it by hand."""
    hand_over("kalm_ros.operate", context, "guide")


def hand(context: typer.Context) -> None:
    """Open or close the hand."""
    hand_over("kalm_ros.operate", context, "hand")


def stop(context: typer.Context) -> None:
    """Stop arm and hand until `kalm recover`; no emergency stop."""
    hand_over("kalm_ros.operate", context, "stop")


def recover(context: typer.Context) -> None:
    """Clear the arm's errors and a stop; connect anew."""
    hand_over("kalm_ros.operate", context, "recover")


def scene(context: typer.Context) -> None:
    """Put another scene before the simulated robot."""
    hand_over("kalm_ros.operate", context, "scene")


def demo(context: typer.Context) -> None:
    """Record, learn and execute in the simulator, from nothing."""
    hand_over("kalm_ros.demo", context)


def hand_over(module: str, context: typer.Context, *words: str) -> None:
    """Replace this process by `python -m module words` and what stands behind the command.

    Raises:
        BackendUnavailableError: ROS, the interfaces or the suite's ROS package is not there.
    """
    for package, remedy in (
        ("rclpy", "run `make setup`, or source your ROS 2 installation"),
        ("kalm_interfaces", "run `make setup` (or `colcon build`), then `. tools/env.sh`"),
        ("kalm_ros", "run from the repository, or source install/setup.bash"),
    ):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:  # without origin: only a folder of that name
            raise BackendUnavailableError(f"this needs ROS 2, and {package} is not there", remedy)
    if importlib.util.find_spec(module) is None:
        raise BackendUnavailableError(f"{module} is not part of this installation")
    sys.stdout.flush()
    sys.stderr.flush()
    debug = {DEBUG: "1"} if context.find_root().params.get("debug") else {}
    line = [sys.executable, "-m", module, *words, *context.args]
    os.execve(sys.executable, line, os.environ | debug)
