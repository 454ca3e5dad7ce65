"""What a demo deletes before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from kalm_core.errors import GoalError
from kalm_ros.demo import clear, make_folder


def test_only_what_a_demo_made_is_deleted(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    clear(out)  # nothing is there
    for name in ("demonstrations", "skills"):  # as in the folder that an operator works in
        (out / name).mkdir(parents=True)
    make_folder(out)  # a demo with --reuse
    with pytest.raises(GoalError, match="does not carry the mark"):
        clear(out)
    assert (out / "demonstrations").is_dir() and (out / "skills").is_dir()
    link = tmp_path / "link"
    made = tmp_path / "made"
    make_folder(made)
    (made / "skills").mkdir()
    link.symlink_to(made)
    with pytest.raises(GoalError, match="does not carry the mark"):
        clear(link)
    clear(made)
    assert not made.exists()


def test_a_file_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "demo"
    file.write_text("mine")
    with pytest.raises(GoalError, match="another folder"):
        clear(file)
    assert file.read_text() == "mine"
