"""Which operators of training steps a GPU would be waited for, on the simulated GPU: one line of JSON.

A process of its own, because the simulated device cannot be unregistered. An operator waits if it reads a value or a
size back, if it copies between host and device and is not told not to wait, or if it copies from pageable memory, where
``non_blocking`` promises nothing. The batch itself is copied by the preprocessor from what the loader page-locked.
"""

import copy
import json
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from mmopt.engine.loops.step import TrainStep
from mmopt.engine.memory import simulate
from mmopt.engine.memory.trace import Recorder
from mmopt.engine.memory.values import KnownValues, known_value
from mmopt.engine.optim import AmpOptimWrapper
from mmopt.utils import transfer
from tests.conftest import REPO
from tests.models.contract_cases import CASES

SIMULATOR = simulate.Simulator()
READS = {'_local_scalar_dense', 'is_nonzero', 'nonzero', 'masked_select', 'equal', '_unique2', 'unique_dim', 'bincount'}
INDEXING = {'index', 'index_put', 'index_put_', '_index_put_impl_'}
COPIES = {'_to_copy', 'copy_'}


class Watch:
    """What the steps did so far."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.takes_batch = False
        self.locked: set[int] = set()
        self.kept: list[Tensor] = []


WATCH = Watch()


class Watching(Recorder):
    """A recorder that notes what would wait once the steps have begun."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        # The first iteration makes optimizer states and fills caches.
        if len(self.trace.marks) > 1 and (why := waits(func._schema.name.partition('::')[2], args, kwargs or {})):
            WATCH.found[f'{why} at {place()}'] += 1
        return super().__torch_dispatch__(func, types, args, kwargs)


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


def waits(name: str, args: tuple, kwargs: dict) -> str | None:
    """Say how an operator waits for the device; None if it does not."""
    on_gpu = [tensor for tensor in tensors(args) if tensor.device.type == 'simgpu']
    if on_gpu and name in READS:
        return f'{name} reads the device'
    if on_gpu and name == 'repeat_interleave' and kwargs.get('output_size') is None:
        return f'{name} reads the device'
    if on_gpu and name in INDEXING and any(index.dtype is torch.bool for index in tensors(args[1])):
        return f'{name} by a mask reads the device'
    if name not in COPIES:
        return None
    source = args[0] if name == '_to_copy' else args[1]
    target = torch.device(kwargs.get('device') or source.device) if name == '_to_copy' else args[0].device
    if source.device.type == target.type or not source.numel():
        return None
    is_async = kwargs.get('non_blocking', False) or (name == 'copy_' and len(args) > 2 and args[2])
    if not is_async:
        return f'{name} copies from {source.device.type} to {target.type} and waits'
    if target.type == 'cpu':
        return f'{name} reads the device'
    if not WATCH.takes_batch and source.untyped_storage()._cdata not in WATCH.locked:
        return f'{name} copies from pageable memory'
    return None


def place() -> str:
    """Name the line of mmopt that called, not of the simulated device."""
    for frame in reversed(traceback.extract_stack()):
        if f'{REPO}/mmopt/' in frame.filename and '/engine/memory/' not in frame.filename:
            return f'{frame.filename.removeprefix(f"{REPO}/")}:{frame.lineno}'
    return 'torch'


def watch() -> None:
    """Put the eyes into the simulator, the step and the page-locked buffers."""
    simulate.Recorder = Watching
    preprocess, host_buffer = TrainStep._preprocess, transfer.host_buffer

    def preprocess_batch(self: TrainStep, batch: Any) -> Any:
        WATCH.takes_batch = True
        try:
            return preprocess(self, batch)
        finally:
            WATCH.takes_batch = False

    def lock(num_bytes: int, device: torch.device) -> Tensor:
        buffer = host_buffer(num_bytes, device)
        WATCH.kept.append(buffer)  # or another would get its address
        WATCH.locked.add(buffer.untyped_storage()._cdata)
        return buffer

    TrainStep._preprocess, transfer.host_buffer = preprocess_batch, lock


class Waiting(BaseModel):
    """Does everything that waits, so that a watch which sees nothing is found out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, inputs: Tensor, mode: str = 'loss') -> dict[str, Tensor]:
        del mode
        device, out = inputs.device, self.layer(inputs)
        counts = torch.tensor([1.0, 0.0], device=device)
        mask = torch.zeros(2, dtype=torch.bool).to(device, non_blocking=True)
        places = counts.nonzero()
        number = counts.sum().item()
        chosen = counts[mask]
        on_host = counts.to('cpu', non_blocking=True)
        return dict(loss=out.sum() + number + chosen.sum() + places.sum() + on_host.sum().to(device))


def _waiting() -> tuple[nn.Module, dict]:
    return Waiting(), dict(inputs=torch.zeros(3, 4))


def _video(encoder: str) -> tuple[nn.Module, dict]:
    from tests.models.video import conftest

    return conftest.build(encoder, keypoints=True), conftest.make_batch()


def _deep_bev() -> tuple[nn.Module, dict]:
    from mmopt.registry import MODELS
    from tests.models.bev.test_lss_segmentor import SMALL, make_batch

    neck = SMALL['neck'] | dict(camera_height_m=1.5)
    model = MODELS.build(copy.deepcopy(SMALL | dict(neck=neck, depth_weight=0.5)))
    depth = torch.zeros(3, 4)
    depth[1, 1:3] = torch.tensor([2.5, 90.0])
    return model, make_batch(model, depth=depth)


def _mined_segmentation() -> tuple[nn.Module, dict]:
    from tests.models.segmentation import conftest

    return conftest.build(), conftest.make_batch()


WATCHED = CASES | {
    'Waiting': _waiting,
    'conv3d': lambda: _video('conv3d'),
    'mamba': lambda: _video('mamba'),
    'BEV with depth': _deep_bev,
    'segmentation with hard pixels': _mined_segmentation,
}
"""The contract's models, other settings of them that take other ways, and one that breaks the rules."""


def wrapper_of(model: nn.Module) -> AmpOptimWrapper:
    # Fused: otherwise torch's loss scaler reads whether a gradient is infinite.
    return AmpOptimWrapper(
        torch.optim.AdamW(model.parameters(), fused=True), dtype='float16', clip_grad=dict(max_norm=1.0)
    )


def waits_of(name: str) -> dict[str, int]:
    """Run two training steps of a case."""
    torch.manual_seed(0)
    model, batch = WATCHED[name]()

    def make_batch() -> Any:
        with _disable_current_modes():  # fake tensors share no storage, real ones may
            return copy.deepcopy(batch)

    WATCH.found.clear()
    WATCH.locked.clear()
    SIMULATOR.trace(lambda: model, wrapper_of, make_batch, num_steps=2)
    return dict(WATCH.found)


def sent() -> bool:
    """Tell whether what was packed comes out as it went in."""
    given = [torch.tensor([True, False, True]), torch.rand(2, 3), torch.arange(5), torch.zeros(0, 4), torch.tensor(2.5)]
    with SIMULATOR.fake_mode, Recorder('simgpu', KnownValues(SIMULATOR.fake_mode, real_host=True)):
        found = transfer.send(given, SIMULATOR.device)
    return all(
        there.device.type == 'simgpu' and torch.equal(known_value(there), here)
        for there, here in zip(found, given, strict=True)
    )


if __name__ == '__main__':
    found = dict(sent=sent())
    watch()
    found['waits'] = {name: waits_of(name) for name in sys.argv[1:] or WATCHED}
    print(json.dumps(found))
