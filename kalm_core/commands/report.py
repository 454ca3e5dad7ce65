"""`kalm report`: where a skill's page is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kalm_core.commands.terminal import output
from kalm_core.errors import BundleError


def report(
    skill: Annotated[Path, typer.Argument(help="folder of one skill")],
    open_it: Annotated[bool, typer.Option("--open", help="show it in the web browser")] = False,
) -> None:
    """Name the page that shows how a skill was made, or open it."""
    from kalm_core.report.skill_page import PAGE
    from kalm_core.skill import load_skill

    load_skill(skill)  # altered bytes are told before anybody believes a picture
    page = (skill / "report" / PAGE).resolve()
    if not page.is_file():
        raise BundleError(f"{skill} has no report", "learn the skill again with this version")
    output.print(str(page), markup=False, soft_wrap=True)
    if open_it:
        typer.launch(page.as_uri())
