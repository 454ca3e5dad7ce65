"""An arm to test with; each test file has its own simulator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from simulated_arm import START, Server, serving

from kalm_core.robot.franky_arm import FrankyArm
from kalm_core.robot.joint_line import joint_line


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


@pytest.fixture(scope="module")
def shared_arm(server: Server) -> Iterator[FrankyArm]:
    arm = FrankyArm(server.settings())
    yield arm
    arm.close()


@pytest.fixture
def arm(shared_arm: FrankyArm) -> FrankyArm:
    """Return the arm at START, at rest."""
    if np.abs(shared_arm.state().q - START).max() > 0.01:
        shared_arm.follow_joint_path(joint_line(shared_arm.state().q, START))
    return shared_arm


@pytest.fixture
def mortal_server() -> Iterator[Server]:
    with serving() as started:
        yield started
