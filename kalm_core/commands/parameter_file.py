"""Read the YAML parameter files of `config/` without ROS, so that nodes and commands share them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from kalm_core.errors import ConfigError


def config_folder() -> Path:
    """Return the folder of the suite's own parameter files: the checkout's, or the installed one.

    Raises:
        ConfigError: neither is there.
    """
    checkout = Path(__file__).resolve().parent.parent.parent
    if (checkout / "package.xml").is_file():
        return checkout / "config"
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        installed = Path(prefix) / "share" / "kalm_ros" / "config"
        if prefix and installed.is_dir():
            return installed
    raise ConfigError("the parameter files of kalm_ros are not found", "source install/setup.bash")


def suite_parameters(names: Sequence[str], own: Iterable[Path], node: str) -> dict[str, Any]:
    """Return the parameters of `node` in files of `config/` and, read after them, the user's own.

    Args:
        names: of files in `config_folder()`.
        own: files that the user names.
        node: the node's name.

    Raises:
        ConfigError: as `read_parameters` and `config_folder`.
    """
    folder = config_folder()
    return read_parameters((*(folder / name for name in names), *own), node)


def read_parameters(files: Iterable[Path], node: str) -> dict[str, Any]:
    """Return the parameters that ROS parameter files hold for `node`, nested by dotted name.

    What wins is what wins in a node that reads these files. ROS sorts by name first: what all files
    say for one name (`/**` or the node's) is put together, where a later file wins; then the name
    that came up last wins over the other. As the suite's own files name nodes, and are read first,
    what a user says for `/**` wins over the node's name.

    Args:
        files: as `--params-file` takes them: node names (or `/**`), then `ros__parameters`.
        node: the node's name.

    Raises:
        ConfigError: a file is missing, is no YAML, or has another structure.
    """
    by_name: dict[str, dict[str, Any]] = {}  # in the order in which names are first mentioned
    for file in files:
        for name, section in _read(file).items():
            if name not in ("/**", node, f"/{node}") or section is None:
                continue
            parameters = section.get("ros__parameters") if isinstance(section, dict) else None
            if not isinstance(parameters, dict):
                raise ConfigError(f"{file}: {name} has no ros__parameters", "indent them below it")
            _merge(by_name.setdefault(name, {}), parameters)
    found: dict[str, Any] = {}
    for parameters in by_name.values():
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
    for name, section in content.items():
        if section is not None and not _has_parameters(section):  # ROS refuses it too
            raise ConfigError(
                f"{file}: {name} has no ros__parameters",
                "name the node, then ros__parameters, as the files in config/ do",
            )
    return content


def _has_parameters(section: Any) -> bool:
    """Tell whether a section, of a node or of a namespace with nodes in it, says parameters."""
    if not isinstance(section, dict):
        return False
    return "ros__parameters" in section or any(map(_has_parameters, section.values()))


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    """Put `values` into the tree `into`; a dotted name is a path."""
    for name, value in values.items():
        head, _, rest = str(name).partition(".")
        if rest:
            _merge(into, {head: {rest: value}})
        elif isinstance(value, dict):
            branch = into.setdefault(head, {})
            _merge(branch, value)
        else:
            into[head] = value
