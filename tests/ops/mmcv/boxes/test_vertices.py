"""The order of vertices: areas of polygons, however their corners are mixed."""

import math

import torch

from mmopt.ops.mmcv.boxes.vertices import ordered_vertices


def area(points: torch.Tensor, order: torch.Tensor) -> float:
    x, y = points[order.long()].T
    return abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum().item()) / 2


def test_polygons_have_their_area_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        count = 3 + seed % 6
        angles = (torch.arange(count) + torch.rand(count, generator=rng) * 0.8) * 2 * math.pi / count
        corners = torch.stack([angles.cos(), angles.sin()], dim=1) * 5
        places = torch.randperm(23, generator=rng)[:count]
        points, is_vertex = torch.zeros(24, 2), torch.zeros(24, dtype=torch.bool)
        points[places], is_vertex[places] = corners, True
        # Corners that do not count are somewhere; intersections that do not count are 0.
        points[:8] = torch.where(is_vertex[:8, None], points[:8], torch.randn(8, 2, generator=rng))
        (order,) = ordered_vertices(points[None, None], is_vertex[None, None])[0]
        expected = area(corners, torch.tensor([*range(count), 0]))
        assert math.isclose(area(points, order), expected, rel_tol=1e-5), seed
        assert sorted(order[:count].tolist()) == sorted(places.tolist())
        assert (order[count + 1 :] >= 8).all()
        assert not is_vertex[order[count + 1 :].long()].any()


def test_corners_that_are_the_same_add_no_area():
    square = torch.tensor([[1.0, 1], [-1, 1], [-1, -1], [1, -1]])
    points = torch.cat([square, square, torch.zeros(16, 2)])
    is_vertex = torch.arange(24) < 8
    (order,) = ordered_vertices(points[None, None], is_vertex[None, None])[0]
    assert area(points, order) == 4


def test_fewer_than_three_vertices_are_no_polygon():
    points = torch.full((1, 1, 24, 2), torch.nan)
    is_vertex = torch.zeros(1, 1, 24, dtype=torch.bool)
    assert (ordered_vertices(points, is_vertex) == 8).all()
    is_vertex[..., [0, 8]] = True
    assert (ordered_vertices(points.nan_to_num(1.0), is_vertex) == 9).all()


def test_more_than_eight_vertices_are_those_of_a_polygon_with_some_twice():
    angles = torch.arange(8) * math.pi / 4
    corners = torch.stack([angles.cos(), angles.sin()], dim=1)
    noise = torch.randn(12, 2, generator=torch.Generator().manual_seed(0)) * 1e-5
    points = torch.cat([corners, corners.repeat(2, 1)[:12] + noise, torch.zeros(4, 2)])
    is_vertex = torch.arange(24) < 20
    (order,) = ordered_vertices(points[None, None], is_vertex[None, None])[0]
    assert math.isclose(area(points, order), 2 * math.sqrt(2), rel_tol=1e-4)
