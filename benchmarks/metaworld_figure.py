"""Picture of the Meta-World results: success against demonstrations, and setting by setting.

`make bench-metaworld` draws it at the end of a full run; `python -m benchmarks.metaworld_figure`
draws it again from the results file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.metaworld_piece import OURS, SETTINGS, Setting
from benchmarks.results import RESULTS_FOLDER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "metaworld.png"
_LABELS = {
    OURS: "what a skill gets",
    "mean": "mean of the demonstrations",
    "rigid": "most similar, moved rigidly",
    "translated": "most similar, only shifted",
    "nothing": "hand stays",
}
_COLORS = ("tab:blue", "tab:green", "tab:orange", "tab:red", "0.6")
_HARDER = {
    "oracle": "oracle",
    "outlier1": "1 of 8\ndisplaced",
    "outlier2": "2 of 8",
    "outlier3": "3 of 8",
    "detected": "detected",
    "shape": "other\nshapes",
}


def draw(results: Mapping[str, Any], path: Path = PICTURE) -> Path:
    """Draw the means over the tasks, with 95 % intervals.

    Args:
        results: content of a results file with the rows of all settings.
        path: of the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = {row["id"]: row for row in results["rows"]}
    figure = Figure(figsize=(11.0, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=[1, 1, 1.8])
    _draw_counts(left, rows, "")
    _draw_counts(middle, rows, "/end")
    _draw_settings(right, rows)
    left.set(ylabel="success, mean over five tasks", title="at any time", ylim=(-0.02, 1.04))
    middle.set(title="at the end")
    left.legend(*right.get_legend_handles_labels(), fontsize="small", loc="center right")
    shown = dict.fromkeys([*_HARDER, *_settings_by_count().values()])
    counts = {name: rows[f"metaworld/{name}/mean"]["n"] for name in shown}
    most = counts["oracle"]
    fewer = ", ".join(f"{name} {n}" for name, n in counts.items() if n != most)
    title = f"Meta-World, {most} episodes per point" + f" ({fewer})" * bool(fewer)
    title += ", 95 % intervals"
    figure.suptitle(title, fontsize="medium")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _settings_by_count() -> dict[int, str]:
    """Return number of demonstrations -> name of the setting that differs in nothing else."""
    return {
        setting.demonstrations: name
        for name, setting in SETTINGS.items()
        if setting == Setting(demonstrations=setting.demonstrations)
    }


def _draw_counts(ax: Axes, rows: Mapping[str, Any], ending: str) -> None:
    """Draw success against the number of demonstrations, oracle keypoints."""
    by_count = _settings_by_count()
    counts = sorted(by_count)
    for color, policy in zip(_COLORS, _LABELS, strict=True):
        shown = [rows[_id(policy, by_count[count], ending)] for count in counts]
        ax.plot(counts, _column(shown, "value"), "o-", color=color, markersize=3)
        low, high = _column(shown, "low"), _column(shown, "high")
        ax.fill_between(counts, low, high, color=color, alpha=0.15, linewidth=0)
    ax.set(xlabel="demonstrations", xscale="log", xticks=counts)
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.minorticks_off()


def _draw_settings(ax: Axes, rows: Mapping[str, Any]) -> None:
    """Draw bars for ten demonstrations: at any time pale, at the end full."""
    step = 0.9 / len(_LABELS)
    for i, (color, (policy, label)) in enumerate(zip(_COLORS, _LABELS.items(), strict=True)):
        x = np.arange(len(_HARDER)) + step * i
        ever = [rows[_id(policy, name, "")] for name in _HARDER]
        end = [rows[_id(policy, name, "/end")] for name in _HARDER]
        ax.bar(x, _column(ever, "value"), 0.9 * step, color=color, alpha=0.35)
        ax.bar(x, _column(end, "value"), 0.9 * step, color=color, label=label)
        for at, low, high in zip(x, _column(ever, "low"), _column(ever, "high"), strict=True):
            ax.plot([at, at], [low, high], color="0.3", linewidth=0.8)
    ax.set_xticks(np.arange(len(_HARDER)) + 0.4, list(_HARDER.values()))
    ax.set(title="ten demonstrations; pale: at any time")


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """Return one field of the rows, NaN where nothing was measured."""
    return np.array([row[name] for row in rows], dtype=np.float64)


def _id(policy: str, setting: str, ending: str) -> str:
    infix = "" if policy == OURS else f"{policy}/"
    return f"metaworld/{infix}{setting}/mean{ending}"


if __name__ == "__main__":
    print(draw(json.loads((RESULTS_FOLDER / "metaworld.json").read_text())))
