"""What may be answered: one JSON object with the reasoning first, checked strictly."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

A = TypeVar("A", bound="Answer")


class Answer(BaseModel):
    """Base of all answers. The reasoning comes first: the model thinks before it answers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reasoning: str

    def problem(self, cells: int, masks: frozenset[int]) -> str:
        """Return why the answer cannot be used; empty when it can.

        Args:
            cells: number of cells of the grid.
            masks: ids that may be chosen.
        """
        del cells, masks
        return ""


class RegionAnswer(Answer):
    """The part that the task is about, and the cells of the grid that hold it."""

    object: str = Field(min_length=1, max_length=300)
    part: str = Field(min_length=1, max_length=300)
    cells: list[int]

    def problem(self, cells: int, masks: frozenset[int]) -> str:
        """See `Answer.problem`."""
        del masks
        return _cells_problem(self.cells, cells) if self.cells else "the list of cells is empty"


class MaskAnswer(Answer):
    """One of the masks shown; 0 says that none of them fits and another region is needed."""

    mask: int

    def problem(self, cells: int, masks: frozenset[int]) -> str:
        """See `Answer.problem`."""
        del cells
        if self.mask in masks:
            return ""
        return f"mask {self.mask} is not one of {', '.join(map(str, sorted(masks)))}"


class CellsAnswer(Answer):
    """The cells that hold the part in a new image; none when it is not in view."""

    cells: list[int]

    def problem(self, cells: int, masks: frozenset[int]) -> str:
        """See `Answer.problem`."""
        del masks
        return _cells_problem(self.cells, cells)


class AnswerError(Exception):
    """A text is not an answer; the message says why, in words that the model can act on."""


def parse_answer(text: str, kind: type[A]) -> A:
    """Read the one JSON object in a text; prose and code fences around it are let pass.

    Raises:
        AnswerError: there is none or more than one, or it does not fit the schema.
    """
    found = _objects(text)
    if not found:
        raise AnswerError("it holds no complete JSON object" if text.strip() else "it is empty")
    if len(found) > 1:
        raise AnswerError(f"it holds {len(found)} JSON objects, expected one")
    try:
        return kind.model_validate(found[0])
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'the answer'}: {item['msg']}"
            for item in error.errors()
        )
        raise AnswerError(wrong) from error


def answer_schema(kind: type[Answer]) -> dict[str, Any]:
    """Return the JSON schema, in the subset that servers hold answers to."""
    return {
        "type": "object",
        "properties": {
            name: _property(field.annotation) for name, field in kind.model_fields.items()
        },
        "required": list(kind.model_fields),
        "additionalProperties": False,
    }


def _property(annotation: Any) -> dict[str, Any]:
    if annotation is str:
        return {"type": "string"}
    if annotation is int:
        return {"type": "integer"}
    return {"type": "array", "items": {"type": "integer"}}


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the outermost JSON objects in a text."""
    decoder, found, start = json.JSONDecoder(), [], text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
            found.append(value)
        except (json.JSONDecodeError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return found


def _cells_problem(chosen: list[int], cells: int) -> str:
    if wrong := [cell for cell in chosen if not 1 <= cell <= cells]:
        return (
            f"cells {', '.join(map(str, wrong[:10]))} are not on the grid, which has 1 to {cells}"
        )
    if len(set(chosen)) > cells // 2:
        return f"{len(set(chosen))} of {cells} cells are named; name only those that hold the part"
    return ""
