from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.correspondence import SHIPPED, rows_of
from benchmarks.correspondence_count import Count, calibration_error

NULL = [np.nan] * 3
SEEN = np.ones(3, bool)
TRUTH = np.array([[0.5, 0.0, 0.3], [0.5, 0.1, 0.3], [0.5, 0.2, 0.3]])


def off(*meters: float) -> np.ndarray:
    """The true places, each off by so much along x; NaN is Null."""
    places = TRUTH + np.outer(meters, [1.0, 0.0, 0.0])
    return np.where(np.isnan(meters)[:, None], NULL, places)


def counted(positions, truth=TRUTH, visible=SEEN, allowed=True) -> Count:
    count = Count()
    count.add(positions, truth, visible, allowed)
    return count


def test_distances_are_told_apart():
    count = counted(off(0.019, 0.021, 0.06))
    assert (count.visible, count.within2, count.within5) == (3, 1, 2)
    assert (count.found, count.right, count.false_allowed) == (3, 2, 1)


def test_null_is_a_miss_where_the_point_can_be_seen():
    count = counted(off(0.0, np.nan, 0.0))
    assert (count.visible, count.within2) == (3, 2)
    assert (count.found, count.right, count.false_allowed) == (2, 2, 0)


def test_a_hidden_point_counts_in_no_pck_but_what_is_found_of_it_does():
    count = counted(off(0.0, 0.2, 0.0), visible=np.array([True, False, False]))
    assert (count.visible, count.within2, count.hidden) == (1, 1, 2)
    assert (count.found, count.right, count.false_allowed) == (3, 2, 1)


@pytest.mark.parametrize("allowed", [True, False])
def test_without_the_object_all_that_is_found_is_wrong(allowed):
    count = counted(off(0.0, 0.0, np.nan), truth=None, visible=~SEEN, allowed=allowed)
    assert (count.visible, count.found, count.right) == (0, 2, 0)
    assert count.false_allowed == allowed


@given(st.lists(st.sampled_from([0.0, 0.01, 0.03, 0.07, np.nan]), min_size=3, max_size=3))
def test_counts_add_up_and_keep_their_order(meters):
    one, other = counted(off(*meters)), counted(off(0.0, 0.03, 0.0), allowed=False)
    total = one + other
    assert total.visible == one.visible + other.visible
    assert total.within2 == one.within2 + 2
    assert one.within2 <= one.within5 <= one.right <= one.found <= 3
    assert (total.pairs, total.allowed) == (2, 1)


def test_rows_sum_the_tasks_and_missing_weights_are_named():
    near, far = counted(off(0.0, 0.0, 0.0)), counted(off(0.03, 0.03, 0.03))
    rows = {row.id: row for row in rows_of({"a": {"local/view": near}, "b": {"local/view": far}})}
    assert rows["correspondence/local/view/pck2cm"].value == 0.5
    assert rows["correspondence/local/view/pck5cm"].value == 1.0
    assert rows["correspondence/local/view/b/pck2cm"].value == 0.0
    dino = rows["correspondence/dino+fpfh/view/pck2cm"]
    assert dino.value is None
    assert "KALM_DINO_WEIGHTS" in dino.note


def test_the_calibration_error_weighs_the_bins_by_their_matches():
    sure, doubtful = Count(), Count()
    sure.judge(np.full(8, 0.9), np.array([True] * 6 + [False] * 2))  # 0.15 too sure
    doubtful.judge(np.full(2, 0.5), np.array([True, False]))
    assert calibration_error([sure, doubtful, Count()]) == pytest.approx(0.12)
    assert calibration_error([Count()]) == 0.0


def test_reliability_is_summed_over_tasks_and_sets_of_images():
    one, other = Count(), Count()
    one.judge(np.array([0.95]), np.array([True]))
    other.judge(np.array([0.91]), np.array([False]))
    tasks = {
        "a": {f"{SHIPPED}/view/reliability9": one},
        "b": {f"{SHIPPED}/empty/reliability9": other},
    }
    rows = {row.id: row for row in rows_of(tasks)}
    assert rows["correspondence/reliability/0.9"].value == 0.5
    assert rows["correspondence/reliability/0.0"].value is None
    assert rows["correspondence/calibration_error"].value == pytest.approx(0.43)
