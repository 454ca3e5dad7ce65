"""The record of what was asked and answered: written beside a skill, read by eye, and replayed.

`transcript.json` holds every call in order, `pictures/` what was shown, each picture once. A replay
knows a question by the digest of its words and pixels; the server, its model and key play no part.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from kalm_core.errors import BackendUnavailableError, BundleError, VlmError
from kalm_core.progress import Progress
from kalm_core.vlm.answers import Answer
from kalm_core.vlm.client import OpenAiClient, Reply, VlmClient
from kalm_core.vlm.message import Message, Picture, request_digest
from kalm_core.vlm.settings import VlmSettings

SCHEMA = 1
FOLDER = "vlm"
"""Name of the folder inside a skill."""

_FILE, _PICTURES = "transcript.json", "pictures"


@dataclass(frozen=True)
class Exchange:
    """One question with its answer.

    Attributes:
        messages: the conversation up to the question.
        kind: name of the answer's schema.
        reply: what came back.
    """

    messages: tuple[Message, ...]
    kind: str
    reply: Reply


@dataclass(frozen=True)
class Transcript:
    """All that was asked for one skill.

    Attributes:
        model: that was asked.
        exchanges: in order.
    """

    model: str
    exchanges: tuple[Exchange, ...]

    def summary(self) -> dict[str, Any]:
        """Return plain values for the skill's record."""
        replies = [exchange.reply for exchange in self.exchanges]
        return {
            "model": self.model,
            "answers": len(replies),
            "tokens_in": sum(reply.tokens_in for reply in replies),
            "tokens_out": sum(reply.tokens_out for reply in replies),
            "seconds": round(sum(reply.seconds for reply in replies), 2),
        }

    def write(self, folder: Path) -> None:
        """Write `transcript.json` and the pictures into a folder, made when missing."""
        (folder / _PICTURES).mkdir(parents=True, exist_ok=True)
        calls = []
        for exchange in self.exchanges:
            for message in exchange.messages:
                for part in message.parts:
                    if isinstance(part, Picture):
                        _write_picture(folder / _PICTURES / f"{part.digest}.png", part)
            calls.append(
                {
                    "digest": request_digest(exchange.messages),
                    "kind": exchange.kind,
                    "messages": [message.plain() for message in exchange.messages],
                    "reply": asdict(exchange.reply),
                }
            )
        content = {"schema_version": SCHEMA, "model": self.model, "calls": calls}
        path = folder / _FILE
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
        temporary.replace(path)


class RecordingClient:
    """Passes questions on and keeps them with their answers."""

    def __init__(self, client: VlmClient, model: str) -> None:
        self._client = client
        self._model = model
        self._exchanges: list[Exchange] = []

    def complete(self, messages: Sequence[Message], kind: type[Answer]) -> Reply:
        """See `VlmClient.complete`."""
        reply = self._client.complete(messages, kind)
        self._exchanges.append(Exchange(tuple(messages), kind.__name__, reply))
        return reply

    @property
    def transcript(self) -> Transcript:
        """What was said so far."""
        return Transcript(self._model, tuple(self._exchanges))


class ReplayClient:
    """Answers from a transcript; needs neither network nor key.

    Args:
        folder: a transcript, as a skill holds it in `vlm`.

    Raises:
        BackendUnavailableError: there is no transcript in the folder.
        BundleError: it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._replies: dict[str, deque[Reply]] = {}
        for call in _read(folder / _FILE).calls:
            reply = Reply(**call.reply.model_dump())
            self._replies.setdefault(call.digest, deque()).append(reply)

    def complete(self, messages: Sequence[Message], kind: type[Answer]) -> Reply:
        """See `VlmClient.complete`; a question asked twice is answered in the order recorded.

        Raises:
            VlmError: the transcript has no answer to this question.
        """
        replies = self._replies.get(request_digest(messages))
        if not replies:
            raise VlmError(
                f"the transcript {self._folder} has no {'further ' if replies is not None else ''}"
                f"answer to this question ({kind.__name__})",
                "replay with the demonstrations and settings of the recording, or unset "
                "vlm.replay to ask the model",
            )
        return replies.popleft()


def make_client(settings: VlmSettings, progress: Progress | None = None) -> VlmClient:
    """Build what answers: the server, or the transcript that `replay` names.

    Raises:
        BackendUnavailableError: package, key or transcript is missing.
        ConfigError: a setting cannot be right.
        BundleError: the transcript is damaged.
    """
    return ReplayClient(settings.replay) if settings.replay else OpenAiClient(settings, progress)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str
    refusal: str
    finish: str
    tokens_in: int
    tokens_out: int
    seconds: float


class _Call(BaseModel):
    digest: str
    kind: str
    messages: list[dict[str, Any]]
    reply: _Reply


class _Document(BaseModel):
    schema_version: int
    model: str
    calls: list[_Call]


def _read(path: Path) -> _Document:
    remedy = "give the folder `vlm` of a skill that was learned with region_backend vlm"
    try:
        document = _Document.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BackendUnavailableError(f"{path} does not exist", remedy) from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise BundleError(f"{path} is not a transcript: {error}", remedy) from error
    if document.schema_version != SCHEMA:
        raise BundleError(
            f"{path}: schema version is {document.schema_version}, expected {SCHEMA}", remedy
        )
    return document


def _write_picture(path: Path, picture: Picture) -> None:
    """Write a picture once."""
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(picture.png)
        temporary.replace(path)
