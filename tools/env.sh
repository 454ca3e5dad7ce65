# The environment of the suite built from wheels; from any folder:  . path/to/tools/env.sh
#
# What is already set by the caller stays: ROS_DOMAIN_ID, ROS_AUTOMATIC_DISCOVERY_RANGE, MUJOCO_GL
# and OMP_NUM_THREADS. For ROS from apt this file is not needed: source install/setup.bash instead.
# shellcheck shell=bash

_kalm_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Messages of ROS from apt are compiled against NumPy 1 and break beside the wheels (NumPy 2).
_kalm_without_apt_ros() {
    local kept="" part
    local IFS=:
    for part in $1; do
        case "$part" in
        "" | /opt/ros/*) ;;
        *) kept="${kept:+$kept:}$part" ;;
        esac
    done
    printf '%s' "$kept"
}
for _kalm_name in PYTHONPATH LD_LIBRARY_PATH PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH; do
    export "$_kalm_name=$(_kalm_without_apt_ros "${!_kalm_name-}")"
done

_kalm_nounset="$(case $- in *u*) echo yes ;; esac)" # colcon's files read variables that are not set
set +u
if [ -f "$_kalm_root/install/setup.bash" ]; then
    # shellcheck disable=SC1091
    . "$_kalm_root/install/setup.bash"
else
    echo "tools/env.sh: install/setup.bash is missing. Run: make setup" >&2
fi
[ -z "$_kalm_nounset" ] || set -u

_kalm_prepend() { # NAME FOLDER, once
    case ":${!1-}:" in
    *":$2:"*) ;;
    *) export "$1=$2${!1:+:${!1}}" ;;
    esac
}
_kalm_prepend PATH "$_kalm_root/install/kalm_ros/lib/kalm_ros" # the `kalm` command and the nodes
_kalm_prepend PATH "$_kalm_root/.venv/bin"
_kalm_prepend LD_LIBRARY_PATH "$_kalm_root/.venv/lib"
export VIRTUAL_ENV="$_kalm_root/.venv"

export RMW_IMPLEMENTATION=rmw_fastrtps_cpp # the only one among the wheels
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"

# Off-screen rendering: EGL where its library is, else OSMesa.
if [ -z "${MUJOCO_GL:-}" ]; then
    if ldconfig -p 2>/dev/null | grep -q 'libEGL\.so'; then
        export MUJOCO_GL=egl
    else
        export MUJOCO_GL=osmesa
    fi
fi
export PYOPENGL_PLATFORM="${PYOPENGL_PLATFORM:-$MUJOCO_GL}"

# Nine processes share the cores; their small arrays gain nothing from more threads.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"

unset _kalm_root _kalm_name _kalm_nounset
unset -f _kalm_without_apt_ros _kalm_prepend
