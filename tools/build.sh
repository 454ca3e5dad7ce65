#!/usr/bin/env bash
# Build kalm_interfaces and kalm_ros with the environment's colcon, into build/ install/ log/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv="$PWD/.venv"
# Nothing of another ROS may be found: its messages are compiled against another NumPy.
unset PYTHONPATH LD_LIBRARY_PATH COLCON_PREFIX_PATH ROS_DISTRO
export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
export AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"

"$venv/bin/python" tools/patch_ros_wheels.py
# A package at the root hides those below it, therefore kalm_interfaces is named too.
colcon --log-level error build --base-paths . kalm_interfaces --symlink-install \
    --event-handlers console_direct- console_cohesion- \
    --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$venv/bin/python" -Wno-dev
