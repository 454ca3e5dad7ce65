from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from distilled_cabinet import SETTINGS, demonstrations
from vlm_scenes import cabinet_truth, settings_for

from kalm_core.correspondence import KeypointDetector
from kalm_core.distillation import distill
from kalm_core.errors import BackendUnavailableError, DistillationError, VlmError
from kalm_core.proposal import VlmProposer, make_mask_chooser, make_region_proposer
from kalm_core.proposal.contact import find_contact
from kalm_core.proposal.proximity import ProximityProposer
from kalm_core.proposal.region import Rejection
from kalm_core.relevance import why_irrelevant
from kalm_core.vlm.guidance import KnownPart, ask_guidance
from kalm_sim.vlm_answers import Rates
from kalm_sim.vlm_server import VlmServer
from kalm_sim.vlm_truth import TruthTable

TASK = "open the top drawer"
DEMONSTRATIONS = [item for item, _ in demonstrations()]
FEW = SETTINGS.model_copy(
    update={"candidates": 12, "region_backend": "vlm", "mask_chooser": "vlm", "max_regions": 4}
)


@cache
def truths():
    return tuple(cabinet_truth(*pair) for pair in demonstrations())


@cache
def views():
    detector = KeypointDetector(FEW.detection)
    return tuple(detector.view(item.initial) for item in DEMONSTRATIONS)


@pytest.fixture
def server():
    with VlmServer(TruthTable(truths())) as server:
        yield server


def learn(server, **changes):
    settings = FEW.model_copy(update={"vlm": settings_for(server), **changes})
    return distill(DEMONSTRATIONS, settings, task=TASK, views=views())


def on_the_top_handle(result):
    scene = demonstrations()[result.reference_demonstration][1]
    away = np.abs(result.reference.positions - scene.top_handle)
    return bool((away[:, 2] < 0.03).all() and (np.linalg.norm(away, axis=1) < 0.09).all())


def test_a_vlm_that_is_right_finds_the_part_at_once(server):
    result = learn(server)
    assert on_the_top_handle(result)
    assert len(result.attempts) == 1
    assert [said.kind for said in server.said] == ["region", "mask"]
    assert result.region.description == "top handle of cabinet"
    assert len(result.transcript.exchanges) == 2
    first, second = (exchange.messages for exchange in result.transcript.exchanges)
    assert second[: len(first)] == first  # the whole conversation goes with the second question
    assert TASK in first[-1].parts[0]


def test_a_wrong_mask_is_rejected_shown_in_red_and_another_one_chosen(server):
    tried = []
    for seed in range(3):
        server.restart(Rates(wrong_mask=0.7), seed)
        result = learn(server)
        assert on_the_top_handle(result)
        tried.append(len(result.attempts))
        questions = [
            message.parts[0]
            for message in result.transcript.exchanges[-1].messages
            if message.role == "user"
        ]
        red = [text for text in questions if "now in red" in text]
        again = [attempt for attempt in result.attempts[:-1] if attempt.demonstration == 0]
        assert len(red) <= len(again)
        for attempt, text in zip(again, red, strict=False):
            assert attempt.reason in text
    assert max(tried) > 1


def test_a_wrong_region_leads_to_another_region(server):
    regions = 0
    for seed in range(3):
        server.restart(Rates(wrong_region=0.5), seed)
        result = learn(server, max_regions=8)
        assert on_the_top_handle(result)
        regions += sum(said.kind == "region" for said in server.said)
    assert regions > 3


def test_what_is_wrong_all_the_time_ends_in_an_error_and_bounded_calls(server):
    server.restart(Rates(wrong_region=1.0), 0)
    with pytest.raises(DistillationError, match="proposals could be found again"):
        learn(server)
    assert sum(said.kind == "region" for said in server.said) == FEW.max_regions


def test_without_verification_the_first_choice_stands(server):
    server.restart(Rates(wrong_mask=1.0), 0)
    result = learn(server, verify=False)
    assert result.attempts[-1].share == 1.0
    assert not on_the_top_handle(result)


def test_a_replay_gives_the_same_keypoints_without_a_server(server, tmp_path):
    server.restart(Rates(wrong_mask=0.7), 1)
    original = learn(server)
    original.transcript.write(tmp_path)
    asked = server.requests
    replayed = learn(server, vlm=settings_for(server, replay=tmp_path, key_variable="NOT_SET"))
    assert server.requests == asked
    assert np.array_equal(original.reference.positions, replayed.reference.positions)
    assert original.attempts == replayed.attempts
    with pytest.raises(VlmError, match="no answer to this question"):
        distill(
            DEMONSTRATIONS[::-1],
            FEW.model_copy(update={"vlm": settings_for(server, replay=tmp_path)}),
            task=TASK,
            views=views()[::-1],
        )


def test_the_vlm_may_choose_masks_of_a_region_that_the_arm_showed(server):
    result = learn(server, region_backend="proximity")
    assert on_the_top_handle(result)
    assert [said.kind for said in server.said] == ["mask"]
    assert TASK in result.transcript.exchanges[0].messages[1].parts[0]


def test_the_next_demonstration_is_looked_at_after_some_regions(server):
    proposer = VlmProposer(settings_for(server, regions_per_demonstration=2))
    rejected = []
    seen = []
    for region in proposer.propose(DEMONSTRATIONS, TASK, rejected):
        seen.append(region.demonstration)
        rejected.append(Rejection(region.demonstration, None, f"reason {len(seen)}"))
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3]
    asked = [exchange.messages[-1].parts[0] for exchange in proposer.transcript.exchanges]
    assert "reason 1" in asked[1] and "reason 1" not in asked[3] and "reason 3" in asked[3]


def test_the_region_covers_the_part_with_depth(server):
    region = next(iter(VlmProposer(settings_for(server)).propose(DEMONSTRATIONS, TASK)))
    part = truths()[0].part.pixels & (DEMONSTRATIONS[0].initial.depth > 0)
    assert (region.mask & part).sum() > 0.8 * part.sum()
    assert not (region.mask & (DEMONSTRATIONS[0].initial.depth == 0)).any()


@pytest.mark.parametrize("index", range(len(DEMONSTRATIONS)))
def test_only_what_the_arm_works_on_is_relevant(index):
    demonstration, truth = DEMONSTRATIONS[index], truths()[index]
    contact = find_contact(demonstration)
    everything = np.ones_like(truth.part.pixels)
    away = np.linalg.norm(demonstration.initial.points_base() - contact.position, axis=-1)
    surroundings = np.nan_to_num(away, nan=1.0) < 0.17

    def why(mask):
        return why_irrelevant(demonstration, contact, mask, FEW.work_slack, FEW.work_reach)

    assert why(truth.part.pixels) == ""
    for thing in truth.others:
        if thing.pixels.any():
            assert "nearer to the tool" in why(thing.pixels)
    assert why(surroundings)
    assert why(everything)
    far = why_irrelevant(demonstration, contact, everything, 5.0, FEW.work_reach)
    assert far == "half of it is more than 8 cm from where the arm works"
    assert why(~everything) == "it has no depth"
    assert why_irrelevant(demonstration, None, everything, 0.0, 0.0) == ""


def test_the_same_part_is_found_in_a_new_image(server):
    part = KnownPart(truths()[0].image, truths()[0].part.pixels, TASK, "top handle")
    weights = ask_guidance(part, truths()[1].image, settings_for(server))
    assert set(np.unique(weights)) == {np.float32(0.9), np.float32(1.0)}
    assert (weights[truths()[1].part.pixels] == 1).mean() > 0.8
    assert (weights == 1).mean() < 0.3
    server.restart(Rates(wrong_cells=1.0), 0)
    weights = ask_guidance(part, truths()[1].image, settings_for(server))
    assert (weights[truths()[1].part.pixels] == 1).mean() < 0.8


def test_a_missing_key_is_told_when_the_stage_is_built(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for make in (make_region_proposer, make_mask_chooser):
        with pytest.raises(BackendUnavailableError, match="OPENAI_API_KEY"):
            make("vlm")
    assert isinstance(make_region_proposer("proximity"), ProximityProposer)
