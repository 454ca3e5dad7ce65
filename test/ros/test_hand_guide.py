"""What is typed while the arm is guided."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kalm_ros.hand_guide import Typed


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_lines_that_come_together_are_taken_one_by_one(pipe: tuple[int, int]) -> None:
    typed = Typed(pipe[0])
    os.write(pipe[1], b"c\n\no")
    assert typed.take() == "c"
    assert typed.take() == ""
    assert typed.take() is None
    os.write(pipe[1], b"\n")
    assert typed.take() == "o"


def test_a_closed_input_is_no_line() -> None:
    read, write = os.pipe()
    os.close(write)
    typed = Typed(read)
    assert typed.take() is None
    os.close(read)
