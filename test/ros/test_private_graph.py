from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from kalm_core.errors import BackendUnavailableError
from kalm_ros.private_graph import free_domain, release_domain


@pytest.fixture
def domain():
    claimed = free_domain()
    yield claimed
    release_domain(claimed)


def test_a_claimed_domain_is_given_to_no_other_process(domain):
    ask = f"from kalm_ros.private_graph import free_domain; free_domain([{domain}])"
    asked = subprocess.run(
        [sys.executable, "-c", ask], check=False, capture_output=True, text=True, timeout=60
    )
    assert "none of 1 ROS domains is free" in asked.stderr


@pytest.mark.parametrize("participant", [0, 1, 7])
def test_a_domain_on_which_any_participant_listens_is_not_free(domain, participant):
    release_domain(domain)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("0.0.0.0", 7400 + 250 * domain + 10 + 2 * participant))
        with pytest.raises(BackendUnavailableError):
            free_domain([domain])
    assert free_domain([domain]) == domain
