from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from distilled_cabinet import PHI, demonstrations, distilled
from small_skill import make_skill
from vlm_scenes import GRID, cabinet_truth, noise_truth, serving, settings_for

from kalm_core.correspondence import KeypointDetector
from kalm_core.errors import BackendUnavailableError, BundleError, VlmError
from kalm_core.vlm.guidance import GuidanceSettings, guide
from kalm_sim.vlm_answers import Rates
from kalm_sim.vlm_server import Faults


def skill(**changes):
    """A skill that a VLM helped to distil from one image of noise."""
    truth = noise_truth()
    values = {
        "perception": {"region_backend": "vlm"},
        "image": truth.image,
        "mask": truth.part.pixels,
        "record": {"vlm": {"part": "lid of box"}},
        **changes,
    }
    return replace(make_skill(), **values)


def settings(server, use="required", **changes):
    return GuidanceSettings(use=use, vlm=settings_for(server, **changes))


def test_cells_that_are_named_weigh_more_than_the_rest():
    truth = noise_truth()
    with serving() as server:
        weights = guide(skill(), truth.image, settings(server, outside_weight=0.7))
    cells = truth.cells(truth.part, GRID)
    inside = GRID.mask(cells, *truth.part.pixels.shape)
    assert np.array_equal(weights, np.where(inside, 1.0, 0.7).astype(np.float32))


def test_nobody_is_asked_for_other_skills_or_when_it_is_off():
    image = noise_truth().image
    with serving() as server:
        assert guide(skill(), image, settings(server, "off")) is None
        embedded = skill(perception={"region_backend": "proximity"})
        assert guide(embedded, image, settings(server)) is None
        assert server.requests == 0


def test_a_vlm_out_of_reach_is_an_error_unless_it_is_optional(caplog):
    image = noise_truth().image
    with serving(faults=Faults(failing=1.0)) as server:
        with pytest.raises(VlmError, match="did not answer"):
            guide(skill(), image, settings(server, retries=1))
        assert guide(skill(), image, settings(server, "optional", retries=1)) is None
    assert "going on without" in caplog.text
    with pytest.raises(BackendUnavailableError, match="NOT_SET"):
        guide(skill(), image, settings(server, key_variable="NOT_SET"))


def test_a_skill_without_a_mask_says_what_to_do():
    with serving() as server, pytest.raises(BundleError, match=r"no mask.*guidance\.use"):
        guide(skill(mask=None), noise_truth().image, settings(server))


def test_a_skill_names_no_server_to_be_asked_at_run_time():
    with serving() as wrong, serving() as right:
        tampered = skill(perception={"region_backend": "vlm", "vlm": {"base_url": wrong.url}})
        guide(tampered, noise_truth().image, settings(right))
        assert (wrong.requests, right.requests) == (0, 1)


@pytest.mark.parametrize("wrong", [False, True])
def test_guidance_discounts_what_lies_outside(wrong):
    result = distilled()
    index = next(k for k in range(4) if k != result.reference_demonstration)
    demonstration, scene = demonstrations()[index]
    truth = cabinet_truth(demonstration, scene)
    part = skill(image=truth.image, mask=truth.part.pixels)
    with serving(Rates(wrong_cells=float(wrong)), truth=truth) as server:
        weights = guide(part, truth.image, settings(server, outside_weight=0.5))
    detector = KeypointDetector(PHI)
    view = detector.view(demonstration.initial)
    alone = detector.detect_in(view, result.reference)
    guided = detector.detect_in(view, result.reference, weights)
    assert alone.found.sum() >= 5
    if wrong:
        assert guided.found.sum() < alone.found.sum()
    else:
        both = alone.found & guided.found
        assert both.sum() >= 5
        assert np.allclose(guided.positions[both], alone.positions[both])
