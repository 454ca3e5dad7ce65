"""Pictures of what happened in the laboratory: a film per scene and a contact sheet of all."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw
from sensor_msgs.msg import Image

from kalm_core.bags import topics
from kalm_ros.client import GraphClient
from kalm_ros.conversions import color_from_ros

Pixels = NDArray[np.uint8]

OUTSIDE_TOPIC = "kalm_sim/outside/image_raw"
TILE = (320, 240)
"""Size of a picture in a sheet or film [px]."""
CAPTION = "simulated: no real robot is in this picture"


@dataclass
class Film:
    """Keeps every outside image of a scene beside the wrist image of that moment."""

    client: GraphClient
    frames: list[Pixels] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._wrist: Pixels = np.zeros((TILE[1], TILE[0], 3), np.uint8)
        self.client.listen(OUTSIDE_TOPIC, Image, self._outside)
        self.client.listen(topics.COLOR, Image, self._keep_wrist)

    def _keep_wrist(self, message: Image) -> None:
        tile = _tile(color_from_ros(message))
        with self._lock:
            self._wrist = tile

    def _outside(self, message: Image) -> None:
        tile = _tile(color_from_ros(message))
        with self._lock:
            self.frames.append(np.concatenate([tile, self._wrist], axis=1))

    def cut(self) -> list[Pixels]:
        """Return the frames since the last cut and start anew."""
        with self._lock:
            frames, self.frames = self.frames, []
        return frames


def write_film(frames: list[Pixels], title: str, path: Path, rate: float = 6.0) -> None:
    """Write frames as a film; the ending of `path` says whether it is .mp4 or .gif."""
    titled = [label(frame, f"{title} - {CAPTION}") for frame in frames]
    options = {"loop": 0, "duration": 1000 / rate} if path.suffix == ".gif" else {"fps": rate}
    iio.imwrite(path, np.stack(titled), **options)


def write_sheet(rows: list[tuple[str, list[Pixels]]], path: Path, moments: int = 4) -> None:
    """Write a contact sheet: a row per scene with a few moments from its film."""
    strips = []
    for title, frames in rows:
        if frames:
            chosen = np.linspace(0, len(frames) - 1, moments).round().astype(int)
            strip = np.concatenate([frames[i] for i in chosen], axis=1)
            strips.append(label(strip[::2, ::2], title))
    if strips:
        Picture.fromarray(label(np.concatenate(strips), "", CAPTION)).save(path)


def label(picture: Pixels, text: str, below: str = "") -> Pixels:
    """Return the picture with a line of text in its corner, and one in the lower corner."""
    drawn = Picture.fromarray(picture)
    draw = ImageDraw.Draw(drawn)
    for position, line in (((8, 6), text), ((8, picture.shape[0] - 22), below)):
        if line:
            box = draw.textbbox(position, line, font_size=14)
            draw.rectangle((box[0] - 4, box[1] - 3, box[2] + 4, box[3] + 3), fill=(20, 20, 20))
            draw.text(position, line, fill=(255, 255, 255), font_size=14)
    return np.asarray(drawn)


def _tile(picture: Pixels) -> Pixels:
    return np.asarray(Picture.fromarray(picture).resize(TILE, Picture.Resampling.BILINEAR))
