"""A conversation that asks until an answer can be used, a bounded number of times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from kalm_core.errors import VlmError
from kalm_core.vlm.answers import Answer, AnswerError, parse_answer
from kalm_core.vlm.client import Reply, VlmClient
from kalm_core.vlm.grid import Grid
from kalm_core.vlm.message import Message, Picture
from kalm_core.vlm.prompts import SYSTEM, unusable

A = TypeVar("A", bound=Answer)

_QUOTED = 300
"""Characters of an answer that an error quotes."""


class Conversation:
    """The messages so far, and a model that continues them.

    Args:
        client: answers.
        grid: that is drawn on the images of this conversation.
        reasks: times that an answer which cannot be used is asked for again.

    Attributes:
        messages: all that was said, the last answer included.
    """

    def __init__(self, client: VlmClient, grid: Grid, reasks: int) -> None:
        self.messages: list[Message] = [Message("system", (SYSTEM,))]
        self._client = client
        self._grid = grid
        self._reasks = reasks

    def ask(self, parts: Iterable[str | Picture], kind: type[A], masks: Iterable[int] = ()) -> A:
        """Say something and return the answer.

        Args:
            parts: text and pictures of the question.
            kind: the schema of the answer.
            masks: ids that may be chosen, where masks are asked for.

        Raises:
            VlmError: the model cannot be reached, or no answer could be used; quotes the last one.
            CancelledError: the caller asked to stop.
        """
        self.messages.append(Message("user", tuple(parts)))
        problem, reply = "", Reply("")
        for attempt in range(self._reasks + 1):
            if attempt:
                self.messages.append(Message("user", (unusable(problem, kind),)))
            reply = self._client.complete(self.messages, kind)
            said = reply.text or reply.refusal or "(nothing)"
            self.messages.append(Message("assistant", (said,)))
            try:
                answer = _read(reply, kind)
                problem = answer.problem(len(self._grid), frozenset(masks))
            except AnswerError as error:
                problem = str(error)
                continue
            if not problem:
                return answer
        raise VlmError(
            f"the VLM gave no answer that can be used in {self._reasks + 1} attempts: {problem}; "
            f"it said {_quoted(reply.text or reply.refusal)}",
            "choose a stronger model (vlm.model), say the task in plainer words, or use "
            "region_backend proximity",
        )


def _read(reply: Reply, kind: type[A]) -> A:
    if reply.refusal:
        raise AnswerError("you refused; the images show a robot, everyday objects and no person")
    if reply.finish == "length":
        raise AnswerError("it was cut off; think in fewer words")
    return parse_answer(reply.text, kind)


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")
