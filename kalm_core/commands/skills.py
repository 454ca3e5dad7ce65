"""`kalm skills`: which skills there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from kalm_core.commands.terminal import output
from kalm_core.errors import GoalError


def skills(
    folder: Annotated[Path, typer.Argument(help="folder of the skills")] = Path("skills"),
) -> None:
    """List the learned skills, and say which are damaged."""
    from kalm_core.skill import list_skills

    if not folder.is_dir():
        raise GoalError(f"there is no folder {folder}", "`kalm learn` makes the first skill")
    found = list_skills(folder)
    if not found:
        output.print(f"{folder} holds no skill; `kalm learn` makes one", markup=False)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("skill", "task", "learned", "bags", "keypoints"):
        table.add_column(title)
    for skill in found:
        if skill.problem:
            table.add_row(escape(skill.name), f"[red]{escape(skill.problem)}[/red]")
        else:
            table.add_row(
                escape(skill.name),
                escape(skill.task),
                skill.created[:16].replace("T", " "),
                str(skill.demonstrations),
                str(skill.keypoints),
            )
    output.print(table)
