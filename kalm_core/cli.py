"""The `kalm` command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from kalm_core.commands import (
    demonstrations,
    detect,
    doctor,
    graph,
    keypoints,
    learn,
    report,
    skills,
    topics,
)
from kalm_core.commands.terminal import FAILED, Commands, example_text, print_error
from kalm_core.errors import KalmError
from kalm_core.run_log import show_run_log

app = typer.Typer(
    name="kalm",
    cls=Commands,
    help="Learn robot skills from a few demonstrations, and use them.",
    epilog=example_text("kalm demo"),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the trace of an error")] = False,
) -> None:
    """Learn robot skills from a few demonstrations, and use them."""


keypoints_app = typer.Typer(
    help="Look at the keypoints of a skill, and drop or add some by hand.",
    epilog=example_text("kalm keypoints show skills/open_top_drawer"),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(keypoints_app, name="keypoints")


def _add(
    name: str,
    function: Callable[..., None],
    example: str,
    passes_on: bool = False,
    group: typer.Typer = app,
) -> None:
    """Add a command with an example below its help.

    Args:
        name: as typed.
        function: what it does; its docstring is the help.
        example: one line that works.
        passes_on: whether all that follows, `--help` too, belongs to the module that it starts.
        group: that it belongs to.
    """
    context: dict[str, object] = (
        {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
        if passes_on
        else {}
    )
    group.command(name, epilog=example_text(example), context_settings=context)(function)


_add("topics", topics.topics, "kalm topics")
_add(
    "demonstrations",
    demonstrations.demonstrations,
    "kalm demonstrations demonstrations --rescue",
)
_add(
    "learn",
    learn.learn,
    'kalm learn open_top_drawer demonstrations --task "open the top drawer"',
)
_add("detect", detect.detect, "kalm detect skills/open_top_drawer demonstrations/001")
_add("skills", skills.skills, "kalm skills skills")
_add("report", report.report, "kalm report skills/open_top_drawer --open")
_add("show", keypoints.show, "kalm keypoints show skills/open_top_drawer", group=keypoints_app)
_add(
    "edit",
    keypoints.edit,
    "kalm keypoints edit skills/open_top_drawer --drop 3 --add 312,201",
    group=keypoints_app,
)
_add("doctor", doctor.doctor, "kalm doctor --json")
for _function in (
    graph.up,
    graph.look,
    graph.do,
    graph.record,
    graph.guide,
    graph.hand,
    graph.stop,
    graph.recover,
    graph.scene,
    graph.demo,
):
    _add(_function.__name__, _function, f"kalm {_function.__name__}", passes_on=True)


def main() -> None:
    """Run `kalm`; what nobody foresaw is one sentence too, unless `--debug` asks for the trace."""
    show_run_log()
    try:
        app(prog_name="kalm")
    except Exception as error:
        if "--debug" in sys.argv[1:]:
            raise
        problem = f"internal error: {type(error).__name__}: {error}"
        print_error(KalmError(problem, "run `kalm --debug` with the same command for the trace"))
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
