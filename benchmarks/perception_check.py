"""How well keypoints are found: distil from ten scenes, look for them in scenes never seen.

Run it with `python -m benchmarks.perception_check`. It needs off-screen rendering, no physics and
no ROS. The truth is the handle's pose in the simulator: the keypoints found are mapped by one turn
about gravity and a shift from the reference, and the reference's handle is carried along.
"""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.results import Results, Row, share
from kalm_core.constellation import fit_upright
from kalm_core.correspondence import KeypointDetector, require_found
from kalm_core.distillation import DistillationSettings, distill
from kalm_core.errors import KeypointsNotFoundError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.planning.robot_model import RobotModel
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array, transform_points
from kalm_sim.scene import BOTTOM, TOP, SceneTruth, draw_scene, scene_truth
from kalm_sim.synthetic import make_demonstration, render_scene
from kalm_sim.viewpoints import draw_viewpoint

DEMONSTRATIONS = 10
FIRST_UNSEEN = 5000
"""Seed of the first scene that is looked at: no demonstration has it."""

console = Console()


def unseen_frames(seed: int, robot: RobotModel) -> tuple[RgbdFrame, RgbdFrame, SceneTruth]:
    """Return what the camera sees of a scene, the same without the cabinet, and the truth."""
    scene = draw_scene(seed)
    rng = np.random.default_rng([seed, 9])
    view = draw_viewpoint(scene.cabinet, rng, robot, HandEyeSettings().T_ee_cam)
    empty = render_scene(draw_scene(seed, empty=True), view.joints, seed)
    return render_scene(scene, view.joints, seed), empty, scene_truth(scene)


def predicted_handle(
    reference: ReferenceKeypoints, handle: Array, detected: DetectedKeypoints
) -> Array:
    """Carry the reference's (3,) handle position [m] along with the keypoints found."""
    found = detected.found
    T = fit_upright(reference.positions[found], detected.positions[found])
    return np.asarray(transform_points(T, handle[None])[0])


def main(
    sets: Annotated[int, typer.Option(min=1, help="sets of ten demonstrations")] = 3,
    scenes: Annotated[int, typer.Option(min=1, help="unseen scenes, and as many empty")] = 40,
) -> None:
    """Measure distillation and detection, and write benchmarks/results/perception.json."""
    results = Results(
        "perception", "python -m benchmarks.perception_check", full=sets >= 3 and scenes >= 30
    )
    settings = DistillationSettings()
    detector = KeypointDetector(settings.detection)
    robot = RobotModel.load()
    skills, seconds = [], []
    for index in range(sets):
        seeds = range(DEMONSTRATIONS * index, DEMONSTRATIONS * (index + 1))
        pairs = [make_demonstration(seed, frames=2) for seed in seeds]
        started = time.process_time()
        result = distill([demonstration for demonstration, _ in pairs], settings)
        seconds.append(time.process_time() - started)
        handle = pairs[result.reference_demonstration][1].handles[TOP].T_base_handle[:3, 3]
        skills.append((result.reference, handle))
        off = np.linalg.norm(result.reference.positions - handle, axis=1).max()
        console.print(f"set {index}: {seconds[-1]:.0f} s, keypoints within {100 * off:.0f} cm")
    errors, detect_seconds = [], []
    wrong = false_found = 0
    for seed in range(FIRST_UNSEEN, FIRST_UNSEEN + scenes):
        frame, blank, truth = unseen_frames(seed, robot)
        started = time.process_time()
        view = detector.view(frame)
        detect_seconds.append(time.process_time() - started)
        view_blank = detector.view(blank)
        for reference, handle in skills:
            false_found += _is_found(detector, detector.detect_in(view_blank, reference))
            started = time.process_time()
            detected = detector.detect_in(view, reference)
            detect_seconds[-1] += (time.process_time() - started) / sets
            if not _is_found(detector, detected):
                console.print(f"scene {seed}: {int(detected.found.sum())} keypoints found")
                continue
            place = predicted_handle(reference, handle, detected)
            distance = [
                float(np.linalg.norm(place - truth.handles[drawer].T_base_handle[:3, 3]))
                for drawer in (TOP, BOTTOM)
            ]
            errors.append(distance[0])
            wrong += distance[1] < distance[0]
    trials = sets * scenes
    for row in (
        share("perception/found", len(errors), trials),
        share("perception/wrong_drawer", wrong, max(len(errors), 1)),
        share("perception/false_found", false_found, trials, "scenes without the cabinet"),
        Row("perception/handle_error_median", _percentile(errors, 50), "m", len(errors)),
        Row("perception/handle_error_p95", _percentile(errors, 95), "m", len(errors)),
        Row("perception/distill_cpu", float(np.mean(seconds)), "s", sets),
        Row("perception/detect_cpu", float(np.mean(detect_seconds)), "s", scenes),
    ):
        results.add(row)
        console.print(f"{row.id}: {row.value} {row.unit} (n = {row.n})")
    console.print(f"written: {results.write()}")


def _is_found(detector: KeypointDetector, detected: DetectedKeypoints) -> bool:
    try:
        require_found(detected, detector.settings)
    except KeypointsNotFoundError:
        return False
    return True


def _percentile(values: list[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None


if __name__ == "__main__":
    typer.run(main)
