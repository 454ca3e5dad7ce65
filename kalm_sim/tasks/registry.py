"""The tasks by name."""

from __future__ import annotations

from kalm_core.errors import GoalError
from kalm_sim.tasks.base import Task
from kalm_sim.tasks.drawer import DrawerTask
from kalm_sim.tasks.handle import HandleTask
from kalm_sim.tasks.pour import PourTask

TASKS: dict[str, Task] = {task.name: task for task in (DrawerTask(), HandleTask(), PourTask())}
"""By name: "drawer", "handle", "pour"."""


def task_named(name: str) -> Task:
    """Return the task of a name.

    Raises:
        GoalError: there is none.
    """
    if name not in TASKS:
        raise GoalError(f"the laboratory has no task {name!r}", f"choose one of {', '.join(TASKS)}")
    return TASKS[name]
