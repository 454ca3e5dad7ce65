"""Dropping and adding keypoints of a learned skill by hand; what is added is verified like any."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalm_core.bags import demonstration_name
from kalm_core.correspondence import KeypointDetector
from kalm_core.correspondence_settings import CorrespondenceSettings
from kalm_core.demonstration import Demonstration
from kalm_core.distillation import DistillationSettings
from kalm_core.errors import BundleError, GoalError
from kalm_core.features.view import FeatureView
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import ReferenceKeypoints
from kalm_core.learning import (
    Goal,
    LearningSettings,
    Lesson,
    check_names,
    read_all,
    teach,
)
from kalm_core.learning_journal import Journal
from kalm_core.policy.arrangement import MIN_KEYPOINTS
from kalm_core.policy.settings import PolicySettings
from kalm_core.progress import Progress
from kalm_core.proposal.contact import find_contact
from kalm_core.report.perception import write_match_pictures
from kalm_core.settings import parse_settings
from kalm_core.skill import Skill, load_skill
from kalm_core.verification import Verifier, described
from kalm_core.vlm.transcript import FOLDER as TRANSCRIPT

_SAME_PLACE = 0.005  # a kept keypoint is this near to where the skill has it [m]
_RECORDED = ("segmentation", "policy", "seed", "stray")  # settings in a skill's record
_KEPT_PICTURES = ("proposal.png", "consistency.png", "attempt_*.jpg")


@dataclass(frozen=True)
class Edit:
    """What shall change.

    Attributes:
        drop: numbers of keypoints, from 1.
        add: pixels (u, v) of the reference demonstration's first image.
        force: add points too that are not found again in enough demonstrations.
    """

    drop: tuple[int, ...] = ()
    add: tuple[tuple[int, int], ...] = ()
    force: bool = False

    def check(self, count: int) -> None:
        """Pass when a skill of `count` keypoints can be edited so.

        Raises:
            GoalError: it changes nothing, names a keypoint that is not there, or leaves too few.
        """
        if not self.drop and not self.add:
            raise GoalError("nothing shall change", "drop or add a keypoint")
        unknown = sorted(set(self.drop) - set(range(1, count + 1)))
        if unknown:
            raise GoalError(
                f"there is no keypoint {', '.join(map(str, unknown))}", f"they are 1 to {count}"
            )
        left = count - len(set(self.drop)) + len(self.add)
        if left < MIN_KEYPOINTS:
            raise GoalError(
                f"{left} keypoints would be left, a pose needs {MIN_KEYPOINTS} at least",
                "drop fewer, or add some",
            )


@dataclass(frozen=True)
class Addition:
    """What verification says of an added point.

    Attributes:
        pixel: (u, v) as asked for.
        found: names of the demonstrations that it was found in.
        needed: how many are needed.
        count: how many there are.
    """

    pixel: tuple[int, int]
    found: tuple[str, ...]
    needed: int
    count: int

    @property
    def accepted(self) -> bool:
        """Whether it was found in enough of them."""
        return len(self.found) >= self.needed

    def __str__(self) -> str:
        """Say it in one sentence."""
        words = f"the point at {self.pixel[0]},{self.pixel[1]} is found in {len(self.found)} of "
        return words + f"{self.count} demonstrations, {self.needed} are needed"


def edit_keypoints(
    demonstrations: Sequence[Demonstration],
    seed: int,
    reference: ReferenceKeypoints,
    edit: Edit,
    *,
    settings: DistillationSettings,
    progress: Progress | None = None,
) -> tuple[Lesson, tuple[Addition, ...]]:
    """Describe and verify the changed set of keypoints in all demonstrations.

    Args:
        demonstrations: of the skill.
        seed: index of the reference demonstration.
        reference: the skill's keypoints.
        edit: what shall change.
        settings: that distilled the keypoints.
        progress: stage "verify".

    Returns:
        The keypoints with where they are found, and what was said of each one added.

    Raises:
        GoalError: the edit cannot be meant, or an added point is not found again and not forced.
        BundleError: the reference demonstration does not show the keypoints where they were.
    """
    progress = progress or Progress()
    edit.check(len(reference))
    detector = KeypointDetector(settings.detection)
    views = []
    for index, item in enumerate(demonstrations):
        progress.step("verify", index / len(demonstrations), f"features of {item.name}")
        views.append(detector.view(item.initial))
    kept = [k for k in range(len(reference)) if k + 1 not in edit.drop]
    rows = [_row_of_kept(views[seed], reference.positions[k], k + 1) for k in kept]
    rows += [_row_at(views[seed], pixel, detector.settings.stride) for pixel in edit.add]
    where = settings.proximity
    contacts = [find_contact(item, where.contact_width, where.rest) for item in demonstrations]
    verifier = Verifier(views, contacts, detector, seed, settings.contact_tolerance)
    candidates = verifier.describe(np.array(rows, np.int64), settings.seed)
    matches = verifier.match(candidates)
    needed = int(np.ceil((1.0 - settings.delta) * len(demonstrations) - 1e-9))
    additions = []
    for column, pixel in enumerate(edit.add, len(kept)):
        names = _names(demonstrations, matches.found[:, column])
        additions.append(Addition(pixel, names, needed, len(demonstrations)))
        if not additions[-1].accepted and not edit.force:
            raise GoalError(
                str(additions[-1]),
                "choose a point that looks distinct in all of them, or use --force",
            )
    learned = verifier.learned(candidates, matches, settings.average_features)
    progress.step("verify", 1.0, f"{len(learned)} keypoints verified")
    lesson = Lesson(demonstrations, seed, learned, verifier.detected(learned))
    return lesson, tuple(additions)


def edit_skill(
    folder: Path,
    edit: Edit,
    bags: Sequence[Path] = (),
    hand_eye: HandEyeSettings | None = None,
    progress: Progress | None = None,
    *,
    own: CorrespondenceSettings | None = None,
) -> tuple[Path, tuple[Addition, ...]]:
    """Change the keypoints of a skill, train it again and put it in its former place.

    Args:
        folder: of the skill.
        edit: what shall change; the skill's record tells of it.
        bags: the demonstrations, where they are no longer where the skill was learned from.
        hand_eye: where the camera sat, for a skill whose record does not say it; None takes the
            default.
        progress: stages "read", "verify", "train" and "write".
        own: settings of this machine, which name the programs that may run; None names none.

    Returns:
        The skill's folder, and what was said of each keypoint added.

    Raises:
        GoalError, BundleError: see `edit_keypoints`; the former skill is kept.
        DemonstrationError: too few demonstrations can teach, or a bag is not the one
            that the skill was learned from.
    """
    skill = load_skill(folder)
    edit.check(len(skill.reference))
    if known := skill.record.get("hand_eye"):
        hand_eye = parse_settings(HandEyeSettings, known, f"skill {skill.name}")
    hand_eye = hand_eye or HandEyeSettings()
    root = Path(folder).resolve().parent
    goal = Goal(skill.name, skill.task, root, overwrite=True, hand_eye=hand_eye)
    settings, journal = settings_of(skill, own), Journal()
    progress = journal.follow(progress or Progress())
    demonstrations = read_sources(skill, bags, hand_eye, journal, progress)
    seed = reference_index(skill, demonstrations)
    lesson, additions = edit_keypoints(
        demonstrations,
        seed,
        skill.reference,
        edit,
        settings=settings.distillation,
        progress=progress,
    )

    def draw(target: Path) -> None:
        for pattern in _KEPT_PICTURES:
            for path in (Path(folder) / "report").glob(pattern):
                shutil.copyfile(path, target / path.name)
        if (Path(folder) / TRANSCRIPT).is_dir():
            shutil.copytree(Path(folder) / TRANSCRIPT, target.parent / TRANSCRIPT)
        write_match_pictures(target, demonstrations, seed, lesson.reference, lesson.detected)

    notes: dict[str, Any] = {
        key: skill.record[key] for key in ("attempts", "vlm") if key in skill.record
    }
    notes["edited_keypoints"] = [
        *skill.record.get("edited_keypoints", []),
        _entry(edit, additions, len(skill.reference)),
    ]
    lesson = replace(lesson, mask=skill.mask)
    return teach(goal, lesson, settings, journal, progress, notes, draw), additions


def settings_of(skill: Skill, own: CorrespondenceSettings | None = None) -> LearningSettings:
    """Return the settings that a skill was learned with, as far as it says; else the defaults.

    Args:
        skill: any.
        own: settings of this machine, which name the programs that may run; None names none.

    Raises:
        ConfigError: they are not those of this version.
    """
    values = {key: skill.record[key] for key in _RECORDED if key in skill.record}
    trained = getattr(skill.policy, "settings", None)
    if isinstance(trained, PolicySettings):
        values.setdefault("policy", trained)  # skills of before the record had them
    values["distillation"] = skill.perception
    learned = parse_settings(LearningSettings, values, "the skill")
    found_by = learned.distillation.correspondence.with_program_of(own or CorrespondenceSettings())
    distillation = learned.distillation.model_copy(update={"correspondence": found_by})
    return learned.model_copy(update={"distillation": distillation})


def read_sources(
    skill: Skill,
    bags: Sequence[Path],
    hand_eye: HandEyeSettings,
    journal: Journal,
    progress: Progress,
) -> list[Demonstration]:
    """Read the demonstrations that a skill's keypoints were verified in.

    These may be more than taught the motion: one that shows the part counts in any case.

    Args:
        skill: that was learned from them.
        bags: where some of them are now, known by their folders' names.
        hand_eye: where the camera sits.
        journal: told of those that cannot be read.
        progress: stage "read".

    Raises:
        DemonstrationError: two of the bags have one name.
        BundleError: a bag cannot be read, or its content is not what the skill was learned from.
    """
    check_names(bags)
    moved = {demonstration_name(path): path for path in bags}
    wanted = {item["name"]: item for item in skill.record.get("demonstrations", [])}
    paths = [moved.get(name, Path(item["bag"])) for name, item in wanted.items()]
    demonstrations = read_all(paths, hand_eye, journal, progress)
    if journal.left_out:
        missing = "; ".join(f"{name}: {why}" for name, why in journal.problems().items())
        raise BundleError(
            f"{len(journal.left_out)} of the {len(wanted)} demonstrations of the skill cannot be "
            f"read ({missing})",
            "restore their bags, or name where they are now with --bag",
        )
    for item in demonstrations:
        if item.sha256 != wanted[item.name]["sha256"]:
            raise BundleError(
                f"{item.source} is not the recording that the skill was learned from",
                "restore it, or learn the skill again",
            )
    return demonstrations


def reference_index(skill: Skill, demonstrations: Sequence[Demonstration]) -> int:
    """Return the index of the reference demonstration.

    Raises:
        BundleError: it is not among them.
    """
    name = skill.record.get("reference_demonstration")
    names = [item.name for item in demonstrations]
    if name not in names:
        raise BundleError(
            f"the reference demonstration {name} cannot be read; there are {', '.join(names)}",
            "restore its bag, or name where it is now with --bag",
        )
    return names.index(name)


def _row_of_kept(view: FeatureView, position: NDArray[np.float64], number: int) -> int:
    """Return the row of a keypoint in the view that it was chosen in."""
    distance, row = view.tree.query(position)
    if distance > _SAME_PLACE:
        raise BundleError(
            f"keypoint {number} lies {1000 * distance:.0f} mm from all points of the reference",
            "give the recording and the hand-eye calibration that the skill was learned with",
        )
    return int(row)


def _row_at(view: FeatureView, pixel: tuple[int, int], stride: int) -> int:
    """Return the row of the view nearest to a pixel."""
    rows = np.flatnonzero(described(view, np.arange(len(view))))
    away = np.linalg.norm(view.pixels[rows] - pixel, axis=1)
    if len(rows) == 0 or away.min() > 1.5 * stride:
        raise GoalError(
            f"at {pixel[0]},{pixel[1]} the reference image has no depth or no feature",
            "choose a pixel (column,row) on a surface that the camera measures",
        )
    return int(rows[away.argmin()])


def _names(demonstrations: Sequence[Demonstration], found: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(item.name for item, here in zip(demonstrations, found, strict=True) if here)


def _entry(edit: Edit, additions: Sequence[Addition], before: int) -> dict[str, Any]:
    """Return the record of an edit."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "before": before,
        "dropped": sorted(set(edit.drop)),
        "added": [
            {
                "pixel": list(item.pixel),
                "found": len(item.found),
                "of": item.count,
                "forced": not item.accepted,
            }
            for item in additions
        ],
    }
