"""RoIAlign against a literal reference: every sample of every cell by itself, in float64."""

import math

import pytest
import torch
from torch import Tensor

from mmopt.ops.mmcv import chunks
from mmopt.ops.mmcv.regions.grid import RoIGrid
from mmopt.ops.mmcv.regions.roi_align import (
    roi_align,
    roi_align_backward,
    roi_align_max,
    roi_align_max_backward,
)


def corners_of(y: float, x: float, height: int, width: int) -> list[tuple[int, int, float]]:
    """Return (row, column, weight) of a bilinear sample; none where it lies outside by more than a pixel."""
    if y < -1 or y > height or x < -1 or x > width:
        return []
    y, x = max(y, 0.0), max(x, 0.0)
    top, left = min(int(y), height - 1), min(int(x), width - 1)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy = y - top if top < height - 1 else 0.0
    dx = x - left if left < width - 1 else 0.0
    return [
        (top, left, (1 - dy) * (1 - dx)),
        (top, right, (1 - dy) * dx),
        (bottom, left, dy * (1 - dx)),
        (bottom, right, dy * dx),
    ]


def reference(features: Tensor, rois: Tensor, grid: RoIGrid, grad: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """Return the pooled features and the gradient for the features."""
    channels, height, width = features.shape[1:]
    pooled = torch.zeros(len(rois), channels, grid.height, grid.width, dtype=torch.float64)
    grad_in = torch.zeros_like(features)
    offset = 0.5 if grid.aligned else 0.0
    for r, roi in enumerate(rois.tolist()):
        picture = int(roi[0])
        left, top, right, bottom = (value * grid.spatial_scale - offset for value in roi[1:])
        roi_height, roi_width = bottom - top, right - left
        if not grid.aligned:
            roi_height, roi_width = max(roi_height, 1.0), max(roi_width, 1.0)
        cell_height, cell_width = roi_height / grid.height, roi_width / grid.width
        rows = grid.sampling_ratio or max(math.ceil(cell_height), 0)
        columns = grid.sampling_ratio or max(math.ceil(cell_width), 0)
        for ph in range(grid.height):
            for pw in range(grid.width):
                samples = [
                    corners_of(
                        top + ph * cell_height + (i + 0.5) * cell_height / rows,
                        left + pw * cell_width + (j + 0.5) * cell_width / columns,
                        height,
                        width,
                    )
                    for i in range(rows)
                    for j in range(columns)
                ]
                for c in range(channels):
                    values = [sum(w * features[picture, c, y, x].item() for y, x, w in sample) for sample in samples]
                    if not values:
                        continue
                    if mode == 'avg':
                        pooled[r, c, ph, pw] = sum(values) / len(values)
                        used = [(corner, 1 / len(values)) for sample in samples for corner in sample]
                    else:
                        pooled[r, c, ph, pw] = max(values)
                        used = [(corner, 1.0) for corner in samples[values.index(max(values))]]
                    for (y, x, weight), share in used:
                        grad_in[picture, c, y, x] += grad[r, c, ph, pw] * weight * share
    return pooled, grad_in


def random_case(seed: int) -> tuple[Tensor, Tensor, RoIGrid, Tensor]:
    """Regions of all kinds: inside, partly and wholly outside, without area, inside out, larger than the map."""
    rng = torch.Generator().manual_seed(seed)
    height, width = torch.randint(1, 7, (2,), generator=rng).tolist()
    batch, channels, num_rois = torch.randint(1, 3, (3,), generator=rng).tolist()
    scale = (1.0, 0.5, 0.25)[seed % 3]
    # Multiples of an eighth are exact, so that the reference in float64 counts the same samples.
    corners = torch.randint(-24, 72, (num_rois, 4), generator=rng) / 8 / scale
    if seed % 4:
        corners = torch.cat([corners[:, :2], corners[:, :2] + (corners[:, 2:] / 3).abs().round()], dim=1)
    if seed % 5 == 0:
        corners[0, 2:] = corners[0, :2]
    picture = torch.randint(0, batch, (num_rois, 1), generator=rng)
    grid = RoIGrid(1 + seed % 2, (1, 2, 4)[seed // 2 % 3], scale, (0, 0, 1, 2)[seed % 4], aligned=seed % 7 < 4)
    features = torch.randn(batch, channels, height, width, generator=rng, dtype=torch.float64)
    grad = torch.randn(num_rois, channels, grid.height, grid.width, generator=rng, dtype=torch.float64)
    return features, torch.cat([picture, corners], dim=1), grid, grad


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_pooled_features_and_gradients_equal_the_reference_on_200_random_cases(mode):
    for seed in range(200):
        features, rois, grid, grad = random_case(seed)
        expected, expected_grad = reference(features, rois.double(), grid, grad, mode)
        if mode == 'avg':
            pooled = roi_align(features.float(), rois, grid)
            grad_in = roi_align_backward(grad.float(), rois, grid, features.shape)
        else:
            pooled, *which = roi_align_max(features.float(), rois, grid)
            grad_in = roi_align_max_backward(grad.float(), *which, rois, grid, features.shape)
        both, expected_both = (pooled, grad_in), (expected.float(), expected_grad.float())
        torch.testing.assert_close(
            both, expected_both, rtol=1e-5, atol=1e-5, msg=lambda text, case=(seed, grid): f'{case}: {text}'
        )


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_chunks_of_regions_change_nothing(mode, monkeypatch):
    features = torch.randn(2, 3, 20, 30)
    rois = torch.cat([torch.randint(0, 2, (40, 1)), torch.rand(40, 4) * 12], dim=1)
    rois[:, 3:] += rois[:, 1:3]
    grid = RoIGrid(3, 2, 1.0, 0, aligned=True)
    pool = roi_align if mode == 'avg' else (lambda *args: roi_align_max(*args)[0])
    whole = pool(features, rois, grid)
    monkeypatch.setattr(chunks, 'MAX_NUMBERS', 2000)
    torch.testing.assert_close(pool(features, rois, grid), whole)


def test_no_region_gives_an_empty_result_and_no_gradient():
    grid = RoIGrid(7, 7, 1.0, 0, aligned=True)
    features, rois = torch.randn(1, 4, 5, 5), torch.zeros(0, 5)
    assert roi_align(features, rois, grid).shape == (0, 4, 7, 7)
    assert not roi_align_backward(torch.zeros(0, 4, 7, 7), rois, grid, features.shape).any()
    assert roi_align_max(features, rois, grid)[0].shape == (0, 4, 7, 7)


def test_regions_that_are_not_finite_give_zeros():
    features, grid = torch.randn(1, 2, 5, 5), RoIGrid(2, 2, 1.0, 0, aligned=True)
    rois = torch.tensor([[0, torch.nan, 1, 2, 3], [0, 1, 1, torch.inf, 3], [0, 1, 1, 4, 4]])
    pooled = roi_align(features, rois, grid)
    assert not pooled[:2].any()
    assert pooled[2].any()


def test_half_precision_is_rounded_once_and_strides_do_not_matter():
    features = torch.randn(2, 6, 9, 8).permute(0, 1, 3, 2)
    rois = torch.tensor([[0, 0.5, 1, 6, 7], [1, 2, 2, 3, 8.5]])
    grid = RoIGrid(3, 3, 1.0, 0, aligned=True)
    half = features.half()
    expected = roi_align(half.float().contiguous(), rois, grid)
    assert torch.equal(roi_align(half, rois, grid), expected.half())
    grad = torch.randn(expected.shape).half()
    expected_grad = roi_align_backward(grad.float(), rois, grid, features.shape)
    assert torch.equal(roi_align_backward(grad, rois, grid, features.shape), expected_grad.half())
