"""`kalm doctor`: what is there and what is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from kalm_core.commands.parameter_file import read_parameters
from kalm_core.commands.terminal import output
from kalm_core.doctor import backends
from kalm_core.doctor.checks import CHECKS
from kalm_core.doctor.finding import Status
from kalm_core.doctor.run import Line, run_checks

COLUMNS = (8, 17, 7)
"""Widths of section, name and status; the text takes the rest."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON list instead of lines")] = False,
    config: Annotated[
        list[Path], typer.Option(help="parameter file of learner_node: try the backends as it says")
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """Tell what is there and what is missing on this machine, one line each.

    The exit code is 0 unless a part that the simulator needs is missing. Nothing is downloaded.
    """
    learning = read_parameters(config, "learner_node").get("learning", {})
    backends.configure(learning.get("distillation", {}))
    lines: list[Line] = []
    section = ""
    for line in run_checks(CHECKS):
        lines.append(line)
        if not as_json:
            section = _print(line, section)
    lacking = [line.check.name for line in lines if line.check.needed and _is_missing(line)]
    if as_json:
        sys.stdout.write(json.dumps([_record(line) for line in lines], indent=2) + "\n")
    elif lacking:
        output.print(f"\n[red]Needed and missing: {escape(', '.join(lacking))}[/red]")
    else:
        output.print("\nEverything that the simulator needs is there.")
    if lacking:
        raise typer.Exit(1)


def _print(line: Line, section: str) -> str:
    """Print one line below its section and return the section."""
    check, finding = line.check, line.finding
    heading = check.section if check.section != section else ""
    if not _is_missing(line):
        mark, style = "ok", "green"
    elif check.needed:
        mark, style = "MISSING", "red"
    else:
        mark, style = "missing", "yellow"
    remedy = f" [dim]-> {escape(finding.remedy)}[/dim]" if finding.remedy else ""
    row = Table.grid(padding=(0, 1))
    for width in COLUMNS:
        row.add_column(width=width)
    row.add_column(overflow="fold")
    row.add_row(
        heading, check.name, f"[{style}]{mark}[/{style}]", escape(finding.text.strip()) + remedy
    )
    output.print(row)
    return check.section


def _is_missing(line: Line) -> bool:
    return line.finding.status is Status.MISSING


def _record(line: Line) -> dict[str, object]:
    return {
        "section": line.check.section,
        "name": line.check.name,
        "needed": line.check.needed,
        "status": line.finding.status.value,
        "text": line.finding.text,
        "remedy": line.finding.remedy,
    }
