"""A node that is there to be killed: it works on every goal until it is told to stop."""

from __future__ import annotations

import sys
import threading

from rclpy.node import Node

from kalm_core.progress import Progress
from kalm_interfaces.action import ExecuteSkill, GuideByHand, RecordDemonstration
from kalm_ros.action_server import GoalServer, wait_or_stop
from kalm_ros.run_node import run_node

KINDS = {
    "execute_skill": ExecuteSkill,
    "robot/guide_by_hand": GuideByHand,
    "kalm/record_demonstration": RecordDemonstration,
}


def make() -> Node:
    node = Node("mortal_server")
    for name, kind in KINDS.items():

        def work(_: object, __: object, progress: Progress, name: str = name) -> str:
            print(f"working on {name}", flush=True)
            wait_or_stop(threading.Event(), 120.0, progress, name)
            return ""

        GoalServer(node, kind, name, work, lambda *_, kind=kind: kind.Feedback())
    return node


sys.exit(run_node(make))
