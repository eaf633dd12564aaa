"""Nothing in an iteration waits for the device but where a log line is written."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from mmopt.engine.hooks.logger_hook import logs_now
from tests.engine.test_runner import build
from tests.engine.toy import toy_config

# What reads a value back from the device: on a GPU each waits for all kernels before it.
READS = ('item', 'tolist', 'cpu', 'numpy', '__bool__', '__float__', '__int__', '__index__', '__array__', 'nonzero')
LOG_INTERVAL = 5


@contextmanager
def counted(reads: Counter) -> Iterator[None]:
    """Count calls of tensors' reading methods, also those that C++ makes of them (``if tensor:``)."""
    originals = {name: getattr(Tensor, name) for name in READS}

    def count(name: str):
        def read(self, *args, **kwargs):
            reads[name] += 1
            return originals[name](self, *args, **kwargs)

        return read

    try:
        for name in READS:
            setattr(Tensor, name, count(name))
        yield
    finally:
        for name, original in originals.items():
            setattr(Tensor, name, original)


def reads_per_iteration(tmp_path, **changes) -> tuple[dict[int, Counter], list[int]]:
    """Run 12 iterations; return what was read in each, from its batch to its end, and which ones logged."""
    cfg = toy_config(tmp_path, max_iters=12, train_cfg=dict(val_interval=100), **changes)
    cfg['default_hooks'] = dict(logger=dict(type='LoggerHook', interval=LOG_INTERVAL), checkpoint=None)
    # Adam counts its steps in tensors that lie on the CPU, and reads them there.
    cfg['optim_wrapper']['optimizer'] = dict(type='SGD', lr=0.01)
    runner = build(cfg)
    loop = runner.build_train_loop(runner._train_loop)
    runner._train_loop = loop
    reads: dict[int, Counter] = {}
    logged = []
    original = loop._run_iter

    def run_iter(batch_idx, batch, **kwargs):
        reads[batch_idx] = Counter()
        if logs_now(runner, batch_idx):
            logged.append(batch_idx)
        with counted(reads[batch_idx]):
            original(batch_idx, batch, **kwargs)

    loop._run_iter = run_iter
    runner.train()
    return reads, logged


SETTINGS = dict(
    plain=dict(),
    clipped=dict(optim_wrapper=dict(clip_grad=dict(max_norm=1.0))),
    accumulated=dict(optim_wrapper=dict(accumulative_counts=2)),
    micro_batched=dict(train_cfg=dict(micro_batch=3, val_interval=100)),
    bf16=dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='bfloat16')),
    fp16=dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16'), optimize=dict(fused_optimizer=True)),
    scheduled=dict(param_scheduler=dict(type='PolyLR', eta_min=1e-5, power=0.9, by_epoch=False, end=12)),
    averaged=dict(custom_hooks=[dict(type='EMAHook', ema_type='LinearWarmupEMA')]),
)


@pytest.mark.parametrize('setting', SETTINGS)
def test_no_value_is_read_back_between_log_lines(tmp_path, setting):
    changes = dict(SETTINGS[setting])
    changes.pop('train_cfg', None)
    if setting == 'micro_batched':
        changes['optimize'] = dict(micro_batch=3)
    reads, logged = reads_per_iteration(tmp_path, **changes)
    assert logged == [4, 9, 11]
    quiet = {place: dict(count) for place, count in reads.items() if place not in logged}
    # The count of averages lies on the CPU by design of MMEngine: reading it waits for nothing.
    allowed = {'__int__': 1} if setting == 'averaged' else {}
    assert all(count == allowed for count in quiet.values()), quiet
    assert all(sum(reads[place].values()) for place in logged), 'the counter counts nothing'


@pytest.mark.gpu
@pytest.mark.parametrize('setting', ['plain', 'clipped', 'accumulated', 'bf16', 'fp16', 'scheduled', 'averaged'])
def test_on_a_gpu_cuda_sees_no_wait_between_log_lines(tmp_path, setting):
    cfg = toy_config(tmp_path, max_iters=12, train_cfg=dict(val_interval=100), **SETTINGS[setting])
    cfg['default_hooks'] = dict(logger=dict(type='LoggerHook', interval=LOG_INTERVAL), checkpoint=None)
    runner = build(cfg)
    loop = runner.build_train_loop(runner._train_loop)
    runner._train_loop = loop
    original = loop._run_iter

    def run_iter(batch_idx, batch, **kwargs):
        quiet = batch_idx > 0 and not logs_now(runner, batch_idx)  # the first iteration makes optimizer states
        torch.cuda.set_sync_debug_mode('error' if quiet else 'default')
        try:
            original(batch_idx, batch, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode('default')

    loop._run_iter = run_iter
    runner.train()
    assert loop.iters_done == 12
