"""Losses against slow literal ones, and what they cost."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmopt.models.segmentation.losses import (
    EDGE_BIT,
    NEAR_BIT,
    count_regions,
    enlarge,
    hard_pixel_mean,
    kth_largest,
    pixel_cross_entropy,
    region_sum,
)


def literal_ohem(loss: torch.Tensor, valid: torch.Tensor, threshold: float, share: float) -> float:
    values = sorted(loss[valid].tolist(), reverse=True)
    hard = [value for value in values if value > -math.log(threshold)]
    at_least = max(int(len(values) * share), 1)
    kept = hard if len(hard) >= at_least else values[:at_least]
    return sum(kept) / len(kept)


@pytest.mark.parametrize('scale', [0.05, 0.3, 1.0, 5.0])
def test_hard_pixels_are_those_of_a_sorted_list(scale):
    loss = scale * torch.rand(2, 9, 11) ** 3
    valid = torch.rand(2, 9, 11) < 0.7
    loss = loss * valid
    got = hard_pixel_mean(loss, valid, 0.7, 1 / 16)
    assert got.item() == pytest.approx(literal_ohem(loss, valid, 0.7, 1 / 16), rel=1e-5)


def test_two_hard_pixels_of_hand_computed_losses():
    """-log 0.7 = 0.357: two of four are above; with a share of 3/4 the third counts, too."""
    loss = torch.tensor([[[0.1, 0.3, 0.5, 0.9]]])
    valid = torch.ones(1, 1, 4, dtype=torch.bool)
    assert hard_pixel_mean(loss, valid, 0.7, 0.25).item() == pytest.approx(0.7)
    assert hard_pixel_mean(loss, valid, 0.7, 0.75).item() == pytest.approx(1.7 / 3)


def test_equal_losses_at_the_limit_share_what_is_left():
    loss = torch.tensor([[[0.2, 0.2, 0.2, 0.3]]], requires_grad=True)
    mean = hard_pixel_mean(loss, torch.ones(1, 1, 4, dtype=torch.bool), 0.7, 0.5)
    mean.backward()
    assert mean.item() == pytest.approx(0.25)
    assert loss.grad.flatten().tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_a_label_without_a_valid_pixel_gives_no_loss():
    loss = torch.zeros(1, 4, 4, requires_grad=True)
    mean = hard_pixel_mean(loss, torch.zeros(1, 4, 4, dtype=torch.bool), 0.7, 1 / 16)
    mean.backward()
    assert mean.item() == 0.0
    assert torch.isfinite(loss.grad).all()


@pytest.mark.parametrize('k', [1, 2, 50, 100])
def test_the_kth_largest_value_is_that_of_a_sorted_list(k):
    values = torch.rand(100) * 10 ** torch.randint(-30, 3, (100,)).float()
    values[:10] = 0.0
    assert kth_largest(values, torch.tensor(k)) == values.sort(descending=True).values[k - 1]


def test_logits_are_enlarged_and_ignored_pixels_cost_nothing():
    logits, label = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 16, 20))
    label[:, :5] = 255
    large = F.interpolate(logits, (16, 20), mode='bilinear', align_corners=False)
    want = F.cross_entropy(large, label, ignore_index=255, reduction='none')
    got = pixel_cross_entropy(logits, label)
    torch.testing.assert_close(got, want)
    assert not got[:, :5].any()


class SoftmaxLayouts(TorchDispatchMode):
    """Note whether the inputs of log-softmax lie class by class."""

    def __init__(self) -> None:
        super().__init__()
        self.contiguous = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._log_softmax.default:
            self.contiguous.append(args[0].is_contiguous())
        return func(*args, **(kwargs or {}))


def test_channels_last_logits_are_laid_out_for_the_softmax_before_they_are_enlarged():
    """Else the enlarged ones keep the layout, in which a CPU takes a multiple of the time."""
    logits, label = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 16, 20))
    with SoftmaxLayouts() as layouts:
        got = pixel_cross_entropy(logits.contiguous(memory_format=torch.channels_last), label)
    assert layouts.contiguous == [True]
    assert torch.equal(got, pixel_cross_entropy(logits, label))


class Kept(torch.autograd.graph.saved_tensors_hooks):
    """Count the bytes that a forward pass keeps for backward."""

    def __init__(self) -> None:
        self.num_bytes = 0
        super().__init__(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        self.num_bytes += tensor.numel() * tensor.element_size()
        return tensor


def test_recomputed_logits_give_the_same_gradients_and_keep_a_tenth():
    label = torch.randint(0, 19, (2, 64, 64))
    grads, kept = [], []
    for recompute in (False, True):
        torch.manual_seed(0)
        logits = torch.randn(2, 19, 8, 8, requires_grad=True)
        counter = Kept()
        with counter:
            loss = pixel_cross_entropy(logits, label, recompute=recompute).mean()
        loss.backward()
        grads.append(logits.grad)
        kept.append(counter.num_bytes)
    assert torch.equal(*grads)
    assert kept[1] < 0.15 * kept[0]


def test_regions_are_bits_of_one_map():
    loss = torch.arange(1.0, 5.0).view(1, 2, 2)
    regions = torch.tensor([[[0b00, 0b10], [0b11, 0b11]]], dtype=torch.uint8)
    valid = torch.tensor([[[True, True], [True, False]]])
    assert region_sum(loss, regions, EDGE_BIT) == 3 + 4
    assert region_sum(loss, regions, NEAR_BIT) == 2 + 3 + 4
    assert count_regions(regions, valid, EDGE_BIT) == 1
    assert count_regions(regions, valid, NEAR_BIT) == 2


@pytest.mark.parametrize(
    ('small', 'size'), [((5, 10), (40, 80)), ((20, 13), (31, 64)), ((6, 8), (6, 8)), ((9, 7), (4, 3))]
)
def test_enlarged_logits_and_their_gradients_are_those_of_interpolation(small, size):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, *small, generator=generator, requires_grad=True)
    grad = torch.randn(2, 3, *size, generator=generator)
    wanted = F.interpolate(logits, size, mode='bilinear', align_corners=False)
    got = enlarge(logits, size)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(out, logits, grad)[0] for out in (got, wanted)))
