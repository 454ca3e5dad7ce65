"""What the test VLM answers: it reads the question off the request, as a model would.

Right answers come from the truth of the images, wrong and unusable ones at chosen rates. Only for
tests and benchmarks.
"""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from PIL import Image as PilImage

from kalm_core.vlm.grid import Grid
from kalm_sim.vlm_truth import RIGHT, Image, ImageTruth, Mask, TruthTable

Kind = Literal["region", "mask", "cells"]
MALFORMED = ("prose", "empty", "cut", "outside", "text_cells", "two")
"""Ways in which an answer cannot be used."""


@dataclass(frozen=True)
class Rates:
    """How often an answer is wrong or cannot be used, each in [0, 1] and on its own.

    Attributes:
        wrong_region: names another thing of the image, and its cells.
        wrong_mask: chooses a mask that is not on the part, where there is one.
        wrong_cells: at run time, names the cells of another thing.
        malformed: out of range, empty, prose, cut off.
        refusal: refuses to answer.
    """

    wrong_region: float = 0.0
    wrong_mask: float = 0.0
    wrong_cells: float = 0.0
    malformed: float = 0.0
    refusal: float = 0.0


@dataclass(frozen=True)
class Said:
    """An answer of the test VLM.

    Attributes:
        kind: what was asked.
        text: the answer.
        refusal: given in its place; empty when it answers.
        right: whether it says the truth as well as the question lets it.
    """

    kind: Kind
    text: str
    refusal: str
    right: bool


class UnknownQuestionError(Exception):
    """The request holds none of the questions that the test VLM knows, or an unknown image."""


def answer(
    messages: list[dict[str, Any]], table: TruthTable, rates: Rates, rng: np.random.Generator
) -> Said:
    """Answer the last question of a conversation.

    Args:
        messages: as chat completions take them.
        table: the images that are known.
        rates: how often to be wrong.
        rng: source of chance.

    Raises:
        UnknownQuestionError: it cannot be understood.
    """
    kind = _kind(messages)
    right = (
        rng.random()
        >= {
            "region": rates.wrong_region,
            "mask": rates.wrong_mask,
            "cells": rates.wrong_cells,
        }[kind]
    )
    values, right = {"region": _region, "mask": _mask, "cells": _cells}[kind](
        messages, table, right, rng
    )
    unusable = rng.random()
    if unusable < rates.refusal:
        return Said(kind, "", "I'm sorry, but I can't help with that.", False)
    text = json.dumps(values)
    if unusable < rates.refusal + rates.malformed:
        text = _malformed(text, str(rng.choice(MALFORMED)))
        return Said(kind, text, "", False)
    return Said(kind, text, "", right)


def _kind(messages: list[dict[str, Any]]) -> Kind:
    """Read off the form of answer asked for last what the question is."""
    for message in reversed(messages):
        if message.get("role") != "user":
            continue
        found = re.findall(r"\{\"reasoning\"[^{}]*\}", _text(message))
        if found:
            keys = set(json.loads(found[-1]))
            return "mask" if "mask" in keys else "region" if "object" in keys else "cells"
    raise UnknownQuestionError("no question asks for JSON in a known form")


def _region(
    messages: list[dict[str, Any]], table: TruthTable, right: bool, rng: np.random.Generator
) -> tuple[dict[str, Any], bool]:
    truth = _known(_pictures(messages)[0], table)
    right = right or not truth.others
    thing = truth.part if right else truth.others[int(rng.integers(len(truth.others)))]
    cells = truth.cells(thing, _grid(messages))
    why = f"The robot goes to the {thing.name} of the {truth.object}, so that is what matters."
    return {
        "reasoning": why,
        "object": truth.object,
        "part": thing.name,
        "cells": cells or [1],
    }, right


def _mask(
    messages: list[dict[str, Any]], table: TruthTable, right: bool, rng: np.random.Generator
) -> tuple[dict[str, Any], bool]:
    truth, masks, none_allowed = _masks(messages, table)
    on_part = {number: truth.share_on_part(mask) for number, mask in masks.items()}
    wrong = [number for number in masks if on_part[number] < RIGHT]
    if none_allowed and len(wrong) < len(masks):
        wrong.append(0)
    good = {n: _overlap(m, truth.part.pixels) for n, m in masks.items() if on_part[n] >= RIGHT}
    right = right or not wrong
    if not right:
        chosen = int(rng.choice(wrong))
    elif good:
        chosen = max(good, key=lambda number: good[number])
    else:  # none is on the part: the honest answer where it is allowed
        chosen = 0 if none_allowed else max(masks, key=lambda number: on_part[number])
    why = f"Mask {chosen} covers the {truth.part.name} best." if chosen else "None of them fits."
    return {"reasoning": why, "mask": chosen}, right


def _cells(
    messages: list[dict[str, Any]], table: TruthTable, right: bool, rng: np.random.Generator
) -> tuple[dict[str, Any], bool]:
    truth = _known(_pictures(messages)[-1], table)
    right = right or not truth.others
    thing = truth.part if right else truth.others[int(rng.integers(len(truth.others)))]
    cells = truth.cells(thing, _grid(messages)) if thing.pixels.any() else []
    return {"reasoning": f"There is the {thing.name}.", "cells": cells}, right


def _masks(
    messages: list[dict[str, Any]], table: TruthTable
) -> tuple[ImageTruth, dict[int, Mask], bool]:
    """Return the image, the masks that may be chosen, and whether none may be answered."""
    asked = max(i for i, message in enumerate(messages) if "Mask 1:" in _text(message))
    shown: dict[int, Image] = {}
    number = 0
    for part in messages[asked]["content"]:
        if part["type"] == "text":
            label = re.fullmatch(r"Mask (\d+):", part["text"])
            number = int(label[1]) if label else 0
        elif number:
            shown[number] = _decode(part)
    later = " ".join(_text(message) for message in messages[asked + 1 :])
    for rejected in re.findall(r"Mask (\d+), now in red", later):
        shown.pop(int(rejected), None)
    if not shown:
        raise UnknownQuestionError("no mask is left to choose")
    truth = _known(next(iter(shown.values())), table)
    masks = {number: truth.drawn_mask(picture) for number, picture in shown.items()}
    return truth, masks, "answer mask 0" in later


def _known(picture: Image, table: TruthTable) -> ImageTruth:
    truth = table.find(picture)
    if truth is None:
        raise UnknownQuestionError("an image of the request was not registered")
    return truth


def _grid(messages: list[dict[str, Any]]) -> Grid:
    found = re.findall(r"(\d+) columns and (\d+) rows", " ".join(map(_text, messages)))
    if not found:
        raise UnknownQuestionError("the question does not say how large the grid is")
    return Grid(int(found[-1][0]), int(found[-1][1]))


def _overlap(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / max(int((a | b).sum()), 1))


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or [] if part["type"] == "text")


def _pictures(messages: list[dict[str, Any]]) -> list[Image]:
    """Return the first and the last picture of a conversation."""
    parts = [
        part
        for message in messages
        if not isinstance(message.get("content"), str)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    if not parts:
        raise UnknownQuestionError("the request holds no image")
    return [_decode(parts[0]), _decode(parts[-1])]


def _decode(part: dict[str, Any]) -> Image:
    return _decoded(part["image_url"]["url"])


@lru_cache(maxsize=64)  # every question repeats the pictures of those before it
def _decoded(url: str) -> Image:
    head, _, data = url.partition(",")
    if head != "data:image/png;base64":
        raise UnknownQuestionError(f"an image is given as {head[:40]!r}, expected a PNG in base64")
    with PilImage.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image.convert("RGB"))


def _malformed(text: str, how: str) -> str:
    """Return an answer that cannot be used."""
    return {
        "prose": "I would look at the upper part of the object, it seems the most relevant.",
        "empty": "",
        "cut": text[: len(text) // 2],
        "outside": re.sub(r"\"(cells|mask)\": .*\}", r'"\1": 999}', text),
        "text_cells": re.sub(r"\"(cells|mask)\": .*\}", r'"\1": "the middle"}', text),
        "two": f"{text} or perhaps {text}",
    }[how]
