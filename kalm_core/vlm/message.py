"""One message of a conversation: text and pictures, as values that can be sent and compared."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in a message.

    Attributes:
        pixels: (H, W, 3) uint8, RGB.
    """

    pixels: NDArray[np.uint8]

    @cached_property
    def png(self) -> bytes:
        """The picture as a PNG file."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of size and pixels, whatever the encoder does."""
        shape = repr(self.pixels.shape).encode()
        return hashlib.sha256(shape + np.ascontiguousarray(self.pixels).tobytes()).hexdigest()


@dataclass(frozen=True)
class Message:
    """What one side says.

    Attributes:
        role: who says it.
        parts: text and pictures in the order in which they are read.
    """

    role: Literal["system", "user", "assistant"]
    parts: tuple[str | Picture, ...]

    def plain(self) -> dict[str, Any]:
        """Return plain values in which a picture is its digest."""
        parts = [{"text": p} if isinstance(p, str) else {"picture": p.digest} for p in self.parts]
        return {"role": self.role, "parts": parts}

    def for_openai(self) -> dict[str, Any]:
        """Return the message as chat completions take it."""
        if self.role != "user":
            return {"role": self.role, "content": "\n".join(map(str, self.parts))}
        return {"role": self.role, "content": [_part(part) for part in self.parts]}


def request_digest(messages: Sequence[Message]) -> str:
    """Return the SHA-256 of a conversation: the same question has the same one anywhere."""
    text = json.dumps([message.plain() for message in messages], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _part(part: str | Picture) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data = base64.b64encode(part.png).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
