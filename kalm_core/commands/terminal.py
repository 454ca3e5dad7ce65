"""What the commands share towards the terminal: output, errors, progress bars, Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from typer.core import TyperGroup

from kalm_core.errors import CancelledError, KalmError
from kalm_core.progress import Progress

PIPE_WIDTH = 100
"""Width of lines when the output is no terminal."""

FAILED, CANCELLED = 1, 130
"""Exit codes, besides 0 and the 2 of a wrong command line."""

DEBUG = "KALM_DEBUG"
"""Set where `kalm --debug` hands over to another process: that one shows traces too."""

output = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
errors = Console(stderr=True, highlight=False)


class Commands(TyperGroup):
    """Commands; an error is one red sentence and an exit code, a trace only on request."""

    names_outcomes = False
    """Whether the name of the outcome stands before the sentence."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except KalmError as error:
            if ctx.params.get("debug") or DEBUG in os.environ:
                raise
            print_error(error, self.names_outcomes)
            raise typer.Exit(CANCELLED if isinstance(error, CancelledError) else FAILED) from error


def example_text(example: str) -> str:
    """Return what stands below a command's help."""
    return f"\b\nExample:\n  {example}"


def run_alone(function: Callable[..., None], name: str, example: str) -> None:
    """Run a function as the command that it is, for `python -m`.

    Args:
        function: its docstring is the help, its arguments are the options.
        name: as typed.
        example: one line that works.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(epilog=example_text(example))(function)
    app(prog_name=name)


def print_error(error: KalmError, names_outcome: bool = False) -> None:
    """Print what is wrong and what to do as one red sentence, after the outcome's name if asked."""
    text = f"{error.outcome.name}: {error}" if names_outcome else str(error)
    errors.print(text, style="red", markup=False, soft_wrap=True)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Give a `Progress` with one bar per stage; Ctrl-C asks the work to stop, twice kills it."""
    stop = threading.Event()

    def interrupt(_: int, __: FrameType | None) -> None:
        stop.set()
        errors.print("stopping; what is half done is undone (Ctrl-C again to kill)")
        signal.signal(signal.SIGINT, previous)

    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    stages: dict[str, TaskID] = {}
    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        with Bars(*columns, console=errors) as bars:

            def report(stage: str, fraction: float, text: str) -> None:
                if stage not in stages:
                    for earlier in stages.values():
                        bars.update(earlier, completed=1.0)
                    stages[stage] = bars.add_task(stage, total=1.0, text=text)
                bars.update(stages[stage], completed=fraction, text=text)

            yield Progress(report, stop.is_set)
    finally:
        signal.signal(signal.SIGINT, previous)
