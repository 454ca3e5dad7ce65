"""The operator's commands, in processes of their own, beside a node that is no graph."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kalm_core.errors import BackendUnavailableError
from kalm_ros.client import GraphClient
from kalm_ros.hand_guide import guided_by_hand
from kalm_ros.private_graph import free_domain, release_domain

LEASE = 20.0
"""Fast DDS gives up a node that was killed after this time [s]."""


class Server:
    """The node of `mortal_server.py`."""

    def __init__(self) -> None:
        script = Path(__file__).parent / "mortal_server.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
        )
        self._working: set[str] = set()

    def await_goal(self, name: str) -> None:
        assert self.process.stdout is not None
        while name not in self._working:
            line = self.process.stdout.readline()
            assert line, "the server has ended"
            if line.startswith("working on "):
                self._working.add(line.split()[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    domain = free_domain()
    monkeypatch.setitem(os.environ, "ROS_DOMAIN_ID", str(domain))
    server = Server()
    yield server
    server.kill()
    assert server.process.stdout is not None
    server.process.stdout.close()
    release_domain(domain)


@contextmanager
def kalm(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A command of the operator, ended at the latest with this context."""
    line = [sys.executable, "-m", "kalm_ros.operate", *words]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_nobody_waits_for_a_node_that_was_killed(server: Server) -> None:
    with kalm("do", "open") as do, kalm("record") as record, GraphClient() as client:
        with (
            pytest.raises(BackendUnavailableError, match="vanished while it worked"),
            guided_by_hand(client) as loose,
        ):
            for name in ("execute_skill", "kalm/record_demonstration", "robot/guide_by_hand"):
                server.await_goal(name)
            server.kill()
            killed = time.monotonic()
            while time.monotonic() < killed + LEASE + 20.0:
                assert loose.obey(None)
                time.sleep(0.1)
        for process, action in ((do, "execute_skill"), (record, "kalm/record_demonstration")):
            assert process.wait(10.0) == 1
            said = process.stderr.read()
            assert said.startswith("BACKEND_UNAVAILABLE: ")
            assert f"vanished while it worked on {action}" in said


def test_a_goal_that_fails_says_the_name_of_its_outcome_first(server: Server) -> None:
    with kalm("do", "open") as do:
        server.await_goal("execute_skill")
        with kalm("do", "open") as second:
            assert second.wait(60.0) == 1
            assert second.stderr.read().startswith("BUSY: ")
        do.send_signal(signal.SIGINT)
        assert do.wait(60.0) == 130
        assert do.stderr.read().startswith("CANCELLED: open was cancelled.")
