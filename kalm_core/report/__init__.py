"""Pictures of every stage: what the method saw and chose."""

from __future__ import annotations

from kalm_core.report.overlay import draw_keypoints as draw_keypoints
