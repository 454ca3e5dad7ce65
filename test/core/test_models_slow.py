"""The published networks at full size: with random weights, and with true ones where given.

KALM_SAM_WEIGHTS   a folder of SAM or SAM 2 for transformers, or sam_vit_b_01ec64.pth
KALM_DINO_WEIGHTS  a folder of DINOv2 for transformers
"""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
import torch
from real_frame import TOP_HANDLE, handle_outline, needs_real_frame, real_frame, region_around

from kalm_core.features.dino import DinoFeature, DinoSettings
from kalm_core.features.view import valid_pixels
from kalm_core.proposal.mask import intersection_over_union
from kalm_core.proposal.sam import SamProposer, SamSettings
from kalm_core.proposal.sam_checkpoint import build_sam

pytestmark = [pytest.mark.slow, needs_real_frame]
LOOSE = {"min_confidence": 0.0, "min_pixels": 10, "min_extent": 0.0, "min_inside": 0.0}
SAM, DINO = os.environ.get("KALM_SAM_WEIGHTS", ""), os.environ.get("KALM_DINO_WEIGHTS", "")


def random_sam(folder) -> str:
    from transformers import SamConfig, SamModel

    SamModel(SamConfig()).save_pretrained(folder)  # ViT-B is the default
    return str(folder)


def random_sam2(folder) -> str:
    from transformers import Sam2Config, Sam2Model

    Sam2Model(Sam2Config()).save_pretrained(folder)  # Hiera-tiny is the default
    return str(folder)


def random_checkpoint(folder) -> str:
    folder.mkdir()
    torch.save(build_sam("vit_b").state_dict(), folder / "sam.pth")
    return str(folder / "sam.pth")


@pytest.mark.parametrize("make", [random_sam, random_sam2, random_checkpoint])
def test_sam_at_full_size_segments(make, tmp_path, record_property):
    torch.manual_seed(0)
    frame = real_frame()
    region = region_around(frame, TOP_HANDLE, 0.05)
    settings = SamSettings(weights=make(tmp_path / "sam"), device="cpu", max_points=4, **LOOSE)
    proposer = SamProposer(settings)
    started = time.perf_counter()
    answer = proposer.segmenter.segment(frame.color, np.array([TOP_HANDLE, (600, 500)]))
    print(f"{make.__name__}: {time.perf_counter() - started:.1f} s for two points")
    assert answer.pixels.shape == (6, 720, 1280)
    assert np.isfinite(answer.confidence).all()
    for mask in proposer.propose(frame, region):
        assert (frame.depth[mask.pixels] > 0).all()


@pytest.mark.parametrize(("size", "channels", "heads"), [("small", 384, 6), ("base", 768, 12)])
def test_dinov2_at_full_size_describes(size, channels, heads, tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=channels, num_attention_heads=heads, image_size=518, patch_size=14
    )
    Dinov2Model(config).save_pretrained(tmp_path)
    feature = DinoFeature(DinoSettings(weights=str(tmp_path), device="cpu"))
    frame = real_frame()
    pixels = valid_pixels(frame, 5, 1.3)
    started = time.perf_counter()
    rows = feature.extract(frame, pixels)
    print(f"DINOv2-{size}: {time.perf_counter() - started:.1f} s for {len(pixels)} pixels")
    assert rows.shape == (len(pixels), channels)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)


@pytest.mark.skipif(not SAM, reason="KALM_SAM_WEIGHTS names no weights")
def test_sam_finds_the_handle():
    frame = real_frame()
    masks = SamProposer(SamSettings(weights=SAM)).propose(
        frame, region_around(frame, TOP_HANDLE, 0.09)
    )
    outline = handle_outline() & (frame.depth > 0)
    assert max(intersection_over_union(mask.pixels, outline) for mask in masks) > 0.7


@pytest.mark.skipif(not DINO, reason="KALM_DINO_WEIGHTS names no weights")
@pytest.mark.parametrize("upsampling", ["edges", "bilinear"])
def test_dinov2_tells_the_handle_from_the_drawer(upsampling):
    feature = DinoFeature(DinoSettings(weights=DINO, upsampling=upsampling))
    top = np.array([[u, 250 + round((u - 567) * 0.24)] for u in range(590, 750, 16)])
    bottom = np.array([[u, 432 + round((u - 533) * 0.25)] for u in range(555, 700, 16)])
    drawer = np.array([[u, 370 + round((u - 567) * 0.24)] for u in range(590, 750, 16)])
    handle, other, plain = (feature.extract(real_frame(), p) for p in (top, bottom, drawer))
    assert (handle @ other.T).mean() > (handle @ plain.T).mean() + 0.05
