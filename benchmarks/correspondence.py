"""How well keypoints are found again: PCK over image pairs of the three tasks, and false finds.

Run it with `make bench-correspondence`. It needs off-screen rendering, no physics and no ROS. What
is measured is φ alone: the mask in the reference image is the true part, so proposal plays no role.
For each task and backend, every one of ten demonstrations (training instances) is the reference in
turn; its eight keypoints are verified, averaged and calibrated over all ten as in a skill. Each
reference is looked for in the same test images, which makes the pairs:

- `view`: from another view, an instance that one of the ten demonstrations showed;
- `instance`: an instance that no demonstration showed, from any view;
- without the object, with another object in its place, or with 30 to 90 % of the part covered.

PCK is the share of the keypoints whose true place is visible that are found within 2 or 5 cm of it;
Null counts as a miss, points that are hidden or out of view count in nothing. Variants: none is the
suite's φ; `guided` weighs the scores by the grid's true cells; `no_consensus` does not ask the
group; `alone` is the paper's φ, each keypoint by itself with its group; `alone_no_consensus` that
without the group; `unturned` is none, with a bowl that may not be turned about its axis to suit
what was found: a round thing has no such points, so the others allow one turn for all keypoints
together. "Found" for `true_found` and `false_found` is what lets the arm move. `reliability` sorts
all matches, refused ones too, by the confidence that φ gives them. A task that is finished is kept
in out/correspondence; remove it there to measure it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.correspondence_count import FAR, Count, calibration_error
from benchmarks.correspondence_scenes import (
    TURNS,
    Taught,
    TestImage,
    possible_places,
    shown_images,
    teach,
    true_places,
    visible,
)
from benchmarks.results import Results, Row, share
from kalm_core.correspondence import (
    CorrespondenceSettings,
    KeypointDetector,
    Placement,
    require_found,
)
from kalm_core.distillation import DistillationSettings
from kalm_core.errors import KeypointsNotFoundError
from kalm_core.features import FeatureSettings, make_extractors
from kalm_core.features.dino import DinoSettings
from kalm_core.features.extractor import FeatureExtractor
from kalm_core.features.view import FeatureView, make_view, valid_pixels
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.proposal.contact import find_contact
from kalm_core.proposal.sampling import farthest_points
from kalm_core.rgbd import RgbdFrame
from kalm_core.se3 import Array
from kalm_core.verification import Verifier, described, subset_keypoints
from kalm_sim.tasks.registry import TASKS

WEIGHTS = {
    "fpfh": {"fpfh": 1.0},
    "local": {"local": 1.0},
    "local+fpfh": {"local": 1.0, "fpfh": 0.5},  # the default
    "dino+fpfh": {"dino": 0.75, "fpfh": 0.25},
}
SHIPPED = "local+fpfh"
"""The backend that skills use unless told otherwise."""
DINO = "KALM_DINO_WEIGHTS"
"""Environment variable with the folder of DINOv2's weights."""
DEMONSTRATIONS, IMAGES, ABSENT = 10, 20, 4
POSITIVE = ("view", "instance")
NEGATIVE = ("empty", "replaced", "covered")
VARIANTS = ("", "guided", "no_consensus", "alone", "alone_no_consensus")
UNTURNED = "unturned"
BINS = 10
"""Of the confidence, equally wide."""
FOLDER = Path("out/correspondence")

Counts = dict[str, Count]
"""Key is BACKEND/KIND, for variants BACKEND/KIND/VARIANT."""

console = Console()


@dataclass(frozen=True)
class Reference:
    """What is looked for: keypoints in one demonstration's image, and the scene of that image."""

    keypoints: ReferenceKeypoints
    taught: Taught


def available() -> dict[str, KeypointDetector]:
    """Return φ by backend, for those whose weights are there."""
    weights = os.environ.get(DINO, "")
    features = FeatureSettings(dino=DinoSettings(weights=weights) if weights else DinoSettings())
    return {
        name: KeypointDetector(CorrespondenceSettings(weights=parts, features=features))
        for name, parts in WEIGHTS.items()
        if weights or "dino" not in parts
    }


def refer(
    taught: list[Taught], views: list[FeatureView], detector: KeypointDetector, index: int
) -> Reference | None:
    """Take one demonstration as the reference, with keypoints on its true part.

    Returns:
        None where too little of the part has features.
    """
    s = DistillationSettings()
    contacts = [find_contact(item.demonstration, s.proximity.contact_width) for item in taught]
    view = views[index]
    inside = np.flatnonzero(taught[index].part[view.pixels[:, 1], view.pixels[:, 0]])
    inside = inside[described(view, inside)]
    if len(inside) < s.keypoints:
        return None
    verifier = Verifier(views, contacts, detector, index, s.contact_tolerance)
    rows = inside[farthest_points(view.points[inside], s.candidates)]
    candidates = verifier.describe(rows, s.seed)
    matches = verifier.match(candidates)
    good = np.flatnonzero(matches.consistency >= 1.0 - s.delta - 1e-9)
    if len(good) < s.keypoints:  # a skill would be refused; here the best are measured
        good = np.argsort(-matches.consistency, kind="stable")[: s.keypoints]
    kept = good[farthest_points(candidates.positions[good], s.keypoints)]
    chosen = subset_keypoints(candidates, kept)
    keypoints = verifier.learned(chosen, matches.subset(kept), s.average_features)
    return Reference(keypoints, taught[index])


def look(
    detector: KeypointDetector,
    view: FeatureView,
    reference: ReferenceKeypoints,
    image: TestImage,
    placed: Placement | None,
) -> dict[str, DetectedKeypoints]:
    """Find the keypoints in an image in every variant; only the first where no truth is."""
    s, nothing = detector.settings, np.full((len(reference), 3), np.nan)
    null = DetectedKeypoints(nothing, np.zeros(len(reference), bool), np.zeros(len(reference)))
    found = {"": detector.accept(view, reference, placed) if placed else null}
    if image.kind not in POSITIVE:
        return found
    found["guided"] = detector.detect_in(view, reference, image.guidance)
    found["no_consensus"] = null
    if placed:
        cues = replace(placed.cues, agreeing=np.ones(len(reference)))
        found["no_consensus"] = detector.accept(view, reference, replace(placed, cues=cues))
    matches = detector.match(view, reference)
    likely = matches.score >= s.min_score
    for name, ok in (
        ("alone", likely & (matches.agreeing >= s.consensus_share)),
        ("alone_no_consensus", likely),
    ):
        places = np.where(ok[:, None], matches.positions, np.nan)
        found[name] = DetectedKeypoints(places, ok, matches.score)
    return found


def count_pair(
    detector: KeypointDetector, view: FeatureView, reference: Reference, image: TestImage
) -> dict[str, Count]:
    """Look for one reference in one image; return one count for each variant."""
    present = image.kind not in {"empty", "replaced"}
    points = reference.keypoints.positions
    possible = possible_places(points, reference.taught.scene, image) if present else None
    placed = detector.place(view, reference.keypoints)
    counts: dict[str, Count] = {}
    for variant, detected in look(detector, view, reference.keypoints, image, placed).items():
        truth: Array | None = None
        seen = np.zeros(len(points), bool)
        if possible is not None:
            truth = true_places(possible, detected.positions)
            seen = visible(truth, image.frame)
        counts[variant] = Count()
        counts[variant].add(detected.positions, truth, seen, _allowed(detected, detector))
        if variant or image.scene.task not in TURNS or image.kind not in POSITIVE:
            continue
        if possible is not None:
            seen = visible(possible[0], image.frame)
            counts[UNTURNED] = Count()
            allowed = _allowed(detected, detector)
            counts[UNTURNED].add(detected.positions, possible[0], seen, allowed)
    return counts | judge_pair(view, reference.keypoints, placed, possible) if placed else counts


def judge_pair(
    view: FeatureView, reference: ReferenceKeypoints, placed: Placement, possible: Array | None
) -> dict[str, Count]:
    """Sort the matches of one pair by their confidence; one count for each bin that has some."""
    there = placed.rows >= 0
    confidence = reference.calibration.confidence(placed.cues)[there]
    right = np.zeros(len(confidence), bool)
    if possible is not None:
        places = np.where(there[:, None], view.points[placed.rows], np.nan)
        error = np.linalg.norm(places - true_places(possible, places), axis=1)
        right = error[there] <= FAR
    label = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = {f"reliability{k}": Count() for k in np.unique(label)}
    for k in np.unique(label):
        counts[f"reliability{k}"].judge(confidence[label == k], right[label == k])
    return counts


def _allowed(detected: DetectedKeypoints, detector: KeypointDetector) -> bool:
    try:
        require_found(detected, detector.settings)
    except KeypointsNotFoundError:
        return False
    return True


def measure(task: str, images: int, absent: int) -> Counts:
    """Measure one task."""
    detectors = available()
    names = {name for backend in detectors for name in WEIGHTS[backend]}
    settings = next(iter(detectors.values())).settings
    extractors = make_extractors(sorted(names), settings.features)
    taught = teach(task, DEMONSTRATIONS)
    views = [_view(item.demonstration.initial, extractors, settings) for item in taught]
    references = {}
    for backend, detector in detectors.items():
        made = [refer(taught, views, detector, index) for index in range(len(taught))]
        references[backend] = [item for item in made if item]
        console.print(f"{task}: {len(references[backend])} references of {backend}")
    counts: Counts = defaultdict(Count)
    for index, image in enumerate(shown_images(taught, images, absent)):
        view = _view(image.frame, extractors, settings)
        for backend, detector in detectors.items():
            for reference in references[backend]:
                for variant, count in count_pair(detector, view, reference, image).items():
                    key = "/".join(part for part in (backend, image.kind, variant) if part)
                    counts[key] += count
        so_far = counts[f"{SHIPPED}/{image.kind}"]
        console.print(
            f"{task} {index} {image.kind}: {SHIPPED} {so_far.within2} of {so_far.visible}, allowed "
            f"{so_far.allowed} of {so_far.pairs}, falsely {so_far.false_allowed}"
        )
    return dict(counts)


def _view(
    frame: RgbdFrame, extractors: dict[str, FeatureExtractor], settings: CorrespondenceSettings
) -> FeatureView:
    return make_view(frame, extractors, valid_pixels(frame, settings.stride, settings.max_range))


def resumed(task: str, images: int, absent: int) -> tuple[Counts, float]:
    """Return the counts of a task and the seconds they took: from out/correspondence, or now."""
    measured = json.dumps([WEIGHTS, bool(os.environ.get(DINO))]).encode()
    digest = hashlib.sha256(measured).hexdigest()[:8]
    path = FOLDER / f"{task}_{images}_{absent}_{digest}.json"
    if path.exists():
        kept = json.loads(path.read_text())
        return {key: Count(**item) for key, item in kept["counts"].items()}, kept["seconds"]
    started = time.monotonic()
    counts = measure(task, images, absent)
    seconds = time.monotonic() - started
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    kept = {"seconds": seconds, "counts": {key: asdict(item) for key, item in counts.items()}}
    temporary.write_text(json.dumps(kept, indent=1))
    temporary.replace(path)
    return counts, seconds


def rows_of(tasks: dict[str, Counts]) -> list[Row]:
    """Return the rows of the results file from the counts of each task."""
    rows: list[Row] = []
    for backend in WEIGHTS:
        for kind in POSITIVE:
            for variant in VARIANTS:
                key = "/".join(part for part in (backend, kind, variant) if part)
                rows += _pck(f"correspondence/{key}", [t[key] for t in tasks.values() if key in t])
            key = f"{backend}/{kind}"
            for task, counts in tasks.items():
                if key in counts:
                    rows += _pck(f"correspondence/{key}/{task}", [counts[key]])
            for task in [name for name in tasks if name in TURNS]:
                counts = tasks[task]
                if f"{key}/{UNTURNED}" in counts:
                    name = f"correspondence/{key}/{task}/{UNTURNED}"
                    rows += _pck(name, [counts[f"{key}/{UNTURNED}"]])
        rows += _found(f"correspondence/{backend}", backend, tasks)
    rows += _reliability(tasks)
    return [*rows, *_found("correspondence", SHIPPED, tasks)]


def _pck(name: str, counts: list[Count]) -> list[Row]:
    """Return both PCK of summed counts; null rows where there are none."""
    total = sum(counts, Count())
    note = (
        f"{total.pairs} image pairs; of visible keypoints, Null is a miss; {total.hidden} hidden "
        "ones do not count; pairs share images, so the interval is too narrow"
        if counts
        else f"not measured: {DINO} names no folder with DINOv2's weights"
    )
    return [
        share(f"{name}/pck2cm", total.within2, total.visible, note),
        share(f"{name}/pck5cm", total.within5, total.visible, note),
    ]


def _reliability(tasks: dict[str, Counts]) -> list[Row]:
    """Return the share of right matches in each bin of the confidence, and the error over all."""
    bins: list[Count] = []
    rows: list[Row] = []
    for k in range(BINS):
        keys = [f"{SHIPPED}/{kind}/reliability{k}" for kind in (*POSITIVE, *NEGATIVE)]
        bins.append(sum((t[key] for t in tasks.values() for key in keys if key in t), Count()))
        mean = f", {bins[k].confidence / bins[k].found:.3f} on average" if bins[k].found else ""
        note = f"right of the matches with confidence from {k / BINS:.1f}{mean}; over all images"
        name = f"correspondence/reliability/{k / BINS:.1f}"
        rows.append(share(name, bins[k].right, bins[k].found, note))
    total = sum(item.found for item in bins)
    error = calibration_error(bins) if total else None
    note = "expected calibration error: mean of |share right - confidence| over the bins' matches"
    return [*rows, Row("correspondence/calibration_error", error, "share", total, note=note)]


def _found(name: str, backend: str, tasks: dict[str, Counts]) -> list[Row]:
    """Return how often a motion is allowed, rightly and wrongly, and how many found are right."""

    def total(*kinds: str) -> Count:
        keys = [f"{backend}/{kind}" for kind in kinds]
        return sum((t[key] for t in tasks.values() for key in keys if key in t), Count())

    wrong, shown = total(*NEGATIVE), total(*POSITIVE)
    missing = "" if shown.pairs else f"not measured: {DINO} names no folder with DINOv2's weights"
    each = ", ".join(f"{k} {total(k).false_allowed} of {total(k).pairs}" for k in NEGATIVE)
    everything = total(*POSITIVE, *NEGATIVE)
    return [
        share(
            f"{name}/false_found",
            wrong.false_allowed,
            wrong.pairs,
            missing
            or "pairs in which motion is allowed although the object is absent or replaced, or, "
            f"where it is covered, a keypoint is more than 5 cm off: {each}",
        ),
        share(
            f"{name}/true_found",
            shown.allowed - shown.false_allowed,
            shown.pairs,
            missing or "pairs of view and instance in which motion is allowed and none is 5 cm off",
        ),
        share(
            f"{name}/precision",
            everything.right,
            everything.found,
            missing or "keypoints found that are within 5 cm, over all images, also those without",
        ),
    ]


def main(
    images: Annotated[int, typer.Option(min=1, help="test images per task and set")] = IMAGES,
    absent: Annotated[int, typer.Option(min=1, help="images of each kind of absence")] = ABSENT,
    tasks: Annotated[str, typer.Option(help="with commas")] = ",".join(TASKS),
) -> None:
    """Measure, and write benchmarks/results/correspondence.json."""
    names = tasks.split(",")
    full = set(names) == set(TASKS) and images * DEMONSTRATIONS >= 200 and absent >= ABSENT
    results = Results("correspondence", "make bench-correspondence", full=full)
    measured = {task: resumed(task, images, absent) for task in names}
    results.started = time.monotonic() - sum(seconds for _, seconds in measured.values())
    for row in rows_of({task: counts for task, (counts, _) in measured.items()}):
        results.add(row)
        if row.value is not None:
            console.print(f"{row.id}: {row.value:.3f} (n = {row.n})")
    console.print(f"written: {results.write()}")


if __name__ == "__main__":
    typer.run(main)
