"""Neighbors and gathered features of points against loops over points."""

import pytest
import torch

from mmopt.ops.mmcv.points import (
    ball_query,
    farthest_points,
    farthest_points_by_distance,
    gather_columns,
    nearest,
    scatter_columns_back,
    weighted_columns,
    weighted_columns_back,
)


def random_clouds(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Centers and points on a coarse grid, so that many distances are equal."""
    rng = torch.Generator().manual_seed(seed)
    centers = torch.randint(0, 4, (1 + seed % 2, 1 + seed % 3, 3), generator=rng).float()
    return centers, torch.randint(0, 4, (len(centers), 1 + seed % 7, 3), generator=rng).float()


def squared(one: torch.Tensor, other: torch.Tensor) -> float:
    return sum((a - b) ** 2 for a, b in zip(one.tolist(), other.tolist(), strict=True))


def test_the_nearest_points_equal_the_loop_on_200_random_cases():
    for seed in range(200):
        centers, points = random_clouds(seed)
        distances, number = nearest(centers, points, 3)
        for b in range(len(centers)):
            for m, center in enumerate(centers[b]):
                order = sorted((squared(center, point), n) for n, point in enumerate(points[b]))[:3]
                expected = order + [(torch.finfo(torch.float32).max, 0)] * (3 - len(order))
                assert list(zip(distances[b, m].tolist(), number[b, m].tolist(), strict=True)) == expected


def test_shells_equal_the_loop_on_200_random_cases():
    for seed in range(200):
        centers, points = random_clouds(seed)
        low, high, count = (0.0, 1.0)[seed % 2], (1.5, 2.0)[seed // 2 % 2], 1 + seed % 5
        number = ball_query(centers, points, low, high, count)
        for b in range(len(centers)):
            for m, center in enumerate(centers[b]):
                distances = [squared(center, point) for point in points[b]]
                found = [n for n, d in enumerate(distances) if d == 0 or low**2 <= d < high**2][:count]
                expected = found + [found[0] if found else 0] * (count - len(found))
                assert number[b, m].tolist() == expected


def test_the_farthest_points_equal_the_loop_on_200_random_cases():
    for seed in range(200):
        points = torch.rand(1 + seed % 2, 4 + seed % 7, 3, generator=torch.Generator().manual_seed(seed))
        pairs = torch.tensor([[[squared(one, other) for other in cloud] for one in cloud] for cloud in points])
        expected = []
        for distances in pairs.tolist():
            picked, near = [0], distances[0]
            while len(picked) < 4:
                picked.append(near.index(max(near)))
                near = [min(a, b) for a, b in zip(near, distances[picked[-1]], strict=True)]
            expected.append(picked)
        assert farthest_points(points, 4).tolist() == expected
        assert farthest_points_by_distance(pairs, 4).tolist() == expected


@pytest.mark.parametrize('shape', [(3,), (2, 4)])
def test_gathered_features_and_their_gradients_equal_indexing(shape):
    features = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    number = torch.randint(0, 5, (2, *shape), dtype=torch.int32)
    gathered = torch.stack([features[b][:, number[b].long()] for b in range(2)])
    assert torch.equal(gather_columns(features, number), gathered)
    grad = torch.randn_like(gathered)
    (expected,) = torch.autograd.grad(gathered, features, grad)
    torch.testing.assert_close(scatter_columns_back(grad, number, 5), expected)


def test_weighted_features_and_their_gradients_equal_indexing():
    features = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    number, weight = torch.randint(0, 5, (2, 4, 3), dtype=torch.int32), torch.rand(2, 4, 3, dtype=torch.float64)
    expected = torch.stack([(features[b][:, number[b].long()] * weight[b]).sum(dim=2) for b in range(2)])
    torch.testing.assert_close(weighted_columns(features, number, weight), expected)
    grad = torch.randn_like(expected)
    (expected_grad,) = torch.autograd.grad(expected, features, grad)
    torch.testing.assert_close(weighted_columns_back(grad, number, weight, 5), expected_grad)
