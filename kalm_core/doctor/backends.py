"""Build every backend as a stage would, in one process of its own, and tell which can be built."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kalm_core.doctor.finding import Finding, missing, ok
from kalm_core.doctor.probe import once, python
from kalm_core.errors import KalmError

if TYPE_CHECKING:
    from kalm_core.distillation import DistillationSettings


_SETTINGS = "KALM_DOCTOR_SETTINGS"
"""Variable that tells the building process the settings of the distillation, as JSON."""
_configured: dict[str, Any] = {}


def configure(distillation: dict[str, Any]) -> None:
    """Build the backends of the perception with these settings instead of the defaults."""
    _configured.clear()
    _configured.update(distillation)


def _settings() -> DistillationSettings:
    """Return the settings that the building process was told."""
    from kalm_core.distillation import DistillationSettings
    from kalm_core.settings import parse_settings

    values = json.loads(os.environ.get(_SETTINGS, "{}"))
    return parse_settings(DistillationSettings, values, "kalm doctor")


def _region(name: str) -> object:
    from kalm_core.proposal import VlmProposer, make_region_proposer

    s = _settings()
    vlm = VlmProposer(s.vlm) if name == "vlm" else None
    return make_region_proposer(name, s.proximity, vlm)


def _mask(name: str) -> object:
    from kalm_core.proposal import make_mask_proposer

    s = _settings()
    return make_mask_proposer(name, s.geometric, s.sam)


def _feature(name: str) -> object:
    from kalm_core.features import make_extractors

    return make_extractors([name], _settings().correspondence.features)


def _planner() -> object:
    from kalm_core.planning.planner import make_planner

    return make_planner()


BACKENDS: dict[str, Callable[[], object]] = {
    "proximity": lambda: _region("proximity"),
    "vlm": lambda: _region("vlm"),
    "geometric": lambda: _mask("geometric"),
    "sam": lambda: _mask("sam"),
    "local": lambda: _feature("local"),
    "color": lambda: _feature("color"),
    "fpfh": lambda: _feature("fpfh"),
    "dino": lambda: _feature("dino"),
    "roboplan": _planner,
}
"""Backend -> how a stage builds it."""


def build(name: str) -> tuple[str, str]:
    """Build one backend; return (problem, remedy), both empty when it works."""
    try:
        BACKENDS[name]()
    except KalmError as error:
        return error.problem, error.remedy
    except Exception as error:
        return f"{type(error).__name__}: {error}", "reinstall the suite's packages"
    return "", ""


@once
def _built() -> dict[str, tuple[str, str]]:
    """Build all backends in a new process; a crash there is the answer for all."""
    told = {_SETTINGS: json.dumps(_configured), "HF_HUB_OFFLINE": "1"}  # to look is not to download
    good, text = python("from kalm_core.doctor.backends import main; main()", told)
    if good:
        return {name: (problem, remedy) for name, (problem, remedy) in json.loads(text).items()}
    return dict.fromkeys(BACKENDS, (text or "the process that builds it failed", "see above"))


def main() -> None:
    """Print what `build` says of every backend as one line of JSON."""
    answers = {name: build(name) for name in BACKENDS}
    sys.stdout.write(json.dumps(answers) + "\n")


def backend(name: str, *parts: str) -> Finding:
    """Tell whether a stage could use a backend.

    Args:
        name: the backend.
        parts: what else it will want, each in a few words; see `wants_package` and `wants_key`.
    """
    problem, remedy = _built()[name]
    extra = f" ({', '.join(parts)})" if parts else ""
    return missing(problem + extra, remedy) if problem else ok("can be built" + extra)


def wants_package(module: str) -> str:
    """Say whether a package is there, without importing it."""
    return f"{module} {'installed' if importlib.util.find_spec(module) else 'not installed'}"


def wants_key(default: str) -> str:
    """Say whether the VLM's secret is in the environment; never what it is.

    Args:
        default: name of its variable where the settings name none.
    """
    variable = _configured.get("vlm", {}).get("key_variable", default)
    if not variable:
        return "no key wanted"
    return f"{variable} {'set' if os.environ.get(variable) else 'not set'}"
