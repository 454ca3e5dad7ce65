"""How measurements are written down: intervals, and a part of them measured again."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.results import Results, Row, share


def written(folder: Path, rows: list[Row], *, full: bool = True, update: bool = False) -> dict:
    return json.loads(Results("x", "make x", full, rows).write(folder, update).read_text())


def test_an_update_replaces_what_was_measured_again_and_keeps_the_rest(tmp_path: Path) -> None:
    before = written(tmp_path, [share("a", 1, 10), share("b", 2, 10)])
    after = written(tmp_path, [share("b", 9, 10), share("c", 3, 10)], full=False, update=True)
    assert [(row["id"], row["value"]) for row in after["rows"]] == [
        ("a", 0.1),
        ("b", 0.9),
        ("c", 0.3),
    ]
    assert after["rows"][0] == before["rows"][0]
    assert after["seconds"] >= before["seconds"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_row_without_a_commit_is_of_the_files(tmp_path: Path) -> None:
    old = written(tmp_path, [share("a", 1, 10)])
    del old["rows"][0]["commit"]
    (tmp_path / "x.json").write_text(json.dumps(old | {"commit": "of-old"}))
    rows = written(tmp_path, [share("b", 1, 10)], full=False, update=True)["rows"]
    assert [row["commit"] for row in rows] == ["of-old", rows[1]["commit"]]
    assert rows[1]["commit"] != "of-old"


def test_a_part_does_not_touch_the_full_file(tmp_path: Path) -> None:
    written(tmp_path, [share("a", 1, 10)])
    before = (tmp_path / "x.json").read_text()
    written(tmp_path, [share("a", 5, 10)], full=False)
    assert (tmp_path / "x.json").read_text() == before
    assert (tmp_path / "x.small.json").is_file()
