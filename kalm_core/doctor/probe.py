"""Try something in a process of its own: a crash or a hang there is only a finding here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import metadata
from threading import Lock
from typing import TypeVar

from kalm_core.doctor.finding import Finding, missing, ok

T = TypeVar("T")

TIMEOUT = 90.0
"""Longest that one probe may take [s]; importing torch on a busy machine takes 20."""


def once(look: Callable[[], T]) -> Callable[[], T]:
    """Let several checks, side by side, share the answer of one long look."""
    lock = Lock()
    cached = lru_cache(maxsize=1)(look)

    def shared() -> T:
        with lock:
            return cached()

    return shared


def version(distribution: str) -> str:
    """Return the installed version of a distribution, or "" when it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def package(distribution: str, remedy: str = "") -> Finding:
    """Look for an installed distribution without importing it."""
    if found := version(distribution):
        return ok(found)
    return missing("not installed", remedy or f"pip install {distribution}")


def python(
    code: str, environment: Mapping[str, str] | None = None, timeout: float = TIMEOUT
) -> tuple[bool, str]:
    """Run Python code in a new process.

    Args:
        code: what to run; what it prints last is the answer.
        environment: variables to set besides those of this process.
        timeout: when it is killed [s].

    Returns:
        Whether it ended well, and its last line: the answer, or what went wrong.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {timeout:.0f} s"
    if done.returncode < 0:
        return False, f"crashed with signal {-done.returncode}"
    good = done.returncode == 0
    lines = [line for line in (done.stdout if good else done.stderr).splitlines() if line.strip()]
    return good, lines[-1].strip() if lines else ""


def imports(module: str, distribution: str, remedy: str) -> Finding:
    """Import a compiled package in a new process: installed is not yet usable."""
    if not version(distribution):
        return missing("not installed", remedy)
    good, text = python(f"import {module}")
    return ok(version(distribution)) if good else missing(f"installed, but: {text}", remedy)
