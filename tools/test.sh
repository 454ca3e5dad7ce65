#!/usr/bin/env bash
# All tests: first those of one process each, two at a time, then those that start a ROS graph, which
# want the machine to themselves.
#
#   tools/test.sh -k planning     some of them
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

none=5 # what pytest answers when no test was chosen
run() {
    python -m pytest "$@"
}

run -n 2 -m "not slow and not graph" "$@"
alone=$?
run -m graph "$@"
graph=$?
if [ "$alone" = "$none" ] && [ "$graph" != "$none" ]; then
    alone=0
elif [ "$graph" = "$none" ] && [ "$alone" != "$none" ]; then
    graph=0
fi
[ "$alone" = 0 ] || exit "$alone"
exit "$graph"
