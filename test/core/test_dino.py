from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from cabinet_scene import make_demonstration
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_dino, tiny_sam

from kalm_core.correspondence import CorrespondenceSettings, KeypointDetector
from kalm_core.distillation_settings import detection_as_learned
from kalm_core.errors import BackendUnavailableError
from kalm_core.features import FeatureSettings, make_extractors
from kalm_core.features.dino import DinoFeature, DinoSettings
from kalm_core.features.upsampling import BilinearUpsampler, EdgeUpsampler
from kalm_core.pretrained import model_input
from kalm_core.rgbd import Intrinsics, RgbdFrame

EDGES = EdgeUpsampler(25.0, 0.03)


def frame_of(color: np.ndarray, depth: np.ndarray) -> RgbdFrame:
    height, width = depth.shape
    k = Intrinsics(width, height, 100.0, 100.0, width / 2, height / 2)
    return RgbdFrame(color.astype(np.uint8), depth.astype(np.float32), k, np.eye(4))


def all_pixels(frame: RgbdFrame) -> np.ndarray:
    v, u = np.indices(frame.depth.shape)
    return np.stack([u.ravel(), v.ravel()], axis=1)


def random_frame(seed: int, height: int = 30, width: int = 44) -> RgbdFrame:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.3, 1.0, (height, width)) * (rng.random((height, width)) > 0.2)
    return frame_of(rng.integers(0, 255, (height, width, 3)), depth)


def sampled(upsampler, patches: np.ndarray, frame: RgbdFrame) -> np.ndarray:
    tensor = torch.from_numpy(patches.astype(np.float32))
    return upsampler.sample(tensor, torch.zeros(1), frame, all_pixels(frame))


@pytest.mark.parametrize("upsampler", [EDGES, BilinearUpsampler()], ids=["edges", "bilinear"])
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9))
def test_what_is_constant_stays_constant(upsampler, seed, rows, columns):
    frame = random_frame(seed)
    patches = np.tile(np.array([1.0, -2.0, 0.5])[:, None, None], (1, rows, columns))
    assert np.allclose(sampled(upsampler, patches, frame), [1.0, -2.0, 0.5], atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_nothing_is_invented_beyond_the_patches(seed):
    frame = random_frame(seed)
    patches = np.random.default_rng(seed).normal(size=(4, 5, 7))
    fine = sampled(EDGES, patches, frame)
    assert (fine.max(axis=0) <= patches.max(axis=(1, 2)) + 1e-5).all()
    assert (fine.min(axis=0) >= patches.min(axis=(1, 2)) - 1e-5).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_image_has_mirrored_features(axis):
    frame = random_frame(3)
    patches = np.random.default_rng(3).normal(size=(4, 5, 7))
    mirrored = frame_of(np.flip(frame.color, axis), np.flip(frame.depth, axis))
    size = (*frame.depth.shape, 4)
    a = sampled(EDGES, patches, frame).reshape(size)
    b = sampled(EDGES, np.flip(patches, axis + 1).copy(), mirrored).reshape(size)
    assert np.allclose(a, np.flip(b, axis), atol=1e-4)


@pytest.mark.parametrize("cue", ["color", "depth"])
def test_edges_are_kept_where_bilinear_blurs_them(cue):
    width, height, cell = 80, 40, 10
    right = np.zeros((height, width), bool)
    right[:, 43:] = True  # inside the fifth patch, which shows both sides
    color = np.where(right[..., None] & (cue == "color"), [200, 60, 30], [40, 80, 160])
    depth = np.where(right & (cue == "depth"), 0.9, 0.5)
    share = right.reshape(height // cell, cell, width // cell, cell).mean(axis=(1, 3))
    frame = frame_of(color, depth)
    error = {
        kind: np.abs(sampled(upsampler, share[None], frame)[:, 0] - right.ravel())
        for kind, upsampler in (("edges", EDGES), ("bilinear", BilinearUpsampler()))
    }
    near = np.abs(all_pixels(frame)[:, 0] - 43) < cell
    assert error["edges"][near].mean() < 0.5 * error["bilinear"][near].mean()
    assert error["edges"][~near].max() < 0.05


def test_a_pixel_unlike_everything_around_still_has_a_feature():
    color = np.zeros((40, 40, 3))
    color[20, 20] = 255
    fine = sampled(EDGES, np.full((2, 4, 4), 3.0), frame_of(color, np.zeros((40, 40))))
    assert np.allclose(fine, 3.0, atol=1e-4)


@pytest.fixture(scope="module")
def frame():
    return make_demonstration(1, scale=0.5)[0].initial


@pytest.fixture(scope="module", params=[0, 4], ids=["plain", "registers"])
def weights(request, tmp_path_factory):
    return str(tiny_dino(tmp_path_factory.mktemp("weights"), request.param))


def dino(weights: str, **options) -> DinoFeature:
    options = {"input_size": 224, "device": "cpu", **options}
    return DinoFeature(DinoSettings(weights=weights, **options))


@pytest.mark.parametrize("upsampling", ["edges", "bilinear"])
def test_rows_are_unit_and_repeatable(frame, weights, upsampling):
    feature = dino(weights, upsampling=upsampling)
    pixels = np.random.default_rng(0).integers(0, [320, 240], (300, 2))
    rows = feature.extract(frame, pixels)
    assert rows.shape == (300, feature.dimension) == (300, 24)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert (rows == feature.extract(frame, pixels)).all()
    assert (rows == dino(weights, upsampling=upsampling).extract(frame, pixels)).all()
    assert np.allclose(rows[7:9], feature.extract(frame, pixels[7:9]), atol=1e-5)
    assert feature.extract(frame, pixels[:0]).shape == (0, 24)


def test_a_pixel_at_a_patchs_centre_has_the_patchs_token(weights):
    rng = np.random.default_rng(0)
    color = np.kron(rng.integers(0, 255, (4, 6, 3)), np.ones((14, 14, 1)))
    frame = frame_of(color, np.ones((56, 84)))
    feature = dino(weights, input_size=84, upsampling="bilinear")
    image = model_input(frame.color, (56, 84), torch.device("cpu"))
    with torch.no_grad():
        tokens = feature._model(pixel_values=image).last_hidden_state[0].numpy()
    tokens = tokens[-4 * 6 :] / np.linalg.norm(tokens[-4 * 6 :], axis=1, keepdims=True)
    around = np.array([[u, v] for u in (48, 49) for v in (34, 35)])  # of the patch in row 2, 3
    similarity = tokens @ feature.extract(frame, around).mean(axis=0)
    assert similarity.argmax() == 2 * 6 + 3
    assert similarity.max() > 0.99


def test_features_are_those_of_the_place_and_not_of_the_list(frame, weights):
    feature = dino(weights)
    pixels = np.random.default_rng(1).integers(0, [320, 240], (50, 2))
    order = np.random.default_rng(2).permutation(50)
    assert np.allclose(
        feature.extract(frame, pixels)[order], feature.extract(frame, pixels[order]), atol=1e-6
    )


def test_the_score_is_equation_3(frame, weights):
    features = FeatureSettings(dino=DinoSettings(weights=weights, device="cpu", input_size=112))
    shares = {"dino": 0.75, "fpfh": 0.25}
    detector = KeypointDetector(
        CorrespondenceSettings(weights=shares, features=features, stride=12)
    )
    view = detector.view(frame)
    reference = {name: rows[:3] for name, rows in view.features.items()}
    expected = sum(shares[name] * view.features[name] @ reference[name].T for name in shares)
    assert np.allclose(detector.score(view, reference), expected, atol=1e-5)


class _Bilinear(torch.nn.Module):
    """Any learned upsampler, as far as its signature goes."""

    def forward(self, image: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(
            features, image.shape[-2:], mode="bilinear", align_corners=False
        )


class _Pooled(torch.nn.Module):
    def forward(self, image: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return features.mean(dim=(2, 3))


class _Undefined(torch.nn.Module):
    def forward(self, image: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return features / 0.0


def exported(module: torch.nn.Module, path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # see LearnedUpsampler
        torch.jit.script(module).save(str(path))
    return str(path)


def test_an_exported_upsampler_is_used(frame, weights, tmp_path):
    path = exported(_Bilinear(), tmp_path / "upsampler.pt")
    pixels = np.random.default_rng(0).integers(10, [310, 230], (200, 2))
    learned = dino(weights, upsampling="learned", upsampler_weights=path)
    plain = dino(weights, upsampling="bilinear")
    similarity = (learned.extract(frame, pixels) * plain.extract(frame, pixels)).sum(axis=1)
    assert similarity.min() > 0.98


def test_a_skill_does_not_say_which_program_runs(tmp_path):
    dino = {"upsampling": "learned", "upsampler_weights": str(tmp_path / "of_the_skill.pt")}
    perception = {"correspondence": {"weights": {"dino": 1.0}, "features": {"dino": dino}}}
    learned = detection_as_learned(perception, "copied")
    assert learned.features.dino.upsampler_weights == ""
    assert learned.features.dino.upsampling == "learned"  # and fails for want of a program
    mine = FeatureSettings(dino=DinoSettings(upsampler_weights="mine.pt"))
    own = CorrespondenceSettings(features=mine)
    learned = detection_as_learned(perception, "copied", own)
    assert learned.features.dino.upsampler_weights == "mine.pt"


@pytest.mark.parametrize(
    ("module", "problem"),
    [(_Pooled(), r"answers \(1, 24\), expected \(1, 24, H', W'\)"), (_Undefined(), "not finite")],
)
def test_an_upsampler_of_another_form_is_refused(frame, weights, tmp_path, module, problem):
    path = exported(module, tmp_path / "upsampler.pt")
    feature = dino(weights, upsampling="learned", upsampler_weights=path)
    with pytest.raises(BackendUnavailableError, match=problem):
        feature.extract(frame, np.array([[3, 4]]))


def test_what_is_missing_is_named_with_its_remedy(tmp_path):
    with pytest.raises(BackendUnavailableError, match=r"cannot be loaded.*set dino.weights"):
        make_extractors(["dino"], FeatureSettings(dino=DinoSettings(weights=str(tmp_path / "no"))))
    with pytest.raises(BackendUnavailableError, match=r"type 'sam', expected dinov2"):
        dino(str(tiny_sam(tmp_path / "sam")))
    with pytest.raises(BackendUnavailableError, match=r"no upsampler.*upsampling to edges"):
        dino("", upsampling="learned", upsampler_weights=str(tmp_path / "none.pt"))
    (tmp_path / "bad.pt").write_bytes(b"something else")
    with pytest.raises(BackendUnavailableError, match="no TorchScript"):
        dino("", upsampling="learned", upsampler_weights=str(tmp_path / "bad.pt"))


def test_weights_that_are_pickled_are_refused(tmp_path):
    folder = tiny_dino(tmp_path / "dino")
    state = torch.zeros(3)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": state}, folder / "pytorch_model.bin")
    with pytest.raises(BackendUnavailableError, match="cannot be loaded"):
        dino(str(folder))
