"""Calls of a vision-language model, each bounded in time and all of them in number."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kalm_core.errors import CancelledError, VlmError
from kalm_core.progress import Progress
from kalm_core.vlm.answers import Answer
from kalm_core.vlm.message import Message
from kalm_core.vlm.server import Failure, Server
from kalm_core.vlm.settings import VlmSettings

LONGEST_BACKOFF = 20.0
"""Waits are doubled up to this [s], unless the server asks for more."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """What the model said.

    Attributes:
        text: of the answer; empty when it refused.
        refusal: its words when it refused, else empty.
        finish: why it stopped, in the server's word; "length" is a cut off answer.
        tokens_in, tokens_out: of request and answer; 0 when the server does not count.
        seconds: that the call took.
    """

    text: str
    refusal: str = ""
    finish: str = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0


class VlmClient(Protocol):
    """Answers conversations."""

    def complete(self, messages: Sequence[Message], kind: type[Answer]) -> Reply:
        """Return what the model says next.

        Args:
            messages: the conversation so far.
            kind: the schema that the answer shall have; the server may ignore it.

        Raises:
            VlmError: no reply in time, or no call is left.
            CancelledError: the caller asked to stop.
        """


class OpenAiClient:
    """Asks a server that speaks OpenAI's chat completions.

    Args:
        settings: which server, which model, how long and how often.
        progress: asked whether to stop while a call runs.

    Attributes:
        calls: made so far, failed ones included.

    Raises:
        BackendUnavailableError: package or key is missing.
        ConfigError: address or name of the variable cannot be right.
    """

    def __init__(self, settings: VlmSettings, progress: Progress | None = None) -> None:
        self.settings = settings
        self.calls = 0
        self._progress = progress or Progress()
        self._server = Server(settings)

    def complete(self, messages: Sequence[Message], kind: type[Answer]) -> Reply:
        """See `VlmClient.complete`."""
        s = self.settings
        deadline = time.monotonic() + s.total_s
        wire = [message.for_openai() for message in messages]
        backoff, failures = s.backoff_s, 0
        while True:
            result = self._call(wire, kind, min(s.timeout_s, deadline - time.monotonic()))
            if isinstance(result, Reply):
                return result
            if result.adapted:
                continue
            failures += 1
            wait = max(backoff, result.retry_after)
            if not result.passing or failures > s.retries or time.monotonic() + wait > deadline:
                raise VlmError(_gave_up(s, self._server.address, failures, result), result.remedy)
            self._wait(wait)
            backoff = min(2 * backoff, LONGEST_BACKOFF)

    def _call(
        self, wire: list[dict[str, Any]], kind: type[Answer], limit: float
    ) -> Reply | Failure:
        """Make one call and log it: model, tokens and seconds, nothing of its content."""
        s = self.settings
        if self.calls >= s.max_calls:
            raise VlmError(
                f"the cap of {s.max_calls} calls of {s.model} is used up",
                "look at the task's words and the demonstrations, or raise vlm.max_calls",
            )
        self.calls += 1
        started = time.monotonic()
        result = self._server.call(wire, kind, max(limit, 0.01), self._progress)
        seconds = time.monotonic() - started
        if isinstance(result, Failure):
            _log.warning(
                "call %d of %s failed after %.1f s: %s", self.calls, s.model, seconds, result.text
            )
            return result
        reply = Reply(
            result.text, result.refusal, result.finish, *result.tokens, seconds=round(seconds, 3)
        )
        _log.info(
            "call %d of %s: %s, %d tokens in, %d out, %.1f s",
            *(self.calls, s.model, kind.__name__, reply.tokens_in, reply.tokens_out, seconds),
        )
        return reply

    def _wait(self, seconds: float) -> None:
        """Wait in small steps, so that the caller can stop it."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._progress.should_stop():
                raise CancelledError("the question to the VLM")
            time.sleep(min(left, 0.1))


def _gave_up(settings: VlmSettings, address: str, failures: int, last: Failure) -> str:
    if not last.passing:
        return f"{settings.model} at {address} refused: {last.text}"
    wait = f", it asks to wait {last.retry_after:.0f} s" if last.retry_after else ""
    return (
        f"{settings.model} at {address} did not answer within {settings.total_s:g} s and "
        f"{failures} calls; the last one: {last.text}{wait}"
    )
