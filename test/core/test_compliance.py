from __future__ import annotations

import numpy as np
import pytest

from kalm_core.planning.robot_model import RobotModel
from kalm_core.robot.compliance import bounded_error

BENT = np.array([0.2, 0.5, -0.3, -1.9, 0.3, 2.2, 0.8])
BOUNDS = (0.04, 0.3, 0.3)


@pytest.fixture(scope="module")
def jacobian() -> np.ndarray:
    return RobotModel.load().jacobian(BENT)


def aside_of(jacobian: np.ndarray) -> np.ndarray:
    """Return the (7,) unit direction that moves the elbow alone."""
    return np.linalg.svd(jacobian)[2][-1]


def test_a_small_error_stays_as_it_is(jacobian: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        error = rng.uniform(-0.01, 0.01, 7)
        bounded, share = bounded_error(error, jacobian, *BOUNDS)
        np.testing.assert_allclose(bounded, error, atol=1e-12)
        assert share == 1.0


def test_the_pull_at_the_tool_is_bounded_whatever_the_error(jacobian: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        error = rng.uniform(-1.0, 1.0, 7)
        bounded, share = bounded_error(error, jacobian, *BOUNDS)
        shift, turn = np.split(jacobian @ bounded, 2)
        assert np.linalg.norm(shift) <= BOUNDS[0] + 1e-9
        assert np.linalg.norm(turn) <= BOUNDS[1] + 1e-9
        assert 0.0 < share <= 1.0
        # what was cut keeps its direction
        wanted = (jacobian @ error)[:3]
        assert shift @ wanted == pytest.approx(np.linalg.norm(shift) * np.linalg.norm(wanted))


def test_a_tool_that_is_held_keeps_its_orientation_and_its_elbow(jacobian: np.ndarray) -> None:
    shift, turn = np.array([0.12, 0.0, 0.0]), np.array([0.0, 0.2, 0.0])
    aside = 0.1 * aside_of(jacobian)
    error = np.linalg.pinv(jacobian) @ np.concatenate([shift, turn]) + aside
    bounded, share = bounded_error(error, jacobian, *BOUNDS)
    np.testing.assert_allclose(jacobian @ bounded, [0.04, 0, 0, 0, 0.2, 0], atol=1e-9)
    assert (bounded @ aside) / (aside @ aside) == pytest.approx(1.0)
    assert share == pytest.approx(1 / 3)


def test_an_elbow_that_is_held_pulls_no_harder_than_allowed(jacobian: np.ndarray) -> None:
    bounded, share = bounded_error(2.0 * aside_of(jacobian), jacobian, *BOUNDS)
    assert np.abs(bounded).max() == pytest.approx(0.3)
    np.testing.assert_allclose(jacobian @ bounded, 0.0, atol=1e-9)
    assert share == 1.0


def test_a_stretched_arm_gets_no_large_error() -> None:
    stretched = np.array([0.0, 0.0, 0.0, -0.16, 0.0, 1.6, 0.0])
    jacobian = RobotModel.load().jacobian(stretched)
    rng = np.random.default_rng(2)
    for _ in range(50):
        error = rng.uniform(-0.3, 0.3, 7)
        bounded, _ = bounded_error(error, jacobian, *BOUNDS)
        assert np.abs(bounded).max() < 1.0
