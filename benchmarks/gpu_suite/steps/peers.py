"""What a loop costs: a bare one, MMEngine's and mmopt's, on a tiny model and on the BEV baseline, in turns."""

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gpu_suite.batches import use_examples
from gpu_suite.child import Step
from gpu_suite.device import Gpu, open_gpu
from gpu_suite.training import forget_runs
from mmopt.apis.config import load_config
from mmopt.datasets.common import stack_collate
from mmopt.registry import DATASETS, MODELS
from mmopt.structures import move_to
from mmopt.utils.precision import DTYPES

_NAMES = ('plain', 'mmengine', 'mmopt')


@DATASETS.register_module()
class TinySamples(torch.utils.data.Dataset):
    """Ready vectors."""

    def __init__(self) -> None:
        self.samples = [dict(inputs=torch.randn(16), data_samples=torch.randn(4)) for _ in range(512)]
        self.metainfo: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.samples[int(index)]


@MODELS.register_module()
class TinyLayers(BaseModel):
    """Two small layers: the time is the loop's."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> dict[str, Tensor]:
        del mode
        off = self.layers(torch.stack(list(inputs))) - torch.stack(list(data_samples))
        return dict(loss=off.square().mean())


def run(step: Step) -> None:
    """Time the three loops in turns, on both models."""
    gpu = open_gpu(tiny=step.tiny)
    tiny = _in_turns(step, gpu, 'tiny', _tiny_config, step.size(1000, 20), step.size(5, 1))
    above = {name: 1e6 * (tiny[name] - tiny['plain']) for name in ('mmengine', 'mmopt')}
    step.claim(
        'mmopt costs less above a bare loop than MMEngine',
        ', '.join(f'{name} {value:.0f} us' for name, value in above.items()),
        above['mmopt'] < above['mmengine'],
    )
    bev = _in_turns(step, gpu, 'bev', lambda: _bev_config(step), step.size(40, 3), step.size(2, 1))
    ratio = bev['mmopt'] / bev['plain']
    step.claim('BEV trains at most 2 % slower than in plain PyTorch', f'{ratio:.3f} of its time', ratio <= 1.02)


def _in_turns(
    step: Step, gpu: Gpu, model: str, make_config: Callable[[], Any], iters: int, rounds: int
) -> dict[str, float]:
    """Return the median seconds per iteration of each loop."""
    found: dict[str, list[float]] = {name: [] for name in _NAMES}
    losses: dict[str, float] = {}
    for _ in range(rounds):
        for name in _NAMES:
            cfg = make_config()
            run_loop = _plain if name == 'plain' else _runner
            seconds, losses[name] = run_loop(gpu, cfg, iters, ours=name == 'mmopt')
            found[name].append(seconds)
            gc.collect()
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name in _NAMES:
        step.row(
            model=model,
            loop=name,
            us_per_iteration=1e6 * medians[name],
            least=1e6 * min(found[name]),
            most=1e6 * max(found[name]),
            last_loss=losses[name],
        )
    return medians


def _tiny_config() -> Any:
    from mmengine.config import Config

    return Config(
        dict(
            model=dict(type='TinyLayers'),
            train_dataloader=dict(batch_size=4, num_workers=0, dataset=dict(type='TinySamples'), sampler=None),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3)),
        )
    )


def _bev_config(step: Step) -> Any:
    cfg = load_config(step.config('bev'), precision='bf16')
    use_examples(cfg, 4096, num_workers=step.size(8, 0))
    cfg.train_dataloader['batch_size'] = step.size(4, 2)
    cfg.optim_wrapper['optimizer'] = dict(type='AdamW', lr=1e-5, fused=True)
    cfg.optim_wrapper.pop('paramwise_cfg', None)
    cfg.optim_wrapper.pop('clip_grad', None)
    return cfg


def _endless(loader: DataLoader) -> Iterator[Any]:
    while True:
        yield from loader


class _Clock:
    """Times all but the first quarter of the iterations; waits for the device at both ends and nowhere between."""

    def __init__(self, gpu: Gpu, iters: int) -> None:
        self.gpu, self.iters, self.first = gpu, iters, iters // 4
        self.done = 0
        self.begun = 0.0

    def tick(self) -> None:
        """Be told that an iteration was launched."""
        self.done += 1
        if self.done == self.first or (self.done == 1 and not self.first):
            self.first = self.done
            self.gpu.cuda.synchronize()
            self.begun = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds per iteration."""
        self.gpu.cuda.synchronize()
        return (time.perf_counter() - self.begun) / (self.iters - self.first)


def _plain(gpu: Gpu, cfg: Any, iters: int, *, ours: bool) -> tuple[float, float]:
    """Train as anybody who knows PyTorch would write it."""
    del ours
    torch.manual_seed(0)
    model = MODELS.build(cfg.model.to_dict()).to(gpu.device).train()
    loader = cfg.train_dataloader
    batches = _endless(
        DataLoader(
            DATASETS.build(dict(loader['dataset'])),
            batch_size=loader['batch_size'],
            num_workers=loader['num_workers'],
            shuffle=True,
            drop_last=True,
            pin_memory=gpu.is_real,
            collate_fn=stack_collate,
            persistent_workers=loader['num_workers'] > 0,
        )
    )
    options = dict(cfg.optim_wrapper['optimizer'])
    optimizer = getattr(torch.optim, options.pop('type'))(model.parameters(), **options)
    dtype = DTYPES['bf16'] if cfg.optim_wrapper['type'] == 'AmpOptimWrapper' else torch.float32
    clock, loss = _Clock(gpu, iters), torch.zeros(())
    for _ in range(iters):
        batch = move_to(next(batches), gpu.device)
        batch = model.data_preprocessor(batch, training=True) if hasattr(model, 'data_preprocessor') else batch
        with torch.autocast(gpu.device.type, dtype, enabled=dtype != torch.float32):
            loss = sum(value for name, value in model(**batch, mode='loss').items() if 'loss' in name)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.tick()
    return clock.seconds(), float(loss.detach())


def _runner(gpu: Gpu, cfg: Any, iters: int, *, ours: bool) -> tuple[float, float]:
    """Train by MMEngine's runner or by mmopt's."""
    from mmengine.runner import Runner

    from mmopt.engine import IterBasedRunner

    forget_runs()
    torch.manual_seed(0)
    loader = cfg.train_dataloader
    wrapper = cfg.optim_wrapper.to_dict()
    if not ours and not gpu.is_real and wrapper['type'] == 'AmpOptimWrapper':
        wrapper = dict(type='OptimWrapper', optimizer=wrapper['optimizer'])  # MMEngine's own asks for a GPU
    with tempfile.TemporaryDirectory() as work_dir:
        runner = (IterBasedRunner if ours else Runner)(
            # Built here, so that both train the same objects whatever scope their names are looked up in.
            model=MODELS.build(cfg.model.to_dict()),
            work_dir=work_dir,
            train_dataloader=dict(
                dataset=DATASETS.build(dict(loader['dataset'])),
                batch_size=loader['batch_size'],
                num_workers=loader['num_workers'],
                sampler=dict(type='ResumableSampler', endless=True) if ours else dict(type='InfiniteSampler'),
                collate_fn=stack_collate,
                pin_memory=gpu.is_real,
                persistent_workers=loader['num_workers'] > 0,
            ),
            train_cfg=dict(by_epoch=False, max_iters=iters),
            optim_wrapper=wrapper,
            default_hooks=dict(logger=dict(type='LoggerHook', interval=50), checkpoint=None),
            log_processor=dict(by_epoch=False, window_size=50),
            default_scope='mmopt' if ours else 'mmengine',
            randomness=dict(seed=0),
            experiment_name=f'peers_{time.monotonic_ns()}',
        )
        clock, seconds = _Clock(gpu, iters), []
        original = runner.call_hook

        def call_hook(name: str, **kwargs: Any) -> None:
            original(name, **kwargs)
            if name == 'after_train_iter':
                clock.tick()
                if clock.done == iters:  # before what comes once at the end
                    seconds.append(clock.seconds())

        runner.call_hook = call_hook
        runner.train()
        loss = float(runner.message_hub.get_scalar('train/loss').current())
    return seconds[0], loss
