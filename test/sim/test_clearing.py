from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from kalm_core.planning.robot_model import RobotModel
from kalm_sim.clearing import way_over_the_table
from kalm_sim.viewpoints import READY

FOLDED = np.array([-1.89, 1.69, 2.14, -2.75, 1.83, 4.34, -2.06])
"""A view from which the straight way to a cup over the bowl leads through the table."""

OVER_THE_BOWL = np.array([2.26, 0.39, -1.84, -2.48, 2.23, 2.98, -1.06])


def lowest(robot: RobotModel, way: list[np.ndarray]) -> float:
    share = np.linspace(0, 1, 50)[:, None]
    return min(
        float(robot.tool_poses(a + share * (b - a))[:, 2, 3].min()) for a, b in pairwise(way)
    )


@pytest.mark.sim
@pytest.mark.parametrize(
    ("start", "target"), [(FOLDED, OVER_THE_BOWL), (OVER_THE_BOWL, READY), (READY, READY + 0.2)]
)
def test_a_way_never_leads_lower_than_the_straight_one(
    start: np.ndarray, target: np.ndarray
) -> None:
    robot = RobotModel.load()
    way = way_over_the_table(robot, start, target)
    np.testing.assert_array_equal(way[-1], target)
    straight = lowest(robot, [start, target])
    assert lowest(robot, [start, *way]) >= min(straight, 0.05)
    assert len(way) == 1 or straight < 0.06
