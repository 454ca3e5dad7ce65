"""The pace of a path: never above the limits, never faster than shown, never slower than needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm_core.planning.limits import derivative_shares
from kalm_core.planning.pace import feasible_stamps
from kalm_core.trajectory import JointPath


def wave(rng: np.random.Generator, size: float) -> np.ndarray:
    """Forty-eight smooth postures that move by about `size` [rad]."""
    phase = np.linspace(0.0, np.pi, 48)[:, None]
    return size * np.sin(phase * rng.uniform(0.3, 1.5, 7) + rng.uniform(0, 6, 7))


def shares(positions: np.ndarray, stamps: np.ndarray) -> list[float]:
    return [worst.share for worst in derivative_shares(JointPath(positions, stamps))]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.floats(0.01, 2.0),
    noise=st.sampled_from([0.0, 0.001, 0.02]),
    duration=st.floats(0.05, 20.0),
)
def test_the_limits_are_kept_and_no_step_gets_shorter(seed, size, noise, duration) -> None:
    rng = np.random.default_rng(seed)
    path = wave(rng, size) + noise * rng.normal(size=(48, 7))
    shown = np.linspace(0.0, duration, 48)
    stamps = feasible_stamps(path, shown)
    assert max(shares(path, stamps)) <= 0.9 + 1e-9
    assert stamps[0] == 0.0 and (np.diff(stamps) >= np.diff(shown) - 1e-12).all()


def test_a_path_within_the_limits_keeps_its_pace() -> None:
    path, shown = wave(np.random.default_rng(0), 0.5), np.linspace(0.0, 8.0, 48)
    assert feasible_stamps(path, shown) is shown


def test_only_the_neighbourhood_of_a_kink_is_slowed_down() -> None:
    path, shown = wave(np.random.default_rng(1), 0.5), np.linspace(0.0, 8.0, 48)
    path[30:, 4] += 0.9
    stamps = feasible_stamps(path, shown)
    longer = np.diff(stamps) / np.diff(shown)
    assert longer[29] > 1.5
    np.testing.assert_allclose(longer[:10], 1.0, rtol=0.05)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_short_paths(count: int) -> None:
    path = np.linspace(0.0, 1.0, count)[:, None] * np.ones(7)
    stamps = feasible_stamps(path, np.linspace(0.0, 0.01, count))
    assert max(shares(path, stamps)) <= 0.9 + 1e-9
