"""`kalm demonstrations`: which bags there are and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kalm_core.bags import BagReport, find_leftovers, inspect_bag, rescue
from kalm_core.bags.folder import find_bags
from kalm_core.bags.topics import COLOR, JOINT_STATES
from kalm_core.commands.terminal import output, print_error
from kalm_core.errors import DemonstrationError


def demonstrations(
    folder: Annotated[Path, typer.Argument(help="folder of bags, or one bag")],
    save: Annotated[
        bool, typer.Option("--rescue", help="save what can be read of unfinished recordings")
    ] = False,
) -> None:
    """List recorded demonstrations: length, rates, lost images, and anything suspicious."""
    rescued = not save or _rescue_all(folder)
    bags = find_bags(folder)
    leftovers = [] if bags == [folder] else find_leftovers(folder)
    leftovers = [item for item in leftovers if item.path not in bags]  # those are judged as bags
    table = Table(box=None, pad_edge=False)
    table.add_column("bag")
    for title in ("length", "images", "joints", "lost", "depth", "reach", "grips"):
        table.add_column(title, justify="right")
    table.add_column("")
    notes: list[tuple[str, str, str]] = []
    for bag in bags:
        try:
            report = inspect_bag(bag)
        except DemonstrationError as error:
            table.add_row(bag.name, *[""] * 7, "[red]unusable[/red]")
            notes.append((bag.name, "red", str(error)))
            continue
        table.add_row(*_row(report))
        if report.problem:
            notes.append((bag.name, "red", report.problem))
        notes.extend((bag.name, "yellow", f"{sentence}.") for sentence in report.suspicions)
    notes.extend((item.path.name, "yellow", f"{item.sentence}.") for item in leftovers)
    if bags:
        output.print(table)
    else:
        output.print(f"{folder} holds no finished bag; `kalm topics` says what to record")
    if notes:
        output.print()
    for name, style, sentence in notes:
        output.print(f"{name}: {sentence}", style=style, markup=False, soft_wrap=True)
    if not rescued:
        raise typer.Exit(1)


def _row(report: BagReport) -> list[str]:
    rates = {topic.name: topic.rate for topic in report.topics}
    verdict = "[green]good[/green]" if not report.suspicions else "[yellow]look[/yellow]"
    return [
        report.path.name,
        f"{report.seconds:.1f} s",
        f"{rates.get(COLOR, 0.0):.1f}/s",
        f"{rates.get(JOINT_STATES, 0.0):.0f}/s",
        str(report.dropped_frames),
        f"{report.depth_share:.0%}" if report.depth_share == report.depth_share else "-",
        f"{report.reach:.2f} m" if report.reach == report.reach else "-",
        str(report.gripper_switches),
        verdict if report.usable else "[red]unusable[/red]",
    ]


def _rescue_all(folder: Path) -> bool:
    """Rescue what was not rescued before; returns whether nothing failed."""
    failed = False
    for leftover in find_leftovers(folder):
        if leftover.rescued.exists():
            output.print(
                f"{leftover.path.name} was rescued before, as {leftover.rescued.name}. Delete the "
                "old folder when you are content.",
                markup=False,
                soft_wrap=True,
            )
            continue
        try:
            bag, lost = rescue(leftover)
        except DemonstrationError as error:
            print_error(error)
            failed = True
            continue
        output.print(
            f"{leftover.path.name} -> {bag.name}: {lost / 1e6:.1f} MB at the end were unreadable, "
            "and up to 1 MB more was never written. Delete the old folder when you are content.",
            markup=False,
            soft_wrap=True,
        )
    return not failed
