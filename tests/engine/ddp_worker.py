"""What each rank of test_distributed runs: a short toy run through the real launcher path."""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from mmopt.engine.loops.evaluation_loops import share_statistics
from mmopt.engine.parallel.sync_batch_norm import CrossRankBatchNorm
from mmopt.registry import HOOKS, RUNNERS
from tests.conftest import forget_mmengine_globals
from tests.engine.micro_batch.ddp_check import (
    assert_a_rank_that_fails_leaves_nobody_waiting,
    assert_norms_that_talk_are_refused,
)
from tests.engine.test_runner import Killed
from tests.engine.toy import toy_config


def assert_statistics_are_shared() -> None:
    norm = torch.nn.BatchNorm1d(3)
    norm.running_mean.fill_(get_rank() + 1)
    norm.running_var.fill_(get_rank() + 5)
    share_statistics(norm)
    assert norm.running_mean.tolist() == [1, 1, 1], norm.running_mean
    assert norm.running_var.tolist() == [5, 5, 5], norm.running_var


def assert_a_stop_between_two_steps_changes_nothing(work_dir: str) -> None:
    """Four of six iterations wait for their step, on each rank for other samples, when the checkpoint is made."""
    finals = []
    for name, changes in (
        ('whole', {}),
        ('stopped', dict(custom_hooks=[dict(type='KillHook', after=4)])),
        ('stopped', dict(resume=True)),
    ):
        forget_mmengine_globals()
        cfg = toy_config(
            f'{work_dir}_{name}',
            model=dict(dropout=0.0),
            train_dataloader=dict(batch_size=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01), accumulative_counts=6),
            max_iters=6,
            launcher='pytorch',
            **changes,
        )
        runner = RUNNERS.get(cfg['runner_type']).from_cfg(Config(cfg))
        try:
            runner.train()
        except Killed:
            continue
        finals.append(runner.model.module.state_dict())
    whole, resumed = finals
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-6, atol=1e-7)


def phased_config(work_dir: str, batch: int, **changes) -> dict:
    """One epoch with a frozen layer, one with all of them and half the batch; ``batch`` is of one process."""
    return toy_config(
        work_dir,
        by_epoch=True,
        model=dict(dropout=0.0),
        train_dataloader=dict(batch_size=2 * batch),
        train_cfg=dict(phases=[dict(until_epoch=1, freeze=['hidden']), dict(batch_size=batch)]),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=[dict(type='ClosedFormLR', policy='CosineAnnealing', min_lr=0.0)],
        **changes,
    )


def weights_after_phases(work_dir: str) -> dict[str, torch.Tensor]:
    forget_mmengine_globals()
    cfg = phased_config(f'{work_dir}_phased', 2, launcher='pytorch')
    runner = RUNNERS.get(cfg['runner_type']).from_cfg(Config(cfg))
    runner.train()
    return runner.model.module.state_dict()


def assert_batch_norm_sees_all_ranks() -> None:
    """Against BatchNorm of the joined batch, in float64; the ranks' parts are unequal."""
    generator = torch.Generator().manual_seed(0)
    joined, factors = torch.randn(2, 8, 3, 5, generator=generator, dtype=torch.float64)
    joined.requires_grad_()
    whole, own = torch.nn.BatchNorm1d(3).double(), CrossRankBatchNorm(3).double()
    (whole(joined) * factors).sum().backward()
    part = slice(0, 3) if get_rank() == 0 else slice(3, 8)
    mine = joined.detach()[part].requires_grad_()
    (own(mine) * factors[part]).sum().backward()
    close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)
    close(mine.grad, joined.grad[part])
    for param, expected in zip(own.parameters(), whole.parameters(), strict=True):
        torch.distributed.all_reduce(param.grad)
        close(param.grad, expected.grad)
    for buffer, expected in zip(own.buffers(), whole.buffers(), strict=True):
        close(buffer, expected)


@HOOKS.register_module()
class DieOnceHook(Hook):
    """``kill -9`` the second rank in its sixth iteration, the first time that it gets there."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        marker = Path(runner.work_dir, 'died')
        if runner.rank == 1 and runner.iter == 5 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def main(work_dir: str, out: str) -> None:
    cfg = toy_config(
        work_dir,
        model=dict(dropout=0.0),
        custom_hooks=[dict(type='DieOnceHook')],
        resume=True,  # torchrun starts all ranks again
        train_dataloader=dict(batch_size=2),
        optim_wrapper=dict(accumulative_counts=2),
        launcher='pytorch',
    )
    runner = RUNNERS.get(cfg['runner_type']).from_cfg(Config(cfg))
    runner.train()
    if runner.rank == 0:
        weights = runner.model.module.state_dict()
        torch.save(dict(weights=weights, count=runner.val_loop.metrics['count']), out)
    phased = weights_after_phases(work_dir)
    if runner.rank == 0:
        torch.save(torch.load(out, weights_only=True) | dict(phased=phased), out)
    assert_statistics_are_shared()
    assert_batch_norm_sees_all_ranks()
    assert_a_stop_between_two_steps_changes_nothing(work_dir)
    assert_a_rank_that_fails_leaves_nobody_waiting()
    assert_norms_that_talk_are_refused()
    # Without the barrier a rank may leave while another still talks to it.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    main(*sys.argv[1:])
