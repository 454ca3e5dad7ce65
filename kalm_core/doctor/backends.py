"""Build every backend as a stage would, in one process of its own, and tell which can be built."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable

from kalm_core.doctor.finding import Finding, missing, ok
from kalm_core.doctor.probe import once, python
from kalm_core.errors import KalmError


def _region(name: str) -> object:
    from kalm_core.proposal import make_region_proposer

    return make_region_proposer(name)


def _mask(name: str) -> object:
    from kalm_core.proposal import make_mask_proposer

    return make_mask_proposer(name)


def _feature(name: str) -> object:
    from kalm_core.features import make_extractors

    return make_extractors([name])


def _planner(name: str) -> object:
    from kalm_core.planning.planner import PlanningSettings, make_planner
    from kalm_core.settings import parse_settings

    return make_planner(parse_settings(PlanningSettings, {"backend": name}, "kalm doctor"))


BACKENDS: dict[str, Callable[[], object]] = {
    "proximity": lambda: _region("proximity"),
    "vlm": lambda: _region("vlm"),
    "geometric": lambda: _mask("geometric"),
    "sam": lambda: _mask("sam"),
    "local": lambda: _feature("local"),
    "fpfh": lambda: _feature("fpfh"),
    "dino": lambda: _feature("dino"),
    "roboplan": lambda: _planner("roboplan"),
    "moveit": lambda: _planner("moveit"),
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
    good, text = python("from kalm_core.doctor.backends import main; main()")
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


def wants_key(variable: str) -> str:
    """Say whether a secret is in the environment; never what it is."""
    return f"{variable} {'set' if os.environ.get(variable) else 'not set'}"
