"""Several processes: start the group on CPU or GPU alike, and leave it cleanly."""

import os
import re
from collections.abc import Mapping
from datetime import timedelta

import torch
from torch import distributed as dist

__all__ = [
    'first_host',
    'init_distributed',
    'largest_of_all',
    'leave_process_group',
    'local_rank',
    'local_world_size',
    'rank_to_be',
]

_SLURM = dict(RANK='SLURM_PROCID', WORLD_SIZE='SLURM_NTASKS', LOCAL_RANK='SLURM_LOCALID')


def local_rank() -> int:
    """Return this process's place on its machine; 0 without a launcher."""
    return int(os.environ.get('LOCAL_RANK', 0))


def local_world_size() -> int:
    """Return how many processes of the run share this machine; 1 without a launcher."""
    return int(os.environ.get('LOCAL_WORLD_SIZE') or os.environ.get('SLURM_NTASKS_PER_NODE') or 1)


def rank_to_be(launcher: str | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Return this process's number in its run, also before the process group is started.

    Args:
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``; None where it is not known: the variables then decide.
        environment: Variables of the process.

    Returns:
        0 without a launcher.
    """
    names = dict(none=(), pytorch=('RANK',), slurm=(_SLURM['RANK'],)).get(launcher or '', ('RANK', _SLURM['RANK']))
    return next((int(environment[name]) for name in names if name in environment), 0)


def first_host(node_list: str) -> str:
    """Return the first host of SLURM's compressed list: ``gpu-a[03-05,8],b1`` begins with ``gpu-a03``."""
    match = re.match(r'([^,\[]+)(?:\[(\d+)[^\]]*\])?([^,\[]*)', node_list)
    if match is None:
        raise ValueError(f'no host in SLURM_JOB_NODELIST={node_list!r}; set MASTER_ADDR to the host of rank 0.')
    prefix, numbers, suffix = match.groups()
    return f'{prefix}{numbers or ""}{suffix}'


def init_distributed(
    launcher: str, backend: str | None = None, timeout_s: float = 1800.0, port: int | None = None
) -> None:
    """Join the process group that ``launcher`` describes in the environment.

    MMEngine's own ``init_dist`` calls ``torch.cuda.set_device`` whatever the device, so it fails on a CPU.

    Args:
        launcher: ``'pytorch'`` (torchrun) or ``'slurm'``.
        backend: ``'nccl'``, ``'gloo'`` or None: NCCL with a GPU, gloo without one, where NCCL cannot work.
        timeout_s: Seconds after which a collective that a rank never joins fails.
        port: Of rank 0 under SLURM; goes before the environment's, as in mmcv. torchrun has chosen its own.

    Raises:
        ValueError: If the launcher is unknown or its variables are not in the environment.
    """
    if launcher == 'slurm':
        missing = [name for name in _SLURM.values() if name not in os.environ]
        if missing:
            raise ValueError(f'launcher slurm: {missing} not in the environment; start the job with srun.')
        os.environ.update({ours: os.environ[theirs] for ours, theirs in _SLURM.items()})
        os.environ['MASTER_PORT'] = str(port or os.environ.get('MASTER_PORT', 29500))
        os.environ.setdefault('MASTER_ADDR', first_host(os.environ.get('SLURM_JOB_NODELIST', 'localhost')))
    elif launcher == 'pytorch':
        missing = [name for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR') if name not in os.environ]
        if missing:
            raise ValueError(
                f'launcher pytorch: {missing} not in the environment; start with '
                '`torchrun --nproc-per-node N tools/train.py CONFIG --launcher pytorch` or tools/dist_train.sh.'
            )
    else:
        raise ValueError(f"unknown launcher {launcher!r}; known: 'none', 'pytorch', 'slurm'.")
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    elif backend == 'nccl':
        backend = None
    timeout = timedelta(seconds=timeout_s)
    store, rank, world_size = next(dist.rendezvous('env://', timeout=timeout))
    # torchrun with --master-port keeps its store when it starts all ranks again: without a place of its own, each would
    # find the addresses of those that died, and wait for ever.
    attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    dist.init_process_group(
        backend or ('nccl' if torch.cuda.is_available() else 'gloo'),
        store=dist.PrefixStore(f'attempt_{attempt}', store),
        rank=rank,
        world_size=world_size,
        timeout=timeout,
    )


def leave_process_group() -> None:
    """Leave the process group when all ranks are done; without one, do nothing.

    Without the barrier a rank may close its connections while another still talks to it: 3 of 10 runs over gloo
    aborted at exit. NCCL warns when nobody says good-bye.
    """
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def largest_of_all(value: int, group: dist.ProcessGroup) -> int:
    """Return the largest of a number over all ranks; all must ask.

    Args:
        value: This rank's.
        group: A group of all ranks over gloo, so that no device takes part.

    Returns:
        The largest.
    """
    number = torch.tensor(value)
    dist.all_reduce(number, dist.ReduceOp.MAX, group=group)
    return int(number)
