"""What a skill's record says about how it was learned, as plain values."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from kalm_core.demonstration import Demonstration
from kalm_core.distillation import DistillationSettings
from kalm_core.keypoints import DetectedKeypoints
from kalm_core.policy.selection import LearnedPolicy
from kalm_core.skill import Skill


def record_demonstrations(
    demonstrations: Sequence[Demonstration], detected: Sequence[DetectedKeypoints]
) -> list[dict[str, Any]]:
    """Return plain values of each demonstration: its source, length and keypoints from 1."""
    return [
        {
            "index": index,
            "name": item.name,
            "bag": str(item.source or ""),
            "sha256": item.sha256,
            "seconds": round(float(item.stamps[-1]), 2),
            "found": [int(k) + 1 for k in np.flatnonzero(keypoints.found)],
        }
        for index, (item, keypoints) in enumerate(zip(demonstrations, detected, strict=True))
    ]


def record_training(learned: LearnedPolicy) -> dict[str, Any]:
    """Return plain values that say how the policy was trained, compared and chosen."""
    comparison = learned.comparison
    losses = learned.training.losses if learned.training else ()
    errors = {name: error.as_dict() for name, error in comparison.errors.items()}
    return {
        "seconds": round(learned.seconds, 2),
        "losses": [round(loss, 5) for loss in losses[:: max(1, len(losses) // 100)]],
        "fit": learned.fit.as_dict(),
        "trust": {name: round(value, 3) for name, value in learned.trust.items()},
        "chosen": comparison.chosen,
        "reason": comparison.reason,
        "scores": {name: round(score, 5) for name, score in comparison.scores.items()},
        "roughness": {name: round(value, 3) for name, value in comparison.roughness.items()},
        "held_out_policy": errors.get(comparison.chosen),
        "held_out_rigid": errors.get("rigid"),
        "held_out": errors,
    }


def learned_sentence(skill: Skill) -> str:
    """Say from how many demonstrations a skill was learned, and which were left out and why."""
    count = len(skill.demonstrations)
    text = f"{skill.name} was learned from {count} demonstration{'' if count == 1 else 's'}"
    left_out = ", ".join(f"{name} ({why})" for name, why in skill.record["left_out"].items())
    return f"{text}; left out: {left_out}." if left_out else f"{text}."


def record_versions(settings: DistillationSettings) -> dict[str, str]:
    """Return the versions of what a skill depends on."""
    packages = {package: version(package) for package in _packages(settings)}
    return {"python": platform.python_version(), **packages}


def _packages(settings: DistillationSettings) -> list[str]:
    """Return the packages whose version a skill depends on."""
    packages = ["torch", "diffusers", "numpy", "open3d"]
    if settings.mask_backend == "sam":
        checkpoint = settings.sam.weights.endswith(".pth")
        packages.append("segment-anything" if checkpoint else "transformers")
    if "dino" in settings.correspondence.weights:
        packages.append("transformers")
    return packages
