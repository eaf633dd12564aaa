"""The search for the largest batch: the answer of looking at every batch size, from a few of them."""

from collections.abc import Callable

import pytest

from mmopt.engine.memory.search import Largest, Need, between, largest_batch


def slowly(need: Callable[[int], Need | None], capacity: int, limit: int = 4096) -> int:
    """Look at every batch size from the smallest on that the model takes."""
    sizes = [size for size in range(1, limit + 1) if need(size) is not None]
    fitting = [size for size in sizes if need(size).num_bytes <= capacity]
    return max(fitting, default=0)


def noting(need: Callable[[int], Need | None]) -> tuple[Callable[[int], Need | None], list[int]]:
    asked: list[int] = []

    def ask(size: int) -> Need | None:
        asked.append(size)
        return need(size)

    return ask, asked


def on_a_line(size: int) -> Need:
    return Need(500 + 100 * size)


def in_segments(size: int) -> Need:
    """As a caching allocator holds it: ten tensors per sample, rounded up to segments of 2 MiB, some of 20."""
    return Need(400 + sum(-(-size * part // 20) * 2 for part in range(1, 9)) + 20 * (size // 7))


def bent(size: int) -> Need:
    """Small batches take less than the line of large ones says: another algorithm, another peak."""
    return Need(300 + max(60 * size, 100 * size - 400))


def flat(size: int) -> Need:
    return Need(700)


@pytest.mark.parametrize('start', [1, 4, 32, 96, 4096, 9999])
@pytest.mark.parametrize('capacity', [599, 600, 1499, 1500, 9000, 100_000, 10**9])
@pytest.mark.parametrize('need', [on_a_line, in_segments, bent, flat])
def test_the_answer_is_that_of_the_slow_search_within_one_percent_or_one_sample(need, capacity, start):
    ask, asked = noting(need)
    found, expected = largest_batch(ask, capacity, start), slowly(need, capacity)
    assert found.beyond is None
    assert abs(found.batch_size - expected) <= max(1, expected / 100)
    assert found.batch_size == 0 or need(found.batch_size).num_bytes <= capacity
    assert len(asked) == len(set(asked)) <= 6


@pytest.mark.parametrize('capacity', [1500, 9000, 100_000])
@pytest.mark.parametrize('start', [4, 32])
def test_on_a_line_two_traces_and_one_to_confirm_do(capacity, start):
    ask, asked = noting(on_a_line)
    assert largest_batch(ask, capacity, start).batch_size == slowly(on_a_line, capacity)
    assert len(asked) <= 3


def looping(size: int) -> Need:
    return Need(in_segments(size).num_bytes, 8000 + 150 * size)


def test_a_trace_that_grows_with_the_batch_is_not_made_beyond_a_length():
    ask, asked = noting(looping)
    found, expected = largest_batch(ask, 20_000, 4), slowly(looping, 20_000)
    assert expected > 400
    assert abs(found.batch_size - expected) <= 2 * expected / 100
    assert found.beyond == (16, max(asked))
    assert all(looping(size).num_events <= 30_000 for size in asked)
    assert len(asked) == 3


def test_a_trace_that_is_long_at_every_batch_is_made():
    ask, asked = noting(lambda size: Need(on_a_line(size).num_bytes, 49_000 + size))
    assert largest_batch(ask, 3000, 4) == Largest(25)
    assert 25 in asked


@pytest.mark.parametrize(('capacity', 'batch'), [(3000, 25), (700, 2), (650, 0)])
def test_a_model_that_refuses_single_samples_has_an_answer_all_the_same(capacity, batch):
    def need(size: int) -> Need | None:
        return None if size < 2 else on_a_line(size)

    assert largest_batch(need, capacity, 2).batch_size == batch == slowly(need, capacity)


def test_the_line_goes_through_the_two_largest():
    assert between({2: 10, 4: 30, 8: 70}, 9) == 80
