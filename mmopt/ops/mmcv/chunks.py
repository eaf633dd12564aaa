"""Work that is done a bounded number of numbers at a time."""

from collections.abc import Iterator

from torch import Tensor

__all__ = ['MAX_NUMBERS', 'chunks_by_size']

# Numbers that are made at once, 4 MiB of them: bounds the memory of a call, whatever the number of regions.
MAX_NUMBERS = 1 << 20


def chunks_by_size(numbers_R: Tensor) -> Iterator[Tensor]:
    """Yield the indices of items of about the same size, largest first: padding them to the largest costs little.

    Args:
        numbers_R: int, how many numbers are made for each item. Items of 0 are left out.
    """
    sorted_R, order_R = numbers_R.sort(descending=True, stable=True)
    sizes = [size for size in sorted_R.tolist() if size]
    first = 0
    while first < len(sizes):
        stop = min(len(sizes), first + max(1, MAX_NUMBERS // sizes[first]))
        yield order_R[first:stop]
        first = stop
