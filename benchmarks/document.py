"""Make `docs/benchmarks.md` from the files in `benchmarks/results/` and `benchmarks/notes/`.

A note, `benchmarks/notes/NAME.md`, says what was hoped for, what fell short and why. Run it with
`make docs`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.results import RESULTS_FOLDER

NOTES_FOLDER = Path(__file__).parent / "notes"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEAD = """# Measurements

Made by `make docs` from `benchmarks/results/*.json`; do not edit. Every figure was measured in the
simulated laboratory, on the machine named with it; none on a real arm. Intervals are 95 %
(Wilson for shares).
"""


MANY = 25
"""Rows beyond which a table is folded away."""


def section(results: dict[str, Any]) -> str:
    """Return one results file as Markdown."""
    note = NOTES_FOLDER / f"{results['name']}.md"
    rows, folded = results["rows"], len(results["rows"]) > MANY
    commits = {row.get("commit") or results["commit"] for row in rows}
    several = len(commits) > 1
    written = "the rows say of which commit" if several else f"commit {commits.pop()}"
    lines = [
        f"## {results['name']}",
        "",
        f"`{results['command']}`, {results['machine']}, {written}.",
        "",
        *([note.read_text().strip(), ""] if note.is_file() else []),
        *([f"<details><summary>{len(rows)} rows</summary>", ""] if folded else []),
        f"| id | value | n | 95 % | note |{' commit |' if several else ''}",
        f"|---|---|---|---|---|{'---|' if several else ''}",
    ]
    for row in rows:
        value = "not measured" if row["value"] is None else f"{row['value']:.4g} {row['unit']}"
        interval = "" if row["low"] is None else f"{row['low']:.3g} to {row['high']:.3g}"
        commit = f" {row.get('commit') or results['commit']} |" if several else ""
        lines.append(
            f"| `{row['id']}` | {value} | {row['n']} | {interval} | {row['note']} |{commit}"
        )
    if folded:
        lines += ["", "</details>"]
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    files = sorted(p for p in RESULTS_FOLDER.glob("*.json") if not p.name.endswith(".small.json"))
    sections = [section(json.loads(path.read_text())) for path in files]
    PAGE.write_text("\n\n".join([HEAD.strip(), *sections]) + "\n")


if __name__ == "__main__":
    main()
