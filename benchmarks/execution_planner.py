"""`planning_node` whose planner raises, once, an exception that nobody foresaw.

What is injected: the next call of the planner's own `plan` raises a `ZeroDivisionError`, as a
defect in a library would. Run as `python -m benchmarks.execution_planner`.
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.execution_sim import offer_fault
from kalm_core.planning.planner import MotionPlanner
from kalm_ros.planning_node import PlanningNode
from kalm_ros.run_node import run_node


class FailingPlanner:
    """A planner that fails once when it is told to; else it is the one that it is given."""

    def __init__(self, planner: MotionPlanner) -> None:
        self._planner = planner
        self._fails = False

    def fail_next(self) -> None:
        """Raise at the next plan."""
        self._fails = True

    def plan(self, *arguments: Any, **options: Any) -> Any:
        """See `MotionPlanner.plan`."""
        if self._fails:
            self._fails = False
            raise ZeroDivisionError("injected by the benchmark")
        return self._planner.plan(*arguments, **options)

    def path_to(self, *arguments: Any, **options: Any) -> Any:
        """See `MotionPlanner.path_to`."""
        return self._planner.path_to(*arguments, **options)


class FaultyPlanningNode(PlanningNode):
    """Plans as the real one, until it is told to fail."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        failing = FailingPlanner(self._planner)
        self._planner = failing
        offer_fault(self, "planner_exception", failing.fail_next)


def main() -> int:
    """Run it."""
    return run_node(FaultyPlanningNode)


if __name__ == "__main__":
    sys.exit(main())
