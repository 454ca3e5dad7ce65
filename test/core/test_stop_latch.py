"""A stop holds until a recovery that began after it."""

from __future__ import annotations

import pytest

from kalm_core.errors import GoalError, RobotError
from kalm_core.robot.stop_latch import StopLatch


def test_a_stop_holds_until_a_recovery() -> None:
    latch = StopLatch()
    assert not latch.holds
    latch.stop()
    latch.stop()
    assert latch.holds
    with latch.releasing():
        assert latch.holds
    assert not latch.holds


def test_a_stop_during_a_recovery_is_not_released_by_it() -> None:
    latch = StopLatch()
    latch.stop()
    with pytest.raises(RobotError, match="during the recovery"), latch.releasing():
        latch.stop()
    assert latch.holds
    with latch.releasing():
        pass
    assert not latch.holds


def test_a_recovery_that_fails_releases_nothing() -> None:
    latch = StopLatch()
    latch.stop()
    with pytest.raises(GoalError), latch.releasing():
        raise GoalError("the arm does not answer")
    assert latch.holds
