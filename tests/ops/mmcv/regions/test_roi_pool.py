"""RoI pooling against a literal reference: the pixels of each cell one by one."""

import math

import pytest
import torch

from mmopt.ops.mmcv import chunks
from mmopt.ops.mmcv.regions.roi_pool import roi_pool, roi_pool_backward


def reference(features, rois, cells, scale, grad):
    channels, height, width = features.shape[1:]
    pooled, grad_in = torch.zeros(len(rois), channels, *cells), torch.zeros_like(features)
    for r, (picture, left, top, right, bottom) in enumerate(rois.tolist()):
        sizes = (bottom + 1 - top) * scale / cells[0], (right + 1 - left) * scale / cells[1]
        if min(sizes) <= 0:
            continue
        for ph in range(cells[0]):
            for pw in range(cells[1]):
                rows = range(
                    max(math.floor(ph * sizes[0] + top * scale), 0),
                    min(math.ceil((ph + 1) * sizes[0] + top * scale), height),
                )
                columns = range(
                    max(math.floor(pw * sizes[1] + left * scale), 0),
                    min(math.ceil((pw + 1) * sizes[1] + left * scale), width),
                )
                for c in range(channels):
                    values = {(y, x): features[int(picture), c, y, x].item() for y in rows for x in columns}
                    if values:
                        best = max(values, key=values.get)
                        pooled[r, c, ph, pw] = values[best]
                        grad_in[int(picture), c, *best] += grad[r, c, ph, pw]
    return pooled, grad_in


def random_case(seed):
    rng = torch.Generator().manual_seed(seed)
    height, width = torch.randint(1, 8, (2,), generator=rng).tolist()
    batch, channels, num_rois = torch.randint(1, 3, (3,), generator=rng).tolist()
    cells, scale = (1 + seed % 2, (1, 2, 4)[seed // 2 % 3]), (1.0, 0.5, 0.25)[seed % 3]
    corners = torch.randint(-3, 9, (num_rois, 2), generator=rng)
    corners = torch.cat([corners, corners + torch.randint(-2, 8, corners.shape, generator=rng)], dim=1) / scale
    rois = torch.cat([torch.randint(0, batch, (num_rois, 1), generator=rng), corners], dim=1)
    features = torch.randn(batch, channels, height, width, generator=rng)
    return features, rois, cells, scale, torch.randn(num_rois, channels, *cells, generator=rng)


def test_pooled_features_and_gradients_equal_the_reference_on_200_random_cases():
    for seed in range(200):
        features, rois, cells, scale, grad = random_case(seed)
        expected, expected_grad = reference(features, rois, cells, scale, grad)
        pooled, pixel = roi_pool(features, rois, cells, scale)
        assert torch.equal(pooled, expected), seed
        grad_in = roi_pool_backward(grad, pixel, rois, features.shape)
        torch.testing.assert_close(grad_in, expected_grad, rtol=1e-5, atol=1e-5)


def test_hand_computed_maxima():
    features = torch.arange(16.0).view(1, 1, 4, 4)
    pooled, pixel = roi_pool(features, torch.tensor([[0.0, 0, 0, 3, 3]]), (2, 2), 1.0)
    assert pooled.flatten().tolist() == pixel.flatten().tolist() == [5, 7, 13, 15]


def test_no_region_and_one_that_is_not_finite_give_nothing():
    features = torch.randn(1, 2, 5, 5)
    assert roi_pool(features, torch.zeros(0, 5), (7, 7), 1.0)[0].shape == (0, 2, 7, 7)
    pooled, pixel = roi_pool(features, torch.tensor([[0, torch.nan, 1, 2, 3]]), (2, 2), 1.0)
    assert not pooled.any()
    assert (pixel == -1).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_chunks_half_precision_and_strides_change_nothing(dtype, monkeypatch):
    features = torch.randn(2, 3, 20, 30).to(dtype).transpose(2, 3)
    corners = torch.rand(30, 2) * 20
    rois = torch.cat([torch.randint(0, 2, (30, 1)), corners, corners + torch.rand(30, 2) * 12], dim=1)
    expected = roi_pool(features.float().contiguous(), rois, (3, 2), 1.0)
    monkeypatch.setattr(chunks, 'MAX_NUMBERS', 2000)
    pooled, pixel = roi_pool(features, rois, (3, 2), 1.0)
    assert torch.equal(pooled, expected[0].to(dtype))
    assert torch.equal(pixel, expected[1])
