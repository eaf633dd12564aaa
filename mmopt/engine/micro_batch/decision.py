"""Which micro-batch size to run next: pure functions of what was seen, so that all ranks decide alike.

After a failure the size is halved. After a while of successes the next larger size that saves a forward pass is tried
(11 of 32 samples makes three parts where 10 makes four); one that failed before is tried again only after a long
while, twice as long after each further failure: memory that another process or an unusual batch took may be free again.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

__all__ = ['MicroBatchState', 'SmallestFailedError', 'after_failure', 'after_success', 'size_for']

PROBE_AFTER = 50
"""Good iterations before a larger size is tried that never failed: long enough for an unusual batch to come by."""
RETRY_AFTER = 1000
"""Good iterations before a size is tried again that failed; a failure costs about one iteration."""
MAX_RETRY_AFTER = 64_000


class SmallestFailedError(RuntimeError):
    """One sample alone does not fit."""


@dataclass(frozen=True)
class MicroBatchState:
    """What is known after some iterations.

    Attributes:
        size: Samples per forward pass; None: the whole batch, nothing has failed yet.
        ceiling: Smallest size that failed.
        good_iters: Iterations since the size changed.
        retry_after: Good iterations after which a size is tried again that failed.
        proven: The smaller size that worked, while the size above it is on trial.
    """

    size: int | None = None
    ceiling: int | None = None
    good_iters: int = 0
    retry_after: int = RETRY_AFTER
    proven: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore what :meth:`to_dict` gave."""
        return cls(**state)


def size_for(state: MicroBatchState, num_samples: int) -> int:
    """Return the samples per forward pass for a batch.

    Args:
        state: What is known.
        num_samples: Samples of the batch; of the largest one, where ranks differ.

    Returns:
        A size in ``[1, num_samples]``.
    """
    return num_samples if state.size is None else min(state.size, num_samples)


def after_failure(state: MicroBatchState, num_samples: int) -> MicroBatchState:
    """Choose a smaller size: the one that is proven if this one was on trial, else half.

    Args:
        state: The state that failed.
        num_samples: Samples of the batch.

    Returns:
        The state to retry with.

    Raises:
        SmallestFailedError: If a single sample failed.
    """
    failed = size_for(state, num_samples)
    if failed == 1:
        raise SmallestFailedError
    failed_before = state.ceiling is not None and failed >= state.ceiling
    retry_after = min(2 * state.retry_after, MAX_RETRY_AFTER) if failed_before else state.retry_after
    on_trial = state.proven is not None and state.proven < failed
    return MicroBatchState(
        size=state.proven if on_trial else -(-failed // 2),
        ceiling=failed if state.ceiling is None else min(failed, state.ceiling),
        retry_after=retry_after,
    )


def after_success(state: MicroBatchState, num_samples: int) -> MicroBatchState:
    """Count a good iteration and, when it is time, put a larger size on trial.

    Args:
        state: The state that succeeded.
        num_samples: Samples of the batch.

    Returns:
        The state for the next iteration.
    """
    if state.size is None:
        return state
    counted = replace(state, good_iters=state.good_iters + 1, proven=None)
    num_parts = -(-num_samples // state.size)
    if num_parts == 1:
        return counted
    larger = -(-num_samples // (num_parts - 1))
    has_failed = state.ceiling is not None and larger >= state.ceiling
    if counted.good_iters < (state.retry_after if has_failed else PROBE_AFTER):
        return counted
    return replace(counted, size=larger, good_iters=0, proven=state.size)
