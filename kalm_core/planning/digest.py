"""One number for a whole motion, by which whoever executes it knows it for the one certified."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from kalm_core.se3 import Array


def digest(numbers: Mapping[str, Array]) -> str:
    """Return the SHA-256 of named arrays: names, shapes and every bit of every number.

    Arrays are taken as little-endian float64, in the order of their names. It protects from
    accidents (a motion altered or mixed up on its way), not from an attacker.
    """
    total = hashlib.sha256()
    for name in sorted(numbers):
        values = np.ascontiguousarray(numbers[name], dtype="<f8")
        total.update(f"{name}{values.shape};".encode())
        total.update(values.tobytes())
    return total.hexdigest()
