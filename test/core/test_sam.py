from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cabinet_scene import make_demonstration
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_dino, tiny_sam, tiny_sam2

from kalm_core.errors import BackendUnavailableError
from kalm_core.proposal.proximity import ProximityProposer
from kalm_core.proposal.sam import SamProposer, SamSettings, load_segmenter
from kalm_core.proposal.sam_checkpoint import SamCheckpoint, networks
from kalm_core.proposal.sam_points import PromptedMasks, prompt_points

CPU = torch.device("cpu")
LOOSE = SamSettings(min_confidence=0.0, min_pixels=10, min_extent=0.0, min_inside=0.0)


@pytest.fixture(scope="module")
def cabinet():
    demonstration, _ = make_demonstration(3, scale=0.5)
    return demonstration.initial, ProximityProposer().propose([demonstration])[0]


@pytest.fixture(scope="module", params=[tiny_sam, tiny_sam2], ids=["sam", "sam2"])
def segmenter(request, tmp_path_factory):
    folder = request.param(tmp_path_factory.mktemp("weights"))
    return load_segmenter(SamSettings(weights=str(folder), device="cpu"))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 40), st.integers(1, 60))
def test_prompts_lie_in_the_region_and_apart(seed, spacing, most):
    rng = np.random.default_rng(seed)
    mask = np.zeros((120, 160), bool)
    top, left = rng.integers(0, 100), rng.integers(0, 140)
    mask[top : top + rng.integers(1, 90), left : left + rng.integers(1, 130)] = True
    points = prompt_points(mask, spacing, most)
    assert 1 <= len(points) <= most
    assert mask[points[:, 1], points[:, 0]].all()
    if len(points) > 1:
        between = np.linalg.norm(points[:, None] - points[None], axis=-1)
        assert between[~np.eye(len(points), dtype=bool)].min() >= spacing


def test_no_region_has_no_prompt():
    assert prompt_points(np.zeros((20, 20), bool), 10, 5).shape == (0, 2)


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (60, 100)])
def test_every_point_has_three_masks_of_the_images_size(segmenter, size):
    color = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    points = np.array([[5, 7], [30, 20], [40, 10]])
    first, second = (segmenter.segment(color, points) for _ in range(2))
    assert first.pixels.shape == (9, *size)
    assert first.confidence.shape == (9,)
    assert (first.pixels == second.pixels).all()
    assert (first.confidence == second.confidence).all()


def test_a_prompt_is_answered_alike_alone_and_among_others(segmenter):
    color = np.random.default_rng(1).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    points = np.stack([np.arange(40), np.arange(40)], axis=1)  # more than one batch
    together = segmenter.segment(color, points)
    alone = segmenter.segment(color, points[33:34])
    assert np.allclose(together.confidence[99:102], alone.confidence, atol=1e-5)
    assert (together.pixels[99:102] == alone.pixels).mean() > 0.999


def test_the_network_sees_where_the_prompt_is(segmenter):
    color = np.random.default_rng(1).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    answer = segmenter.segment(color, np.array([[3, 3], [60, 40]]))
    assert not np.allclose(answer.confidence[:3], answer.confidence[3:], atol=1e-9)


class _Answers:
    """A segmenter whose answers are written down."""

    def __init__(self, pixels, confidence):
        self.answer = PromptedMasks(np.stack(pixels), np.array(confidence, float))

    def segment(self, color, points):
        return self.answer


def test_unsure_small_repeated_and_distant_masks_are_dropped(cabinet):
    frame, region = cabinet
    rows, columns = np.nonzero(region.mask)
    middle = (int(np.median(rows)), int(np.median(columns)))

    def box(half, shift=0):
        pixels = np.zeros(frame.depth.shape, bool)
        pixels[
            middle[0] - half + shift : middle[0] + half + shift,
            middle[1] - half : middle[1] + half,
        ] = True
        return pixels

    elsewhere = np.zeros(frame.depth.shape, bool)
    elsewhere[:30, :30] = True
    proposer = SamProposer(
        SamSettings(min_pixels=60),
        _Answers(
            [box(12), box(12, 1), box(2), box(8, 3), elsewhere, np.zeros_like(elsewhere)],
            [0.95, 0.9, 0.99, 0.5, 0.99, 0.99],
        ),
    )
    masks = proposer.propose(frame, region)
    assert len(masks) == 1
    assert (masks[0].pixels == (box(12) & (frame.depth > 0))).all()


def test_masks_have_depth_and_are_ranked(cabinet, segmenter):
    frame, region = cabinet
    holes = frame.depth.copy()
    holes[::3] = 0.0
    holed = replace(frame, depth=holes)
    everything = replace(region, mask=holes > 0)
    masks = SamProposer(LOOSE.model_copy(update={"max_iou": 0.95}), segmenter).propose(
        holed, everything
    )
    for mask in masks:
        assert mask.pixels.any()
        assert (holes[mask.pixels] > 0).all()
    assert [m.score for m in masks] == sorted((m.score for m in masks), reverse=True)


def test_an_empty_region_has_no_masks(cabinet):
    frame, region = cabinet
    nothing = replace(region, mask=np.zeros_like(region.mask))
    assert SamProposer(LOOSE, _Answers([nothing.mask], [1.0])).propose(frame, nothing) == []


def small_sam() -> torch.nn.Module:
    """The authors' network at toy size."""
    m = networks()
    torch.manual_seed(0)
    return m.Sam(
        image_encoder=m.ImageEncoderViT(
            depth=2,
            embed_dim=16,
            img_size=64,
            num_heads=2,
            patch_size=16,
            use_rel_pos=True,
            global_attn_indexes=[1],
            window_size=2,
            out_chans=16,
        ),
        prompt_encoder=m.PromptEncoder(
            embed_dim=16,
            image_embedding_size=(4, 4),
            input_image_size=(64, 64),
            mask_in_chans=4,
        ),
        mask_decoder=m.MaskDecoder(
            num_multimask_outputs=3,
            transformer=m.TwoWayTransformer(depth=1, embedding_dim=16, mlp_dim=32, num_heads=2),
            transformer_dim=16,
            iou_head_hidden_dim=16,
        ),
    )


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A checkpoint of the small network, and the loader told that vit_b is of this size."""
    model = small_sam()
    torch.save(model.state_dict(), tmp_path / "sam.pth")
    monkeypatch.setattr("kalm_core.proposal.sam_checkpoint.build_sam", lambda kind: small_sam())
    return tmp_path / "sam.pth"


@pytest.mark.parametrize("size", [(48, 64), (64, 40)])
def test_a_checkpoint_answers_as_the_package_does(checkpoint, size):
    color = np.random.default_rng(2).integers(0, 255, (*size, 3)).astype(np.uint8)
    points = np.array([[10, 12], [30, 25]])
    answer = SamCheckpoint(checkpoint, "vit_b", CPU).segment(color, points)
    model = small_sam().eval()
    model.load_state_dict(torch.load(checkpoint, weights_only=True))
    image = torch.from_numpy(color).permute(2, 0, 1).float()  # has the network's size already
    with torch.no_grad():
        expected = model(
            [
                {
                    "image": image,
                    "original_size": size,
                    "point_coords": torch.from_numpy(points)[:, None].float(),
                    "point_labels": torch.ones(2, 1),
                }
            ],
            multimask_output=True,
        )[0]
    assert answer.pixels.shape == (6, *size)
    assert (answer.pixels == expected["masks"].flatten(0, 1).numpy()).mean() > 0.999
    assert np.allclose(answer.confidence, expected["iou_predictions"].flatten(), atol=1e-5)


def test_a_path_that_ends_in_pth_is_a_checkpoint(checkpoint):
    found = load_segmenter(SamSettings(weights=str(checkpoint), device="cpu"))
    assert isinstance(found, SamCheckpoint)


class _Harmful:
    def __reduce__(self):
        return print, ("this must never run",)


def test_a_checkpoint_that_holds_code_is_refused(checkpoint, capsys):
    torch.save({"weight": _Harmful()}, checkpoint)
    with pytest.raises(BackendUnavailableError, match="no checkpoint of a vit_b"):
        SamCheckpoint(checkpoint, "vit_b", CPU)
    assert "never" not in capsys.readouterr().out


def test_a_checkpoint_of_another_size_is_refused(tmp_path):
    torch.save(small_sam().state_dict(), tmp_path / "sam.pth")
    with pytest.raises(BackendUnavailableError, match=r"vit_b.*set sam.model_type"):
        SamCheckpoint(tmp_path / "sam.pth", "vit_b", CPU)


def test_missing_weights_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(BackendUnavailableError, match=r"no checkpoint.*set sam.weights"):
        SamProposer(SamSettings(weights=str(tmp_path / "none.pth")))
    with pytest.raises(BackendUnavailableError, match=r"cannot be loaded.*set sam.weights"):
        SamProposer(SamSettings(weights=str(tmp_path / "none")))
    tiny_dino(tmp_path / "dino")
    with pytest.raises(BackendUnavailableError, match=r"type 'dinov2', expected sam, sam2"):
        SamProposer(SamSettings(weights=str(tmp_path / "dino")))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "some.pth").write_bytes(b"")
    with pytest.raises(BackendUnavailableError, match=r"segment_anything is not installed.*models"):
        SamProposer(SamSettings(weights=str(tmp_path / "some.pth")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_says_so(tmp_path: Path):
    with pytest.raises(BackendUnavailableError, match="no CUDA device"):
        SamProposer(SamSettings(weights=str(tmp_path), device="cuda"))
