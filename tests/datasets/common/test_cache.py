"""Samples that are stored are the samples that are not: bit for bit, whatever becomes of the build."""

import json
import multiprocessing
import os
import random
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmopt.datasets.common import ConcatDataset, EvaluationSampler, RepeatDataset, SeededDataset, base
from mmopt.datasets.common.cache import NotStorableError, build, decode, encode, write
from mmopt.datasets.common.cache.build import lock
from mmopt.engine.loading.build import build_dataloader
from mmopt.utils.errors import UserError
from mmopt.utils.seeding import SampleIndex


class Draw:
    """Deterministic and slow enough to be worth storing."""

    deterministic = True

    def __init__(self, size: int = 16) -> None:
        self.size = size

    def __call__(self, results):
        time.sleep(1e-3)
        rng = np.random.default_rng(results['number'])
        results['img'] = rng.integers(0, 256, (self.size, self.size, 3), dtype=np.uint8)
        results['mask'] = results['img'][..., 0] > 100
        results['label'] = results['img'][..., 1].astype(np.int64)
        results['distance'] = torch.from_numpy(results['img'][..., 2].astype(np.float32) / 7)
        results['pair'] = (results['number'], np.float32(0.5), ['a', None, {3: 'three'}])
        results['fields'] += ['mask']
        del results['unused']
        return results


class Jitter:
    deterministic = True  # it is not: the guard must find out

    def __init__(self, only_above: int = -1) -> None:
        self.only_above = only_above

    def __call__(self, results):
        if results['number'] > self.only_above:
            results['shift'] = results['rng'].random()
        results['img'] += 1  # in place: must not reach what is stored
        return results


class ReadsEpoch:
    deterministic = True

    def __call__(self, results):
        results['late'] = results['epoch'] >= 1
        return results


class GlobalNoise:
    deterministic = True

    def __call__(self, results):
        results['noise'] = np.random.rand()
        return results


class Silent:
    """Says nothing of itself."""

    def __call__(self, results):
        return results


class Drawn(SeededDataset):
    def __init__(self, length: int = 6, file: str = '', **kwargs) -> None:
        self.length = length
        self.file = file
        super().__init__(**kwargs)

    def load_data_list(self):
        return [dict(number=n, img_path=self.file, unused=[1]) for n in range(self.length)]


@pytest.fixture(autouse=True)
def _private_and_quick(tmp_path, monkeypatch):
    monkeypatch.setattr(base, '_ram_folder', lambda: tmp_path / 'ram')
    monkeypatch.setattr(os, 'fsync', lambda fd: None)  # a tenth of a second each; no test pulls the plug


def same(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | torch.Tensor):
        return type(one) is type(other) and one.dtype == other.dtype and bool((one == other).all())
    if isinstance(one, np.random.Generator):
        return one.bit_generator.state['state']['counter'].tolist() == (
            other.bit_generator.state['state']['counter'].tolist()
        )
    return type(one) is type(other) and one == other


def samples_of(dataset) -> list[dict]:
    return [dataset[SampleIndex(index, 3, epoch)] for epoch in (0, 1) for index in range(len(dataset))]


def folders(path: Path) -> list[Path]:
    return sorted(meta.parent for meta in path.glob('*/meta.json'))


def test_a_record_gives_back_what_it_was_made_of_in_the_fewest_bytes():
    values = dict(
        flags=np.arange(77).reshape(7, 11) % 3 == 0,
        small=np.full((50, 50), 299, np.int64),
        signed=np.full((50, 50), -1, np.int32),
        empty=np.zeros((0, 4), np.float32),
        scalar=np.array(2.5),
        strided=np.arange(24.0).reshape(4, 6)[::2, ::3],
        tensor=torch.arange(5),
        nested=[1, (2.5, 'x', None, True), {'k': np.float32(1.5), 4: [np.arange(3)]}],
        infinite=float('inf'),
    )
    record = encode(values)
    assert same(decode(np.frombuffer(record, np.uint8)), values)
    # 2 bytes instead of 8 per entry, a bit per flag.
    assert len(record) < 50 * 50 * 2 + 50 * 50 * 4 + 2000


def test_a_decoded_array_is_the_callers_own():
    record = np.frombuffer(encode(dict(a=np.arange(4.0))), np.uint8)
    decode(record)['a'][:] = 0
    assert decode(record)['a'].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('value', [object(), np.array([object()]), torch.zeros(2, dtype=torch.bfloat16)])
def test_what_cannot_be_stored_is_named(value):
    with pytest.raises(NotStorableError, match=r'deep\[0\]'):
        encode(dict(deep=[value]))


@pytest.mark.parametrize('mode', ['disk', 'ram'])
@pytest.mark.parametrize('num_workers', [0, 2])
def test_stored_samples_equal_computed_ones_and_chance_stays_chance(tmp_path, mode, num_workers):
    pipeline = [Draw(), Jitter()]
    plain, cached = Drawn(pipeline=pipeline), Drawn(pipeline=pipeline)
    cached.prepare_cache(mode, tmp_path / 'c', num_workers)
    assert cached._cached.length == 1
    for _ in range(2):  # in-place changes of the first pass must not be in the second
        assert same(samples_of(cached), samples_of(plain))
    shifts = [sample['shift'] for sample in samples_of(cached)]
    assert len(set(shifts)) == len(shifts)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_run_that_builds_the_cache_draws_the_same_numbers_as_one_that_finds_it(tmp_path, num_workers):
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        Drawn(pipeline=[Draw()]).prepare_cache('disk', tmp_path / 'c', num_workers)
        drawn.append((torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()))
    assert len(folders(tmp_path / 'c')) == 1
    assert drawn[0] == drawn[1]


def test_workers_read_the_same_store_and_a_second_run_finds_it(tmp_path):
    cfg = dict(
        dataset=Drawn(pipeline=[Draw(), Jitter()]), batch_size=2, num_workers=2, persistent_workers=True,
        sampler=EvaluationSampler(range(6), seed=3), collate_fn=list, cache='disk', cache_dir=str(tmp_path / 'c'),
    )  # fmt: skip
    loader = build_dataloader(cfg, seed=3)
    (folder,) = folders(tmp_path / 'c')
    made = (folder / 'samples.bin').stat().st_mtime_ns
    batches = iter(loader)
    got = [sample for batch in batches for sample in batch]
    batches._shutdown_workers()
    plain = Drawn(pipeline=[Draw(), Jitter()])
    assert same(got, [plain[SampleIndex(index, 3)] for index in range(6)])
    build_dataloader(cfg, seed=3)
    assert folders(tmp_path / 'c') == [folder]
    assert (folder / 'samples.bin').stat().st_mtime_ns == made


def test_wrappers_hand_the_cache_to_the_data_sets_inside(tmp_path):
    parts = [Drawn(pipeline=[Draw(), Jitter()]), Drawn(length=3, pipeline=[Draw(8), Jitter()])]
    whole, twice = ConcatDataset(parts), RepeatDataset(Drawn(length=2, pipeline=[Draw(24)]), 2)
    for dataset in (whole, twice):
        dataset.prepare_cache('disk', tmp_path)
    assert len(folders(tmp_path)) == 3
    assert whole[SampleIndex(8)]['img'].shape == (8, 8, 3)
    assert twice[SampleIndex(3)]['img'].shape == (24, 24, 3)


@pytest.mark.parametrize('transform', [Jitter(), ReadsEpoch(), GlobalNoise(), Silent()], ids=lambda t: type(t).__name__)
def test_a_prefix_ends_before_what_is_not_the_same_in_every_epoch(tmp_path, transform):
    dataset = Drawn(pipeline=[Draw(), transform])
    dataset.prepare_cache('disk', tmp_path)
    assert dataset._cached.length == 1


def test_a_transform_that_draws_for_a_few_samples_only_is_found_while_building(tmp_path):
    pipeline = [Draw(), Jitter(only_above=36)]  # of 40 samples five are looked at first: 0, 9, 19, 29, 39
    dataset, plain = Drawn(length=38, pipeline=pipeline), Drawn(length=38, pipeline=pipeline)
    dataset.prepare_cache('disk', tmp_path, 0)
    assert dataset._cached.length == 1
    assert same(samples_of(dataset), samples_of(plain))


def test_a_cache_that_can_store_nothing_says_why(tmp_path, capsys):
    dataset = Drawn(pipeline=[Silent(), Draw()])
    dataset.prepare_cache('disk', tmp_path)
    assert dataset._cached is None
    assert 'Silent does not say deterministic = True' in capsys.readouterr().out
    assert not folders(tmp_path)


@pytest.mark.parametrize('change', ['setting', 'file', 'samples'])
def test_a_changed_transform_file_or_list_gets_another_cache(tmp_path, change):
    file = tmp_path / 'image.jpg'
    file.write_bytes(b'one')
    Drawn(file=str(file), pipeline=[Draw()]).prepare_cache('disk', tmp_path / 'c')
    if change == 'file':
        file.write_bytes(b'another')
    size, length = (24 if change == 'setting' else 16), (5 if change == 'samples' else 6)
    dataset = Drawn(length=length, file=str(file), pipeline=[Draw(size)])
    dataset.prepare_cache('disk', tmp_path / 'c')
    assert len(folders(tmp_path / 'c')) == 2
    assert dataset[0]['img'].shape[0] == size


def test_another_random_part_keeps_the_cache(tmp_path):
    for last in (Jitter(), ReadsEpoch()):
        Drawn(pipeline=[Draw(), last]).prepare_cache('disk', tmp_path)
    assert len(folders(tmp_path)) == 1


def start_build(folder: Path) -> multiprocessing.Process:
    def run() -> None:
        Drawn(length=300, pipeline=[Draw(), Jitter()]).prepare_cache('disk', folder, 0)

    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    return process


def test_a_killed_build_is_gone_on_with_and_two_at_once_make_one_cache(tmp_path):
    process = start_build(tmp_path)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 640 for path in tmp_path.glob('*/journal')):
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not folders(tmp_path)
    (journal,) = tmp_path.glob('*/journal')
    data = journal.with_name('samples.bin')
    rows = np.frombuffer(journal.read_bytes()[: journal.stat().st_size // 32 * 32], np.int64).reshape(-1, 4)
    assert 20 <= len(rows) < 300
    with data.open('r+b') as file:  # as a lost power supply would leave it
        file.seek(int(rows[3, 1]))
        file.write(b'torn')
    both = [start_build(tmp_path), start_build(tmp_path)]
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(folders(tmp_path)) == 1
    assert not journal.exists()
    dataset, plain = Drawn(length=300, pipeline=[Draw(), Jitter()]), Drawn(length=300, pipeline=[Draw(), Jitter()])
    made = data.stat().st_mtime_ns
    dataset.prepare_cache('disk', tmp_path)
    assert data.stat().st_mtime_ns == made
    assert all(same(dataset[index], plain[index]) for index in (0, int(rows[3, 0]), 150, 299))


def test_a_cache_cut_short_by_a_copy_is_made_anew(tmp_path):
    Drawn(pipeline=[Draw()]).prepare_cache('disk', tmp_path)
    (data,) = tmp_path.glob('*/samples.bin')
    os.truncate(data, 1000)
    dataset = Drawn(pipeline=[Draw()])
    dataset.prepare_cache('disk', tmp_path)
    assert same(dataset[5], Drawn(pipeline=[Draw()])[5])


def test_a_held_lock_is_waited_for_and_said(tmp_path, capsys):
    release, held = threading.Event(), threading.Event()

    def hold() -> None:
        with lock(tmp_path / 'lock'):
            held.set()
            release.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    threading.Timer(0.3, release.set).start()
    with lock(tmp_path / 'lock'):
        assert release.is_set()
    holder.join()
    assert 'another process is building' in capsys.readouterr().out


def test_memory_is_shared_between_data_sets_and_freed_with_the_last(tmp_path):
    first, second = Drawn(pipeline=[Draw()]), Drawn(pipeline=[Draw()])
    first.prepare_cache('ram')
    second.prepare_cache('ram')
    inodes = {os.stat(dataset._cached.store.path).st_ino for dataset in (first, second)}
    assert len(inodes) == 1
    assert same(second[3], Drawn(pipeline=[Draw()])[3])
    for dataset in (first, second):
        dataset._cached.store.close()
    third = Drawn(pipeline=[Draw()])
    third.prepare_cache('ram')  # the note of the first names a descriptor that is closed
    assert same(third[3], Drawn(pipeline=[Draw()])[3])


@pytest.mark.parametrize(('mode', 'remedy'), [('disk', 'data.cache_dir'), ('ram', "data.cache='disk'")])
def test_too_little_space_is_said_before_anything_is_written(tmp_path, monkeypatch, mode, remedy):
    monkeypatch.setattr(build.shutil, 'disk_usage', lambda path: type('Usage', (), dict(free=4000)))
    monkeypatch.setattr(build, 'available_host_bytes', lambda: 4000)
    with pytest.raises(UserError, match=rf'6 samples of Drawn take about .* MiB free.*{remedy}'):
        Drawn(pipeline=[Draw()]).prepare_cache(mode, tmp_path)
    assert not list(tmp_path.rglob('samples.bin'))


def test_a_full_disk_is_said_and_what_is_stored_stays(tmp_path, monkeypatch):
    real, left = os.pwrite, [3]

    def full(*args):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, 'No space left on device')
        return real(*args)

    monkeypatch.setattr(os, 'pwrite', full)
    with pytest.raises(UserError, match='No space left on device after 0 of 20 samples. Set data.cache_dir'):
        Drawn(length=20, pipeline=[Draw()]).prepare_cache('disk', tmp_path, 0)
    assert not folders(tmp_path)


def test_a_folder_that_cannot_be_written_names_the_remedy(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, 'Permission denied', str(tmp_path))

    monkeypatch.setattr(Path, 'mkdir', refuse)
    with pytest.raises(UserError, match='cannot be written to .*Set data.cache_dir to a folder of yours'):
        Drawn(pipeline=[Draw()]).prepare_cache('disk', tmp_path / 'x')


def test_a_data_set_of_another_kind_is_refused(tmp_path):
    loader = dict(dataset=[1, 2], batch_size=1, sampler=None, cache='disk')
    with pytest.raises(UserError, match="data.cache='disk': list cannot store its samples"):
        build_dataloader(loader, seed=0)


def test_other_caches_in_the_folder_are_named_with_their_size(tmp_path, capsys):
    for size in (8, 16):
        Drawn(pipeline=[Draw(size)]).prepare_cache('disk', tmp_path)
    assert '1 other cache(s) there take' in capsys.readouterr().out


def test_real_image_files_go_through_the_shipped_transforms(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f'{number}.jpg'), cv2.resize(coarse, (320, 180)))

    class Images(SeededDataset):
        def load_data_list(self):
            return [dict(img_path=str(tmp_path / f'{number}.jpg')) for number in range(3)]

    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(160, 96)),
        dict(type='DrawPhotometric'),
        dict(type='PackInputs'),
    ]
    plain, cached = Images(pipeline=pipeline), Images(pipeline=pipeline)
    cached.prepare_cache('disk', tmp_path / 'c')
    assert cached._cached.length == 2
    for epoch in range(2):
        one, other = (dataset[SampleIndex(2, 1, epoch)] for dataset in (plain, cached))
        assert torch.equal(one['inputs'], other['inputs'])
        assert np.array_equal(one['data_samples'].photometric, other['data_samples'].photometric)
        assert one['data_samples'].metainfo == other['data_samples'].metainfo
    assert json.loads((folders(tmp_path / 'c')[0] / 'meta.json').read_text())['count'] == 3


def test_spawned_workers_build_the_cache_that_forked_ones_do(tmp_path, monkeypatch):
    built = []
    for method in ('fork', 'spawn'):
        monkeypatch.setattr(write, 'process_context', lambda wanted, method=method: multiprocessing.get_context(method))
        dataset = Drawn(pipeline=[Draw(), Jitter()])
        dataset.prepare_cache('disk', tmp_path / method, num_workers=1)
        built.append(samples_of(dataset))
    assert same(*built)


def test_a_cache_in_memory_says_that_it_needs_linux(tmp_path, monkeypatch):
    monkeypatch.delattr(os, 'memfd_create')
    with pytest.raises(UserError, match=r"data\.cache='ram' needs Linux; use data\.cache='disk'"):
        Drawn(pipeline=[Draw()]).prepare_cache('ram', tmp_path / 'c', 0)
