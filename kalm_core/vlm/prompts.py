"""The words of the three questions (section II-C); every one asks to think before answering."""

from __future__ import annotations

from collections.abc import Iterable

from kalm_core.vlm.answers import Answer, CellsAnswer, MaskAnswer, RegionAnswer
from kalm_core.vlm.grid import Grid

SYSTEM = (
    "You look at images of a robot's workspace and find the part of an object that a task is "
    "about. Think step by step before you answer. End with one JSON object and nothing after it."
)

_FORMATS: dict[type[Answer], str] = {
    RegionAnswer: '{"reasoning": "...", "object": "...", "part": "...", "cells": [1, 2]}',
    MaskAnswer: '{"reasoning": "...", "mask": 1}',
    CellsAnswer: '{"reasoning": "...", "cells": [1, 2]}',
}


def answer_format(kind: type[Answer]) -> str:
    """Return the sentence that says what the answer looks like."""
    return (
        f"Let's think step by step. Answer with one JSON object of this form: {_FORMATS[kind]}. "
        "Put your whole chain of thought into `reasoning`, then the answer."
    )


def scene_context(task: str, frames: int, grid: Grid) -> str:
    """Say what the task and the images with the grid are."""
    video = (
        "This image shows a robot just before it does it."
        if frames == 1
        else f"These {frames} images, in order of time, show a robot that does it, seen by a "
        "camera that may move with its hand."
    )
    return f'The task is: "{task}". {video} Each image carries a grid: {_numbering(grid)}.'


def region_question(task: str, frames: int, grid: Grid) -> str:
    """VLM_1: which cells of the first image hold the part that the task is about."""
    return (
        f"{scene_context(task, frames, grid)} First describe the object that the robot works on "
        "and the one part of it that matters most for the task, as short as you can while nothing "
        "else fits. Then name the cells of the first image that hold this part. "
        f"{answer_format(RegionAnswer)}"
    )


def _numbering(grid: Grid) -> str:
    return (
        f"{grid.columns} columns and {grid.rows} rows of cells that are numbered from 1 to "
        f"{len(grid)}, row by row from the upper left"
    )


def another_region_question(task: str, rejected: Iterable[str]) -> str:
    """VLM_1 again, after verification: another region."""
    reasons = "".join(f"\n- {reason}" for reason in rejected)
    return (
        f'The task is still: "{task}". What was chosen so far could not be used:{reasons}\n'
        "Look at the first image again. Was it the wrong object, the wrong part, or the wrong "
        "cells? Describe object and part anew and name the cells of the first image that hold the "
        f"part. {answer_format(RegionAnswer)}"
    )


def mask_question(task: str, part: str, count: int) -> str:
    """VLM_2: which of the masks is the part."""
    about = f" ({part})" if part else ""
    return (
        f"The first image was segmented. Here it is {count} times, each time with one mask in blue "
        f'and its number. For the task "{task}", which mask covers the part that matters{about}, '
        f"and as little else as possible? {answer_format(MaskAnswer)}"
    )


def rejected_question(number: int, reason: str, left: Iterable[int]) -> str:
    """VLM_2 again, after verification: the rejected mask is in red."""
    remaining = ", ".join(map(str, left))
    return (
        f"Mask {number}, now in red, was checked against the other demonstrations and rejected: "
        f"{reason}. Choose another one of the masks shown: {remaining}. If none of these covers "
        f"the part that matters, answer mask 0: another region will be looked at. "
        f"{answer_format(MaskAnswer)}"
    )


def cells_question(task: str, part: str, grid: Grid) -> str:
    """The third question: where the part is in a new image."""
    about = f"the {part}" if part else "the part that it is about"
    return (
        f'The task is: "{task}". The first image shows {about} in blue. The second image shows '
        "another scene, with another view, perhaps another object of the same kind. It carries a "
        f"grid: {_numbering(grid)}. Which cells of the second image hold the same part? An empty "
        f"list says that it is not in view. {answer_format(CellsAnswer)}"
    )


def unusable(problem: str, kind: type[Answer]) -> str:
    """Ask again for an answer that could not be used."""
    return f"Your answer cannot be used: {problem}. {answer_format(kind)}"
