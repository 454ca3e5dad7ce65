"""Episodes of Table II in one process, without the ROS graph and faster than real time.

Core, franky client and simulated arm are those of the graph; what is left out is the transport
between the nodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.table2_episode import OUTSIDE, REPEATS, Episode
from benchmarks.table2_lesson import Learned, Method
from kalm_core.correspondence import KeypointDetector, require_found
from kalm_core.distillation_settings import detection_as_learned
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.planning.planner import make_planner
from kalm_core.planning.robot_model import RobotModel
from kalm_core.report.overlay import contact_sheet, draw_keypoints, with_caption
from kalm_core.rgbd import RgbdFrame
from kalm_sim.depth_noise import DepthNoiseSettings
from kalm_sim.episode import Attempt, EpisodeRunner, Find
from kalm_sim.posed_scene import PosedScene
from kalm_sim.scene import SceneParameters
from kalm_sim.synthetic import free_view
from kalm_sim.tasks.registry import TASKS
from kalm_sim.true_keypoints import true_keypoints
from kalm_sim.true_masks import part_distance
from kalm_sim.viewpoints import READY

Render = Callable[[], NDArray[np.uint8]]


class QuickRunner:
    """Calls skills in scene after scene; a context manager.

    Args:
        scene: the first.
        noise: of the depth sensor; None takes the defaults.
        true_hand_eye: where the camera sits, when it is not where the suite takes it to be.
    """

    def __init__(
        self,
        scene: SceneParameters,
        noise: DepthNoiseSettings | None = None,
        true_hand_eye: HandEyeSettings | None = None,
    ) -> None:
        self._runner = EpisodeRunner(make_planner(), scene, noise, true_hand_eye)

    def __enter__(self) -> QuickRunner:
        self._runner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.__exit__(*error)

    def one(
        self, scene: SceneParameters, learned: Learned, method: Method, pictures: Path
    ) -> Episode:
        """Do a skill once in a scene; where it fails, `pictures` is written."""
        start, repeated = time.monotonic(), 0
        find = _truth(learned, scene) if method.true_keypoints else detector(learned)
        attempt, seen = self._attempt(scene, learned, find, method.search)
        while attempt.outcome in OUTSIDE and repeated < REPEATS:
            attempt, seen = self._attempt(scene, learned, find, method.search)
            repeated += 1
        truth, enough = attempt.truth, TASKS[scene.task].enough
        other = not truth.done and truth.twin_progress >= enough
        episode = Episode(
            scene.seed,
            attempt.outcome.name,
            attempt.message,
            round(truth.twin_progress if other else truth.progress, 4),
            truth.done or other,
            repeated,
            {"episode": round(time.monotonic() - start, 2)},
            attempt.looks,
            None if truth.done or other else _off(attempt.keypoints, learned, scene),
            round(learned.on_part, 3),
            other,
        )
        if not episode.success:
            told = episode.message or f"done by {episode.progress:.2f}, expected {enough}"
            _draw(attempt, seen, f"{episode.failed_in}: {told}", pictures)
        return episode

    def _attempt(
        self, scene: SceneParameters, learned: Learned, find: Find, search: bool
    ) -> tuple[Attempt, Sequence[Render]]:
        frame = self._runner.begin(scene, _view_chance(scene))
        before = self._runner.outside_later()
        attempt = self._runner.attempt(learned.skill.policy, find, frame, scene.seed, search)
        return attempt, (before, self._runner.outside_later())


def first_elevation(scene: SceneParameters) -> float:
    """Return from how far above the horizontal the camera first looks in a scene [deg]."""
    view = free_view(scene, _view_chance(scene), RobotModel.load())
    return float(np.degrees(np.arcsin(-view.T_base_cam[2, 2])))


def _view_chance(scene: SceneParameters) -> np.random.Generator:
    return np.random.default_rng([scene.seed, 5])


def detector(learned: Learned) -> Find:
    """Return how a skill's keypoints are found: with the settings that it was learned with."""
    settings = detection_as_learned(learned.skill.perception, learned.skill.name)
    detector = KeypointDetector(settings)

    def find(frame: RgbdFrame) -> DetectedKeypoints:
        found = detector.detect(frame, learned.skill.reference)
        require_found(found, settings)
        return found

    return find


def _truth(learned: Learned, scene: SceneParameters) -> Find:
    found = true_keypoints(learned.skill.reference, learned.reference_scene, scene)
    return lambda _: found


def _off(found: DetectedKeypoints | None, learned: Learned, scene: SceneParameters) -> float | None:
    """Return how far found keypoints are off [m]: from their places, or from the part if nearer.

    A point of a round bowl has no place of its own, but it is on the bowl or it is not.
    """
    if found is None or not found.found.any():
        return None
    truth = true_keypoints(learned.skill.reference, learned.reference_scene, scene)
    apart = np.linalg.norm(found.positions - truth.positions, axis=1)[found.found]
    posed = PosedScene(scene)
    posed.pose(READY)
    away = part_distance(posed, found.positions[found.found])
    return round(float(min(np.median(apart), np.median(away))), 4)


def _draw(attempt: Attempt, seen: Sequence[Render], caption: str, path: Path) -> None:
    """Write what the camera saw with the keypoints, and the table before and after."""
    pictures = [render() for render in seen]
    if attempt.frame is not None:
        picture = attempt.frame.color
        if attempt.keypoints is not None:
            picture = draw_keypoints(attempt.frame, attempt.keypoints)
        pictures.insert(0, np.asarray(Image.fromarray(picture).resize((640, 480))))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(pictures, len(pictures), 480)
    band = np.zeros((24, sheet.shape[1], 3), np.uint8)
    Image.fromarray(np.vstack([with_caption(band, caption[:200]), sheet])).save(path)
