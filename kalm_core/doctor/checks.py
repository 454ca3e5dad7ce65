"""The table of checks, in the order in which they are printed."""

from __future__ import annotations

from functools import partial

from kalm_core.doctor import backends, machine, ros
from kalm_core.doctor.finding import Check
from kalm_core.doctor.probe import imports, package

_CORE = "make setup (or pip install -r requirements/core.txt)"

MACHINE = (
    Check("machine", "Python", True, machine.python_version),
    Check("machine", "CPU cores", True, machine.cores),
    Check("machine", "memory", True, machine.memory),
    Check("machine", "disk", True, machine.disk),
    Check("machine", "GPU", False, machine.gpu),
)
PACKAGES = (
    *(
        Check("packages", name, True, partial(package, name, _CORE))
        for name in ("numpy", "scipy", "pydantic", "rosbags", "safetensors", "diffusers")
    ),
    Check("packages", "torch", True, partial(machine.torch, _CORE)),
    *(
        Check("packages", module, True, partial(imports, module, distribution, _CORE))
        for module, distribution in (
            ("open3d", "open3d"),
            ("pinocchio", "pin"),
            ("roboplan", "roboplan"),
        )
    ),
    *(
        Check("packages", name, True, partial(package, name, _CORE))
        for name in ("imageio", "matplotlib", "typer", "rich")
    ),
)
ROS = (
    Check("ROS 2", "distribution", True, ros.distribution),
    Check("ROS 2", "rclpy", True, ros.rclpy),
    Check("ROS 2", "kalm_interfaces", True, ros.interfaces),
    Check("ROS 2", "ROS_DOMAIN_ID", True, ros.domain),
    Check("ROS 2", "discovery range", True, ros.discovery),
)
METHOD = (
    Check("region", "proximity", True, partial(backends.backend, "proximity")),
    Check(
        "region",
        "vlm",
        False,
        lambda: backends.backend(
            "vlm", backends.wants_package("openai"), backends.wants_key("OPENAI_API_KEY")
        ),
    ),
    Check("mask", "geometric", True, partial(backends.backend, "geometric")),
    Check(
        "mask",
        "sam",
        False,
        lambda: backends.backend(
            "sam",
            backends.wants_package("transformers"),
            backends.wants_package("segment_anything"),
        ),
    ),
    Check("features", "local", True, partial(backends.backend, "local")),
    Check("features", "color", True, partial(backends.backend, "color")),
    Check("features", "fpfh", True, partial(backends.backend, "fpfh")),
    Check(
        "features",
        "dino",
        False,
        lambda: backends.backend("dino", backends.wants_package("transformers")),
    ),
    Check("planner", "roboplan", True, partial(backends.backend, "roboplan")),
    Check("planner", "moveit_py", False, ros.moveit),
)
DEVICES = (
    Check(
        "camera",
        "mujoco",
        True,
        partial(package, "mujoco", "make setup (or pip install -r requirements/simulator.txt)"),
    ),
    Check("camera", "simulated", True, machine.rendering),
    Check(
        "camera",
        "pyrealsense2",
        False,
        partial(
            imports,
            "pyrealsense2",
            "pyrealsense2",
            "pip install pyrealsense2; apt install libusb-1.0-0",
        ),
    ),
    Check(
        "camera",
        "realsense2_camera",
        False,
        partial(
            ros.ros_package, "realsense2_camera", "apt install ros-$ROS_DISTRO-realsense2-camera"
        ),
    ),
    Check("robot", "franky", True, partial(imports, "franky", "franky-control", _CORE)),
    Check(
        "robot",
        "franky-sim",
        True,
        partial(imports, "franky_sim", "franky-sim", _CORE),
    ),
    Check("real arm", "real-time kernel", False, machine.real_time_kernel),
    Check("real arm", "rtprio", False, machine.real_time_priority),
)

CHECKS = (*MACHINE, *PACKAGES, *ROS, *METHOD, *DEVICES)
