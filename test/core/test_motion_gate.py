"""The last look before the arm moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm_core.errors import GoalError, MotionRefusedError
from kalm_core.planning.digest import digest
from kalm_core.robot.joint_line import joint_line
from kalm_core.robot.motion_gate import (
    demand_executable,
    demand_fresh,
    demand_no_wider,
    demand_same,
    speed_within,
)
from kalm_core.trajectory import JointPath

START = np.array([0.0, -0.7, 0.0, -2.3, 0.0, 1.6, 0.8])
BEYOND = np.array([0.0, 0.0, 0.0, 2.3, 0.0, 0.0, 0.0])
LINE = joint_line(START, START + 0.2)


def test_a_sound_motion_passes() -> None:
    back = joint_line(START + 0.2, START)
    demand_executable([("approach", LINE), ("retreat", back)], START + 0.005)
    demand_fresh(3.0, 30.0)
    demand_same("ab", "ab")


@pytest.mark.parametrize(
    ("parts", "q", "text"),
    [
        ([("approach", LINE)], START + 0.03, "approach starts 0.030 rad"),
        ([("approach", LINE), ("retreat", LINE)], START, "retreat starts 0.200 rad"),
        (
            [("approach", JointPath(LINE.positions + BEYOND, LINE.stamps))],
            START + BEYOND,
            "joint 4 .* outside",
        ),
        ([("approach", JointPath(LINE.positions, LINE.stamps / 20))], START, "velocity limit"),
        ([("approach", LINE)], np.full(7, np.nan), "starts nan"),
    ],
)
def test_others_are_refused(parts: list, q: np.ndarray, text: str) -> None:
    with pytest.raises(MotionRefusedError, match=text):
        demand_executable(parts, q)


def test_old_and_foreign_motions_are_refused() -> None:
    for age in (31.0, -2.0, float("nan")):
        with pytest.raises(MotionRefusedError, match="planned"):
            demand_fresh(age, 30.0)
    with pytest.raises(MotionRefusedError, match="no certificate"):
        demand_same("", "ab")
    with pytest.raises(MotionRefusedError, match="altered"):
        demand_same("abc", "ab")


def test_fingers_wider_than_certified_are_refused() -> None:
    demand_no_wider(0.08, 0.0)
    demand_no_wider(0.0, 0.001)
    for planned, now in ((0.0, 0.08), (0.06, 0.065), (0.08, float("nan")), (float("nan"), 0.0)):
        with pytest.raises(MotionRefusedError, match="plan again"):
            demand_no_wider(planned, now)


@given(st.integers(0, LINE.positions.size - 1), st.integers(0, 62))
def test_one_flipped_bit_changes_the_digest(index: int, bit: int) -> None:
    numbers = {"a": LINE.positions, "b": LINE.stamps}
    flipped = LINE.positions.copy()
    flipped.view(np.uint64).reshape(-1)[index] ^= np.uint64(1 << bit)
    assert digest({**numbers, "a": flipped}) != digest(numbers)


def test_names_and_shapes_count() -> None:
    a = np.arange(6.0)
    kinds = [{"a": a}, {"b": a}, {"a": a.reshape(2, 3)}, {"a": a[:3], "b": a[3:]}, {}]
    assert len({digest(numbers) for numbers in kinds}) == len(kinds)
    assert digest({"a": a, "b": a[:2]}) == digest({"b": a[:2], "a": a.copy()})


SHARES = st.floats(0.0, 1.0, exclude_min=True)


@settings(deadline=None)
@given(asked=SHARES, most=SHARES)
def test_no_motion_is_faster_than_the_arms_owner_allows(asked: float, most: float) -> None:
    assert speed_within(asked, most) == min(asked, most)
    assert speed_within(0.0, most) == most


@pytest.mark.parametrize("asked", [-0.1, 1.01, np.nan, np.inf])
def test_a_speed_that_is_no_share_is_refused(asked: float) -> None:
    with pytest.raises(GoalError, match="speed_scale is"):
        speed_within(asked, 0.5)
