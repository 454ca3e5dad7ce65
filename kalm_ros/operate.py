"""The operator's commands towards a running graph: do, record, guide, hand, stop and recover.

`kalm do` and its siblings run them. They use the public actions and services, as any other client
does, and end with the graph's own sentence; where it is that of a failure, the outcome's name, as
`KEYPOINTS_NOT_FOUND`, stands before it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any

import typer
from geometry_msgs.msg import PoseStamped
from rich.console import Console
from std_srvs.srv import Trigger

from kalm_core.bags import topics
from kalm_core.commands.terminal import Commands, example_text, output
from kalm_core.errors import CancelledError, KalmError, RobotError
from kalm_core.fr3_limits import HAND_OPENING
from kalm_core.planning.robot_model import RobotModel
from kalm_interfaces.action import ExecuteSkill, MoveGripper, RecordDemonstration
from kalm_ros.client import GraphClient
from kalm_ros.conversions import error_from_ros, pose_from_ros
from kalm_ros.hand_guide import KEYS, Typed, guided_by_hand

LONGEST = 600.0
"""A goal that takes longer is cancelled [s, wall]."""


class Operations(Commands):
    """Commands towards the graph: docs/robot.md says of every outcome what to do."""

    names_outcomes = True


app = typer.Typer(
    cls=Operations,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
status = Console(stderr=True, highlight=False)


def _command(name: str, example: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return app.command(name, epilog=example_text(example))


@_command("do", "kalm do open_top_drawer --view-only")
def do(
    skill: Annotated[str, typer.Argument(help="name of a learned skill; see `kalm skills`")],
    *,
    view_only: Annotated[
        bool, typer.Option("--view-only", help="look and plan, do not move the arm")
    ] = False,
    speed: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="of the arm; 0 takes skill_node's speed_scale")
    ] = 0.0,
) -> None:
    """Do a learned skill. Ctrl-C stops the arm."""
    mode = ExecuteSkill.Goal.VIEW_ONLY if view_only else ExecuteSkill.Goal.RUN
    _ask(ExecuteSkill.Goal(skill=skill, speed_scale=speed, mode=mode))


@_command("look", "kalm look open_top_drawer")
def look(
    skill: Annotated[str, typer.Argument(help="name of a learned skill; see `kalm skills`")],
    *,
    speed: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="of the arm; 0 takes skill_node's speed_scale")
    ] = 0.0,
) -> None:
    """Move the arm to where its camera saw the demonstrations, to do the skill from there.

    The way is planned around what the camera sees from where it is; what it does not see counts as
    free. Ctrl-C stops the arm.
    """
    _ask(ExecuteSkill.Goal(skill=skill, speed_scale=speed, mode=ExecuteSkill.Goal.GO_TO_VIEW))


def _ask(goal: ExecuteSkill.Goal) -> None:
    """Send a goal to skill_node and print its phases and how it ended."""
    skill = goal.skill
    with _graph(skill) as client, status.status(f"{skill}: asking skill_node") as line:
        result = client.call_action(
            "execute_skill",
            ExecuteSkill,
            goal,
            LONGEST,
            lambda f: line.update(f"{f.phase} {f.progress:.0%} {f.text}"),
        )
    for phase, seconds in zip(result.phases, result.seconds, strict=True):
        output.print(f"{phase:>12} {seconds:6.1f} s")
    _end(result.outcome)


@_command("record", "kalm record --guide   (show the task, then press Enter)")
def record(
    name: Annotated[str, typer.Argument(help="of the bag; nothing takes the next number")] = "",
    *,
    guide: Annotated[
        bool, typer.Option("--guide", help="let go of the arm, to show the task with it")
    ] = False,
    seconds: Annotated[
        float, typer.Option(min=0.0, help="end by itself; 0 takes recorder_node's max_seconds")
    ] = 0.0,
) -> None:
    """Record one demonstration until Enter is pressed. Ctrl-C throws it away."""
    kind, goal = RecordDemonstration, RecordDemonstration.Goal(name=name, max_seconds=seconds)
    keys = "Enter ends it, Ctrl-C throws it away" + (f", {KEYS}" if guide else "")
    with _graph("the recording") as client, status.status("waiting for camera and arm") as line:
        handle = client.send_goal(
            "kalm/record_demonstration",
            kind,
            goal,
            lambda f: line.update(f"recording: {f.seconds:.0f} s, {f.messages} messages; {keys}"),
        )
        recorder = client.presence("kalm/record_demonstration")
        ending, typed, finished = handle.get_result_async(), Typed(sys.stdin.fileno()), False
        try:
            with ExitStack() as loose:
                obey = loose.enter_context(guided_by_hand(client)).obey if guide else _go_on
                while not ending.done() and obey(typed.take()):
                    recorder.demand()
                if not ending.done():
                    client.call_service("kalm/finish_recording", Trigger, Trigger.Request(), 60.0)
                    finished = True
        except (KalmError, KeyboardInterrupt):
            if not ending.done():
                recorder.demand()
                if not finished:
                    client.wait(handle.cancel_goal_async(), 10.0, "cancelling the recording")
            _tell_left(client.wait(ending, 30.0, "the recorder", recorder.demand).result)
            raise
        result = client.wait(ending, 60.0, "the recorder", recorder.demand).result
    _end(result.outcome)
    output.print(f"look at it with: kalm demonstrations {result.bag}", markup=False)


def _tell_left(result: Any) -> None:
    """Say what became of a recording, where something else is the reason why the command fails."""
    error = error_from_ros(result.outcome)
    if error is None:
        status.print(f"the recording was finished before, and is kept: {result.bag}", markup=False)
    elif not isinstance(error, CancelledError):
        status.print(str(error), markup=False)


def _go_on(typed: str | None) -> bool:
    """Return whether to go on: until a line is typed."""
    return typed is None


@_command("guide", "kalm guide   (move the arm by hand, then press Enter)")
def guide() -> None:
    """Let go of the arm, to move it by hand, until Enter is pressed. Then it says where it is."""
    with _graph("guiding") as client:
        with guided_by_hand(client) as loose:
            status.print(f"the arm lets go, hold it: Enter ends it, {KEYS}")
            typed = Typed(sys.stdin.fileno())
            while loose.obey(typed.take()):
                pass
        pose = client.read_topic(topics.EE_POSE.lstrip("/"), PoseStamped).pose
    place = "{:.3f} {:.3f} {:.3f} m".format(*pose_from_ros(pose)[:3, 3])
    output.print(f"The arm holds again, its tool at {place} in the base frame.")


@_command("hand", "kalm hand 0 --force 20")
def hand(
    width: Annotated[
        float, typer.Argument(min=0.0, max=HAND_OPENING, help="between the fingers [m]")
    ],
    force: Annotated[
        float,
        typer.Option(
            min=-1.0,
            max=70.0,
            help="closes with it [N] until something is held, and needs the width 0; -1 takes "
            "robot_node's gripper_force",
        ),
    ] = 0.0,
) -> None:
    """Open or close the hand."""
    with _graph("the hand") as client, status.status("moving the fingers"):
        goal = MoveGripper.Goal(width=width, force=force)
        result = client.call_action("robot/move_gripper", MoveGripper, goal, LONGEST)
    _end(result.outcome)


@_command("stop", "kalm stop")
def stop() -> None:
    """Stop arm and hand; nothing moves until `kalm recover`. This is no emergency stop."""
    _trigger("robot/stop", GraphClient.call_at_once, 15.0)


@_command("recover", "kalm recover")
def recover() -> None:
    """Clear the arm's errors and a stop, and connect anew where the connection was lost."""
    _trigger("robot/recover")


@_command("scene", "kalm scene --task pour --seed 7 --unseen")
def scene(
    *,
    task: Annotated[str, typer.Option(help="drawer, handle or pour")] = "drawer",
    seed: Annotated[int, typer.Option(min=0, help="of the scene; the same gives the same")] = 0,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="an object of a shape that is never shown")
    ] = False,
    empty: Annotated[bool, typer.Option("--empty", help="leave the object out")] = False,
) -> None:
    """Put another scene before the robot. Simulator only."""
    from kalm_ros.laboratory_operator import LaboratoryOperator  # needs the simulator's packages

    with _graph("the scene") as client, status.status("clearing the table"):
        operator = LaboratoryOperator(client, RobotModel.load(), task)
        operator.change_scene(seed, empty, "unseen" if unseen else "all")
    output.print(f"Scene {seed} of the task {task} is before the robot.")


def _trigger(
    service: str, call: Callable[..., Any] = GraphClient.call_service, timeout: float = 120.0
) -> None:
    with _graph(service) as client, status.status(f"calling {service}"):
        answer = call(client, service, Trigger, Trigger.Request(), timeout)
    if not answer.success:
        raise RobotError(answer.message)
    output.print(answer.message, markup=False)


@contextmanager
def _graph(what: str) -> Iterator[GraphClient]:
    """Give a client of the graph; Ctrl-C becomes the error that `what` was cancelled.

    A terminal that is closed does as Ctrl-C does, which counts also where a shell had it ignored.
    """
    for signal_number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(signal_number, signal.default_int_handler)
    try:
        with GraphClient("kalm_operator") as client:
            yield client
    except KeyboardInterrupt:
        raise CancelledError(what) from None


def _end(outcome: Any) -> None:
    """Print how a goal ended.

    Raises:
        KalmError: it failed.
    """
    error = error_from_ros(outcome)
    if error is not None:
        raise error
    output.print(outcome.message, markup=False, soft_wrap=True)


if __name__ == "__main__":
    app(prog_name="kalm")
