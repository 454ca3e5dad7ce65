"""Write `config/NODE.yaml` from the settings classes: every parameter, its default, what it means.

Run it after a settings class has changed; a test tells when that was forgotten. It overwrites the
values in the files: what differs on your robot belongs in a file of your own (`--params-file`).
"""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pydantic.fields import FieldInfo  # noqa: E402

from kalm_core.settings import Settings  # noqa: E402
from kalm_ros.node_table import HAND_EYE, NODES, NodeEntry  # noqa: E402
from kalm_ros.parameters import describe  # noqa: E402

WIDTH = 100
ELSEWHERE = {"hand_eye": HAND_EYE}
"""Settings that stand in a file of their own, for all nodes at once."""


def settings_class(entry: NodeEntry) -> type[Settings]:
    """Return the settings class that the module of a node defines for itself."""
    module = importlib.import_module(entry.module)
    return next(
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Settings)
        and kind.__module__ == module.__name__
    )


def config_text(entry: NodeEntry) -> str:
    """Return the parameter file of a node."""
    lines = [f"# {entry.name}: {entry.description}.", f"{entry.name}:", "  ros__parameters:"]
    lines += _lines(settings_class(entry)(), "    ")
    return "\n".join(lines) + "\n"


def _lines(settings: Settings, indent: str) -> Iterator[str]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name in ELSEWHERE:
            continue
        if isinstance(value, Settings):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, dict):  # ROS would add another file's entries to those of this one
            yield from _comment_lines(f"{_comment(name, field)}; by default", indent)
            yield f"{indent}# {name}: {_yaml(value)}"
        else:
            yield from _commented(f"{indent}{name}: {_yaml(value)}", _comment(name, field), indent)


def _commented(line: str, comment: str, indent: str) -> Iterator[str]:
    """Put the comment behind the line, or before it where it does not fit."""
    if len(line) + len(comment) + 4 <= WIDTH:
        yield f"{line}  # {comment}"
    else:
        yield from _comment_lines(comment, indent)
        yield line


def _comment_lines(comment: str, indent: str) -> Iterator[str]:
    return (f"{indent}# {part}" for part in textwrap.wrap(comment, WIDTH - len(indent) - 2))


def _comment(name: str, field: FieldInfo) -> str:
    """Return description and range of a parameter."""
    descriptor = describe(name, field)
    limits = [*descriptor.floating_point_range, *descriptor.integer_range]
    ranges = [f"{_limit(r.from_value)} to {_limit(r.to_value)}" for r in limits]
    return "; ".join(
        filter(None, [descriptor.description, descriptor.additional_constraints, *ranges])
    )


def _limit(value: float) -> str:
    if abs(value) > 1e18:
        return "any"
    return str(value) if isinstance(value, int) else f"{value:g}"


def _yaml(value: Any) -> str:
    """Return a value so that YAML keeps its type."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = repr(value)
        mantissa, _, exponent = text.partition("e")
        mantissa += "" if "." in mantissa else ".0"
        return f"{mantissa}e{exponent}" if exponent else mantissa
    if isinstance(value, int):
        return str(value)
    return '"' + ("" if value is None else str(value)) + '"'


def main() -> None:
    """Write the files."""
    for entry in NODES:
        (ROOT / "config" / f"{entry.name}.yaml").write_text(config_text(entry), encoding="utf-8")


if __name__ == "__main__":
    main()
