"""Dense features of an RGB-D image, and how a set of them is built by name."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from kalm_core.errors import ConfigError
from kalm_core.features.color import ColorFeature, ColorSettings
from kalm_core.features.dino import DinoFeature, DinoSettings
from kalm_core.features.extractor import FeatureExtractor as FeatureExtractor
from kalm_core.features.extractor import unit_rows as unit_rows
from kalm_core.features.fpfh import FpfhFeature, FpfhSettings
from kalm_core.features.local import LocalFeature, LocalSettings
from kalm_core.settings import Settings

FEATURE_NAMES = ("local", "color", "fpfh", "dino")
"""Names that a configuration may use."""


class FeatureSettings(Settings):
    """Settings of every feature backend."""

    local: LocalSettings = Field(default_factory=LocalSettings, description="of `local`")
    color: ColorSettings = Field(default_factory=ColorSettings, description="of `color`")
    fpfh: FpfhSettings = Field(default_factory=FpfhSettings, description="of `fpfh`")
    dino: DinoSettings = Field(default_factory=DinoSettings, description="of `dino`")


def make_extractors(
    names: Iterable[str], settings: FeatureSettings | None = None
) -> dict[str, FeatureExtractor]:
    """Build the named extractors.

    Raises:
        BackendUnavailableError: a feature lacks its package or weights.
        ConfigError: no feature, or an unknown one, is named.
    """
    settings = settings or FeatureSettings()
    extractors: dict[str, FeatureExtractor] = {}
    for name in names:
        if name == "local":
            extractors[name] = LocalFeature(settings.local)
        elif name == "color":
            extractors[name] = ColorFeature(settings.color)
        elif name == "fpfh":
            extractors[name] = FpfhFeature(settings.fpfh)
        elif name == "dino":
            extractors[name] = DinoFeature(settings.dino)
        else:
            raise ConfigError(
                f"there is no feature backend '{name}'", f"known are {', '.join(FEATURE_NAMES)}"
            )
    if not extractors:
        raise ConfigError("no feature backend is named", f"known are {', '.join(FEATURE_NAMES)}")
    return extractors
