"""Every registered task model: the gradients of micro-batches are those of the whole batch."""

import pytest
import torch

from mmopt.engine.loops.step import TrainStep
from mmopt.engine.optim import OptimWrapper
from mmopt.registry import MODELS
from mmopt.structures import batch_size
from tests.models.contract_cases import CASES

MODELS.import_from_location()
TASK_MODELS = sorted(
    name
    for name, item in MODELS.module_dict.items()
    if item.__module__.startswith('mmopt.') and hasattr(item, 'loss_normalizers')
)


class _GradientsOnly(TrainStep):
    """A step on a batch that is preprocessed already, without the optimizer."""

    def gradients(self, batch: dict) -> tuple[dict, dict]:
        self.module.zero_grad()
        log = self._backward(batch, self._normalizers(batch))
        return {name: param.grad for name, param in self.module.named_parameters()}, log


def test_every_task_model_has_a_case():
    missing = sorted(set(TASK_MODELS) - set(CASES))
    assert not missing, f'add a small model and batch of {missing} to tests/models/contract_cases.py'


@pytest.mark.parametrize('size', [1, 2])
@pytest.mark.parametrize('name', CASES)
def test_micro_batched_gradients_and_losses_equal_the_whole_batch(name, size):
    torch.manual_seed(0)
    model, batch = CASES[name]()
    model.eval()  # BatchNorm, dropout and drop path draw per micro-batch
    assert batch_size(batch) >= 3
    results = []
    for micro_batch in (None, size):
        torch.manual_seed(1)  # for models that draw points of their loss
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        results.append(_GradientsOnly(model, wrapper, micro_batch).gradients(batch))
    (whole, whole_log), (parts, parts_log) = results
    for key, value in whole_log.items():
        if 'loss' in key:
            torch.testing.assert_close(parts_log[key], value, rtol=1e-5, atol=1e-6)
    for key, want in whole.items():
        if want is None:
            assert parts[key] is None
        else:
            assert (parts[key] - want).norm() <= 1e-5 * want.norm() + 1e-7, key
