"""From demonstrations to a skill on disk: read, distill, train, write (figure 2 of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kalm_core.bags import demonstration_name, read_demonstration
from kalm_core.confidence import Calibration
from kalm_core.demonstration import Demonstration
from kalm_core.distillation import DistillationSettings, distill
from kalm_core.errors import DemonstrationError, GoalError
from kalm_core.examples import make_examples
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.keypoints import DetectedKeypoints, ReferenceKeypoints
from kalm_core.learning_journal import Journal
from kalm_core.learning_record import record_demonstrations, record_training, record_versions
from kalm_core.overview import overview
from kalm_core.policy.pictures import draw_training, draw_trajectories
from kalm_core.policy.selection import learn_policy
from kalm_core.policy.settings import PolicySettings
from kalm_core.policy.training import log_writer
from kalm_core.progress import Progress
from kalm_core.proposal.contact import held_width
from kalm_core.report.perception import write_perception_report
from kalm_core.report.skill_page import write_skill_page
from kalm_core.segmentation import SegmentationSettings
from kalm_core.settings import Settings
from kalm_core.skill import Skill, Source, check_free, check_name, write_skill
from kalm_core.vlm.transcript import FOLDER as TRANSCRIPT


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
    """What is asked for, checked at once: nobody should wait minutes to hear that it cannot be."""

    name: str
    task: str
    root: Path
    overwrite: bool
    training_folder: Path | None = None
    hand_eye: HandEyeSettings | None = None

    def __post_init__(self) -> None:
        check_free(self.root / check_name(self.name), self.overwrite)
        if self.training_folder is not None:
            log_writer()
        if not self.task.strip():
            raise GoalError("the task is empty", "say in one sentence what the demonstrations show")


def learn_skill(  # noqa: PLR0917 - in the order in which they are used
    name: str,
    task: str,
    bags: Sequence[Path],
    skills_root: Path,
    settings: LearningSettings | None = None,
    hand_eye: HandEyeSettings | None = None,
    *,
    overwrite: bool = False,
    training_folder: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Learn a skill from recorded demonstrations.

    A bag that cannot teach is left out, named in the skill's record, as long as three remain. One
    or two bags are a skill too when all of them can teach. Of one, nothing can be verified in
    another scene: its keypoints are what the part shows, and φ falls back to its lowest score.

    Args:
        name: of the skill: letters, digits, _ and -.
        task: one sentence, as one would tell a person.
        bags: folders of the demonstrations.
        skills_root: folder of the skills.
        settings: of every stage; None takes the defaults.
        hand_eye: where the camera sits; None takes the default.
        overwrite: replace a skill of that name.
        training_folder: of the diffusion model's checkpoint, from which a training that was cut
            goes on, and of its log for TensorBoard; None keeps neither.
        progress: stages "read", "propose", "verify", "train" and "write".

    Returns:
        The skill's folder.

    Raises:
        GoalError: the name or task cannot be meant, or the name is taken.
        DemonstrationError: too few bags can teach, the text names each and why; or two have one
            name.
        DistillationError: no part could be found again in the demonstrations.
        BackendUnavailableError: there is a training folder and no TensorBoard, or a model of the
            settings lacks something.
        BundleError: the disk refused.
        CancelledError: the caller asked to stop; nothing is left behind.
    """
    hand_eye = hand_eye or HandEyeSettings()
    goal = Goal(name, task, Path(skills_root), overwrite, training_folder, hand_eye)
    journal = Journal()
    progress = journal.follow(progress or Progress())
    demonstrations = read_all(bags, hand_eye, journal, progress)
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


def check_names(bags: Sequence[Path]) -> None:
    """Refuse two bags of one name: by it a skill's record knows them.

    Raises:
        DemonstrationError: there are two; the text names both.
    """
    known: dict[str, Path] = {}
    for bag in bags:
        other = known.setdefault(demonstration_name(Path(bag)), Path(bag))
        if other.resolve() != Path(bag).resolve():
            raise DemonstrationError(
                f"{other} and {bag} have the same name", "rename one of the folders"
            )


def read_all(
    bags: Sequence[Path], hand_eye: HandEyeSettings, journal: Journal, progress: Progress
) -> list[Demonstration]:
    """Read the bags that can be read; a second copy of a recording teaches nothing new.

    Raises:
        DemonstrationError: two bags have one name.
    """
    check_names(bags)
    demonstrations: list[Demonstration] = []
    for i, bag in enumerate(bags):
        progress.step("read", i / len(bags), f"reading {Path(bag).name}")
        try:
            # absolute: the skill's record says where it is, whoever reads that from elsewhere
            read = read_demonstration(Path(bag).absolute(), hand_eye.T_ee_cam)
        except DemonstrationError as error:
            journal.leave_out(demonstration_name(Path(bag)), error)
            continue
        same = [d.name for d in demonstrations if d.sha256 and d.sha256 == read.sha256]
        if same:
            copy = DemonstrationError(f"it is the same recording as {same[0]}")
            journal.leave_out(str(bag), copy)
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
    # A lone demonstration is matched with itself: that drops points that are mistaken for others.
    shown = [*demonstrations] * (2 if len(demonstrations) == 1 else 1)
    found = distill(shown, settings.distillation, progress, task=goal.task)

    def draw(folder: Path) -> None:
        write_perception_report(folder, shown, found)
        if found.transcript is not None:
            found.transcript.write(folder.parent / TRANSCRIPT)

    notes: dict[str, Any] = {"attempts": [attempt.record() for attempt in found.attempts]}
    if found.transcript is not None:
        notes["vlm"] = {"part": found.region.description, **found.transcript.summary()}
    lesson = Lesson(
        demonstrations,
        min(found.reference_demonstration, len(demonstrations) - 1),
        found.reference,
        found.detected[: len(demonstrations)],
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
        DemonstrationError: too few demonstrations can teach.
        BundleError: the disk refused.
    """
    demonstrations = lesson.demonstrations
    examples = make_examples(
        demonstrations,
        lesson.detected,
        settings.segmentation,
        settings.stray,
        journal.leave_out,
    )
    journal.require(len(examples))
    learned = learn_policy(examples, settings.policy, settings.seed, progress, goal.training_folder)
    reference = lesson.reference
    if len(demonstrations) == 1:
        reference = _unproven(reference, settings.distillation.correspondence.min_score)
    progress.step("write", 0.0, "writing the skill")
    taught = {e.name for e in examples}
    skill = Skill(
        name=goal.name,
        task=goal.task.strip(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        reference=reference,
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
            "view": [round(float(q), 5) for q in overview(demonstrations, lesson.detected)],
            "holds": round(held_width([d for d in demonstrations if d.name in taught]), 4),
            "demonstrations": record_demonstrations(demonstrations, lesson.detected),
            **notes,
            "hand_eye": goal.hand_eye.model_dump(mode="json") if goal.hand_eye else None,
            "seconds": {stage: round(value, 2) for stage, value in journal.seconds.items()},
            "left_out": journal.problems(),
            "seed": settings.seed,
            "segmentation": settings.segmentation.model_dump(mode="json"),
            "stray": settings.stray,
            "policy": settings.policy.model_dump(mode="json"),
            "training": record_training(learned),
            "versions": record_versions(settings.distillation),
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


def _unproven(reference: ReferenceKeypoints, floor: float) -> ReferenceKeypoints:
    """Return keypoints whose scores promise nothing: an image matches itself perfectly."""
    return replace(
        reference,
        min_score=np.full(len(reference), floor),
        calibration=Calibration.default(),
    )
