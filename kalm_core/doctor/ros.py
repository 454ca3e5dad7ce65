"""ROS 2: where it comes from, whether it imports, and whom it talks to."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from kalm_core.doctor.finding import Finding, missing, ok
from kalm_core.doctor.probe import python, version

SETUP = "run `make setup`, then `. tools/env.sh`"
APT_ROOT = Path("/opt/ros")


def distribution() -> Finding:
    """Tell which ROS 2 this Python would use."""
    if wheel := version("ros-rclpy"):
        return ok(f"wheels, rclpy {wheel}")
    installed = sorted(path.name for path in APT_ROOT.glob("*")) if APT_ROOT.is_dir() else []
    if distro := os.environ.get("ROS_DISTRO"):
        return ok(f"{distro} from {APT_ROOT / distro}")
    if installed:
        return missing(
            f"{', '.join(installed)} installed but not sourced",
            f"source {APT_ROOT / installed[-1]}/setup.bash",
        )
    return missing("no ROS 2", SETUP)


def rclpy() -> Finding:
    """Import rclpy and name its middleware."""
    good, text = python("import rclpy.utilities as u; print(u.get_rmw_implementation_identifier())")
    if good:
        return ok(f"middleware {text}")
    return missing(text, SETUP)


def interfaces() -> Finding:
    """Import the suite's own messages with their compiled support."""
    code = (
        "from kalm_interfaces.action import ExecuteSkill;"
        "from rclpy.type_support import check_for_type_support as check;"
        "check(ExecuteSkill); print('built')"
    )
    good, text = python(code)
    if good:
        return ok(text)
    absent = "No module" in text or "unknown location" in text
    return missing("not built, or the workspace is not sourced" if absent else text, SETUP)


def moveit() -> Finding:
    """Tell whether MoveIt's Python package is there; to start it takes a robot's description."""
    spec = importlib.util.find_spec("moveit")
    if spec is None:
        return missing(
            "moveit_py not installed", "apt install ros-$ROS_DISTRO-moveit-py, see docs/moveit.md"
        )
    return ok(
        "installed", "python tools/check_moveit.py tells whether it plans, see docs/moveit.md"
    )


def domain() -> Finding:
    """Check ROS_DOMAIN_ID; beyond 101 its ports may collide with others of Linux."""
    text = os.environ.get("ROS_DOMAIN_ID", "")
    if not text:
        return ok("not set: 0")
    if text.isdigit() and int(text) <= 101:
        return ok(text)
    return missing(f"{text!r}, expected 0 to 101", "export ROS_DOMAIN_ID=0")


def discovery() -> Finding:
    """Check who can reach a graph that moves an arm."""
    found = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if found == "LOCALHOST":
        return ok("LOCALHOST: only this machine")
    if found in ("OFF", "SUBNET", "SYSTEM_DEFAULT"):
        advice = "others on the network can move the arm" if found != "OFF" else ""
        return ok(found, advice)
    if not found:
        return ok(
            "not set: the whole subnet",
            "to keep others out: ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST",
        )
    return missing(f"{found!r} is not a range", "LOCALHOST, SUBNET, OFF or SYSTEM_DEFAULT")


def module(name: str, remedy: str) -> Finding:
    """Look for a Python module of a ROS package without importing it."""
    if importlib.util.find_spec(name) is not None:
        return ok("found")
    return missing("not installed", remedy)


def ros_package(name: str, remedy: str) -> Finding:
    """Look for a ROS package in the ament index."""
    roots = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if p]
    for root in roots:
        if (root / "share/ament_index/resource_index/packages" / name).exists():
            return ok(f"found in {root}")
    return missing("not installed", remedy)
