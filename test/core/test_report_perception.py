from __future__ import annotations

import numpy as np
from distilled_cabinet import demonstrations, distilled
from PIL import Image

from kalm_core.keypoints import DetectedKeypoints
from kalm_core.report import draw_keypoints
from kalm_core.report.overlay import contact_sheet, keypoint_color
from kalm_core.report.perception import write_perception_report

DEMONSTRATIONS = [item for item, _ in demonstrations()]


def test_a_found_keypoint_is_painted_where_it_is():
    frame = DEMONSTRATIONS[0].initial
    point = frame.points_base()[120, 160].astype(float)
    found = DetectedKeypoints(point[None], np.array([True]), np.array([0.9]))
    lost = DetectedKeypoints(np.full((1, 3), np.nan), np.array([False]), np.array([0.1]))
    painted, plain = draw_keypoints(frame, found), draw_keypoints(frame, lost)
    assert painted.shape == frame.color.shape
    assert painted[120, 160].tolist() == list(keypoint_color(0, 1))
    assert (plain[60:] == frame.color[60:]).all()
    assert (painted[60:] != frame.color[60:]).any()


def test_a_sheet_has_room_for_every_picture():
    picture = np.full((30, 40, 3), 200, np.uint8)
    sheet = contact_sheet([picture] * 5, columns=3, width=40)
    assert sheet.shape == (2 * 34 + 4, 3 * 44 + 4, 3)
    assert (sheet == 200).all(axis=-1).sum() == 5 * 30 * 40


def test_the_report_is_written_as_pictures(tmp_path):
    files = write_perception_report(tmp_path / "report", DEMONSTRATIONS, distilled())
    assert [path.name for path in files] == [
        "proposal.png",
        "consistency.png",
        *(f"attempt_{k:02d}.jpg" for k in range(1, 1 + len(distilled().attempts))),
        "demonstrations.png",
        *(f"matches_{k:02d}.jpg" for k in range(4)),
    ]
    for path in files:
        pixels = np.asarray(Image.open(path))
        assert pixels.ndim == 3
        assert pixels.std() > 10
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted(
        path.name for path in files
    )
