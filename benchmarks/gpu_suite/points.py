"""The points at which memory is estimated beforehand and measured: one list for both."""

from collections.abc import Iterator
from typing import Any

from gpu_suite.plan import FIVE, TASKS

__all__ = ['all_points', 'memory_points', 'point_key']


def memory_points(task: str, *, tiny: bool) -> Iterator[dict[str, Any]]:
    """Yield settings of a task: precision x batch x checkpointing, the optimizers in turns.

    Args:
        task: One of the five.
        tiny: Two settings of the demo config.

    Yields:
        Arguments of :func:`mmopt.apis.memory.case.load_case`.
    """
    half = 'bf16' if task == 'bev' else 'fp16'
    own = dict(bev=4, segmentation=32, detection=16, tad_v7=32, transformer=4)[task]
    batches, precisions, kinds = (own, own // 2), ('fp32', half), ('none', 'blocks')
    if tiny:
        batches, precisions, kinds = (2,), (half,), ('none',)
    number = 0
    for precision in precisions:
        for batch_size in batches:
            for checkpointing in kinds:
                # Each optimizer with each of the others: whole turns would pair it with one checkpointing.
                optimizer = ('AdamW', 'SGD')[(number + number // 2) % 2]
                number += 1
                yield dict(
                    config=TASKS[task].config(tiny=tiny),
                    batch_size=batch_size,
                    precision=precision,
                    checkpointing=checkpointing,
                    optimizer=optimizer,
                )


def point_key(point: dict[str, Any]) -> str:
    """Return what an estimate is filed under."""
    names = ('config', 'batch_size', 'precision', 'checkpointing', 'optimizer')
    return ' '.join(str(point[name]) for name in names)


def all_points(*, tiny: bool) -> Iterator[dict[str, Any]]:
    """Yield the points of all five tasks."""
    for task in FIVE:
        yield from memory_points(task, tiny=tiny)
