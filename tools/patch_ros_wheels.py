"""Make the CMake files of the ROS wheels fit the Python that they are installed in.

The wheels' exported targets name the include folders of the machine that built them. This replaces
those by this interpreter's own, in every `*.cmake` below the environment's `share/`. Running it
again changes nothing.

    python tools/patch_ros_wheels.py
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

# Longer first: the NumPy folder lies below the same prefix as Python's own headers.
FOREIGN_NUMPY = re.compile(
    r"/opt/python/[^/;\"]+/lib/python3\.\d+/site-packages/numpy/_core/include"
)
FOREIGN_PYTHON = re.compile(r"/opt/python/[^/;\"]+/include/python3\.\d+")


def patched(text: str, python_include: str, numpy_include: str) -> str:
    """Return the text of a CMake file with foreign include folders replaced by the given ones."""
    text = FOREIGN_NUMPY.sub(lambda _: numpy_include, text)
    return FOREIGN_PYTHON.sub(lambda _: python_include, text)


def main() -> int:
    """Patch the environment that this interpreter belongs to."""
    python_include = sysconfig.get_paths()["include"]
    if not (Path(python_include) / "Python.h").is_file():
        print(
            f"Python.h is not in {python_include}. Install this Python's headers "
            "(on Debian and Ubuntu: python3-dev).",
            file=sys.stderr,
        )
        return 1
    changed = 0
    for path in sorted((Path(sys.prefix) / "share").rglob("*.cmake")):
        old = path.read_text(encoding="utf-8")
        new = patched(old, python_include, np.get_include())
        if new != old:
            path.write_text(new, encoding="utf-8")
            changed += 1
    print(f"patched the include folders of {changed} CMake files")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
