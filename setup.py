"""Packaging for colcon (ament_python): the nodes, the core, the simulator, launch and config."""

from glob import glob

from setuptools import find_packages, setup

NODES = (
    "keypoint_node",
    "learner_node",
    "planning_node",
    "realsense_node",
    "recorder_node",
    "robot_node",
    "sim_node",
    "skill_node",
    "trajectory_node",
)

setup(
    name="kalm_ros",
    version="0.1.0",
    description="KALM for ROS 2: robot skills from a few demonstrations",
    license="MIT",
    maintainer="KALM maintainers",
    maintainer_email="maintainers@kalm-ros.example.org",
    python_requires=">=3.10",
    packages=find_packages(include=["kalm_ros*", "kalm_core*", "kalm_sim*"]),
    package_data={"kalm_core": ["py.typed"], "kalm_sim": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/kalm_ros"]),
        ("share/kalm_ros", ["package.xml"]),
        ("share/kalm_ros/launch", sorted(glob("launch/*.launch.py"))),
        ("share/kalm_ros/config", sorted(glob("config/*.yaml"))),
        ("share/kalm_ros/config/presets", sorted(glob("config/presets/*.yaml"))),
    ],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            *(f"{node} = kalm_ros.{node}:main" for node in NODES),
            "kalm = kalm_core.cli:main",
        ],
    },
)
