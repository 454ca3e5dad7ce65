from __future__ import annotations

import pytest

from benchmarks.metaworld_figure import _LABELS, draw
from benchmarks.metaworld_piece import BASELINES, OURS, SETTINGS

pytestmark = pytest.mark.sim


def test_every_policy_is_drawn(tmp_path):
    rows = []
    for name in SETTINGS:
        for policy in (OURS, *BASELINES):
            infix = "" if policy == OURS else f"{policy}/"
            for ending in ("", "/end"):
                row = {"id": f"metaworld/{infix}{name}/mean{ending}", "value": 0.8, "n": 50}
                rows.append(row | {"low": 0.7, "high": 0.9})
    rows[3] |= {"value": None, "low": None, "high": None}  # not measured
    path = draw({"rows": rows}, tmp_path / "figure.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert set(_LABELS) == {OURS, *BASELINES}
