from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm_core.vlm.answers import (
    AnswerError,
    CellsAnswer,
    MaskAnswer,
    RegionAnswer,
    answer_schema,
    parse_answer,
)
from kalm_core.vlm.grid import Grid
from kalm_core.vlm.message import Message, Picture, request_digest
from kalm_core.vlm.pictures import BLUE, RED, draw_mask
from kalm_core.vlm.prompts import answer_format

GOOD = '{"reasoning": "r", "object": "cabinet", "part": "handle", "cells": [3, 4]}'


@settings(max_examples=30)
@given(st.text(max_size=40), st.lists(st.integers(1, 55), max_size=9))
def test_what_is_written_is_read_back_with_prose_around_it(reasoning, cells):
    answer = CellsAnswer(reasoning=reasoning, cells=cells)
    text = f"Let me think.\n```json\n{answer.model_dump_json()}\n```\nThat is it."
    assert parse_answer(text, CellsAnswer) == answer


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("The handle, clearly.", "no complete JSON object"),
        (GOOD[:-10], "no complete JSON object"),
        (GOOD + GOOD, "2 JSON objects"),
        (GOOD.replace("[3, 4]", '["3"]'), "cells.0: .*integer"),
        (GOOD.replace("[3, 4]", "[3.5]"), "cells.0: .*integer"),
        (GOOD.replace('"part": "handle", ', ""), "part: Field required"),
        (GOOD.replace('"part"', '"piece": 1, "part"'), "piece: Extra"),
        (GOOD.replace("cabinet", ""), "object: .*at least 1"),
        ("{" * 5000, "no complete JSON object"),
    ],
)
def test_what_does_not_fit_the_schema_is_no_answer(text, why):
    with pytest.raises(AnswerError, match=why):
        parse_answer(text, RegionAnswer)


@pytest.mark.parametrize("kind", [RegionAnswer, MaskAnswer, CellsAnswer])
def test_the_example_in_the_question_fits_the_schema(kind):
    text = answer_format(kind)
    answer = parse_answer(text, kind)
    assert set(answer.model_dump()) == set(answer_schema(kind)["properties"])
    assert next(iter(answer_schema(kind)["properties"])) == "reasoning"


def test_cells_and_masks_out_of_range_are_named():
    def region(*cells):
        return RegionAnswer(reasoning="", object="a", part="b", cells=list(cells))

    assert region(1, 55).problem(55, frozenset()) == ""
    assert "56" in region(3, 56).problem(55, frozenset())
    assert "0" in region(0).problem(55, frozenset())
    assert "empty" in region().problem(55, frozenset())
    assert "40 of 55" in region(*range(1, 41)).problem(55, frozenset())
    assert MaskAnswer(reasoning="", mask=2).problem(55, frozenset({1, 2})) == ""
    assert "mask 0 is not one of 1, 2" in MaskAnswer(reasoning="", mask=0).problem(
        55, frozenset({2, 1})
    )
    assert CellsAnswer(reasoning="", cells=[]).problem(55, frozenset()) == ""


@settings(max_examples=30)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(40, 90), st.integers(40, 90))
def test_the_cells_of_a_grid_share_out_all_pixels(columns, rows, height, width):
    grid = Grid(columns, rows)
    labels = grid.labels(height, width)
    assert set(np.unique(labels)) == set(range(1, len(grid) + 1))
    count = np.bincount(labels.ravel())[1:]
    assert count.max() <= (height // rows + 1) * (width // columns + 1)
    assert (np.diff(labels, axis=0) >= 0).all() and (np.diff(labels, axis=1) >= 0).all()
    assert np.array_equal(grid.mask([1, len(grid)], height, width), np.isin(labels, [1, len(grid)]))


def test_drawing_leaves_the_image_and_what_is_not_drawn_on_alone():
    image = np.full((120, 176, 3), 90, np.uint8)
    mask = np.zeros((120, 176), bool)
    mask[40:60, 80:100] = True
    grid, blue, red = Grid().draw(image), draw_mask(image, mask, 3), draw_mask(image, mask, 3, True)
    assert (image == 90).all()
    assert 0.4 < (grid == image).all(axis=-1).mean() < 0.99
    assert np.allclose(blue[50, 90], (90 + np.array(BLUE)) / 2, atol=1)
    assert np.allclose(red[50, 90], (90 + np.array(RED)) / 2, atol=1)
    assert (blue[100:, :60] == 90).all()


def test_a_digest_tells_words_pixels_and_order_apart():
    black = Picture(np.zeros((4, 4, 3), np.uint8))
    white = Picture(np.full((4, 4, 3), 255, np.uint8))

    def digest(*parts):
        return request_digest([Message("user", parts)])

    assert digest("a", black) == digest("a", Picture(np.zeros((4, 4, 3), np.uint8)))
    different = [digest("a", black), digest("a", white), digest(black, "a"), digest("b", black)]
    assert len(set(different)) == len(different)
    assert Picture(np.zeros((2, 8, 3), np.uint8)).digest != black.digest


def test_a_message_is_sent_as_chat_completions_take_it():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    sent = Message("user", ("look", Picture(image))).for_openai()
    assert [part["type"] for part in sent["content"]] == ["text", "image_url"]
    assert sent["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert Message("assistant", ("a",)).for_openai() == {"role": "assistant", "content": "a"}
    json.dumps(sent)
