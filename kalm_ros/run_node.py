"""How every node's process starts and ends."""

from __future__ import annotations

import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node

from kalm_core.errors import KalmError
from kalm_core.run_log import show_run_log

THREADS = 8
"""A goal keeps a thread for as long as it runs; cancels, timers and subscriptions need others."""

BAD_START = 2
"""Exit status of a node that could not start."""

BAD_END = 3
"""Exit status of a node that could not give back what it held."""


def run_node(make: Callable[[], Node]) -> int:
    """Make a node, serve it until the process is told to end, and return the exit status.

    A node that cannot start says so in one line and ends with status 2. A node that holds
    something which must be released gives it back in `destroy_node`.
    """
    show_run_log()
    rclpy.init()
    node = None
    status = 0
    try:
        node = make()
        executor = MultiThreadedExecutor(num_threads=THREADS)
        executor.add_node(node)
        node.get_logger().info("ready")
        executor.spin()
    except KalmError as error:
        print(f"{make.__name__}: {error}", file=sys.stderr)
        status = BAD_START
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # the ordinary ways to end
    except Exception as error:
        if rclpy.ok():
            raise
        # a signal shuts the context down while a thread of the executor may still use it
        print(f"{make.__name__}: while it ended: {error}", file=sys.stderr)
    finally:
        if node is not None:
            status = _destroy(node, make.__name__) or status
        rclpy.try_shutdown()
    return status


def _destroy(node: Node, name: str) -> int:
    """Let a node give back what it holds; says so where that fails."""
    try:
        node.destroy_node()
    except KalmError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return BAD_END
    return 0
