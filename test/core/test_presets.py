"""The files of `config/presets` say nothing that the settings do not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from kalm_core.commands.parameter_file import read_parameters
from kalm_core.learning import LearningSettings
from kalm_core.settings import parse_settings

FOLDER = Path(__file__).resolve().parents[2] / "config" / "presets"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_preset_fits_the_settings(file):
    values = read_parameters([file], "learner_node")
    assert set(values) == {"learning"}
    parse_settings(LearningSettings, values["learning"], file.name)


def test_the_papers_preset_has_the_papers_backends_and_constants():
    values = read_parameters([FOLDER / "paper.yaml"], "learner_node")["learning"]
    s = parse_settings(LearningSettings, values, "paper.yaml").distillation
    assert (s.region_backend, s.mask_backend, s.mask_chooser) == ("vlm", "sam", "vlm")
    assert s.correspondence.weights == {"dino": 0.75, "fpfh": 0.25}
    assert (s.correspondence.neighbors, s.correspondence.neighbor_radius) == (8, 0.02)
    assert (s.candidates, s.keypoints, s.delta, s.gamma) == (50, 8, 0.3, 0.5)
