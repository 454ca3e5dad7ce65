"""The `geometric` masks: smooth patches between depth steps, creases and colour edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter

from kalm_core.features.facing import normals_from_points, smooth_points
from kalm_core.proposal.mask import Mask, suppress_overlaps
from kalm_core.proposal.pixel_graph import segment_graph
from kalm_core.proposal.rating import closeness
from kalm_core.proposal.region import Region
from kalm_core.rgbd import RgbdFrame
from kalm_core.settings import Settings


class GeometricSettings(Settings):
    """Settings of the `geometric` mask proposer."""

    margin: int = Field(40, ge=0, le=500, description="segmented border around the region [px]")
    depth_step: float = Field(
        0.006, ge=0.001, le=0.1, description="depth difference of weight 1 [m]"
    )
    color_step: float = Field(
        14.0, ge=1.0, le=200.0, description="colour difference of weight 1 [0-255]"
    )
    crease: float = Field(0.5, ge=0.01, le=2.0, description="change of unit normal of weight 1")
    preferences: tuple[float, ...] = Field(
        (30.0, 100.0, 400.0), description="group sizes to try, small to large [px at weight 1]"
    )
    min_pixels: int = Field(120, ge=10, le=100_000, description="smaller masks are dropped [px]")
    min_extent: float = Field(0.02, ge=0.0, le=1.0, description="shorter masks are dropped [m]")
    min_inside: float = Field(
        0.5, ge=0.0, le=1.0, description="least share of a mask inside the region"
    )
    max_iou: float = Field(
        0.7, ge=0.0, le=1.0, description="overlap above which the worse is dropped"
    )
    count: int = Field(8, ge=1, le=100, description="masks that are proposed at most")


class GeometricProposer:
    """Segments the region's surroundings at several grain sizes and ranks the parts."""

    def __init__(self, settings: GeometricSettings | None = None) -> None:
        self.settings = settings or GeometricSettings()

    def propose(self, frame: RgbdFrame, region: Region) -> list[Mask]:
        """Return masks that lie in the region, those nearest to its middle first."""
        s = self.settings
        rows, columns = np.nonzero(region.mask)
        if len(rows) == 0:
            return []
        top, left = max(int(rows.min()) - s.margin, 0), max(int(columns.min()) - s.margin, 0)
        crop = (slice(top, int(rows.max()) + s.margin), slice(left, int(columns.max()) + s.margin))
        points = frame.points_base()
        masks = []
        for labels in self._segmentations(frame, crop):
            for label in range(int(labels.max()) + 1):
                pixels = np.zeros(frame.depth.shape, bool)
                pixels[crop] = labels == label
                mask = self._judge(pixels, points, region)
                if mask is not None:
                    masks.append(mask)
        return suppress_overlaps(masks, s.max_iou)[: s.count]

    def _segmentations(
        self, frame: RgbdFrame, crop: tuple[slice, slice]
    ) -> list[NDArray[np.int64]]:
        """Return label images of the crop, one per preference; -1 where depth is missing."""
        s = self.settings
        depth = frame.depth[crop]
        valid = depth > 0
        color = gaussian_filter(frame.color.astype(np.float32), (1.0, 1.0, 0))[crop]
        normal = normals_from_points(smooth_points(frame, 5), 3)[crop]
        index = np.full(depth.shape, -1, np.int64)
        index[valid] = np.arange(valid.sum())
        first, second, weight = [], [], []
        for axis, reach in ((0, 1), (1, 1), (0, 2), (1, 2)):  # two pixels reach over thin holes
            a = tuple(slice(None, -reach) if k == axis else slice(None) for k in range(2))
            b = tuple(slice(reach, None) if k == axis else slice(None) for k in range(2))
            both = valid[a] & valid[b]
            step = np.abs(depth[a] - depth[b]) / s.depth_step
            tint = np.abs(color[a] - color[b]).max(axis=-1) / s.color_step
            bend = np.nan_to_num(np.linalg.norm(normal[a] - normal[b], axis=-1)) / s.crease
            first.append(index[a][both])
            second.append(index[b][both])
            weight.append(np.maximum(np.maximum(step, tint), bend)[both])
        results = []
        for preference in s.preferences:
            groups = segment_graph(
                np.concatenate(first),
                np.concatenate(second),
                np.concatenate(weight),
                int(valid.sum()),
                preference,
            )
            labels = np.full(depth.shape, -1, np.int64)
            labels[valid] = groups
            results.append(labels)
        return results

    def _judge(
        self, pixels: NDArray[np.bool_], points: NDArray[np.float32], region: Region
    ) -> Mask | None:
        """Score a mask by its closeness to the region's middle; None when it is degenerate."""
        s = self.settings
        score = closeness(
            pixels,
            points,
            region,
            min_pixels=s.min_pixels,
            min_inside=s.min_inside,
            min_extent=s.min_extent,
        )
        return None if score is None else Mask(pixels, score)
