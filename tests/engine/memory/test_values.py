"""What is assumed where a size depends on values that nobody knows."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmopt.engine.memory.values import KnownValues

STEPS, BATCH, CLASSES = 12, 3, 5


@pytest.mark.parametrize(('targets', 'longest'), [((BATCH, 4), 4), ((9,), 9), ((40,), STEPS)])
def test_a_ctc_loss_is_as_large_as_its_longest_text_may_be(targets, longest):
    with FakeTensorMode() as mode:
        log_probs = torch.empty(STEPS, BATCH, CLASSES, device='cuda')  # labels stay on the host
        lengths = torch.empty(BATCH, dtype=torch.int64)
        values = KnownValues(mode)
        operands = (log_probs, torch.empty(targets, dtype=torch.int64), lengths, lengths)
        loss, log_alpha = values.run(torch.ops.aten._ctc_loss.Tensor, operands, {})
        backward = torch.ops.aten._ctc_loss_backward.Tensor
        gradient = values.run(backward, (loss, *operands, loss, log_alpha, 0), {})
    assert loss.shape == (BATCH,)
    assert log_alpha.shape == (BATCH, STEPS, 2 * longest + 1)
    assert gradient.shape == log_probs.shape
    assert gradient.device == log_probs.device
    assert list(values.assumed.values()) == [1]
