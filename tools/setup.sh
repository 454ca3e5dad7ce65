#!/usr/bin/env bash
# Set up .venv, Debian packages and the built workspace; what is there already is used again.
#
#   PYTHON=python3.12 tools/setup.sh     with another Python than the first one found
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}
listed() { sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$1"; }

# Of a shell that has sourced ROS from apt nothing may leak in (see tools/env.sh).
unset PYTHONPATH PYTHONHOME
venv="$PWD/.venv"
pins=(requirements/core.txt requirements/models.txt requirements/ros_wheels.txt
    requirements/simulator.txt requirements/development.txt)

# --- Debian packages --------------------------------------------------------------------------

apt_install() {
    say "Installing Debian packages: $*"
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

debian_packages() {
    if ! command -v dpkg-query >/dev/null; then
        echo "This is no Debian or Ubuntu: install the like of $(listed requirements/debian.txt | xargs)."
        return
    fi
    local missing=() name
    for name in $(listed requirements/debian.txt); do
        case "$name" in
        cmake | g++ | make) command -v "$name" >/dev/null || missing+=("$name") ;;
        *)
            [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
                [ "$(dpkg-query -W -f '${db:Status-Status}' "${name}t64" 2>/dev/null)" = installed ] ||
                missing+=("$name")
            ;;
        esac
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt_install "${missing[@]}"
    else
        echo "Missing Debian packages. Please run:"
        echo "    sudo apt-get install ${missing[*]}"
        for name in cmake g++ make; do
            command -v "$name" >/dev/null || fail "$name is needed to go on"
        done
        echo "Going on without them; rendering or a camera may fail until they are there."
    fi
}

# --- Python -----------------------------------------------------------------------------------

fits() { # COMMAND: is it CPython 3.10 to 3.13?
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.10; do
        if fits "$name"; then
            command -v "$name"
            return
        fi
        [ "$name" != "${PYTHON:-}" ] || return 1
    done
    return 1
}

has_headers() {
    "$1" -c 'import os, sysconfig as s; os.stat(s.get_paths()["include"] + "/Python.h")' 2>/dev/null
}

make_venv() {
    local python version
    python="$(find_python)" || fail "no Python 3.10 to 3.13 found${PYTHON:+ at $PYTHON}. Install one (Debian, Ubuntu: apt-get install python3 python3-venv python3-dev), or name one: PYTHON=/path/to/python3.12 make setup"
    version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    local missing=()
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("python$version-venv")
    has_headers "$python" || missing+=("python$version-dev")
    if [ "${#missing[@]}" -gt 0 ]; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            apt_install "${missing[@]}"
        else
            fail "$python lacks its parts ${missing[*]}. Please run: sudo apt-get install ${missing[*]}"
        fi
    fi
    say "Making .venv with $python ($version)"
    "$python" -m venv "$venv"
}

python_packages() {
    local wanted file
    wanted="$(for file in "${pins[@]}"; do listed "$file"; done | sha256sum | cut -d' ' -f1)"
    if ! fits "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$venv" # absent, or broken: its Python is gone, or the folder was moved
        make_venv
    elif [ "$(cat "$venv/kalm_requirements" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    say "Installing Python packages (a few minutes, about 4 GB on disk)"
    local arguments=()
    for file in "${pins[@]}"; do arguments+=(-r "$file"); done
    "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --no-compile \
        "${arguments[@]}" |
        sed -u -nE 's/^ *((Collecting|Building wheels for) [^ ]+).*/\1/p; s/^(Installing) .*/\1 all of them/p' ||
        fail "pip did not install the packages; the reason is above. Run the same command again to go on."
    say "Compiling the Python packages"
    # with all cores, where pip takes one; templates that are no Python do not compile, nor must they
    "$venv/bin/python" -m compileall -q -j 0 "$venv/lib" >/dev/null 2>&1 || true
    "$venv/bin/python" tools/patch_ros_wheels.py
    echo "$wanted" >"$venv/kalm_requirements"
}

# --- The workspace ----------------------------------------------------------------------------

workspace() {
    local wanted
    wanted="$({
        find kalm_interfaces -type f -print0 | sort -z | xargs -0 sha256sum
        sha256sum setup.py setup.cfg package.xml tools/build.sh "$venv/kalm_requirements"
        find launch config resource -type f | sort
        pwd
    } | sha256sum | cut -d' ' -f1)"
    [ "$(cat install/kalm_built 2>/dev/null)" != "$wanted" ] || return 0
    say "Building kalm_interfaces and kalm_ros (about a minute)"
    tools/build.sh || fail "colcon could not build the workspace; the reason is above and in log/"
    echo "$wanted" >install/kalm_built
}

debian_packages
python_packages
workspace
