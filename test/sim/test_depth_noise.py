from __future__ import annotations

import numpy as np
import pytest

from kalm_sim.depth_noise import DepthNoiseSettings, add_depth_noise


def flat(z: float) -> np.ndarray:
    return np.full((120, 160), z, dtype=np.float32)


def noisy(depth: np.ndarray, settings: DepthNoiseSettings, seed: int = 0) -> np.ndarray:
    return add_depth_noise(depth, settings, np.random.default_rng(seed))


def test_nothing_is_added_when_all_is_off() -> None:
    depth = np.random.default_rng(0).uniform(0.2, 2.0, (40, 50)).astype(np.float32)
    np.testing.assert_array_equal(noisy(depth, DepthNoiseSettings.off()), depth)


def test_the_same_seed_gives_the_same_noise_and_another_another() -> None:
    settings = DepthNoiseSettings()
    np.testing.assert_array_equal(noisy(flat(0.5), settings, 3), noisy(flat(0.5), settings, 3))
    assert (noisy(flat(0.5), settings, 3) != noisy(flat(0.5), settings, 4)).any()


def test_depth_outside_the_range_is_no_measurement() -> None:
    settings = DepthNoiseSettings()
    assert (noisy(flat(0.15), settings) == 0).all()
    assert (noisy(flat(3.5), settings) == 0).all()
    assert (noisy(flat(0.5), settings) > 0).mean() > 0.99


@pytest.mark.parametrize("z", [0.25, 0.5, 1.0, 2.0])
def test_noise_grows_with_the_square_of_the_distance(z: float) -> None:
    settings = DepthNoiseSettings(speckle_dropout=0.0, resolution=0.0)
    error = noisy(flat(z), settings) - z
    assert error.std() == pytest.approx(0.0013 * (z / 0.5) ** 2, rel=0.02)


def test_holes_open_at_steps_and_only_there() -> None:
    depth = flat(0.5)
    depth[:, 80:] = 0.8
    settings = DepthNoiseSettings(speckle_dropout=0.0, edge_dropout=1.0)
    lost = noisy(depth, settings) == 0
    assert lost[:, 78:82].all()
    assert not lost[:, :76].any() and not lost[:, 84:].any()


def test_the_input_is_not_touched_and_the_output_is_in_millimetres() -> None:
    depth = flat(0.7)
    before = depth.copy()
    seen = noisy(depth, DepthNoiseSettings())
    np.testing.assert_array_equal(depth, before)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen * 1000, np.round(seen * 1000), atol=1e-3)
