"""Every task model compiles: no region gives up, and losses and gradients are those of the uncompiled model."""

import shutil

import pytest
import torch
from mmengine.logging import MMLogger

from mmopt.engine.switches import apply_to_model
from tests.models.contract_cases import CASES

# Warnings of torch's tracer (caches that it looks through, gradients that it looks at) are no errors to a user either.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings('default')]


def run(model: torch.nn.Module, batch: dict) -> tuple[dict, dict]:
    torch.manual_seed(1)  # for models that draw points of their loss
    model.zero_grad()
    losses = model(**batch, mode='loss', normalizers=model.loss_normalizers(batch['data_samples']))
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    return losses, {name: param.grad for name, param in model.named_parameters() if param.grad is not None}


@pytest.mark.parametrize('name', CASES)
def test_inductor_compiles_every_task_model_to_the_same_losses_and_gradients(name, monkeypatch):
    if shutil.which('g++') is None and not torch.cuda.is_available():
        pytest.skip('inductor needs a C++ compiler on a CPU: install g++')
    logged: list[str] = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'log', lambda level, text, *args: logged.append(text))
    torch.manual_seed(0)
    model, batch = CASES[name]()
    model.eval()  # dropout draws other numbers in compiled code
    losses, gradients = run(model, batch)
    effects = apply_to_model(model, dict(compile=True))
    assert effects['compile'].is_effective
    compiled_losses, compiled_gradients = run(model, batch)
    assert not [text for text in logged if 'runs uncompiled' in text]
    for key, value in losses.items():
        torch.testing.assert_close(compiled_losses[key], value, rtol=1e-4, atol=1e-5)
    assert compiled_gradients.keys() == gradients.keys()
    for key, want in gradients.items():
        assert (compiled_gradients[key] - want).norm() <= 1e-3 * want.norm() + 1e-5, key
