"""From demonstrations to a skill on disk: read, distill, train, write (figure 2 of the paper)."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kalm_core.bags import read_demonstration
from kalm_core.demonstration import Demonstration
from kalm_core.distillation import DistillationSettings, distill
from kalm_core.errors import DemonstrationError, GoalError, KeypointsNotFoundError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.base import Example
from kalm_core.policy.evaluation import grasp_index
from kalm_core.policy.pictures import draw_training, draw_trajectories
from kalm_core.policy.selection import LearnedPolicy, learn_policy
from kalm_core.policy.settings import PolicySettings
from kalm_core.progress import Progress
from kalm_core.report.perception import write_perception_report
from kalm_core.report.skill_page import write_skill_page
from kalm_core.se3 import Array, invert_pose
from kalm_core.segmentation import SegmentationSettings, execution_part
from kalm_core.settings import Settings
from kalm_core.skill import Skill, Source, check_free, check_name, write_skill
from kalm_core.vlm.transcript import FOLDER as TRANSCRIPT

MIN_DEMONSTRATIONS = 3
"""Fewer say nothing about what varies."""

_log = logging.getLogger(__name__)


class LearningSettings(Settings):
    """Settings of every stage of learning."""

    distillation: DistillationSettings = DistillationSettings()
    segmentation: SegmentationSettings = SegmentationSettings()
    policy: PolicySettings = PolicySettings()
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the policy's training")
    stray: float = Field(
        0.06,
        ge=0.005,
        le=1.0,
        description="a demonstration whose grasp lies farther than this from where most grasp, "
        "relative to the keypoints, is left out: its keypoints are on another part [m]",
    )


@dataclass(frozen=True)
class Goal:
    """What is asked for, checked at once: nobody should wait minutes for an error in a name."""

    name: str
    task: str
    root: Path
    overwrite: bool

    def __post_init__(self) -> None:
        check_free(self.root / check_name(self.name), self.overwrite)
        if not self.task.strip():
            raise GoalError("the task is empty", "say in one sentence what the demonstrations show")


@dataclass
class Journal:
    """What is written down while learning: seconds per stage, and who was left out and why."""

    seconds: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    _stage: str = ""
    _since: float = 0.0

    def follow(self, progress: Progress) -> Progress:
        """Return a progress that measures the stages and passes everything on."""

        def report(stage: str, fraction: float, text: str) -> None:
            self.clock(stage)
            progress.report(stage, fraction, text)

        return Progress(report, progress.should_stop)

    def clock(self, stage: str) -> None:
        """Count the time since the last report for the stage that ran until now."""
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def leave_out(self, name: str, reason: str) -> None:
        """Note a demonstration that cannot teach."""
        _log.warning("%s is left out: %s", name, reason)
        self.left_out[name] = reason

    def require(self, remaining: int) -> None:
        """Raise `DemonstrationError` unless enough demonstrations remain."""
        if remaining < MIN_DEMONSTRATIONS:
            reasons = "; ".join(f"{name}: {why}" for name, why in self.left_out.items())
            raise DemonstrationError(
                f"{remaining} demonstrations can teach, expected {MIN_DEMONSTRATIONS} or more"
                + (f" ({reasons})" if reasons else ""),
                "record more, about ten in all",
            )


def learn_skill(  # noqa: PLR0917 - in the order in which they are used
    name: str,
    task: str,
    bags: Sequence[Path],
    skills_root: Path,
    settings: LearningSettings | None = None,
    hand_eye: HandEyeSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Learn a skill from recorded demonstrations.

    A bag that cannot teach is left out, named in the skill's record, as long as three remain.

    Args:
        name: of the skill: letters, digits, _ and -.
        task: one sentence, as one would tell a person.
        bags: folders of the demonstrations.
        skills_root: folder of the skills.
        settings: of every stage; None takes the defaults.
        hand_eye: where the camera sits; None takes the default.
        overwrite: replace a skill of that name.
        progress: stages "read", "propose", "verify", "train" and "write".

    Returns:
        The skill's folder.

    Raises:
        GoalError: the name or task cannot be meant, or the name is taken.
        DemonstrationError: fewer than three bags can teach; the text names each and why.
        DistillationError: no part could be found again in the demonstrations.
        BundleError: the disk refused.
        CancelledError: the caller asked to stop; nothing is left behind.
    """
    goal, journal = Goal(name, task, Path(skills_root), overwrite), Journal()
    progress = journal.follow(progress or Progress())
    demonstrations = read_all(bags, hand_eye or HandEyeSettings(), journal, progress)
    return _learn(goal, demonstrations, settings or LearningSettings(), journal, progress)


def learn_from_demonstrations(
    name: str,
    task: str,
    demonstrations: Sequence[Demonstration],
    skills_root: Path,
    settings: LearningSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Learn a skill from demonstrations in memory; otherwise as `learn_skill`."""
    goal, journal = Goal(name, task, Path(skills_root), overwrite), Journal()
    progress = journal.follow(progress or Progress())
    return _learn(goal, demonstrations, settings or LearningSettings(), journal, progress)


def read_all(
    bags: Sequence[Path], hand_eye: HandEyeSettings, journal: Journal, progress: Progress
) -> list[Demonstration]:
    """Read the bags that can be read; a second copy of a recording teaches nothing new."""
    demonstrations: list[Demonstration] = []
    for i, bag in enumerate(bags):
        progress.step("read", i / len(bags), f"reading {Path(bag).name}")
        try:
            read = read_demonstration(Path(bag), hand_eye.T_ee_cam)
        except DemonstrationError as error:
            journal.leave_out(Path(bag).name, str(error))
            continue
        same = [d.name for d in demonstrations if d.sha256 and d.sha256 == read.sha256]
        if same:
            journal.leave_out(str(bag), f"it is the same recording as {same[0]}")
        else:
            demonstrations.append(read)
    progress.step("read", 1.0, f"{len(demonstrations)} of {len(bags)} bags were read")
    return demonstrations


def _learn(
    goal: Goal,
    demonstrations: Sequence[Demonstration],
    settings: LearningSettings,
    journal: Journal,
    progress: Progress,
) -> Path:
    """Distill, train and write."""
    journal.require(len(demonstrations))
    found = distill(demonstrations, settings.distillation, progress, task=goal.task)

    def draw(folder: Path) -> None:
        write_perception_report(folder, demonstrations, found)
        if found.transcript is not None:
            found.transcript.write(folder.parent / TRANSCRIPT)

    notes: dict[str, Any] = {"attempts": [attempt.record() for attempt in found.attempts]}
    if found.transcript is not None:
        notes["vlm"] = {"part": found.region.description, **found.transcript.summary()}
    lesson = Lesson(
        demonstrations,
        found.reference_demonstration,
        found.reference,
        found.detected,
        found.mask.pixels,
    )
    return teach(goal, lesson, settings, journal, progress, notes, draw)


@dataclass(frozen=True)
class Lesson:
    """Demonstrations with the keypoints of a skill found in them.

    Attributes:
        demonstrations: of the skill.
        seed: index of the one that is the reference.
        reference: the keypoints in it.
        detected: the keypoints in the first image of each.
        mask: (H, W) bool, the part in the first image of the seed; None where it is not known.
    """

    demonstrations: Sequence[Demonstration]
    seed: int
    reference: ReferenceKeypoints
    detected: Sequence[DetectedKeypoints]
    mask: NDArray[np.bool_] | None = None


def teach(  # noqa: PLR0917 - in the order in which they are used
    goal: Goal,
    lesson: Lesson,
    settings: LearningSettings,
    journal: Journal,
    progress: Progress,
    notes: dict[str, Any],
    draw: Callable[[Path], None],
) -> Path:
    """Train on demonstrations whose keypoints are known, and write the skill.

    Args:
        goal: what it shall be named.
        lesson: what is known.
        settings: of every stage.
        journal: of what has happened so far.
        progress: stages "train" and "write".
        notes: plain values for the skill's record.
        draw: puts the perception's pictures into the folder of the report.

    Returns:
        The skill's folder.

    Raises:
        DemonstrationError: fewer than three demonstrations can teach.
        BundleError: the disk refused.
    """
    demonstrations = lesson.demonstrations
    examples = make_examples(demonstrations, lesson.detected, settings, journal.leave_out)
    journal.require(len(examples))
    learned = learn_policy(examples, settings.policy, settings.seed, progress)
    progress.step("write", 0.0, "writing the skill")
    taught = {e.name for e in examples}
    skill = Skill(
        name=goal.name,
        task=goal.task.strip(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        reference=lesson.reference,
        image=demonstrations[lesson.seed].initial.color,
        perception=settings.distillation.model_dump(mode="json"),
        policy=learned.policy,
        demonstrations=tuple(
            Source(d.name, str(d.source or ""), d.sha256)
            for d in demonstrations
            if d.name in taught
        ),
        record={
            "reference_demonstration": demonstrations[lesson.seed].name,
            "demonstrations": record_demonstrations(demonstrations, lesson.detected),
            **notes,
            **_record(learned, settings, journal),
        },
        mask=lesson.mask,
    )

    def report(folder: Path) -> None:
        draw(folder)
        draw_training(learned, folder / "training.png")
        draw_trajectories(
            examples, learned.policy, learned.arrangement, folder / "trajectories.png"
        )
        write_skill_page(folder, skill)

    folder = write_skill(skill, goal.root, report, goal.overwrite)
    progress.report("write", 1.0, f"the skill is in {folder}")
    return folder


def record_demonstrations(
    demonstrations: Sequence[Demonstration], detected: Sequence[DetectedKeypoints]
) -> list[dict[str, Any]]:
    """Return plain values of each demonstration: its source, length and keypoints from 1."""
    return [
        {
            "index": index,
            "name": item.name,
            "bag": str(item.source or ""),
            "sha256": item.sha256,
            "seconds": round(float(item.stamps[-1]), 2),
            "found": [int(k) + 1 for k in np.flatnonzero(keypoints.found)],
        }
        for index, (item, keypoints) in enumerate(zip(demonstrations, detected, strict=True))
    ]


def make_examples(
    demonstrations: Sequence[Demonstration],
    detected: Sequence[DetectedKeypoints],
    settings: LearningSettings,
    leave_out: Callable[[str, str], None],
) -> list[Example]:
    """Cut the execution out of every demonstration that shows the keypoints where it works.

    Args:
        demonstrations: of one skill.
        detected: the skill's keypoints in the first image of each.
        settings: of the segmentation, and how far a grasp may stray.
        leave_out: told the name of a demonstration that cannot teach, and why.

    Returns:
        Examples of the others; none when no demonstration shows the keypoints.
    """
    try:
        arrangement = Arrangement.from_demonstrations(detected)
    except KeypointsNotFoundError as error:
        for demonstration in demonstrations:
            leave_out(demonstration.name, str(error))
        return []
    examples: list[Example] = []
    grasps: list[Array] = []
    for demonstration, keypoints in zip(demonstrations, detected, strict=True):
        try:
            T_base_object, fitting = arrangement.locate(keypoints)
            part = execution_part(demonstration, fitting, settings.segmentation)
        except (KeypointsNotFoundError, DemonstrationError) as error:
            leave_out(demonstration.name, str(error))
            continue
        examples.append(Example(demonstration.name, fitting, part))
        grasp = part.T_base_ee[grasp_index(part)]
        grasps.append((invert_pose(T_base_object) @ grasp)[:3, 3])
    if not examples:
        return []
    away = np.linalg.norm(grasps - np.median(grasps, axis=0), axis=1)
    for example, distance in zip(examples, away, strict=True):
        if distance > settings.stray:
            leave_out(
                example.name,
                f"relative to the keypoints it works {distance:.3f} m from where most do, "
                f"expected {settings.stray} m or less: they were found on another part",
            )
    return [e for e, distance in zip(examples, away, strict=True) if distance <= settings.stray]


def _packages(settings: DistillationSettings) -> list[str]:
    """Return the packages whose version a skill depends on."""
    packages = ["torch", "diffusers", "numpy", "open3d"]
    if settings.mask_backend == "sam":
        checkpoint = settings.sam.weights.endswith(".pth")
        packages.append("segment-anything" if checkpoint else "transformers")
    if "dino" in settings.correspondence.weights:
        packages.append("transformers")
    return packages


def _record(learned: LearnedPolicy, settings: LearningSettings, journal: Journal) -> dict[str, Any]:
    """Return plain values that say how learning went, up to the writing."""
    comparison = learned.comparison
    losses = learned.training.losses if learned.training else ()
    errors = {name: error.as_dict() for name, error in comparison.errors.items()}
    return {
        "seconds": {stage: round(value, 2) for stage, value in journal.seconds.items()},
        "left_out": dict(journal.left_out),
        "seed": settings.seed,
        "segmentation": settings.segmentation.model_dump(mode="json"),
        "training": {
            "seconds": round(learned.seconds, 2),
            "losses": [round(loss, 5) for loss in losses[:: max(1, len(losses) // 100)]],
            "fit": learned.fit.as_dict(),
            "chosen": comparison.chosen,
            "reason": comparison.reason,
            "scores": {name: round(score, 5) for name, score in comparison.scores.items()},
            "held_out_policy": errors.get(comparison.chosen),
            "held_out_rigid": errors.get("rigid"),
            "held_out": errors,
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in _packages(settings.distillation)},
        },
    }
