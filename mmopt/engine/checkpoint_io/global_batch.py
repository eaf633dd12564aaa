"""The samples of one iteration over all processes must not change unnoticed when their number does."""

from collections.abc import Mapping
from typing import Any

from mmopt.config.spelling import spelled
from mmopt.utils.errors import UserError

__all__ = ['check_global_batch']


def check_global_batch(meta: Mapping[str, Any], batch_size: int | None, world_size: int) -> None:
    """Refuse to resume on another number of processes with another global batch.

    A run that changes ``samples_per_gpu`` on the same number of processes says what it wants; the schedule then goes on
    by iterations and the data by samples.

    Args:
        meta: The checkpoint's; checkpoints of other libraries do not say, and pass.
        batch_size: Samples per process and iteration now.
        world_size: Number of processes now.

    Raises:
        UserError: With the batch size or the numbers of processes that keep the global batch.
    """
    then, batch_then = meta.get('world_size'), meta.get('batch_size')
    if not then or not batch_then or not batch_size or then == world_size:
        return
    before, now = then * batch_then, world_size * batch_size
    if before == now:
        return
    if before % world_size == 0:
        remedy = f'write {spelled("train_dataloader.batch_size")}={before // world_size} to keep it'
    else:
        possible = [count for count in range(1, before + 1) if before % count == 0]
        remedy = f'no batch size keeps it on {world_size} processes: use {", ".join(map(str, possible))}'
    raise UserError(
        f'The checkpoint ran with {then} x {batch_then} = {before} samples per iteration, this run would with '
        f'{world_size} x {batch_size} = {now}: {remedy}, or accept the change with keep_global_batch=False.'
    )
