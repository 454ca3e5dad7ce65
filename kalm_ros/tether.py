"""Runs one node and ends it when the process that started it is gone.

    python -m kalm_ros.tether kalm_ros.robot_node --ros-args ...

Standard input is the tether: a pipe that the starter holds open. When it closes, for whatever
reason, `kill -9` included, the node is interrupted as by Ctrl-C; one that is still there after
`GRACE` seconds is killed together with its own children. (Linux's parent-death signal is of no use
here: it is sent when the starting *thread* ends.)
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE = 15.0
"""Time for an orderly end after the starter is gone [s]."""

INTERRUPTED = 130


def _watch() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> int:
    """Run the module that is named first, with the arguments that follow."""
    module, *arguments = sys.argv[1:]
    if os.getpgrp() != os.getpid():
        os.setpgrp()  # the last resort kills the whole group: it must hold nobody else
    threading.Thread(target=_watch, name="tether", daemon=True).start()
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:
        return INTERRUPTED  # interrupted before the node could take the signal over
    return 0


if __name__ == "__main__":
    sys.exit(main())
