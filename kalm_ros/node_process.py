"""One node in a process of its own: what it said, whether it is ready, how it is ended."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kalm_ros.node_table import NodeEntry

INTERRUPT_SECONDS = 10.0
"""Time that a node has to end after SIGINT [s]; then comes SIGTERM."""

TERMINATE_SECONDS = 3.0
"""Time that a node has to end after SIGTERM [s]; then its process group is killed."""

LINES_KEPT = 400
LINES_SHOWN = 15

Echo = Callable[[str], None]
"""Gets every line of output, prefixed with its node's name."""


class NodeProcess:
    """One running node: its process, what it said, whether it is ready."""

    def __init__(
        self, entry: NodeEntry, command: Sequence[str], env: Mapping[str, str], echo: Echo
    ) -> None:
        self.entry = entry
        self.ready = threading.Event()
        self.lines: collections.deque[str] = collections.deque(maxlen=LINES_KEPT)
        self._echo = echo
        self._ready_line = re.compile(rf"\[{entry.name}\]: ready$")
        # Its own session: Ctrl-C in the terminal reaches the supervisor, which ends all in order.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # the tether: closed when this process ends, however it ends
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, name=f"read {entry.name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text = line.rstrip("\n")
            self.lines.append(text)
            if self._ready_line.search(text):
                self.ready.set()
            self._echo(f"[{self.entry.name}] {text}")

    def finish_reading(self) -> None:
        """Wait for the last lines of a process that has ended."""
        self._reader.join(timeout=2.0)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the node alone; SIGKILL goes to all that it started too."""
        if number == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):  # all of the group has ended
                os.killpg(self.process.pid, number)
        elif self.running:
            self.process.send_signal(number)

    def close(self) -> None:
        """Let go of the pipes of an ended process, and end what it may have left behind."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.finish_reading()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()

    @property
    def last_words(self) -> str:
        """The last lines that the node printed, indented."""
        return "".join(f"\n    {line}" for line in list(self.lines)[-LINES_SHOWN:])


def end_processes(nodes: Sequence[NodeProcess]) -> None:
    """End nodes together: SIGINT, after 10 s SIGTERM, after 3 s more SIGKILL."""
    for number, seconds in (
        (signal.SIGINT, INTERRUPT_SECONDS),
        (signal.SIGTERM, TERMINATE_SECONDS),
    ):
        for node in nodes:
            node.signal(number)
        end = time.monotonic() + seconds
        while any(node.running for node in nodes) and time.monotonic() < end:
            time.sleep(0.02)
    for node in nodes:
        node.close()


def command_line(
    entry: NodeEntry, files: Sequence[Path], parameters: Mapping[str, Any], log_level: str
) -> list[str]:
    """Return the command that runs a node with its parameter files and single parameters."""
    command = [sys.executable, "-m", "kalm_ros.tether", entry.module, "--ros-args"]
    command += ["--log-level", f"{entry.name}:={log_level}"]
    for file in files:
        command += ["--params-file", str(file)]
    for name, value in parameters.items():
        plain = str(value) if isinstance(value, Path) else value
        command += ["-p", f"{name}:={json.dumps(plain)}"]  # JSON is YAML with the types kept
    return command
