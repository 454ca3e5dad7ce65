"""Starts the graph without `ros2 launch`: every node in its own process, all of them or none.

`kalm up` runs `main`; tests and the demo use `Supervisor` as a context manager.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Annotated, Any

import typer

from kalm_core.commands.parameter_file import config_folder
from kalm_core.commands.terminal import run_alone
from kalm_core.errors import KalmError
from kalm_ros.node_process import Echo, NodeProcess, command_line, end_processes
from kalm_ros.node_table import (
    Condition,
    NodeEntry,
    files_to_start,
    parameters_from_arguments,
    select_nodes,
)


class GraphError(KalmError):
    """A node did not start, or ended by itself."""


def print_line(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


class Supervisor:
    """The graph as a context manager: entering starts the nodes, leaving ends every one of them.

    Args:
        entries: the nodes, for example `select_nodes(use_sim=True)`.
        overrides: parameters by node name; they win over all files.
        env: environment variables for the nodes, beside those of this process.
        use_sim: whether `config/simulation.yaml` is read.
        params_files: the user's parameter files, read after the suite's own; the last one wins.
        log_level: debug, info, warn or error.
        echo: gets every line of output, prefixed with its node's name; None shows nothing.

    Example:
        with Supervisor(select_nodes(), {"skill_node": {"skills": "skills"}}) as graph:
            graph.wait_ready(60.0)
    """

    def __init__(
        self,
        entries: Sequence[NodeEntry],
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
        *,
        use_sim: bool = True,
        params_files: Sequence[Path] = (),
        log_level: str = "info",
        echo: Echo | None = print_line,
    ) -> None:
        self.entries = tuple(entries)
        self.nodes: dict[str, NodeProcess] = {}
        overrides = overrides or {}
        unknown = set(overrides) - {entry.name for entry in self.entries}
        if unknown:
            raise GraphError(f"parameters are given for nodes that are not started: {unknown}")
        files = files_to_start(self.entries, use_sim, config_folder(), params_files)
        self._commands = {
            entry.name: command_line(
                entry,
                files[entry.name],
                overrides.get(entry.name, {}),
                log_level,
            )
            for entry in self.entries
        }
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._echo = echo or (lambda line: None)

    def __enter__(self) -> Supervisor:
        """Start every node that waits for none; `wait_ready` starts the others."""
        try:
            self._start_possible()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every node."""
        self.stop()

    def _start_possible(self) -> None:
        """Start the nodes that are not started yet and whose predecessor is ready or absent."""
        names = {entry.name for entry in self.entries}
        for entry in self.entries:
            waits = entry.after in names and (
                entry.after not in self.nodes or not self.nodes[entry.after].ready.is_set()
            )
            if entry.name not in self.nodes and not waits:
                self.nodes[entry.name] = NodeProcess(
                    entry, self._commands[entry.name], self._env, self._echo
                )

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Start what still waits for another node, and return when every node is ready.

        Raises:
            GraphError: a node ended, or is not ready within `timeout` [s, wall clock].
        """
        end = time.monotonic() + timeout
        while True:
            self._start_possible()
            self.check()
            missing = [
                entry.name
                for entry in self.entries
                if entry.name not in self.nodes or not self.nodes[entry.name].ready.is_set()
            ]
            if not missing:
                return
            if time.monotonic() > end:
                said = "".join(
                    f"\n  {name} said last:{self.nodes[name].last_words}"
                    for name in missing
                    if name in self.nodes
                )
                raise GraphError(
                    f"not ready after {timeout:.0f} s: {', '.join(missing)}",
                    f"read what they said{said}",
                )
            time.sleep(0.05)

    def check(self) -> None:
        """Raise `GraphError` if a node has ended."""
        for name, node in self.nodes.items():
            if not node.running:
                node.finish_reading()
                raise GraphError(
                    f"{name} ended with status {node.process.returncode}",
                    f"it said last:{node.last_words}",
                )

    def watch(self, period: float = 0.2) -> None:
        """Return never; raise `GraphError` when a node ends."""
        while True:
            self.check()
            time.sleep(period)

    def stop(self) -> None:
        """End every node: SIGINT, after 10 s SIGTERM, after 3 s more SIGKILL; the simulator last.

        The arm is let go of in order only while its other side still answers.
        """
        world = [n for n in self.nodes.values() if n.entry.condition is Condition.SIMULATION]
        rest = [n for n in self.nodes.values() if n.entry.condition is not Condition.SIMULATION]
        for wave in (rest, world):
            end_processes(wave)
        self.nodes = {}


def main(
    *,
    sim: Annotated[
        bool, typer.Option("--sim/--hardware", help="simulated arm and camera, or the real ones")
    ] = True,
    learning: Annotated[bool, typer.Option(help="start the recorder and the learner too")] = True,
    camera: Annotated[
        bool, typer.Option(help="start realsense_node; not where realsense2_camera runs")
    ] = True,
    robot_host: Annotated[str, typer.Option(help="address of the arm's FCI")] = "",
    skills_folder: Annotated[str, typer.Option(help="folder of the learned skills")] = "",
    demonstrations_folder: Annotated[str, typer.Option(help="folder of the bags")] = "",
    scene_seed: Annotated[
        int | None, typer.Option(help="the simulated scene to begin with")
    ] = None,
    params_file: Annotated[
        list[Path],
        typer.Option(help="read after the suite's own; may be given again, the last one wins"),
    ] = [],  # noqa: B006 - typer copies it
    uncalibrated: Annotated[
        bool,
        typer.Option(
            "--uncalibrated",
            help="on hardware without hand_eye: start only the nodes that need none, to calibrate",
        ),
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warn or error")] = "info",
) -> None:
    """Start the graph and keep it until Ctrl-C; when one node ends, all of them do."""
    arguments = {
        "robot_host": robot_host,
        "skills_folder": skills_folder,
        "demonstrations_folder": demonstrations_folder,
        "scene_seed": scene_seed,
    }
    entries = select_nodes(sim, learning, camera, not uncalibrated)
    overrides = {entry.name: parameters_from_arguments(entry, arguments) for entry in entries}
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with Supervisor(
            entries, overrides, use_sim=sim, params_files=params_file, log_level=log_level
        ) as graph:
            graph.wait_ready()
            print_line("[kalm up] every node is ready; Ctrl-C ends them")
            graph.watch()
    except KeyboardInterrupt:
        print_line("[kalm up] every node has ended")
    except KalmError as error:
        print(f"[kalm up] {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM and a closed terminal like Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    run_alone(
        main, "kalm up", "kalm up --hardware --robot-host 172.16.0.2 --params-file my_robot.yaml"
    )
