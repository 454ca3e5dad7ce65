"""One HTTP call by the `openai` package, with a hard limit of time; failures come back as values.

Errors of the package hold the request with its headers, and servers echo keys. So nothing of them
is raised on: their text is taken, the key is cut out, and that is all that leaves this module.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillRunning
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from kalm_core.errors import BackendUnavailableError, CancelledError, ConfigError
from kalm_core.progress import Progress
from kalm_core.vlm.answers import Answer, answer_schema
from kalm_core.vlm.settings import VlmSettings

_REACH = "check vlm.base_url, the network and whether the server runs"
_CUSTOM_HEADERS = "OPENAI_CUSTOM_HEADERS"
_LATER = "try again later, or raise vlm.total_s and vlm.retries"


@dataclass(frozen=True)
class Failure:
    """A call that brought no reply.

    Attributes:
        text: what happened, without the key.
        remedy: what can be done.
        passing: whether it may go away by itself.
        retry_after: how long the server asks to wait [s].
        adapted: the request has been changed to what the server takes; call at once.
    """

    text: str
    remedy: str = _LATER
    passing: bool = True
    retry_after: float = 0.0
    adapted: bool = False


@dataclass(frozen=True)
class Completion:
    """What came back; see `client.Reply`."""

    text: str
    refusal: str
    finish: str
    tokens: tuple[int, int]


class Server:
    """A server that speaks OpenAI's chat completions, and the key for it.

    Attributes:
        address: host and port, for messages.

    Raises:
        BackendUnavailableError: package or key is missing.
        ConfigError: address or name of the variable cannot be right.
    """

    def __init__(self, settings: VlmSettings) -> None:
        self._settings = settings
        self.address = _address(settings.base_url)
        self._key = _read_key(settings.key_variable)
        if os.environ.get(_CUSTOM_HEADERS):
            raise ConfigError(
                f"{_CUSTOM_HEADERS} is set: the package openai would send it to {self.address}",
                f"unset {_CUSTOM_HEADERS}; the key is read from vlm.key_variable alone",
            )
        try:
            import openai
        except ImportError as error:
            raise BackendUnavailableError(
                f"the package openai cannot be imported: {error}",
                "install the packages of requirements/core.txt",
            ) from error
        for name in ("openai", "httpx2", "httpcore2"):
            # At DEBUG these log whole requests, pictures included.
            logging.getLogger(name).setLevel(logging.WARNING)
        self._openai = openai
        self._options: dict[str, Any] = {
            "max_tokens": settings.max_tokens,
            "temperature": settings.temperature,
        }
        self._structured = settings.structured

    def call(
        self, messages: list[dict[str, Any]], kind: type[Answer], limit: float, progress: Progress
    ) -> Completion | Failure:
        """Make one call that ends after `limit` seconds whatever the server does.

        Raises:
            CancelledError: the caller asked to stop.
        """
        from anyio.from_thread import start_blocking_portal

        # A loop of its own in a thread: it can be left at any moment, also where one runs already.
        with start_blocking_portal() as portal:
            future: Future[Completion | Failure] = portal.start_task_soon(
                self._call, messages, kind, limit
            )
            while True:
                try:
                    return future.result(timeout=0.05)
                except StillRunning:
                    if progress.should_stop():
                        future.cancel()
                        raise CancelledError("the question to the VLM") from None

    async def _call(
        self, messages: list[dict[str, Any]], kind: type[Answer], limit: float
    ) -> Completion | Failure:
        try:
            return await asyncio.wait_for(self._request(messages, kind, limit), limit)
        except asyncio.TimeoutError:
            return Failure(f"no answer within {limit:.3g} s")
        except self._openai.OpenAIError as error:
            return self._failure(error, limit)
        except Exception as error:  # of the HTTP layer: its class names are no promise
            return Failure(self._words(f"{type(error).__name__}: {error}"), _REACH)

    async def _request(
        self, messages: list[dict[str, Any]], kind: type[Answer], limit: float
    ) -> Completion | Failure:
        options = dict(self._options)
        if self._structured:
            schema = {"name": kind.__name__, "schema": answer_schema(kind), "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        conversation: Any = messages
        async with self._openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self._settings.base_url,
            max_retries=0,
            timeout=limit,
        ) as server:
            server.organization = server.project = None  # else those of the environment are sent
            answer: Any = await server.chat.completions.create(
                model=self._settings.model, messages=conversation, **options
            )
        choices: Any = getattr(answer, "choices", None) or [None]
        message = getattr(choices[0], "message", None)
        if message is None:
            return Failure(
                "what came back is not a chat completion",
                "vlm.base_url must be the address of the API; most end in /v1",
                passing=False,
            )
        usage = getattr(answer, "usage", None)
        counts = [getattr(usage, name, 0) for name in ("prompt_tokens", "completion_tokens")]
        finish = str(choices[0].finish_reason or "stop")
        refusal = getattr(message, "refusal", None) or ""
        if finish == "content_filter":
            refusal = refusal or "the server's content filter held the answer back"
        return Completion(
            text=self.redacted(str(message.content or "")),
            refusal=self.redacted(str(refusal)),
            finish=finish,
            tokens=(int(counts[0] or 0), int(counts[1] or 0)),
        )

    def _failure(self, error: Any, limit: float) -> Failure:
        """Put an error of the package into words, and tell whether waiting may help."""
        text = self._words(error)
        status = getattr(error, "status_code", None)
        if isinstance(error, self._openai.APITimeoutError):
            return Failure(f"no answer within {limit:.3g} s")
        if isinstance(error, self._openai.APIConnectionError):
            cause = self._words(error.__cause__ or "")
            return Failure(f"{text} {cause}".strip(), _REACH)
        if status in (400, 422) and self._adapt(text):
            return Failure(text, adapted=True)
        no_credit = getattr(error, "code", None) == "insufficient_quota"
        if not no_credit and (status in (408, 409, 429) or (status or 0) >= 500):
            return Failure(text, retry_after=_retry_after(error.response.headers))
        remedy = "check vlm.base_url and vlm.model"
        if status in (401, 403) or no_credit:
            variable = self._settings.key_variable or "vlm.key_variable"
            remedy = f"put the key of an account that may use the model into {variable}"
        return Failure(text, remedy, passing=False)

    def _adapt(self, text: str) -> bool:
        """Leave out, or rename, an option that the server's complaint names; tell if so."""
        if self._structured and re.search("response_format|schema|structured|grammar", text):
            self._structured = False
        elif "max_tokens" in self._options and "max_completion_tokens" in text:
            self._options["max_completion_tokens"] = self._options.pop("max_tokens")
        elif "temperature" in self._options and "temperature" in text:
            del self._options["temperature"]
        else:
            return False
        return True

    def redacted(self, text: str) -> str:
        """Cut the key out of a text."""
        return text.replace(self._key, "[key]") if self._key else text

    def _words(self, error: object) -> str:
        """Return an error in one line without the key."""
        return " ".join(self.redacted(str(error)).split())[:400]


def _address(base_url: str) -> str:
    """Return host and port; the value is not quoted in errors, it may hold a password."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            "vlm.base_url is not an address", "give one such as http://127.0.0.1:8000/v1"
        )
    if "@" in parts.netloc or parts.query:
        raise ConfigError(
            "vlm.base_url holds a user, a password or a query",
            "it is written into every skill: put the key into the environment instead",
        )
    return parts.netloc


def _read_key(variable: str) -> str:
    """Return the key; empty when none is to be sent."""
    if not variable:
        return ""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise ConfigError(
            "vlm.key_variable is not the name of an environment variable",
            "the key itself must not stand there: export it, and name the variable",
        )
    key = os.environ.get(variable, "").strip()
    if not key:
        raise BackendUnavailableError(
            f"the environment variable {variable} is not set, it should hold the VLM's key",
            'export it, or set vlm.key_variable to "" for a server that wants no key',
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise BackendUnavailableError(
            f"the environment variable {variable} holds characters that no key has",
            "copy the key again",
        )
    return key


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return how long the server asks to wait [s]; 0 when it does not say."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "")
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return float(value) * unit
    try:
        return max(
            0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time()
        )
    except (TypeError, ValueError, OverflowError):
        return 0.0
