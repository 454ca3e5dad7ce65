"""Read the YAML parameter files of `config/` without ROS, so that nodes and commands share them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from kalm_core.errors import ConfigError


def read_parameters(files: Iterable[Path], node: str) -> dict[str, Any]:
    """Return the parameters that ROS parameter files hold for `node`, nested by dotted name.

    Args:
        files: as `--params-file` takes them: node names (or `/**`), then `ros__parameters`; a
            later file wins.
        node: the node's name.

    Raises:
        ConfigError: a file is missing, is no YAML, or has another structure.
    """
    found: dict[str, Any] = {}
    for file in files:
        content = _read(file)
        for name in ("/**", node, f"/{node}"):
            section = content.get(name)
            if section is None:
                continue
            parameters = section.get("ros__parameters") if isinstance(section, dict) else None
            if not isinstance(parameters, dict):
                raise ConfigError(f"{file}: {name} has no ros__parameters", "indent them below it")
            _merge(found, parameters)
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", "check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no YAML: {error}", "correct the file") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file} names no node", "see the files in config/ for the form")
    return content


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    """Put `values` into the tree `into`; a dotted name is a path, an empty text is "not set"."""
    for name, value in values.items():
        head, _, rest = str(name).partition(".")
        if rest:
            _merge(into, {head: {rest: value}})
        elif isinstance(value, dict):
            branch = into.setdefault(head, {})
            _merge(branch, value)
        elif value != "":
            into[head] = value
