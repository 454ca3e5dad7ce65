"""ROS parameters from settings classes: declared once, with description and range, read once.

A nested settings class becomes a dotted name (`robot.host`), and so does every entry of a table
(`weights.local`); a table that is given replaces the default one as a whole. ROS puts the entries
of all files together, so the files of `config/` leave tables to their defaults. Parameters are
read-only: a node is configured when it starts, and a goal never meets half-changed settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from kalm_core.errors import ConfigError
from kalm_core.settings import Settings, parse_settings, plain_type

S = TypeVar("S", bound=Settings)

LARGEST_FLOAT = 1.7976931348623157e308
LARGEST_INTEGER = 2**63 - 1
ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides")
SHARED = ("hand_eye",)
"""What a user's file may say for all nodes at once; a node that has no such setting ignores it."""


def flat_fields(cls: type[Settings], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield (dotted name, field) of every plain field of a settings class."""
    for name, field in cls.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            yield from flat_fields(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def declare_settings(node: Node, cls: type[S], without: tuple[str, ...] = ()) -> S:
    """Declare the parameters of `cls` on a node and return the settings they hold.

    Args:
        node: made with `automatically_declare_parameters_from_overrides=True`, so that every value
            that was given is known, a misspelt one too.
        cls: the settings class; its defaults serve where nothing was given.
        without: settings that the node sets itself and that are no parameters.

    Raises:
        ConfigError: a parameter is unknown, of another type or out of range; all are named.
    """
    hidden = tuple(f"{name}." for name in without)
    fields = {name: field for name, field in flat_fields(cls) if not name.startswith(hidden)}
    foreign = {*ROS_OWN, *SHARED} - {*cls.model_fields}
    given = {
        name: parameter.value
        for name, parameter in node.get_parameters_by_prefix("").items()
        if name.split(".")[0] not in foreign
    }
    values = {
        name: list(value) if hasattr(value, "tolist") else value for name, value in given.items()
    }
    for name in given:
        if name.startswith(hidden):
            raise ConfigError(f"node {node.get_name()} has no parameter {name}")
    settings = parse_settings(cls, _nested(values), f"node {node.get_name()}")
    for name in given:
        node.undeclare_parameter(name)
    for name, field in fields.items():
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        for full_name, plain in _to_parameters(name, value).items():
            node.declare_parameter(full_name, plain, describe(name, field), ignore_override=True)
    return settings


def describe(name: str, field: FieldInfo) -> ParameterDescriptor:
    """Return the descriptor of a field: description, range or choices, read-only."""
    descriptor = ParameterDescriptor(name=name, description=field.description or "", read_only=True)
    low = high = None
    for limit in field.metadata:
        if isinstance(limit, annotated_types.Ge):
            low = limit.ge
        elif isinstance(limit, annotated_types.Gt):
            low = limit.gt
        elif isinstance(limit, annotated_types.Le):
            high = limit.le
        elif isinstance(limit, annotated_types.Lt):
            high = limit.lt
    kind = plain_type(field.annotation)
    if get_origin(kind) is Literal:
        choices = ", ".join(str(choice) for choice in get_args(kind))
        descriptor.additional_constraints = f"one of: {choices}"
    elif (low, high) != (None, None) and kind is float:
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=-LARGEST_FLOAT if low is None else float(low),  # type: ignore[arg-type]
                to_value=LARGEST_FLOAT if high is None else float(high),  # type: ignore[arg-type]
            )
        ]
    elif (low, high) != (None, None) and kind is int:
        descriptor.integer_range = [
            IntegerRange(
                from_value=-LARGEST_INTEGER if low is None else int(low),  # type: ignore[call-overload]
                to_value=LARGEST_INTEGER if high is None else int(high),  # type: ignore[call-overload]
            )
        ]
    return descriptor


def _to_parameters(name: str, value: Any) -> dict[str, Any]:
    """Turn a setting into one ROS parameter, or a table into one for each of its entries."""
    if isinstance(value, dict):
        return {f"{name}.{key}": entry for key, entry in value.items()}
    if value is None:
        return {name: ""}
    if isinstance(value, Path):
        return {name: str(value)}
    return {name: list(value) if isinstance(value, (tuple, list)) else value}


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """Turn dotted names into nested dictionaries."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *folders, leaf = name.split(".")
        branch = tree
        for folder in folders:
            child = branch.setdefault(folder, {})
            branch = child if isinstance(child, dict) else branch.setdefault(name, {})
        branch[leaf] = value
    return tree
