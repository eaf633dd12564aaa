"""When to speak about memory and speed: pure functions of what a log line shows."""

from mmopt.config.spelling import spelled

__all__ = ['memory_warning', 'retry_warning', 'room_hint', 'waiting_warning']

MEMORY_SHARE = 0.94
"""Above this a batch that is slightly larger than usual does not fit: context and fragments need the rest."""
ROOM_SHARE = 0.5
"""Below this twice the batch would fit, since weights and the optimizer's state do not grow with it."""
BUSY_PERCENT = 80
WAITING_SHARE = 0.1


def memory_warning(reserved_gib: float, total_gib: float) -> str | None:
    """Warn when the card is nearly full.

    Args:
        reserved_gib: Peak that the allocator held.
        total_gib: Memory of the card.

    Returns:
        The warning; None if there is room.
    """
    if reserved_gib <= MEMORY_SHARE * total_gib:
        return None
    return (
        f'{reserved_gib:.1f} of {total_gib:.1f} GiB are taken ({reserved_gib / total_gib:.0%}): a larger batch than '
        "usual will not fit. optimize.micro_batch='auto' survives that; optimize.checkpointing makes room."
    )


def room_hint(reserved_gib: float, total_gib: float, batch_size: int) -> str | None:
    """Say when a card is half empty: a larger batch uses it better.

    Args:
        reserved_gib: Peak that the allocator held.
        total_gib: Memory of the card.
        batch_size: Samples per iteration of one process.

    Returns:
        The hint; None if the card is at least half full.
    """
    if reserved_gib >= ROOM_SHARE * total_gib:
        return None
    return (
        f'The card is {1 - reserved_gib / total_gib:.0%} empty (peak {reserved_gib:.1f} of {total_gib:.1f} GiB): raise '
        f'{spelled("train_dataloader.batch_size")} (now {batch_size}) and the learning rate with it '
        '(optimize.scale_lr=linear), or let tools/tune.py find the fastest batch.'
    )


def retry_warning(num_retries: int, reserved_gib: float) -> str | None:
    """Warn when the allocator had to empty its cache.

    Args:
        num_retries: How often, since the last warning.
        reserved_gib: Peak that the allocator held.

    Returns:
        The warning; None if it never had to.
    """
    if num_retries <= 0:
        return None
    return (
        f'The allocator ran full {num_retries} time(s) since the last line (peak {reserved_gib:.1f} GiB reserved); '
        'each costs a device sync. Lower optimize.micro_batch, or set '
        'PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True.'
    )


def waiting_warning(busy_percent: float | None, wait_s: float, iter_s: float, num_workers: int) -> str | None:
    """Warn when the card idles because the loader is late.

    Args:
        busy_percent: Utilization of the card's cores; None where it cannot be read.
        wait_s: Seconds per iteration that the loop waited for its batch.
        iter_s: Seconds per iteration.
        num_workers: Workers of the loader.

    Returns:
        The warning; None if the card is busy, or idles for another reason.
    """
    if busy_percent is None or busy_percent >= BUSY_PERCENT or iter_s <= 0 or wait_s / iter_s < WAITING_SHARE:
        return None
    return (
        f'The card is {busy_percent:.0f} % busy and {wait_s / iter_s:.0%} of each iteration waits for data: raise '
        f'{spelled("train_dataloader.num_workers")} (now {num_workers}) or '
        f'{spelled("train_dataloader.prefetch_factor")}, or make the pipeline cheaper.'
    )
