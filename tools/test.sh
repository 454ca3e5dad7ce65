#!/usr/bin/env bash
# All tests: first those of one process each, two at a time, then those that start a ROS graph and
# want the machine to themselves.
#
#   tools/test.sh -k planning     some of them
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

interrupted=2 none_chosen=5 # of pytest's answers
status=$none_chosen

run() { # OPTION...
    python -m pytest --durations=12 "$@"
    local code=$?
    [ "$code" != "$interrupted" ] || exit "$code"
    if [ "$code" != 0 ] && [ "$code" != "$none_chosen" ]; then
        status=$code
    elif [ "$code" = 0 ] && [ "$status" = "$none_chosen" ]; then
        status=0
    fi
}

run -n 2 -m "not slow and not graph" "$@"
run -m graph "$@"
exit "$status"
