"""Weighted sums of rows against indexing, and what they cost."""

import torch

from mmopt.ops.mmcv.weighted_rows import add_weighted_rows, weighted_rows


def test_sums_and_gradients_equal_those_of_indexing():
    table = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    for rows in (torch.randint(0, 7, (5, 4)), torch.zeros(5, 4, dtype=torch.int32)):
        assert torch.autograd.gradcheck(lambda t, w, r=rows: weighted_rows(t, r, w), (table, weights))
        expected = (table[rows.long()] * weights[..., None]).sum(dim=1)
        torch.testing.assert_close(weighted_rows(table, rows, weights), expected)


def test_nothing_sums_to_nothing_and_flows_nowhere():
    table, empty = torch.randn(4, 2), torch.zeros(0, 3)
    assert weighted_rows(table, empty.int(), empty).shape == (0, 2)
    assert not add_weighted_rows(torch.zeros(0, 2), empty.int(), empty, 4).any()


def test_the_samples_are_never_laid_out():
    table, rows = torch.randn(500, 64, requires_grad=True), torch.randint(0, 500, (2000, 25)).int()
    weights = torch.rand(2000, 25, requires_grad=True)
    with torch.profiler.profile(profile_memory=True) as profile:
        weighted_rows(table, rows, weights).sum().backward()
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert largest < 4 * rows.numel() * 64 / 8
