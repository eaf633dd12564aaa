"""Reading estimates off traces, cards, and host memory: pure functions."""

import pytest

from mmopt.engine.memory.estimate import estimate, scaled_workspace
from mmopt.engine.memory.gpus import GPUS, parse_bytes, parse_gpu
from mmopt.engine.memory.host import chunk_frames, estimate_host, most_workers
from mmopt.engine.memory.trace import Allocation, Trace
from mmopt.utils.errors import UserError
from mmopt.utils.memory import GIB

MIB = 1024**2


def a_trace() -> Trace:
    allocations = [
        Allocation(30 * MIB, 'setup', '', 'copy', 'weights'),
        Allocation(20 * MIB, 'forward', 'stem', 'convolution'),
        Allocation(12 * MIB, 'forward', 'stem', 'convolution', 'workspace'),
        Allocation(40 * MIB, 'forward', 'head', 'addmm'),
        Allocation(30 * MIB, 'backward', '', 'mm', 'gradients'),
        Allocation(60 * MIB, 'step', '', 'zeros', 'optimizer'),
    ]
    events = [(0, 30 * MIB), (1, 20 * MIB), (2, 12 * MIB), (2, -1), (3, 40 * MIB), (4, 30 * MIB), (3, -1), (1, -1)]
    return Trace(allocations, [*events, (5, 60 * MIB), (4, -1)], [])


def test_the_parts_at_the_peak_add_up_and_name_their_modules():
    found = estimate(a_trace())
    assert found.parts == dict(
        weights=30 * MIB,
        averaged=0,
        gradients=30 * MIB,
        optimizer=0,
        inputs=0,
        activations=60 * MIB,
        temporary=0,
        workspace=0,
    )
    assert found.modules == (('head', 40 * MIB), ('stem', 20 * MIB))
    assert found.phase == 'backward'
    assert found.allocated == 120 * MIB
    # 30 + 20 + 12 + 40 + 30, and the 60 MiB of the optimizer find no block: the 40 and 20 are apart.
    assert found.reserved == 192 * MIB
    assert found.most['optimizer'] == 60 * MIB


def test_the_range_comes_from_the_workspace_of_convolutions():
    assert [size for number, size in scaled_workspace(a_trace(), 0.0) if number == 2] == [0, -1]
    assert [size for number, size in scaled_workspace(a_trace(), 2.0) if number == 2] == [24 * MIB, -1]
    found = estimate(a_trace())
    assert (found.reserved_low, found.reserved_high) == (180 * MIB, 204 * MIB)


def test_cards_are_known_by_the_names_people_write():
    assert parse_gpu('RTX 3090') == parse_gpu('NVIDIA GeForce RTX 3090') == parse_gpu('rtx3090')
    assert parse_gpu('rtx3090').total_bytes == int(23.69 * GIB)
    for gpu in GPUS.values():
        low, middle, high = gpu.context_gib
        assert 0 < low < middle < high < gpu.total_gib


def test_an_unknown_card_names_those_that_are_alike():
    with pytest.raises(UserError, match=r'--gpu rtx3900: not a known card; did you mean .*rtx3090'):
        parse_gpu('rtx3900')


@pytest.mark.parametrize(
    ('text', 'size'), [('24GiB', 24 * GIB), ('24g', 24 * GIB), ('25.8GB', 25_800_000_000), ('512 MiB', 512 * MIB)]
)
def test_amounts_of_memory_are_read_with_their_units(text, size):
    assert parse_bytes(text, '--budget') == size


@pytest.mark.parametrize('text', ['many', '24 bananas', '-3GiB', '0GiB'])
def test_what_is_no_amount_of_memory_is_refused(text):
    with pytest.raises(UserError, match='--budget must be an amount of memory as 24GiB'):
        parse_bytes(text, '--budget')


FACTS = dict(prefetch=2, batch_bytes=100 * MIB, sample_bytes=50 * MIB, dataset_bytes=10 * MIB, pin_memory=True)


def test_host_memory_counts_batches_under_way_and_pinned_copies():
    host = estimate_host(num_workers=4, **FACTS)
    assert host.batches == 8 * 100 * MIB
    assert host.pinned == 2 * 128 * MIB  # the pinned allocator rounds 100 MiB up to a power of two
    assert host.samples == 4 * 50 * MIB
    assert host.dataset == 5 * 10 * MIB
    assert host.low < host.total < host.high
    without = estimate_host(num_workers=0, **FACTS | dict(pin_memory=False))
    assert (without.batches, without.pinned, without.workers) == (100 * MIB, 0, 0)


def test_the_workers_that_fit_are_the_most_that_do():
    fit = most_workers(16 * GIB, FACTS)
    assert estimate_host(num_workers=fit, **FACTS).total <= 0.9 * 16 * GIB
    assert estimate_host(num_workers=fit + 1, **FACTS).total > 0.9 * 16 * GIB
    assert most_workers(2 * GIB, FACTS) is None


def test_chunks_of_videos_shrink_with_resolution_and_workers():
    full_hd, small = 3 * 1920 * 1080 * 3, 3 * 224 * 224 * 3
    assert chunk_frames(16 * GIB, full_hd, 4) == 115
    assert chunk_frames(16 * GIB, small, 4) == 4755
    assert chunk_frames(16 * GIB, full_hd, 2) == 230
