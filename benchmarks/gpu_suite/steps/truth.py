"""One step of a model on the GPU beside the same on the CPU: loss, gradient, waits, and an evaluation."""

import copy
import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from gpu_suite.batches import random_batch
from gpu_suite.child import Step
from gpu_suite.device import Gpu, open_gpu
from gpu_suite.training import build
from mmopt.apis.memory.case import load_case
from mmopt.engine.loops.step import forward_losses, sum_losses
from mmopt.structures import move_to
from mmopt.utils.precision import DTYPES

_BATCH = 2
# (name, precision, TF32, how far it may be off)
_KINDS = (
    ('fp32', 'fp32', False, 1e-3),
    ('tf32', 'fp32', True, 1e-2),
    ('bf16', 'bf16', False, 1e-2),
    ('fp16', 'fp16', False, 1e-2),
)


def run(step: Step) -> None:
    """Compare one task."""
    gpu = open_gpu(tiny=step.tiny)
    case = load_case(step.config(step.part), batch_size=_BATCH, precision='fp32')
    torch.manual_seed(0)
    model = case.build_model()
    model.train()
    _without_chance(model)
    batch = random_batch(case)
    reference = _loss_and_gradient(copy.deepcopy(model), copy.deepcopy(batch), torch.device('cpu'), 'fp32')
    for name, precision, tf32, allowed in _KINDS[:: step.size(1, 2)]:
        gpu.set_tf32(tf32)
        there = copy.deepcopy(model).to(gpu.device)
        found = _loss_and_gradient(there, copy.deepcopy(batch), gpu.device, precision)
        off = [abs(a - b) / max(abs(b), 1e-12) for a, b in zip(found, reference, strict=True)]
        step.row(task=step.part, precision=name, loss=found[0], gradient=found[1], loss_off=off[0], gradient_off=off[1])
        if name == 'fp32':
            holds = max(off) <= allowed
            step.claim('a step in fp32 is that of the CPU (1e-3)', f'{step.part}: {max(off):.1e}', holds)
        elif name != 'tf32':
            # The gradient of halves is a row and no claim: what cancels in it differs by a third on a CPU, too.
            text = 'the loss in half precision is near that of the CPU in fp32 (1e-2)'
            step.claim(text, f'{step.part} {name}: {off[0]:.1e}', off[0] <= allowed)
    gpu.set_tf32(False)
    _evaluate(step, gpu, model, batch)
    _waits(step, gpu)


def _without_chance(model: nn.Module) -> None:
    """Take out what draws on the device: the generators of a GPU and a CPU differ."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        if isinstance(getattr(module, 'drop_prob', None), float):
            module.drop_prob = 0.0
        if isinstance(module, nn.RNNBase):
            module.dropout = 0.0


def _loss_and_gradient(model: Any, batch: Any, device: torch.device, precision: str) -> tuple[float, float]:
    scale = 1024.0 if precision == 'fp16' else 1.0  # as a loss scale, so that small gradients stay
    batch = model.data_preprocessor(batch, training=True)
    normalizers = model.loss_normalizers(batch['data_samples']) if hasattr(model, 'loss_normalizers') else None
    with torch.autocast(device.type, DTYPES[precision], enabled=precision != 'fp32'):
        losses = forward_losses(model, batch, normalizers)
    loss, _ = sum_losses(losses)
    (loss * scale).backward()
    squares = [param.grad.float().square().sum() for param in model.parameters() if param.grad is not None]
    return float(loss), float(torch.stack(squares).sum().sqrt()) / scale


def _evaluate(step: Step, gpu: Gpu, model: nn.Module, batch: Any) -> None:
    there: Any = copy.deepcopy(model).to(gpu.device).eval()
    with torch.no_grad():
        predicted = there.val_step(move_to(copy.deepcopy(batch), torch.device('cpu')))
    step.row(task=step.part, evaluation='val_step', samples=len(predicted))


def _waits(step: Step, gpu: Gpu) -> None:
    """Take training steps under CUDA's own watch; the first makes states and fills caches."""
    training = build(gpu, step.config(step.part), batch_size=_BATCH, precision='fp16')
    training.run()
    gpu.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        gpu.cuda.set_sync_debug_mode('warn')
        log = training.run()
        gpu.cuda.set_sync_debug_mode('default')
    waits = Counter(
        f'{warning.filename.rpartition("mmopt/")[2]}:{warning.lineno}'
        for warning in caught
        if 'synchroniz' in str(warning.message)
    )
    on_host = [
        name for name, value in log.items() if isinstance(value, Tensor) and value.device.type != gpu.device.type
    ]
    step.row(task=step.part, waits=sum(waits.values()), places=dict(waits), logged_on_the_host=on_host)
    step.claim('a training step waits for the device nowhere', f'{step.part}: {sum(waits.values())}', not waits)
