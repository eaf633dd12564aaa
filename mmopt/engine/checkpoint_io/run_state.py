"""What a checkpoint holds of a run, and how the run goes on from it."""

import time
from collections.abc import Mapping
from typing import Any

import mmengine
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.runner.base_loop import BaseLoop

import mmopt
from mmopt.engine import checkpoint_io
from mmopt.engine.checkpoint_io.global_batch import check_global_batch
from mmopt.engine.checkpoint_io.plain import from_device
from mmopt.engine.hooks.runtime_info_hook import RuntimeInfoHook
from mmopt.engine.loops.step import unwrap
from mmopt.engine.optim import AmpOptimWrapper, OptimWrapper
from mmopt.engine.optim.accumulation import waiting_gradients
from mmopt.engine.parallel.fsdp import is_sharded, scatter_like, to_full
from mmopt.engine.resume.changes import changes_since
from mmopt.engine.resume.optimizer_settings import like_param
from mmopt.engine.resume.optimizers import restore_optimizers
from mmopt.engine.resume.schedulers import Position, resume_schedulers
from mmopt.structures import samples_per_batch
from mmopt.utils.placement import device_of
from mmopt.utils.precision import this_device

__all__ = ['collect_state', 'restore_state']


def collect_state(runner: Any) -> dict[str, Any] | None:
    """Collect everything that a bit-for-bit continuation needs. All ranks must call it.

    Returns:
        The checkpoint, on rank 0; None on the others.
    """
    loop = runner.train_loop
    bad_samples = loop.bad_samples.gather() if hasattr(loop, 'samples_done') else {}
    for hook in runner.hooks:
        if isinstance(hook, RuntimeInfoHook):
            hook.flush(runner)  # averages over ranks, so on all of them
    rng_of_ranks = all_gather_object(checkpoint_io.rng_state())
    is_waiting = isinstance(runner.optim_wrapper, OptimWrapper) and runner.optim_wrapper.in_window
    partial_grads = waiting_gradients(unwrap(runner.model)) if is_waiting else {}
    module = unwrap(runner.model)
    sharded = is_sharded(module)
    if not is_main_process() and not sharded:
        return None
    weights, optimizer_state = module.state_dict(), runner.optim_wrapper.state_dict()
    if sharded:
        weights, optimizer_state = to_full(weights), to_full(optimizer_state)
    if not is_main_process():
        return None
    state = dict(
        meta=dict(
            iter=getattr(loop, 'iters_done', runner.iter + 1),
            epoch=getattr(loop, 'epochs_done', runner.epoch),
            seed=runner.seed,
            world_size=get_world_size(),
            precision=getattr(runner.optim_wrapper, 'precision', None),  # a foreign wrapper does not say
            **(
                dict(
                    samples=loop.samples_done,
                    epoch_length=len(loop.dataloader),
                    **loop.epoch_lengths(),
                    # Of the first phase, which is what a resumed run begins with.
                    batch_size=samples_per_batch(getattr(loop, 'loaders', [loop.dataloader])[0]),
                    evaluated_at=loop.evaluated_at,
                    micro_batch=loop.micro_batch_found(),
                    bad_samples=bad_samples,
                )
                if hasattr(loop, 'samples_done')
                else {}
            ),
            experiment_name=runner.experiment_name,
            time=time.strftime('%Y%m%d_%H%M%S'),
            mmopt_version=mmopt.__version__,
            mmengine_version=mmengine.__version__,
            cfg=runner.text_of_config(),
            dataset_meta=getattr(runner.train_dataloader.dataset, 'metainfo', None),
        ),
        state_dict=from_device(weights),
        optimizer=from_device(optimizer_state),
        message_hub=runner.message_hub_state(),
        rng=rng_of_ranks,
    )
    if runner.param_schedulers is not None:
        state['param_schedulers'] = (
            {name: [item.state_dict() for item in items] for name, items in runner.param_schedulers.items()}
            if isinstance(runner.param_schedulers, dict)
            else [item.state_dict() for item in runner.param_schedulers]
        )
    if partial_grads:
        state['partial_grads'] = partial_grads
    return state


def restore_state(
    runner: Any, checkpoint: Mapping[str, Any], *, optimizer: bool = True, param_scheduler: bool = True
) -> dict | None:
    """Put a run where a checkpoint was; its weights are loaded already. All ranks must call it.

    Args:
        checkpoint: As :func:`mmopt.engine.checkpoint_io.load` gives it.
        optimizer: Whether to restore the optimizer.
        param_scheduler: Whether to restore the schedulers.

    Returns:
        The random state of this rank, to be put back when the loader is made; None where the checkpoint has none.

    Raises:
        UserError: If the optimizer's state does not fit this run.
    """
    meta, loop, module = checkpoint['meta'], runner.train_loop, unwrap(runner.model)
    _restore_seed(runner, meta.get('seed'))
    if hasattr(loop, 'set_position'):
        if runner.cfg.get('keep_global_batch', True):
            check_global_batch(meta, samples_per_batch(loop.dataloader), get_world_size())
        loop.set_position(meta)
    else:
        loop._iter, loop._epoch = meta['iter'], meta.get('epoch', 0)
    if 'message_hub' in checkpoint:
        checkpoint_io.restore_message_hub(runner.message_hub, checkpoint['message_hub'])
    _restore_precision(runner, meta.get('precision'))
    changes = changes_since(checkpoint, runner.cfg, get_world_size())
    if optimizer:
        changes = restore_optimizers(runner.optim_wrapper, runner.fresh_groups, checkpoint, changes)
    if param_scheduler:
        resume_schedulers(
            runner.param_schedulers,
            checkpoint.get('param_schedulers'),
            Position.of_loop(loop),
            begin_anew=changes.moves_rates or loop.iter != meta['iter'],
            fresh_optimizer=not optimizer,
        )
    if changes.texts:
        runner.logger.warning(f'Since the checkpoint has changed, from iteration {loop.iter} on: {changes}.')
    partial_grads = checkpoint.get('partial_grads', {}) if loop.iter == meta['iter'] else {}
    for name, param in module.named_parameters():
        if name in partial_grads:
            param.grad = like_param(scatter_like(partial_grads[name], param), param)
    rng_of_ranks = checkpoint.get('rng', ())
    if len(rng_of_ranks) == get_world_size():
        return rng_of_ranks[get_rank()]
    if rng_of_ranks:
        runner.logger.warning(
            f'The checkpoint has the random state of {len(rng_of_ranks)} processes, there are {get_world_size()} '
            'now: what the model draws (dropout) goes on from the seed; samples and augmentation go on exactly.'
        )
    return None


def _restore_seed(runner: Any, seed: int | None) -> None:
    if seed is None or seed == runner.seed:
        return
    if runner._randomness_cfg.get('seed') is not None:
        runner.logger.warning(
            f'The checkpoint ran with seed {seed}, the config says {runner.seed}: going on with {seed}.'
        )
    runner._randomness_cfg = dict(runner._randomness_cfg, seed=seed)
    runner.set_randomness(**runner._randomness_cfg)
    for loop in (runner._train_loop, runner._val_loop):
        for loader in getattr(loop, 'loaders', ()) or ([loop.dataloader] if isinstance(loop, BaseLoop) else ()):
            if hasattr(loader.sampler, 'seed'):
                loader.sampler.seed = seed


def _restore_precision(runner: Any, precision: str | None) -> None:
    """Go on in the precision that was chosen, and say in one line what that costs here, or what has changed."""
    wrapper = runner.optim_wrapper
    if precision is None or not isinstance(wrapper, OptimWrapper):
        return
    device = this_device(device_of(runner.model).type)
    support = device.support(precision)
    if isinstance(wrapper, AmpOptimWrapper) and support.level != 'missing':
        wrapper.keep_precision(precision)
    if wrapper.precision != precision:
        runner.logger.warning(f'The checkpoint was trained in {precision}, this run goes on in {wrapper.precision}.')
    elif getattr(wrapper, 'choice', None) is not None and not support.is_native:
        runner.logger.warning(
            f'Going on in {precision}, as the run was begun, though {support.reason}: emulated, so that it stays the '
            'same run. --precision fp32 is faster here and rounds less.'
        )
