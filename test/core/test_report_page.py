from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from distilled_cabinet import SETTINGS, demonstrations, distilled
from policy_scenes import make_examples

from kalm_core.distillation import Attempt
from kalm_core.evidence import Evidence
from kalm_core.learning import record_demonstrations
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.rigid import RigidTransferPolicy
from kalm_core.report.attempts import attempt_picture, match_picture
from kalm_core.report.overlay import keypoint_color
from kalm_core.report.page import document, element, picture, table
from kalm_core.report.panel import HEIGHT, WIDTH, Panel
from kalm_core.report.perception import write_perception_report
from kalm_core.report.skill_page import write_skill_page
from kalm_core.skill import Skill, Source

DEMONSTRATIONS = [item for item, _ in demonstrations()]
HOSTILE = '<script>alert("x")</script> & "quotes"'


class _Reader(HTMLParser):
    """Checks that elements are closed in order, and notes what is named."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.sources: list[str] = []
        self.words = ""

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def test_text_is_escaped_wherever_it_is_put():
    page = document(
        HOSTILE,
        element("p", HOSTILE, class_=HOSTILE),
        table((HOSTILE,), [(HOSTILE,)]),
        picture(HOSTILE, HOSTILE),
    )
    reader = read(page)
    assert "script" not in reader.names
    assert reader.words.count(HOSTILE) == 5
    assert reader.sources == [HOSTILE]


@pytest.fixture(scope="module")
def skill():
    found, examples = distilled(), make_examples(0, 3)
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    return Skill(
        name="open_drawer",
        task=HOSTILE,
        created="2026-01-01T00:00:00+00:00",
        reference=found.reference,
        image=DEMONSTRATIONS[0].initial.color,
        perception=SETTINGS.model_dump(mode="json"),
        policy=RigidTransferPolicy.from_examples(examples, arrangement),
        demonstrations=tuple(Source(d.name, f"bags/{d.name}") for d in DEMONSTRATIONS),
        record={
            "reference_demonstration": DEMONSTRATIONS[found.reference_demonstration].name,
            "demonstrations": record_demonstrations(DEMONSTRATIONS, found.detected),
            "attempts": [
                Attempt(1, 0, 40, 3, f"3 points, {HOSTILE}").record(),
                *(attempt.record() for attempt in found.attempts),
            ],
            "left_out": {"bad": f"no depth, {HOSTILE}"},
            "seconds": {"train": 3.0, "read": 1.0},
            "versions": {"torch": "2"},
        },
    )


def test_the_page_shows_every_picture_and_nothing_from_elsewhere(skill, tmp_path):
    files = write_perception_report(tmp_path, DEMONSTRATIONS, distilled())
    reader = read(write_skill_page(tmp_path, skill).read_text(encoding="utf-8"))
    assert {path.name for path in files} - set(reader.sources) == {"proposal.png"}
    assert all((tmp_path / source).is_file() for source in reader.sources)
    assert "script" not in reader.names
    for words in ("rejected: 3 points", "no depth", DEMONSTRATIONS[2].name, "8 of 8", "stride"):
        assert words in reader.words
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".tmp") == []


def test_a_page_without_pictures_or_record_is_a_page(skill, tmp_path):
    bare = replace(skill, record={})
    reader = read(write_skill_page(tmp_path, bare).read_text(encoding="utf-8"))
    assert reader.sources == []
    assert re.search(r"8 keypoints; the least consistent one was found in \d+ %", reader.words)


def test_a_link_to_the_vlms_answers_stands_where_there_are_some(skill, tmp_path):
    (tmp_path / "vlm").mkdir()
    (tmp_path / "vlm" / "transcript.json").write_text("{}")
    (tmp_path / "report").mkdir()
    reader = read(write_skill_page(tmp_path / "report", skill).read_text(encoding="utf-8"))
    assert "../vlm/transcript.json" in reader.sources


def test_a_panel_keeps_places_and_colours_together():
    frame = DEMONSTRATIONS[0].initial
    valid = np.argwhere(frame.depth > 0)
    v, u = valid[np.abs(valid - [120, 160]).sum(axis=1).argmin()]
    around = frame.points_base()[[v], [u]].astype(float)
    panel = Panel.around(frame, around)
    place = panel.places(around)[0]
    shown = np.asarray(panel.image())[int(place[1]), int(place[0])].astype(float)
    assert np.abs(shown - frame.color[v, u]).max() < 25  # one noisy pixel, interpolated
    assert np.allclose(place, [WIDTH / 2, HEIGHT / 2], atol=2 * panel.scale)


def test_a_panel_at_the_images_border_stays_inside():
    frame = DEMONSTRATIONS[0].initial
    v, u = np.argwhere(frame.depth > 0)[-1]
    panel = Panel.around(frame, frame.points_base()[[v], [u]].astype(float))
    assert panel.scale > 1.5 * WIDTH / frame.intrinsics.width
    assert (np.asarray(panel.image()) != 30).any(axis=-1).mean() > 0.98


def test_a_panel_without_points_shows_the_whole_image():
    frame = DEMONSTRATIONS[0].initial
    shown = np.asarray(Panel.around(frame, np.zeros((0, 3))).image())
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert (shown != 30).any(axis=-1).mean() > 0.99


def test_matches_are_drawn_where_the_keypoints_are():
    found = distilled()
    reference = DEMONSTRATIONS[found.reference_demonstration].initial
    other = DEMONSTRATIONS[3].initial
    drawn = match_picture(
        reference,
        other,
        found.reference.positions,
        found.detected[3],
        seen=found.attempts[-1].evidence,
        index=3,
        needed=found.needed_consistency,
    )
    assert drawn.shape == (HEIGHT, 2 * WIDTH, 3)
    places = Panel.around(other, found.detected[3].positions).places(found.detected[3].positions)
    last = len(places) - 1  # the last one is drawn over the others
    u, v = places[last].astype(int)
    assert drawn[v, WIDTH + u].tolist() == list(keypoint_color(last, len(places)))


def test_an_attempt_shows_as_much_as_was_seen():
    found = distilled()
    evidence = found.attempts[-1].evidence
    assert evidence is not None
    assert evidence.matches.shape == (4, len(evidence.positions), 3)
    accepted = (evidence.found.mean(axis=0) >= found.needed_consistency).sum()
    assert accepted == found.attempts[-1].accepted

    def panels(seen):
        attempt = Attempt(found.reference_demonstration, 0, 0, 0, "", seen)
        shown = attempt_picture(DEMONSTRATIONS, attempt, 0.7)
        parts = [] if shown is None else np.array_split(shown[4:-4], 3, axis=1)
        return sum((part != 30).any(axis=-1).mean() > 0.5 for part in parts)

    region, mask = Evidence(evidence.region), Evidence(evidence.region, evidence.mask)
    assert [panels(seen) for seen in (None, region, mask, evidence)] == [0, 1, 2, 3]
