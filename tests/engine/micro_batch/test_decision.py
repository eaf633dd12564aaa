"""The decisions alone: every batch, every capacity, capacities that change."""

import pytest

from mmopt.engine.micro_batch import decision
from mmopt.engine.micro_batch.decision import (
    MicroBatchState,
    SmallestFailedError,
    after_failure,
    after_success,
    size_for,
)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(decision, 'PROBE_AFTER', 3)


def run(state: MicroBatchState, batch: int, capacity: int) -> tuple[MicroBatchState, list[int]]:
    """Run one iteration; return the state after it and the sizes that were attempted."""
    attempts = []
    while True:
        attempts.append(size_for(state, batch))
        if attempts[-1] <= capacity:
            return after_success(state, batch), attempts
        state = after_failure(state, batch)


@pytest.mark.parametrize('batch', range(1, 41))
def test_every_capacity_ends_at_the_fewest_parts_that_fit(batch):
    for capacity in range(1, batch + 1):
        state = MicroBatchState(retry_after=10_000)
        num_failures = 0
        for _ in range(4 * 8 + 4 * batch // capacity):
            state, attempts = run(state, batch, capacity)
            assert attempts[-1] <= capacity
            assert 1 <= attempts[-1] <= batch
            num_failures += len(attempts) - 1
        size = size_for(state, batch)
        assert -(-batch // size) == -(-batch // capacity), (batch, capacity, state)
        # Halvings, and one probe too far.
        assert num_failures <= batch.bit_length() + 1


@pytest.mark.parametrize('batch', [1, 2, 7, 32])
def test_nothing_is_decided_while_nothing_fails(batch):
    state = MicroBatchState()
    for _ in range(100):
        state, attempts = run(state, batch, batch)
        assert attempts == [batch]
    assert state == MicroBatchState()


@pytest.mark.parametrize('size', [None, 1, 4])
def test_one_sample_that_fails_is_the_end(size):
    state = MicroBatchState(size=size)
    while size_for(state, 8) > 1:
        state = after_failure(state, 8)
    with pytest.raises(SmallestFailedError):
        after_failure(state, 8)


def test_a_failure_halves_upwards_rounded():
    sizes = []
    state = MicroBatchState()
    for _ in range(4):
        state = after_failure(state, 11)
        sizes.append(state.size)
    assert sizes == [6, 3, 2, 1]


def test_a_probe_that_fails_goes_back_to_what_worked_and_not_to_its_half():
    state = MicroBatchState(size=8, ceiling=16)
    for _ in range(3):
        state = after_success(state, 32)
    assert (state.size, state.proven) == (11, 8)
    state = after_failure(state, 32)
    assert (state.size, state.ceiling) == (8, 11)


def test_what_failed_is_tried_again_after_twice_as_long_each_time():
    waits, waited = [], 0
    state = MicroBatchState(size=4, ceiling=8, retry_after=5)
    for _ in range(80):
        before = state
        state, attempts = run(state, 8, 4)
        waited += 1
        if len(attempts) > 1:
            waits.append(waited)
            waited = 0
        assert before.retry_after <= state.retry_after
    assert waits[:4] == [6, 10, 20, 40]


def test_a_batch_that_is_heavier_than_usual_halves_what_worked_before():
    state = MicroBatchState(size=8, good_iters=50)
    assert after_failure(state, 32).size == 4


def test_memory_that_comes_back_is_used_again():
    state, _ = run(MicroBatchState(retry_after=20), 16, 3)
    assert size_for(state, 16) == 2
    for _ in range(200):
        state, attempts = run(state, 16, 16)
    assert attempts == [16]


def test_a_smaller_last_batch_runs_whole_and_changes_nothing_but_the_count():
    state = MicroBatchState(size=4, ceiling=8)
    assert size_for(state, 3) == 3
    assert after_success(state, 3) == MicroBatchState(size=4, ceiling=8, good_iters=1)


def test_the_state_survives_a_checkpoint():
    state = MicroBatchState(size=4, ceiling=8, good_iters=7, retry_after=11, proven=3)
    assert MicroBatchState.from_dict(state.to_dict()) == state
