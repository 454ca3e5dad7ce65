"""Free motion between two postures: the part of planning that a backend replaces."""

from __future__ import annotations

from typing import Protocol

from kalm_core.planning.collision import CollisionScene
from kalm_core.planning.joint_motion import JointMotionSettings, joint_path_to
from kalm_core.planning.obstacles import Obstacles
from kalm_core.se3 import Array
from kalm_core.trajectory import JointPath


class FreeMotion(Protocol):
    """Searches and times a collision-free joint motion. Whatever it finds is certified anew."""

    def see(self, obstacles: Obstacles) -> None:
        """Replace what the motions have to avoid."""
        ...

    def path_to(self, q_start: Array, q_goal: Array, gripper: float) -> JointPath:
        """Plan from joints q_start (7,) to q_goal (7,) [rad], the fingers `gripper` [m] open.

        Raises:
            SearchError: an end touches something, or no way was found.
        """
        ...


class RoboplanFreeMotion:
    """RRT-Connect, shortcuts and TOPP-RA of roboplan; implements `FreeMotion`.

    Args:
        surroundings: the scene to plan in; it is shared with whoever made it.
        settings: of the search.
    """

    def __init__(self, surroundings: CollisionScene, settings: JointMotionSettings) -> None:
        self._surroundings = surroundings
        self._settings = settings

    def see(self, obstacles: Obstacles) -> None:
        """See `FreeMotion.see`."""
        if self._surroundings.obstacles is not obstacles:
            self._surroundings.set_obstacles(obstacles)

    def path_to(self, q_start: Array, q_goal: Array, gripper: float) -> JointPath:
        """See `FreeMotion.path_to`."""
        self._surroundings.set_gripper(gripper)
        return joint_path_to(self._surroundings, q_start, q_goal, self._settings)
