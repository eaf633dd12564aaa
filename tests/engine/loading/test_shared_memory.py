import random

import numpy as np
import pytest
import torch

from mmopt.engine.loading import shared_memory
from mmopt.engine.loading.build import build_dataloader
from mmopt.engine.loading.shared_memory import room_warning, warning_for
from mmopt.utils.memory import GIB
from tests.engine.toy import ToyDataset

MIB = 2**20


def test_need_and_room_are_said_with_what_helps():
    # 4 workers x 2 batches and the one in use, 16 MiB each.
    text = room_warning(16 * MIB, 4, 2, 64 * MIB)
    assert text.startswith(
        'shared memory: 4 workers x 2 batches of 16 MiB and the one in use need 144 MiB, /dev/shm has 64 MiB free: '
    )
    assert '--shm-size=1g' in text
    assert 'or take data.workers_per_gpu=1.' in text  # 3 x 16 MiB fit


def test_where_not_even_one_worker_fits_none_is_the_remedy():
    assert 'data.workers_per_gpu=0.' in room_warning(40 * MIB, 4, 2, 64 * MIB)


def test_processes_of_one_machine_share_the_room():
    assert room_warning(16 * MIB, 1, 2, 64 * MIB) is None
    text = room_warning(16 * MIB, 1, 2, 64 * MIB, num_processes=2)
    assert '2 processes x 1 workers x 2 batches of 16 MiB and the one in use need 96 MiB' in text


def test_room_for_all_is_no_word_worth():
    assert room_warning(16 * MIB, 4, 2, 144 * MIB) is None


class Large(ToyDataset):
    """Samples of 4 MiB that draw from the global generators."""

    reads = 0

    def prepare_data(self, idx):
        Large.reads += 1
        np.random.rand(), random.random(), torch.rand(1)
        return dict(inputs=torch.zeros(MIB))


@pytest.fixture
def free(monkeypatch):
    Large.reads = 0

    def give(num_bytes: int | None) -> None:
        monkeypatch.setattr(shared_memory, 'free_shared_memory_bytes', lambda: num_bytes)

    return give


def test_a_loader_warns_before_its_first_batch(free, capsys):
    free(64 * MIB)
    cfg = dict(dataset=Large(), batch_size=4, sampler=dict(type='DefaultSampler', shuffle=False), num_workers=2)
    build_dataloader(cfg, seed=0)
    out = capsys.readouterr().out
    assert 'WARNING - shared memory: 2 workers x 2 batches of 16 MiB and the one in use need 80 MiB' in out
    build_dataloader(dict(cfg, prefetch_factor=1), seed=0)
    assert 'WARNING' not in capsys.readouterr().out


def test_looking_at_a_sample_leaves_random_generators_alone(free):
    free(64 * MIB)
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert warning_for(Large(), 4, 8, None) is not None
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states


@pytest.mark.parametrize(('room', 'num_workers'), [(None, 8), (9 * GIB, 8), (1, 0)])
def test_no_sample_is_read_where_there_is_room_or_nobody_needs_it(free, room, num_workers):
    free(room)
    assert warning_for(Large(), 4, num_workers, None) is None
    assert Large.reads == 0


def test_a_sample_that_cannot_be_read_is_the_loaders_to_tell(free):
    class Broken(ToyDataset):
        def prepare_data(self, idx):
            raise OSError('no such file')

    free(1)
    assert warning_for(Broken(), 4, 8, None) is None
    assert warning_for([], 4, 8, None) is None
