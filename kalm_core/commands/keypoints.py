"""`kalm keypoints`: look at a skill's keypoints, and drop or add some by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kalm_core.commands.parameter_file import suite_parameters
from kalm_core.commands.terminal import output, progress_bars
from kalm_core.errors import GoalError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.settings import parse_settings

SkillFolder = Annotated[Path, typer.Argument(help="folder of one skill")]


def show(skill: SkillFolder) -> None:
    """Tell of each keypoint how often and how surely it is found again."""
    from kalm_core.report.skill_page import PAGE
    from kalm_core.skill import load_skill

    learned = load_skill(skill)
    reference = learned.reference
    demonstrations = learned.record.get("demonstrations", [])
    table = Table(box=None, pad_edge=False)
    for title in ("keypoint", "found in", "lowest score", "not found in"):
        table.add_column(title)
    for k in range(len(reference)):
        missing = [item["name"] for item in demonstrations if k + 1 not in item["found"]]
        table.add_row(
            str(k + 1),
            f"{100 * reference.consistency[k]:.0f} %",
            f"{reference.min_score[k]:.2f}",
            ", ".join(missing) or "-",
        )
    output.print(table)
    for edit in learned.record.get("edited_keypoints", []):
        output.print(
            f"Edited on {edit['date']}: {len(edit['dropped'])} dropped, {len(edit['added'])} added",
            markup=False,
        )
    page = skill / "report" / PAGE
    if page.is_file():
        output.print(f"Pictures: {page}", markup=False, soft_wrap=True)


def edit(
    skill: SkillFolder,
    *,
    drop: Annotated[list[int], typer.Option(help="number of a keypoint; may be given again")] = [],  # noqa: B006 - typer copies it
    add: Annotated[
        list[str],
        typer.Option(help="pixel column,row of the skill's reference.png; may be given again"),
    ] = [],  # noqa: B006
    force: Annotated[
        bool, typer.Option("--force", help="add points that are not found again, too")
    ] = False,
    bag: Annotated[
        list[Path], typer.Option(help="where a demonstration is now; may be given again")
    ] = [],  # noqa: B006
    config: Annotated[list[Path], typer.Option(help="read after those in config/")] = [],  # noqa: B006
) -> None:
    """Drop or add keypoints, verify them in the demonstrations, and train the skill again."""
    from kalm_core.editing import Edit, edit_skill
    from kalm_core.learning import LearningSettings

    values = suite_parameters(("hand_eye.yaml", "learner_node.yaml"), config, "learner_node")
    hand_eye = parse_settings(HandEyeSettings, values.get("hand_eye", {}), "hand_eye")
    own = parse_settings(LearningSettings, values.get("learning", {}), "learning")
    wanted = Edit(tuple(drop), tuple(_pixel(text) for text in add), force)
    with progress_bars() as progress:
        mine = own.distillation.correspondence
        folder, additions = edit_skill(skill, wanted, bag, hand_eye, progress, own=mine)
    for addition in additions:
        output.print(str(addition), markup=False, soft_wrap=True)
    output.print(f"The edited skill is in {folder}", markup=False, soft_wrap=True)


def _pixel(text: str) -> tuple[int, int]:
    """Read "312,201"."""
    parts: Sequence[str] = text.split(",")
    try:
        column, row = (int(part) for part in parts)
    except ValueError as error:
        raise GoalError(
            f"{text!r} is no pixel", "give column,row, for example --add 312,201"
        ) from error
    return column, row
