"""Pictures of a policy for a skill's report: how training went, demonstrations, samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.base import Example, Policy
from kalm_core.policy.selection import LearnedPolicy
from kalm_core.se3 import Array, invert_pose
from kalm_core.segmentation import CLOSED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VIEWS = (("from above", 0, 1, "x", "y"), ("from the side", 0, 2, "x", "z"))


def draw_training(learned: LearnedPolicy, path: Path) -> None:
    """Write the training curve, with the errors of all candidates beside it, as PNG."""
    figure = _figure(9.0, 4.0)
    axes = figure.subplots(1, 2, width_ratios=[2, 1])
    if learned.training is None:
        axes[0].set_title("no network was trained on all demonstrations")
        axes[0].axis("off")
    else:
        losses = np.array(learned.training.losses)
        width = min(15, len(losses))
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        axes[0].semilogy(losses, color="0.8", linewidth=0.8, label="each step")
        axes[0].semilogy(np.arange(len(smooth)) + width - 1, smooth, label=f"mean of {width}")
        axes[0].set(xlabel="optimiser step", ylabel="mean squared error (normalised)")
        axes[0].set_title(f"training, {learned.training.seconds:.0f} s")
        axes[0].legend()
    compared = {f"{k}, left out": e for k, e in learned.comparison.errors.items()}
    bars = {f"{learned.comparison.chosen}, fit": learned.fit, **compared}
    names = ("first pose", "grasp", "all poses")
    step = 0.9 / len(bars)
    for i, (label, e) in enumerate(bars.items()):
        values = np.array([e.first, e.grasp, e.position]) * 1e3
        axes[1].bar(np.arange(3) + step * i, values, 0.9 * step, label=label)
    axes[1].set_xticks(np.arange(3) + 0.4, names)
    axes[1].set(ylabel="median error [mm]", title=f"taken: {learned.comparison.chosen}")
    axes[1].legend(fontsize="small")
    figure.savefig(path)


def draw_trajectories(
    examples: Sequence[Example],
    policy: Policy,
    arrangement: Arrangement,
    path: Path,
    count: int = 5,
) -> None:
    """Write demonstrations and samples in the keypoints' frame, from above and the side, as PNG.

    Samples are drawn for the keypoints of the first example.
    """
    figure = _figure(11.0, 7.0)
    axes = figure.subplots(2, 2)
    shown = [(e.trajectory, arrangement.locate(e.keypoints)[0]) for e in examples]
    frame = shown[0][1]
    sampled = [(t, frame) for t in policy.sample(examples[0].keypoints, count, seed=0)]
    for column, (title, pairs) in enumerate(
        ((f"{len(shown)} demonstrations", shown), (f"{len(sampled)} samples", sampled))
    ):
        for row, (view, a, b, name_a, name_b) in enumerate(_VIEWS):
            ax = axes[row, column]
            for trajectory, T in pairs:
                poses = invert_pose(T) @ trajectory.T_base_ee
                _draw_path(ax, poses[:, :3, 3], trajectory.gripper == CLOSED, a, b)
            ax.plot(arrangement.shape[:, a], arrangement.shape[:, b], "k*", label="keypoints")
            ax.set(xlabel=f"{name_a} [m]", ylabel=f"{name_b} [m]", title=f"{title}, {view}")
            ax.set_aspect("equal", adjustable="datalim")
    axes[0, 0].plot([], [], color="tab:blue", label="fingers open")
    axes[0, 0].plot([], [], color="tab:red", label="fingers closed")
    axes[0, 0].legend(loc="best")
    figure.suptitle("Tool positions relative to the keypoints, z up")
    figure.savefig(path)


def _draw_path(ax: Axes, positions: Array, closed: Array, a: int, b: int) -> None:
    """Draw one path in the plane of axes a and b, red where the fingers are closed."""
    ax.plot(positions[:, a], positions[:, b], color="tab:blue", linewidth=0.8, zorder=1)
    held = np.where(closed[:, None], positions, np.nan)
    ax.plot(held[:, a], held[:, b], color="tab:red", linewidth=1.2, zorder=2)
    ax.plot(positions[0, a], positions[0, b], "o", color="tab:blue", markersize=3)


def _figure(width: float, height: float) -> Figure:
    """Make a figure that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
