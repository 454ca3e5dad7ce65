"""Policies as one safetensors file and a few plain values; nothing in them can run code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from kalm_core.errors import BundleError, ConfigError
from kalm_core.policy.base import Policy


def _diffusion(tensors: dict[str, Any], values: dict[str, Any]) -> Policy:
    from kalm_core.policy.diffusion_policy import TrajectoryPolicy

    return TrajectoryPolicy.from_state(tensors, values)


def _rigid(tensors: dict[str, Any], values: dict[str, Any]) -> Policy:
    from kalm_core.policy.rigid import RigidTransferPolicy

    return RigidTransferPolicy.from_state(tensors, values)


def _regression(tensors: dict[str, Any], values: dict[str, Any]) -> Policy:
    from kalm_core.policy.regression_policy import RegressionPolicy

    return RegressionPolicy.from_state(tensors, values)


KINDS = {"diffusion": _diffusion, "regression": _regression, "rigid": _rigid}
"""How each kind of policy is made again from its stored state."""


def write_policy(policy: Policy, path: Path) -> dict[str, Any]:
    """Write the arrays of a policy to `path`.

    Returns:
        Plain values that `read_policy` needs beside the file.
    """
    tensors, values = policy.state()
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path)
    return {"kind": policy.kind, "settings": values}


def read_policy(path: Path, values: dict[str, Any]) -> Policy:
    """Make a policy again.

    Args:
        path: written by `write_policy`.
        values: what `write_policy` returned.

    Raises:
        BundleError: the file or the values are not those of a known policy.
    """
    kind = values.get("kind")
    if kind not in KINDS:
        raise BundleError(
            f"{path}: policy kind is {kind!r}, expected one of {', '.join(KINDS)}",
            "use the version of this suite that wrote the skill, or learn it again",
        )
    try:
        return KINDS[kind](load_file(path), values.get("settings") or {})
    except (
        SafetensorError,
        OSError,
        KeyError,
        ValueError,
        TypeError,
        RuntimeError,
        ConfigError,
    ) as error:
        raise BundleError(f"{path}: not a policy of kind {kind}: {error}") from error
