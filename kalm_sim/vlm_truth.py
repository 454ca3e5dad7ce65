"""What the test VLM knows: which pixels of an image are the part, and which are other things.

It recognises a registered image under a grid or a coloured mask by its unchanged pixels. Only for
tests and benchmarks: it holds the simulator's truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kalm_core.demonstration import Demonstration
from kalm_core.vlm.grid import Grid
from kalm_core.vlm.pictures import BLUE

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]

RIGHT = 0.5
"""A mask is on a thing when this share of its pixels is."""

_STRIDE = 7
_LEAST_ALIKE = 0.15
_LEAST_PIXELS = 150


@dataclass(frozen=True)
class Thing:
    """Something in an image.

    Attributes:
        name: in words.
        pixels: (H, W) where it is.
    """

    name: str
    pixels: Mask


@dataclass(frozen=True)
class ImageTruth:
    """What an image shows.

    Attributes:
        image: (H, W, 3) RGB.
        object: in words.
        part: that the task is about.
        others: what a wrong answer may name.
    """

    image: Image
    object: str
    part: Thing
    others: tuple[Thing, ...]

    def cells(self, thing: Thing, grid: Grid) -> list[int]:
        """Return the cells that hold more than a few per cent of a thing."""
        labels = grid.labels(*thing.pixels.shape)
        count = np.bincount(labels[thing.pixels], minlength=len(grid) + 1)
        enough = max(0.04 * count.sum(), 1.0)
        chosen = [int(cell) for cell in np.flatnonzero(count >= enough)]
        by_count = sorted(chosen, key=lambda cell: -count[cell])
        return sorted(by_count[: len(grid) // 3])

    def drawn_mask(self, picture: Image) -> Mask:
        """Return which pixels of this image are tinted blue in a picture of it."""
        tinted = 0.5 * self.image.astype(np.float32) + 0.5 * np.array(BLUE, np.float32)
        near = np.abs(picture - tinted).max(axis=-1) <= 2
        return np.asarray(near & (np.abs(picture - self.image.astype(np.float32)) > 2).any(axis=-1))

    def share_on_part(self, mask: Mask) -> float:
        """Return the share of a mask's pixels that are on the part."""
        return float((mask & self.part.pixels).sum() / max(int(mask.sum()), 1))


class TruthTable:
    """The images that are known."""

    def __init__(self, truths: Iterable[ImageTruth] = ()) -> None:
        self._truths: list[Callable[[], ImageTruth]] = []
        self._small: list[NDArray[np.int16]] = []
        for truth in truths:
            self.add(truth)

    def add(self, truth: ImageTruth) -> None:
        """Register an image."""
        self.add_later(truth.image, lambda: truth)

    def add_later(self, image: Image, make: Callable[[], ImageTruth]) -> None:
        """Register an image whose truth is made once, when somebody first asks about it."""
        self._truths.append(cache(make))
        self._small.append(_small(image))

    def find(self, picture: Image) -> ImageTruth | None:
        """Return the image that a picture was drawn on; None when it is not known."""
        small, best = _small(picture), _LEAST_ALIKE
        found: Callable[[], ImageTruth] | None = None
        for truth, known in zip(self._truths, self._small, strict=True):
            if known.shape == small.shape:
                alike = float((np.abs(known - small) <= 1).all(axis=-1).mean())
                if alike > best:
                    best, found = alike, truth
        return found() if found else None


def _small(image: Image) -> NDArray[np.int16]:
    return image[3::_STRIDE, 3::_STRIDE].astype(np.int16)


def demonstration_truth(demonstration: Demonstration, scene: object) -> ImageTruth:
    """Return the truth about the first image of a synthetic demonstration.

    Args:
        demonstration: from `kalm_sim.synthetic`.
        scene: the `SceneParameters` that it was made in.
    """
    from kalm_sim.depth_noise import DepthNoiseSettings
    from kalm_sim.posed_scene import PosedScene
    from kalm_sim.rendering import SceneCamera
    from kalm_sim.tasks.registry import TASKS
    from kalm_sim.true_masks import true_masks

    posed = PosedScene(scene)
    posed.pose(demonstration.joints[0], float(demonstration.gripper[0]))
    with SceneCamera(posed.model, DepthNoiseSettings.off()) as camera:
        masks = true_masks(camera, posed)
    task = TASKS[scene.task]
    return ImageTruth(
        demonstration.initial.color,
        task.object_name,
        Thing(task.part_name, masks.part),
        _others(posed.model, masks.geoms, masks.part | masks.robot),
    )


def _others(model: object, geoms: NDArray[np.int32], taken: Mask) -> tuple[Thing, ...]:
    """Return everything else that is seen, one thing per body and material, the large ones only."""
    pixels: dict[str, Mask] = {}
    for index in np.unique(geoms[~taken & (geoms >= 0)]):
        body = model.body(int(model.geom_bodyid[index])).name
        material = int(model.geom_matid[index])
        name = f"{body} {model.mat(material).name if material >= 0 else ''}".strip()
        name = name.replace("_", " ")
        shown = (geoms == index) & ~taken
        pixels[name] = pixels.get(name, np.zeros_like(taken)) | shown
    things: Sequence[Thing] = [Thing(name, mask) for name, mask in sorted(pixels.items())]
    return tuple(thing for thing in things if thing.pixels.sum() >= _LEAST_PIXELS)
