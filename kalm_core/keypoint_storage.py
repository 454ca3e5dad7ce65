"""Keypoints of a skill in one safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from kalm_core.confidence import PRIOR, Calibration
from kalm_core.errors import BundleError
from kalm_core.keypoints import ReferenceKeypoints


def write_reference(reference: ReferenceKeypoints, path: Path) -> None:
    """Write keypoints with their features into a new file."""
    tensors: dict[str, NDArray[Any]] = {
        "positions": reference.positions,
        "neighbor_positions": reference.neighbor_positions,
        "consistency": reference.consistency,
        "min_score": reference.min_score,
        "calibration": np.append(reference.calibration.weights, reference.calibration.ceiling),
    }
    for kind in ("features", "neighbor_features"):
        for name, values in getattr(reference, kind).items():
            tensors[f"{kind}/{name}"] = values
    save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, path)


def read_reference(path: Path, restore: str) -> ReferenceKeypoints:
    """Read what `write_reference` wrote.

    Args:
        path: of the file.
        restore: what to do where it is damaged, for the error text.

    Raises:
        BundleError: it holds no keypoints.
    """
    try:
        tensors = load_file(path)
        named: dict[str, dict[str, NDArray[Any]]] = {"features": {}, "neighbor_features": {}}
        for key in [k for k in tensors if "/" in k]:
            kind, _, name = key.partition("/")
            named[kind][name] = tensors.pop(key)
        return ReferenceKeypoints(
            tensors["positions"],
            named["features"],
            named["neighbor_features"],
            tensors["neighbor_positions"],
            tensors["consistency"],
            tensors["min_score"],
            _read_calibration(tensors.get("calibration"), restore),
        )
    except (SafetensorError, OSError, KeyError) as error:
        raise BundleError(f"{path} does not hold keypoints: {error}", restore) from error


def _read_calibration(values: NDArray[np.float64] | None, restore: str) -> Calibration:
    """Return the map from cues to confidence; skills of before it was kept have the default."""
    if values is None:
        return Calibration.default()
    if values.shape != (len(PRIOR) + 1,) or not np.isfinite(values).all():
        raise BundleError(
            f"the calibration has shape {values.shape}, expected {len(PRIOR) + 1} finite numbers",
            restore,
        )
    return Calibration(values[:-1], float(values[-1]))
