"""What the core tells while it works, for every process that calls it."""

from __future__ import annotations

import logging


def show_run_log() -> None:
    """Let `kalm_core` tell its news, and everybody their warnings, on the error stream."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger("kalm_core").setLevel(logging.INFO)
