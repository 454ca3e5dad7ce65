"""A skill on disk: one folder that can be read by eye, copied, and loaded without running code.

`skill.yaml` names every other file with its SHA-256 and ends in a checksum of its own lines; how
the folder is written and compared is in `sealed_folder`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from kalm_core.errors import BundleError, GoalError, KalmError, UnknownSkillError
from kalm_core.keypoint_storage import read_reference, write_reference
from kalm_core.keypoints import ReferenceKeypoints
from kalm_core.policy.base import Policy
from kalm_core.policy.storage import read_policy, write_policy
from kalm_core.sealed_folder import (
    checksums,
    former_folders,
    new_folder,
    read_sealed_yaml,
    verify,
    write_sealed_yaml,
)

SCHEMA = 1
"""Version of the layout; it grows when an older reader would misunderstand."""

_DOCUMENT, _KEYPOINTS, _POLICY, _IMAGE = (
    "skill.yaml",
    "keypoints.safetensors",
    "policy.safetensors",
    "reference.png",
)
_MASK = "mask.png"
"""Optional: skills of earlier versions have none, and earlier versions do not miss it."""
_RESTORE = (
    "restore the folder from a backup, or learn the skill again from the bags that its skill.yaml "
    "lists under `demonstrations`"
)

Report = Callable[[Path], object]
"""Writes the pictures of a skill's report into the folder that it is given."""


@dataclass(frozen=True)
class Source:
    """A demonstration that a skill was learned from.

    Attributes:
        name: of the demonstration.
        bag: path of the bag when it was read; empty when made in memory.
        sha256: checksum of the bag's data file; empty when made in memory.
    """

    name: str
    bag: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Skill:
    """Everything that a learned skill consists of.

    Attributes:
        name: letters, digits, _ and -.
        task: the sentence it was taught with.
        created: ISO 8601, UTC.
        reference: the distilled keypoints K.
        image: (H, W, 3) uint8, the reference image, RGB.
        perception: plain values: backends and settings that distilled the keypoints and find them
            again.
        policy: predicts trajectories from the keypoints.
        demonstrations: what it was learned from.
        record: plain values: how learning went.
        mask: (H, W) bool, the part in the reference image; None where nobody kept it.
    """

    name: str
    task: str
    created: str
    reference: ReferenceKeypoints
    image: NDArray[np.uint8]
    perception: dict[str, Any]
    policy: Policy
    demonstrations: tuple[Source, ...]
    record: dict[str, Any] = field(default_factory=dict)
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class SkillSummary:
    """What is told of a skill without loading its weights.

    Attributes:
        name, task, created: as those of the skill.
        demonstrations, keypoints: how many.
        problem: what is wrong with its folder; empty when the skill is sound.
        view: (7,) joints [rad] of the demonstrations' view that shows most of where the part stood;
            empty where nobody kept them.
        holds: width of what the demonstrations held from beginning to end [m]; 0 is nothing.
    """

    name: str
    task: str = ""
    created: str = ""
    demonstrations: int = 0
    keypoints: int = 0
    problem: str = ""
    view: tuple[float, ...] = ()
    holds: float = 0.0


class _Document(BaseModel):
    """The content of `skill.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    name: str
    task: str
    created: str
    keypoints: int
    consistency: list[float]
    demonstrations: list[Source]
    perception: dict[str, Any]
    policy: dict[str, Any]
    record: dict[str, Any]
    files: dict[str, str]


def check_name(name: str) -> str:
    """Return the name of a skill if it can be one.

    Raises:
        GoalError: it is empty, longer than 64, does not begin with a letter or digit, or has other
            characters than letters, digits, _ and -.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise GoalError(
            f"{name!r} cannot be a skill's name",
            "use 1 to 64 letters, digits, _ and -, for example open_top_drawer; no _ or - first",
        )
    return name


def skill_folder(root: Path, name: str) -> Path:
    """Return the folder of the skill `name` in `root`.

    Raises:
        GoalError: it cannot be a name.
        UnknownSkillError: there is none; the text lists those that exist.
    """
    folder = Path(root) / check_name(name)
    if not folder.is_dir():
        raise _unknown(folder)
    return folder


def list_skills(root: Path) -> list[SkillSummary]:
    """List the skills in `root` by name, damaged ones with their problem; none if no such folder.

    Checksums are compared; weights are not loaded.
    """
    return [_summary(folder) for folder in _skill_folders(Path(root))]


def summarize_skill(folder: Path) -> SkillSummary:
    """Return what is told of the skill in a folder.

    Raises:
        BundleError: a file is missing or altered, or the schema version is unknown.
    """
    document = _read_document(Path(folder))
    try:
        view = tuple(float(q) for q in document.record.get("view", ()))
        holds = float(document.record.get("holds", 0.0))
    except (TypeError, ValueError) as error:
        raise BundleError(f"{folder}: its view or what it holds: {error}", _RESTORE) from error
    return SkillSummary(
        folder.name,
        document.task,
        document.created,
        len(document.demonstrations),
        document.keypoints,
        view=view,
        holds=holds,
    )


def load_skill(folder: Path) -> Skill:
    """Load a skill.

    Args:
        folder: of the skill, as `skill_folder` returns it.

    Raises:
        UnknownSkillError: there is no such folder; the text lists those that exist beside it.
        BundleError: a file is missing or altered, or the schema version is unknown. Nothing is
            changed on disk.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise _unknown(folder)
    document = _read_document(folder)
    reference = read_reference(folder / _KEYPOINTS, _RESTORE)
    policy = read_policy(folder / _POLICY, document.policy)
    if len(policy) != len(reference):
        raise BundleError(
            f"{folder / _POLICY} is for {len(policy)} keypoints, {_KEYPOINTS} has {len(reference)}",
            _RESTORE,
        )
    image = _read_image(folder / _IMAGE)
    mask = _read_image(folder / _MASK) > 0 if _MASK in document.files else None
    if mask is not None and mask.shape != image.shape[:2]:
        raise BundleError(
            f"{folder / _MASK} has shape {mask.shape}, the image {image.shape[:2]}", _RESTORE
        )
    return Skill(
        document.name,
        document.task,
        document.created,
        reference,
        image,
        document.perception,
        policy,
        tuple(document.demonstrations),
        document.record,
        mask,
    )


def write_skill(
    skill: Skill, root: Path, report: Report | None = None, overwrite: bool = False
) -> Path:
    """Write a skill into its folder in `root`; all of it or nothing.

    Args:
        skill: what to write.
        root: the skill folder; made if missing.
        report: writes the pictures; None leaves the report empty.
        overwrite: replace a skill of that name.

    Returns:
        The skill's folder.

    Raises:
        GoalError: the name cannot be one, or is taken and `overwrite` is False.
        BundleError: the disk refused; what was there before is untouched.
    """
    target = Path(root) / check_name(skill.name)
    check_free(target, overwrite)
    try:
        with new_folder(target) as folder:
            _write_files(skill, folder, report)
            check_free(target, overwrite)
    except OSError as error:
        raise BundleError(
            f"{target} could not be written: {error}", "make room or check the folder's permissions"
        ) from error
    return target


def check_free(target: Path, overwrite: bool) -> None:
    """Raise `GoalError` if the folder exists and may not be replaced."""
    if target.exists() and not overwrite:
        raise GoalError(
            f"a skill named {target.name!r} exists in {target.parent}",
            "choose another name, or allow to overwrite it",
        )


def _write_files(skill: Skill, folder: Path, report: Report | None) -> None:
    """Fill an empty folder with a skill's files; `skill.yaml` comes last."""
    (folder / "report").mkdir()
    if report:
        report(folder / "report")
    iio.imwrite(folder / _IMAGE, skill.image)
    if skill.mask is not None:
        iio.imwrite(folder / _MASK, skill.mask.astype(np.uint8) * 255)
    write_reference(skill.reference, folder / _KEYPOINTS)
    policy = write_policy(skill.policy, folder / _POLICY)
    document = _Document(
        schema_version=SCHEMA,
        name=skill.name,
        task=skill.task,
        created=skill.created,
        keypoints=len(skill.reference),
        consistency=[round(float(c), 4) for c in skill.reference.consistency],
        demonstrations=list(skill.demonstrations),
        perception=skill.perception,
        policy=policy,
        record=skill.record,
        files=checksums(folder),
    )
    write_sealed_yaml(folder / _DOCUMENT, document.model_dump(mode="json"))


def _read_document(folder: Path) -> _Document:
    """Read `skill.yaml` and compare every checksum in it."""
    path = folder / _DOCUMENT
    values = read_sealed_yaml(path, _RESTORE)
    version = values.get("schema_version")
    if version != SCHEMA:
        raise BundleError(
            f"{path}: schema version is {version!r}, this version of the suite reads {SCHEMA}",
            "use the version of the suite that wrote it, or learn the skill again",
        )
    try:
        document = _Document.model_validate(values)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        raise BundleError(f"{path}: entries are wrong or missing: {wrong}", _RESTORE) from error
    folder_name = folder.resolve().name
    if document.name != folder_name:
        raise BundleError(
            f"{path}: the skill is named {document.name!r} but its folder {folder_name!r}",
            "give the folder the skill's name",
        )
    for name in (_KEYPOINTS, _POLICY, _IMAGE):
        if name not in document.files:
            raise BundleError(f"{path}: {name} is not listed under `files`", _RESTORE)
    verify(folder, document.files, _RESTORE)
    return document


def _read_image(path: Path) -> NDArray[np.uint8]:
    try:
        return np.asarray(iio.imread(path), dtype=np.uint8)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is not an image: {error}", _RESTORE) from error


def _summary(folder: Path) -> SkillSummary:
    try:
        return summarize_skill(folder)
    except KalmError as error:
        return SkillSummary(folder.name, problem=str(error))


def _skill_folders(root: Path) -> list[Path]:
    """Return the folders in `root` whose names a skill can have."""
    if not root.is_dir():
        return []
    return sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))


def _unknown(folder: Path) -> UnknownSkillError:
    names = [f.name for f in _skill_folders(folder.parent) if (f / "skill.yaml").is_file()]
    known = f"it has: {', '.join(names)}" if names else "it has none yet; learn one first"
    if kept := former_folders(folder):
        known += (
            f"; an interrupted write left the former one in {kept[-1]}, rename it to restore it"
        )
    return UnknownSkillError(f"no skill {folder.name!r} is in {folder.parent.resolve()}", known)
