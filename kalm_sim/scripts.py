"""The scripted motion for a scene, whatever its task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kalm_core.errors import GoalError
from kalm_sim.demonstrator import script_opening
from kalm_sim.demonstrator_handle import script_lift
from kalm_sim.demonstrator_pour import script_pour
from kalm_sim.scene import TOP, SceneParameters, scene_truth
from kalm_sim.scripted_motion import Script
from kalm_sim.tasks.bowl import BowlParameters
from kalm_sim.tasks.cabinet import CabinetParameters
from kalm_sim.tasks.coffee_machine import CoffeeMachineParameters


def write_script(scene: SceneParameters, rng: np.random.Generator, side: int = 1) -> Script:
    """Write a script for a scene's task, as if its object were there.

    Args:
        scene: of any task.
        rng: source of what differs from one time to the next.
        side: 1 or -1: on which side the hand has its camera, or to which it pours.

    Raises:
        GoalError: `side` is neither, or nobody has scripted the task.
    """
    target = scene.target
    if isinstance(target, CabinetParameters):
        whole = replace(scene, empty=False, replacement=None)
        return script_opening(scene_truth(whole).handles[TOP], rng, side=side)
    if isinstance(target, CoffeeMachineParameters):
        return script_lift(target, rng, side=side)
    if isinstance(target, BowlParameters) and scene.held is not None:
        return script_pour(target, scene.held, rng, side=side)
    raise GoalError(f"there is no script for the task {scene.task!r}", "choose another task")
