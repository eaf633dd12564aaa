"""Configs drawn from the whole dialect: each lowers, and what it lowers to has mmcv's numbers at every iteration."""

import bisect
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.logging import MMLogger
from torch import nn
from torch.utils.data import DataLoader

from mmopt.config import lower
from mmopt.config.render import render_native
from mmopt.engine.hooks import CheckpointHook
from mmopt.engine.logging.time_split import TimeSplit
from mmopt.engine.loops.train_loop import TrainLoop
from mmopt.engine.optim import OptimWrapper
from mmopt.registry import LOOPS, PARAM_SCHEDULERS
from tests.engine.mmcv1_reference import ReferenceHook, run_reference
from tests.engine.schedules.test_schedulers import make_optimizer, policies, run_ours

flags, counts = st.booleans(), st.integers(1, 7)
data_sets = st.recursive(
    st.sampled_from([dict(type='A'), dict(type='A', data_root='x', ann_file=['a', 'b']), [dict(type='A')]]),
    lambda inner: st.fixed_dictionaries(dict(type=st.just('RepeatDataset'), times=counts, dataset=inner)),
    max_leaves=2,
)
optimizers = st.sampled_from(
    [
        dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
        dict(type='AdamW', lr=0.01, betas=(0.9, 0.999), weight_decay=0.05, paramwise_cfg=dict(norm_decay_mult=0.0)),
        dict(type='Adam', lr=0.01),
        dict(type='AdamW', lr=0.01, constructor='LearningRateDecayOptimizerConstructor', paramwise_cfg=dict(a=1)),
    ]
)
sections = st.fixed_dictionaries(
    {},
    optional=dict(
        workflow=st.sampled_from([[('train', 1)], [('train', 5)], []]),
        load_from=st.sampled_from([None, 'a.pth']),
        resume_from=st.sampled_from([None, 'b.pth']),
        auto_resume=flags,
        dist_params=st.just(dict(backend='nccl')),
        log_level=st.just('INFO'),
        opencv_num_threads=st.integers(0, 4),
        mp_start_method=st.just('fork'),
        cudnn_benchmark=flags,
        find_unused_parameters=flags,
        seed=st.integers(0, 9),
        auto_scale_lr=st.builds(dict, enable=flags, base_batch_size=counts),
        custom_imports=st.just(dict(imports=['their.models'], allow_failed_imports=False)),
        custom_hooks=st.lists(
            st.sampled_from(
                [
                    dict(type='NumClassCheckHook'),
                    dict(type='EMAHook', momentum=0.1),
                    dict(type='ExpMomentumEMAHook', priority=49),
                    dict(type='SyncNormHook', priority='LOW'),
                ]
            ),
            max_size=3,
        ),
        img_norm_cfg=st.just(dict(mean=[1.0])),
    ),
)
precisions = st.sampled_from(
    [{}, {}, dict(fp16=dict()), dict(fp16=dict(loss_scale='dynamic')), dict(fp16=dict(loss_scale=4.0)), dict(bf16={})]
)


@st.composite
def dialects(draw) -> tuple[dict, dict]:
    """Return a config and the length of its run."""
    policy, keys, length = draw(policies('lr'))
    iter_based = length['num_iters'] is not None
    total = length['num_iters'] or length['num_epochs']
    old, new = ('total_iters', 'max_iters') if iter_based else ('total_epochs', 'max_epochs')
    runner = dict(type='IterBasedRunner' if iter_based else 'EpochBasedRunner') | {new: total}
    if policy in ('Cyclic', 'OneCycle'):
        keys.pop('by_epoch')
    cfg = dict(
        model=dict(type='Net'),
        data=dict(samples_per_gpu=draw(counts), train=draw(data_sets), val=draw(data_sets))
        | draw(
            st.fixed_dictionaries(
                {},
                optional=dict(
                    workers_per_gpu=st.integers(0, 3),
                    persistent_workers=flags,
                    pin_memory=flags,
                    prefetch_factor=counts,
                    shuffle=flags,
                    train_dataloader=st.just(dict(samples_per_gpu=2)),
                    val_dataloader=st.just(dict(samples_per_gpu=2, workers_per_gpu=0)),
                    test=data_sets,
                ),
            )
        ),
        optimizer=draw(optimizers),
        lr_config=dict(policy=draw(st.sampled_from([policy, policy.lower()])) if policy.istitle() else policy, **keys),
        evaluation=draw(
            st.fixed_dictionaries(
                dict(interval=counts, metric=st.sampled_from(['mIoU', ['bbox', 'segm'], dict(type='M')])),
                optional=dict(
                    start=st.integers(0, 8),
                    dynamic_intervals=st.lists(st.tuples(st.integers(1, 9), counts), max_size=3).map(sorted),
                    at_end=flags,
                    save_best=st.sampled_from(['auto', 'mIoU', 'bbox_mAP', 'val_loss']),
                ),
            )
        ),
        checkpoint_config=draw(
            st.fixed_dictionaries(
                dict(interval=counts),
                optional=dict(max_keep_ckpts=counts, save_last=flags, sync_buffer=flags, create_symlink=flags),
            )
        ),
        log_config=dict(interval=draw(counts), hooks=[dict(type='TextLoggerHook', by_epoch=not iter_based)]),
        **draw(precisions),
        **draw(sections),
    )
    if iter_based:
        cfg['checkpoint_config']['by_epoch'] = False
    accumulation = draw(st.one_of(st.none(), counts))
    hook = draw(st.sampled_from([None, {}, dict(grad_clip=None), dict(grad_clip=dict(max_norm=35, norm_type=2))]))
    if hook is not None:
        cfg['optimizer_config'] = hook
    if accumulation is None and draw(flags):
        cfg[old] = total
    else:
        cfg['runner'] = runner | ({} if accumulation is None else dict(accumulative_counts=accumulation))
    return cfg, length


class ValLoop:
    """Notes when it is run."""

    def __init__(self) -> None:
        self.points: list[int] = []

    def run(self) -> None:
        self.points.append(self.loop.iters_done)


class NoStep:
    """A training step that does nothing."""

    module = nn.Linear(1, 1)

    def __call__(self, batch: object) -> dict:
        return {}


def evaluations(train_cfg: dict, epoch_length: int) -> list[int]:
    """Run the real loop of a lowered config without a model; return the iterations after which it evaluated."""
    train_cfg = dict(train_cfg)
    val_loop = ValLoop()
    model = nn.Identity()
    runner = SimpleNamespace(
        model=model,
        optim_wrapper=None,
        visualizer=SimpleNamespace(),
        val_loop=val_loop,
        param_schedulers=[],
        logger=MMLogger.get_current_instance(),
        time_split=TimeSplit(),
        work_dir='.',  # nothing is written: no sample was left out
        call_hook=lambda *args, **kwargs: None,
        restore_rng_state=lambda: None,
    )
    loop = LOOPS.get(train_cfg.pop('type'))(runner, DataLoader(range(epoch_length)), **train_cfg)
    val_loop.loop = loop
    loop.run()
    return val_loop.points


def mmcv_evaluations(evaluation: dict, *, total: int, unit: int) -> list[int]:
    """mmcv's EvalHook (MMDetection's for dynamic intervals), called as its runners call it."""
    points = []
    start, interval = evaluation.get('start'), evaluation['interval']

    def decide(current: int) -> None:
        nonlocal interval
        pairs = evaluation.get('dynamic_intervals')
        if pairs:
            place = bisect.bisect([0, *(milestone for milestone, _ in pairs)], current + 1)
            interval = [evaluation['interval'], *(every for _, every in pairs)][place - 1]

    def should_evaluate(current: int) -> bool:
        if start is None:
            return (current + 1) % interval == 0
        return current + 1 >= start and (current + 1 - start) % interval == 0

    for current in range(total):
        decide(current)
        if current == 0 and start is not None and current >= start and should_evaluate(current):
            points.append(0)
        if should_evaluate(current):
            points.append((current + 1) * unit)
    if evaluation.get('at_end', True) and (not points or points[-1] != total * unit):
        points.append(total * unit)
    return points


def checkpoints(hook_cfg: dict, *, max_iters: int, epoch_length: int) -> list[int]:
    hook = CheckpointHook(**{key: value for key, value in hook_cfg.items() if key != 'type'})
    steps: list[int] = []
    hook._save = lambda runner, step, iters_done: steps.append(step)
    runner = SimpleNamespace(iter=0, epoch=0, max_iters=max_iters, max_epochs=max_iters // epoch_length)
    runner.train_loop = SimpleNamespace(stop_training=False)
    while runner.iter < max_iters:
        hook.after_train_iter(runner, batch_idx=runner.iter)
        runner.iter += 1
        if runner.iter % epoch_length == 0:
            hook.after_train_epoch(runner)
            runner.epoch += 1
    return steps


def steps_and_divisors(every: int, max_iters: int) -> list[tuple[float, bool]]:
    wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.ones(1))]), accumulative_counts=every)
    wrapper.initialize_count_status(None, 0, max_iters)
    return [
        (1 / wrapper.scale_loss(torch.ones((), dtype=torch.float64)).item(), wrapper.finish_iteration())
        for _ in range(max_iters)
    ]


@given(case=dialects())
@settings(max_examples=150, deadline=None)
def test_whatever_the_dialect_says_is_run_with_mmcvs_numbers(case):
    cfg, length = case
    lowered = lower(cfg)
    iter_based = length['num_iters'] is not None
    max_iters = length['num_iters'] or length['num_epochs'] * length['epoch_length']

    # Learning rates.
    optimizer = make_optimizer()
    (section,) = lowered['param_scheduler']
    scheduler = PARAM_SCHEDULERS.build(section, default_args=dict(optimizer=optimizer))
    keys = {key: value for key, value in cfg['lr_config'].items() if key != 'policy'}
    reference = ReferenceHook('lr', section['policy'], dict(by_epoch=section['by_epoch']) | keys)
    expected = run_reference(reference, make_optimizer().param_groups, **length)
    for ours, theirs in zip(run_ours(scheduler, **length), expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-18)

    # Evaluations, checkpoints, optimizer steps.
    unit = 1 if iter_based else length['epoch_length']
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainLoop, '_build_step', lambda loop, found: setattr(loop, '_step', NoStep()))
        points = evaluations(lowered['train_cfg'], length['epoch_length'])
    assert points == mmcv_evaluations(cfg['evaluation'], total=max_iters // unit, unit=unit)
    saved = cfg['checkpoint_config']
    total = max_iters // unit
    last = {total} if saved.get('save_last', True) else set()
    hook = lowered['default_hooks']['checkpoint']
    epoch_length = max_iters if iter_based else length['epoch_length']
    steps = checkpoints(hook, max_iters=max_iters, epoch_length=epoch_length)
    assert steps == sorted({*range(saved['interval'], total + 1, saved['interval']), *last})
    every = (cfg.get('runner') or {}).get('accumulative_counts', 1)
    rest = max_iters % every
    assert steps_and_divisors(lowered['optim_wrapper']['accumulative_counts'], max_iters) == [
        (pytest.approx(every if i < max_iters - rest else rest), (i + 1) % every == 0 or i + 1 == max_iters)
        for i in range(max_iters)
    ]

    # Written as a native file it is the same run.
    converted: dict = {}
    exec(render_native(lowered, cfg, source='old.py'), converted)
    del converted['__builtins__']
    assert lower(converted) == {key: value for key, value in lowered.items() if key in converted}
    assert set(lowered) - set(converted) <= {'img_norm_cfg'}
