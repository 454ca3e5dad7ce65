"""The demo as a newcomer meets it: a fresh clone, set up from nothing, then the main job.

Run it with `make bench-demo`. It clones this checkout's last commit into a temporary folder, builds
its environment there (some gigabytes) and removes both at the end, unless `--keep FOLDER` names a
place for the clone whose demonstrations are wanted afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.results import Results, Row, share

ROOT = Path(__file__).resolve().parent.parent


def timed(command: list[str], folder: Path) -> float:
    """Run a command in a folder without this checkout's environment; return its seconds."""
    kept = ("HOME", "PATH", "LANG", "TERM")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    inside = str(ROOT)
    environment["PATH"] = ":".join(
        part for part in environment["PATH"].split(":") if not part.startswith(inside)
    )
    start = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return time.monotonic() - start


def fresh_clone_demo(clone: Path) -> tuple[float, float, dict[str, Any]]:
    """Clone, set up and run the demo; return both times [s] and the demo's own report."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    setup = timed(["make", "setup"], clone)
    whole = setup + timed(["make", "demo"], clone)
    return setup, whole, json.loads((clone / "out" / "demo" / "report.json").read_text())


def main() -> None:
    """Measure, and write `benchmarks/results/demo.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="clone into this new folder and leave it there")
    keep: Path | None = parser.parse_args().keep
    results = Results("demo", "make bench-demo")
    with tempfile.TemporaryDirectory() as temporary:
        setup, whole, report = fresh_clone_demo(keep or Path(temporary) / "kalm")
    openings = [trial["progress"] for trial in report["trials"]]
    opened = sum(opening >= report["enough"] for opening in openings)
    note = "openings [cm]: " + ", ".join(f"{opening * 100:.1f}" for opening in openings)
    results.add(share("demo/success", opened, len(openings), note))
    results.add(Row("demo/setup_s", round(setup, 1), "s", note="package downloads included"))
    results.add(Row("demo/record_s", report["record_seconds"], "s", note="ten demonstrations"))
    results.add(Row("demo/learn_s", report["learn_seconds"], "s", note="ten bags to a skill"))
    results.add(Row("demo/total_s", round(whole, 1), "s", note="set-up included"))
    print(f"written: {results.write()}")


if __name__ == "__main__":
    main()
