from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from distilled_cabinet import SETTINGS, demonstrations

from kalm_core.diagnosis import Cause, Traces, diagnose, gather
from kalm_core.distillation import distill
from kalm_core.errors import DistillationError
from kalm_core.evidence import Evidence
from kalm_core.proposal.contact import find_contact
from kalm_core.proposal.region import Region

NAMES = [f"bag_{k}" for k in range(6)]
UNKNOWN = np.full(1, np.nan)


def traces(found, *, depth=None, distance=UNKNOWN, seed=0) -> Traces:
    """What one attempt left behind in six demonstrations."""
    rows = np.atleast_2d(np.asarray(found, float))
    return Traces(
        np.full(6, 0.95) if depth is None else np.asarray(depth, float),
        np.full(len(rows), seed),
        rows,
        np.asarray(distance, float),
    )


CASES = {
    "half of them show another object": (
        traces([1, 0.9, 0.8, 0.0, 0.1, 0.0], distance=[0.01]),
        Cause.TOO_DIFFERENT,
    ),
    "the part is in no other": (traces([1, 0, 0, 0, 0, 0], distance=[0.01]), Cause.TOO_DIFFERENT),
    "far from the contact": (
        traces([1, 0.4, 0.4, 0.3, 0.3, 0.4], distance=[0.2]),
        Cause.WRONG_PART,
    ),
    "clutter that nobody touched": (traces([1, 0, 0, 0, 0, 0], distance=[0.3]), Cause.WRONG_PART),
    "here and there": (traces([1, 0.4, 0.4, 0.3, 0.3, 0.4], distance=[0.01]), Cause.WRONG_PART),
    "everywhere, but it is not the part": (
        traces([1, 0.9, 0.9, 0.8, 0.9, 1.0], distance=[0.05]),
        Cause.WRONG_PART,
    ),
    "no mask at all": (traces([np.nan] * 6), Cause.WRONG_PART),
    "blind where depth is missing": (
        traces([1, 0.9, 0.9, 0.9, 0.0, 0.1], depth=[0.9, 0.9, 0.9, 0.9, 0.2, 0.1], distance=[0.01]),
        Cause.POOR_DEPTH,
    ),
    "no mask without depth": (traces([np.nan] * 6, depth=[0.1] * 6), Cause.POOR_DEPTH),
}


@pytest.mark.parametrize("case", CASES)
def test_each_trace_has_its_cause(case):
    seen, cause = CASES[case]
    found = diagnose(seen, NAMES)
    assert found.cause is cause
    assert found.problem
    assert found.remedy


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_demonstrations_does_not_matter(case, seed):
    seen, cause = CASES[case]
    order = np.random.default_rng(seed).permutation(6)
    shuffled = Traces(
        seen.depth[order], np.argsort(order)[seen.seed], seen.found[:, order], seen.distance
    )
    assert diagnose(shuffled, [NAMES[k] for k in order]).cause is cause


def test_the_text_names_the_demonstrations_that_differ():
    found = diagnose(CASES["half of them show another object"][0], NAMES)
    assert "bag_1, bag_2 but hardly any in bag_3, bag_4, bag_5" in found.problem


def test_the_text_names_the_demonstrations_without_depth_and_how_little_there_is():
    found = diagnose(CASES["blind where depth is missing"][0], NAMES)
    assert "bag_4 (20 %), bag_5 (10 %)" in found.problem


def without_depth(demonstration):
    """The demonstration with a first image that measured nothing but one corner."""
    frame = demonstration.initial
    depth = np.zeros_like(frame.depth)
    depth[:4, :4] = 1.0
    return replace(demonstration, frames=(replace(frame, depth=depth), *demonstration.frames[1:]))


def test_what_was_seen_is_gathered():
    items = [item for item, _ in demonstrations()[:2]]
    contacts = [find_contact(item) for item in items]
    frame, contact = items[0].initial, contacts[0]
    near = np.linalg.norm(frame.points_base() - contact.position, axis=-1) < 0.05
    region = Region(0, near, contact.position, 0.05, 1.0)
    tried = Evidence(region, near, np.zeros((2, 3)), found=np.array([[True, True], [True, False]]))
    seen = gather([items[0], without_depth(items[1])], contacts, [tried, Evidence(region)])
    assert seen.depth[0] > 0.5
    assert seen.depth[1] < 0.1
    assert np.array_equal(seen.found[0], [1.0, 0.5])
    assert np.isnan(seen.found[1]).all()
    assert seen.distance[0] < 0.05
    assert np.isnan(seen.distance[1])


class NoMasks:
    """Segments nothing."""

    def propose(self, frame, region):
        return []


def test_distillation_tells_that_depth_is_too_poor():
    items = [item for item, _ in demonstrations()]
    blind = [items[0], *(without_depth(item) for item in items[1:])]
    with pytest.raises(DistillationError, match=r"depth too poor: .* look from 30 to 60 cm"):
        distill(blind, SETTINGS, mask_proposer=NoMasks())
