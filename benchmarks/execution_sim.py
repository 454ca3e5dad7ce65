"""`sim_node` with faults: a service for each of them, and the arm's true speed for the judge.

Run as `python -m benchmarks.execution_sim`, in the place of `kalm_ros.sim_node`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from kalm_core.errors import KalmError
from kalm_ros.periodic import Periodic
from kalm_ros.qos import STATES
from kalm_ros.run_node import run_node
from kalm_ros.sim_node import SimNode
from kalm_sim.faults import FaultyLaboratory

SPEED_TOPIC = "kalm_sim/truth/arm_speed"
"""Wall time [s], simulated time [s], fastest joint [rad/s]."""

SPEED_RATE = 100.0
"""How often the arm's speed is told [Hz]."""

FAULT_SERVICE = "kalm_sim/fault/{}"


def offer_fault(node: Node, name: str, act: Callable[[], None]) -> None:
    """Offer a service that brings about a fault."""

    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            act()
            response.success = True
        except KalmError as error:
            response.success, response.message = False, str(error)
        return response

    node.create_service(
        Trigger, FAULT_SERVICE.format(name), answer, callback_group=ReentrantCallbackGroup()
    )


class FaultySimNode(SimNode):
    """The simulated laboratory, in which things fail when asked to."""

    laboratory_kind = FaultyLaboratory
    _laboratory: FaultyLaboratory

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, act in self._laboratory.faults.items():
            offer_fault(self, name, act)
        self._speed = self.create_publisher(Float64MultiArray, SPEED_TOPIC, STATES)
        self._periodic.append(Periodic(self, SPEED_RATE, self._publish_speed))

    def _publish_speed(self) -> None:
        simulated, speed = self._laboratory.motion()
        self._speed.publish(Float64MultiArray(data=[time.time(), simulated, speed]))


def main() -> int:
    """Run it."""
    return run_node(FaultySimNode)


if __name__ == "__main__":
    sys.exit(main())
