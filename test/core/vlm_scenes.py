"""Images with known truth, for the tests that talk to the test VLM."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
from cabinet_scene import Scene

from kalm_core.demonstration import Demonstration
from kalm_core.se3 import invert_pose, transform_points
from kalm_core.vlm.grid import Grid
from kalm_core.vlm.message import Picture
from kalm_core.vlm.prompts import region_question
from kalm_core.vlm.settings import VlmSettings
from kalm_sim.vlm_server import VlmServer
from kalm_sim.vlm_truth import ImageTruth, Thing, TruthTable

GRID = Grid()
KEY = "sk-test-do-not-tell-0123456789"


def noise_truth(seed: int = 0) -> ImageTruth:
    """A small image of noise with a part in its middle and another thing in a corner."""
    image = np.random.default_rng(seed).integers(0, 255, (120, 176, 3), dtype=np.uint8)
    part, other = np.zeros((2, 120, 176), bool)
    part[50:70, 70:110] = True
    other[5:25, 5:40] = True
    return ImageTruth(image, "box", Thing("lid", part), (Thing("label", other),))


def cabinet_truth(demonstration: Demonstration, scene: Scene) -> ImageTruth:
    """What a ray-cast cabinet shows: the top handle, the bottom one, the table."""
    frame = demonstration.initial
    points = frame.points_base()
    local = transform_points(invert_pose(scene.T_base_cabinet), points)
    handles = []
    for handle in (scene.top_handle, scene.bottom_handle):
        away = local - transform_points(invert_pose(scene.T_base_cabinet), handle)
        with np.errstate(invalid="ignore"):
            near = (np.abs(away[..., 1]) < 0.085) & (np.abs(away[..., 2]) < 0.02)
            handles.append(near & (away[..., 0] > -0.018))
    with np.errstate(invalid="ignore"):
        table = points[..., 2] < 0.005
    others = (Thing("bottom handle", handles[1]), Thing("table", table))
    return ImageTruth(frame.color, "cabinet", Thing("top handle", handles[0]), others)


def settings_for(server: VlmServer, **changes) -> VlmSettings:
    """Settings of a client that asks a test server and loses no time."""
    values = {"base_url": server.url, "key_variable": "", "backoff_s": 0.02, **changes}
    return VlmSettings(**values)


@contextmanager
def serving(rates=None, faults=None, seed=0, truth=None):
    """A test server that knows one image of noise."""
    table = TruthTable([truth or noise_truth()])
    with VlmServer(table, rates, faults, seed=seed) as server:
        yield server


def question(truth: ImageTruth | None = None) -> tuple[str, Picture]:
    """The first question about an image."""
    image = (truth or noise_truth()).image
    return region_question("open the box", 1, GRID), Picture(GRID.draw(image))
