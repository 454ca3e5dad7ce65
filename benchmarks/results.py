"""How a measurement is written down, and the interval of a share."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scipy.stats import binomtest

RESULTS_FOLDER = Path(__file__).parent / "results"
VERSIONED = (
    "numpy",
    "torch",
    "open3d",
    "mujoco",
    "metaworld",
    "franky-control",
    "franky-sim",
    "roboplan",
)


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        id: path-like name, unique in its file.
        value: the figure; None when it could not be measured, and `note` says why.
        unit: "share" (0 to 1), "s", "m", "ms", ...
        n: how many trials it is made of.
        low, high: 95 % interval, where there is one.
        note: one sentence.
        commit: of the code that was measured; `Results.write` fills it in.
    """

    id: str
    value: float | None
    unit: str
    n: int = 1
    low: float | None = None
    high: float | None = None
    note: str = ""
    commit: str = ""


def share(id_: str, successes: int, trials: int, note: str = "") -> Row:
    """Return a row for `successes` of `trials`, with its Wilson interval."""
    if trials == 0:
        return Row(id_, None, "share", 0, note=note or "no trial was run")
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return Row(
        id_,
        successes / trials,
        "share",
        trials,
        round(float(interval.low), 4),
        round(float(interval.high), 4),
        note,
    )


def _commit() -> str:
    """Name the commit, "-dirty" where a tracked file differs that is not a result itself."""
    commit = _git("describe", "--always", "--abbrev=12")
    changed = _git("status", "--porcelain", "--untracked-files=no", ".", ":!benchmarks/results")
    return f"{commit}{'-dirty' if changed else ''}" if commit else "not a git checkout"


def _git(*arguments: str) -> str:
    root = RESULTS_FOLDER.parent.parent
    result = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=False, cwd=root
    )
    return result.stdout.strip()


@dataclass
class Results:
    """A results file being filled; `write` puts it on disk in one piece.

    Attributes:
        name: of the file, without ending.
        command: that makes it again.
        commit: of the code, as this is made.
        full: False for a reduced run, which goes to `NAME.small.json` and is not committed.
        seconds: spent on the rows, where that is known otherwise than by this object's life.
    """

    name: str
    command: str
    full: bool = True
    rows: list[Row] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    commit: str = field(default_factory=_commit)
    seconds: float | None = None

    def add(self, row: Row) -> None:
        """Append a row."""
        self.rows.append(row)

    def write(self, folder: Path = RESULTS_FOLDER, update: bool = False) -> Path:
        """Write the file under a temporary name, rename it, and return its path.

        Args:
            folder: of the file.
            update: keep the rows of the full file that were not measured now; each row says of
                which code it is.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}{'' if self.full or update else '.small'}.json"
        rows = {row.id: asdict(replace(row, commit=row.commit or self.commit)) for row in self.rows}
        seconds = time.monotonic() - self.started
        if update and path.is_file():
            former = json.loads(path.read_text())
            of_former = {row["id"]: {"commit": former["commit"]} | row for row in former["rows"]}
            rows = of_former | rows
            seconds += former["seconds"]
        if self.seconds is not None:
            seconds = self.seconds
        content = {
            "name": self.name,
            "command": self.command,
            "commit": self.commit,
            "machine": machine(),
            "versions": _versions(),
            "seconds": round(seconds, 1),
            "rows": list(rows.values()),
        }
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        temporary.replace(path)
        return path


def machine() -> str:
    """Describe this machine in a line: processor, cores, memory."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [ln for ln in info.read_text().splitlines() if ln.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
