from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.table2_episode import FIRST_SCENE, Episode, Journal, summary
from kalm_core.errors import Outcome

DONE = Episode(FIRST_SCENE, Outcome.SUCCEEDED.name, "", 0.15, True, 0, {"episode": 4.0})


def failed(outcome: Outcome, **changes: object) -> Episode:
    return replace(DONE, outcome=outcome.name, success=False, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("episode", "part"),
    [
        (DONE, ""),
        (failed(Outcome.SUCCEEDED), "policy"),
        (failed(Outcome.SUCCEEDED, off=0.05), "detection"),
        (failed(Outcome.SUCCEEDED, off=0.05, on_part=0.2), "proposal"),
        (failed(Outcome.GRIPPER_EMPTY, off=0.001), "execution"),
        (failed(Outcome.KEYPOINTS_NOT_FOUND), "detection"),
        (failed(Outcome.NO_FEASIBLE_TRAJECTORY), "planning"),
        (failed(Outcome.CONNECTION_LOST), "infrastructure"),
        (failed(Outcome.TOO_SLOW), "infrastructure"),
        # what was done counts, whatever the suite says of itself
        (replace(DONE, outcome=Outcome.TRACKING_ERROR.name), ""),
    ],
)
def test_a_failure_is_put_down_to_one_part(episode: Episode, part: str) -> None:
    assert episode.failed_in == part


def test_a_journal_goes_on_where_it_ended(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "task" / "view.jsonl")
    journal.add(replace(DONE, seed=FIRST_SCENE + 1))
    again = Journal(tmp_path / "task" / "view.jsonl")
    assert again.episodes == journal.episodes
    assert again.missing(3) == [FIRST_SCENE, FIRST_SCENE + 2]
    assert again.first(1) == []


def test_infrastructure_is_counted_apart() -> None:
    lost = failed(Outcome.CONNECTION_LOST, repeated=2)
    row = summary("x", [DONE, DONE, failed(Outcome.KEYPOINTS_NOT_FOUND), lost])
    assert (row.value, row.n) == (pytest.approx(2 / 3), 3)
    assert "1 detection" in row.note and "1 episodes lost" in row.note
    assert summary("x", []).value is None
