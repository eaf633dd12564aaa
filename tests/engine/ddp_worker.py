"""What each rank of test_distributed runs: a short toy run through the real launcher path."""

import sys

import torch
from mmengine.config import Config

from mmopt.registry import RUNNERS
from tests.engine.toy import toy_config


def main(work_dir: str, out: str) -> None:
    cfg = toy_config(
        work_dir,
        model=dict(dropout=0.0),
        train_dataloader=dict(batch_size=2),
        optim_wrapper=dict(accumulative_counts=2),
        launcher='pytorch',
    )
    runner = RUNNERS.get(cfg['runner_type']).from_cfg(Config(cfg))
    runner.train()
    if runner.rank == 0:
        weights = runner.model.module.state_dict()
        torch.save(dict(weights=weights, count=runner.val_loop.metrics['count']), out)
    # Without the barrier a rank may leave while another still talks to it.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    main(*sys.argv[1:])
