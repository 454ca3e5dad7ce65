"""Typed settings: every number of the suite has a name, a unit, a range and a description once.

A component defines its settings beside itself as a subclass of `Settings`. The YAML files in
`config/`, the ROS parameters (descriptions and ranges included) and a skill's record of how it was
made are all read from that one definition.
"""

from __future__ import annotations

import types
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from kalm_core.errors import ConfigError

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of all settings: immutable, and an unknown name is an error, not a silent default."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_set(cls, values: Any) -> Any:
        """ROS parameters have no null: an empty text is None where None may be."""
        if not isinstance(values, dict):
            return values
        optional = {
            name
            for name, field in cls.model_fields.items()
            if plain_type(field.annotation) is not field.annotation
        }
        return {
            name: None if value == "" and name in optional else value
            for name, value in values.items()
        }


def plain_type(kind: Any) -> Any:
    """Return X of `X | None`, and any other type as it is."""
    if get_origin(kind) in (Union, types.UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        return parts[0] if len(parts) == 1 else kind
    return kind


def parse_settings(cls: type[S], values: dict[str, Any], source: str) -> S:
    """Build settings of type `cls` from plain values.

    Args:
        cls: the settings class.
        values: names and values, nested as the class is.
        source: where the values came from (a file or a node's name), for the error text.

    Raises:
        ConfigError: a name is unknown or a value out of range; the text names all of them.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])} = {item.get('input')!r}: {item['msg']}"
            for item in error.errors()
        )
        known = ", ".join(cls.model_fields)
        raise ConfigError(
            f"settings of {source} are wrong: {found}", f"known names are: {known}"
        ) from error
