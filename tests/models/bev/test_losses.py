import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmopt.models.bev.losses import balanced_bce_sum, depth_bins, depth_cross_entropy_sum, prior_uncertainty_sum

PRIORS = torch.tensor([0.25, 0.04])


def test_balanced_loss_by_hand():
    # One row of two cells; the second does not count. Logit 0 costs log 2; a positive of prior 0.25 weighs 2.
    logits = torch.zeros(1, 2, 1, 2)
    labels = torch.tensor([[[[True, True]], [[False, True]]]])
    valid = torch.tensor([[[[True, False]]]])
    total = balanced_bce_sum(logits, labels, valid, PRIORS)
    assert math.isclose(total, 2 * math.log(2) + math.log(2), rel_tol=1e-6)


def test_balanced_loss_equals_the_originals_formula():
    logits = torch.randn(2, 2, 3, 4)
    labels, valid = torch.rand(2, 2, 3, 4) < 0.4, torch.rand(2, 1, 3, 4) < 0.7
    weight = valid * (1 + (torch.sqrt(1 / PRIORS) - 1)[:, None, None] * labels)
    expected = torch.nn.BCEWithLogitsLoss(weight=weight)(logits, labels.float())
    torch.testing.assert_close(balanced_bce_sum(logits, labels, valid, PRIORS) / logits.numel(), expected)


def test_uncertainty_pulls_to_the_priors_where_cells_do_not_count():
    logits = PRIORS.logit()[None, :, None, None].expand(1, 2, 1, 2).clone().requires_grad_()
    valid = torch.tensor([[[[True, False]]]])
    total = prior_uncertainty_sum(logits, valid, PRIORS)
    entropy = -(PRIORS * PRIORS.log() + (1 - PRIORS) * (1 - PRIORS).log()).sum()
    torch.testing.assert_close(total, entropy)
    total.backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits))


def test_depth_bins_leave_out_the_unknown_and_the_far():
    depth = torch.tensor([[0.0, 1.0, 1.99, 49.5, 50.0]])
    bins = depth_bins(depth, (1.0, 50.0, 1.0))
    assert bins.tolist() == [[-1, 0, 0, 48, -1]]
    logits = torch.zeros(1, 49, 1, 5)
    assert math.isclose(depth_cross_entropy_sum(logits, bins[None]), 3 * math.log(49), rel_tol=1e-6)


class _Reductions(TorchDispatchMode):
    """Notes how the loss over maps is reduced: 0 is not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.nll_loss2d_forward.default:
            self.found.append(args[3])
        return func(*args, **(kwargs or {}))


def test_the_depth_loss_has_a_deterministic_kernel_on_cuda():
    # torch refuses nll_loss2d with any reduction there when algorithms must be deterministic.
    with _Reductions() as reductions:
        depth_cross_entropy_sum(torch.zeros(1, 4, 2, 3), torch.zeros(1, 2, 3, dtype=torch.long))
    assert reductions.found == [0]
