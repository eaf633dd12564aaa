"""The data set: which samples, which frames, and nothing that was not asked for."""

import json
import pickle
import shutil
import threading

import numpy as np
import pytest
import torch

from mmopt.datasets.common.film.reader import VideoReader
from mmopt.datasets.video import DriverActionDataset, LoadDriverClip, ShiftDriverClip
from mmopt.datasets.video.layout import DRIVER_ACTIONS
from mmopt.datasets.video.prepare.driver import prepare
from mmopt.utils.errors import DataError, DataNotFoundError
from tests.datasets.video.conftest import SEGMENTS, SIZE, number_of, write_labels, write_video


def make(root, **options) -> DriverActionDataset:
    return DriverActionDataset(data_root=str(root), **(dict(img_size=SIZE) | options))


def numbers(clip_3THW) -> list[int]:
    return [number_of(frame.numpy()) for frame in clip_3THW.permute(1, 2, 3, 0)]


def test_a_sample_is_a_segment_with_evenly_spread_frames_of_every_view(root):
    dataset = make(root, load_kpt=True)
    assert len(dataset) == 2 * len(SEGMENTS)
    packed = dataset[1]
    inputs, sample = packed['inputs'], packed['data_samples']
    assert list(inputs) == ['front', 'left', 'right', 'keypoints']
    frames = [20, 23, 27, 30, 34, 37, 41, 44]
    assert sample.frames == frames
    assert DRIVER_ACTIONS[sample.label] == 'left'
    assert inputs['front'].shape == (3, 8, *SIZE)
    assert inputs['front'].dtype == torch.uint8
    assert numbers(inputs['front']) == numbers(inputs['left']) == frames
    # The right camera has half the rate: its nearest frame at the same time, the earlier of two.
    assert numbers(inputs['right']) == [frame // 2 for frame in frames]
    assert inputs['keypoints'][:, 7, 1].tolist() == frames
    # The tint of each view at the bottom.
    assert [round(inputs[view][:, :, 20:].float().mean().item() / 40) for view in ('front', 'left', 'right')] == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize('max_frames', [30, 40, 64, 1000])
def test_chunks_change_no_sample(root, max_frames):
    whole, chunked = make(root, views=['front']), make(root, views=['front'], max_video_frames=max_frames)
    assert len(whole) == len(chunked)
    for index in range(len(whole)):
        ours, theirs = chunked[index], whole[index]
        assert ours['data_samples'].frames == theirs['data_samples'].frames
        assert ours['data_samples'].label == theirs['data_samples'].label
        assert torch.equal(ours['inputs']['front'], theirs['inputs']['front'])
    if max_frames == 40:
        assert whole[1]['data_samples'].chunk == (0, 100)
        assert chunked[1]['data_samples'].chunk == (20, 60)
        assert chunked[1]['data_samples'].segment == (0, 25)


def test_segments_longer_than_a_chunk_are_cut_and_said_so(root, capsys):
    dataset = make(root, max_video_frames=20)
    assert len(dataset) == 2 * (len(SEGMENTS) + 2)
    assert '4 segments more than labeled: those longer than max_video_frames=20 were cut' in capsys.readouterr().out


def test_what_is_off_is_not_read(root, tmp_path):
    shutil.copytree(root / 'label', tmp_path / 'label')
    shutil.copytree(root / 'keypoints', tmp_path / 'keypoints')
    for person in ('person_01', 'person_02'):
        (tmp_path / 'videos_split' / person / 'day_high').mkdir(parents=True)
    packed = make(tmp_path, load_rgb=False, load_kpt=True)[0]
    assert list(packed['inputs']) == ['keypoints']
    shutil.rmtree(tmp_path / 'keypoints')
    shutil.copytree(root / 'videos_split', tmp_path / 'videos_split', dirs_exist_ok=True)
    assert list(make(tmp_path)[0]['inputs']) == ['front', 'left', 'right']
    (tmp_path / 'videos_split' / 'person_01' / 'day_high' / 'left.mp4').unlink()
    assert list(make(tmp_path, views=['front', 'right'])[0]['inputs']) == ['front', 'right']


def test_threads_and_copies_for_workers_change_nothing(root):
    plain, threaded = make(root, load_kpt=True), make(root, load_kpt=True, num_io_threads=4)
    copy = pickle.loads(pickle.dumps(threaded))
    for index in (0, 3, 7):
        want = plain[index]['inputs']
        for other in (threaded, copy):
            got = other[index]['inputs']
            assert all(torch.equal(got[name], want[name]) for name in want)


def test_as_many_views_are_read_at_once_as_there_are_threads(root, monkeypatch):
    """Each view waits until three are being read: one after the other they would wait in vain."""
    meeting, read = threading.Barrier(3), VideoReader.read

    def read_together(reader, *args):
        meeting.wait(timeout=20)
        return read(reader, *args)

    monkeypatch.setattr(VideoReader, 'read', read_together)
    assert len(make(root, num_io_threads=3)[1]['inputs']) == 3


@pytest.mark.parametrize(('options', 'most'), [(dict(), 3), (dict(max_open_videos=4), 4), (dict(views=['left']), 1)])
def test_a_worker_keeps_as_many_videos_open_as_it_may(root, options, most):
    dataset = make(root, **options)
    for index in (0, len(SEGMENTS)):  # one of each recording
        dataset[index]
    pool = dataset.pipeline.transforms[0]._pool
    assert (pool.max_open, len(pool)) == (most, most)


def test_a_worker_process_opens_files_of_its_own(root):
    """The parent has read before the workers fork: shared file positions would give wrong frames."""
    dataset = make(root, num_io_threads=2)
    want = [dataset[index]['inputs']['front'] for index in range(len(dataset))]
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context='fork', collate_fn=lambda sample: sample
    )
    for packed, expected in zip(loader, want, strict=True):
        assert torch.equal(packed['inputs']['front'], expected)


def test_a_split_file_chooses_recordings(root, tmp_path):
    (root / 'one.txt').write_text('person_02/day_high\n')
    dataset = make(root, split_file='one.txt')
    assert {dataset[index]['data_samples'].recording for index in range(len(dataset))} == {'person_02/day_high'}
    with pytest.raises(DataNotFoundError, match=r'none\.txt is missing: `python tools/datasets/prepare_driver'):
        make(root, split_file='none.txt')
    (root / 'bad.txt').write_text('person_09/day_high\n')
    with pytest.raises(DataError, match=r'bad\.txt: 1 recordings are not in videos_split: person_09/day_high'):
        make(root, split_file='bad.txt')
    (root / 'empty.txt').write_text('')
    with pytest.raises(DataError, match='the file names no recording'):
        make(root, split_file='empty.txt')


def test_recordings_without_a_labeled_segment_are_named(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / 'copy')
    for person in ('person_01', 'person_02'):
        write_labels(copy / 'label' / f'{person}_day_high.json', [])
    with pytest.raises(DataError, match=r'the 2 chosen recordings have no labeled segment \(.*01_day_high'):
        make(copy)


@pytest.fixture
def small(root, tmp_path):
    """A copy of one recording to break."""
    for part in ('videos_split', 'keypoints'):
        shutil.copytree(root / part / 'person_01', tmp_path / part / 'person_01')
    write_labels(tmp_path / 'label' / 'person_01_day_high.json', SEGMENTS)
    return tmp_path


def test_labels_are_clipped_to_the_video_and_to_its_annotated_part(small):
    write_labels(small / 'label' / 'person_01_day_high.json', [(10, 30, 'up'), (90, 130, 'left')])
    assert [make(small)[index]['data_samples'].frames[-1] for index in range(2)] == [29, 99]
    (small / 'mini.json').write_text(json.dumps(dict(person_01=dict(day_high=dict(start=20, mid=25, end=80)))))
    dataset = make(small)
    assert len(dataset) == 1
    assert dataset[0]['data_samples'].frames == [20, 21, 23, 24, 25, 26, 28, 29]
    assert dataset[0]['data_samples'].chunk == (20, 30)


def test_label_files_may_count_from_one(small):
    write_labels(small / 'label' / 'person_01_day_high.json', SEGMENTS, offset=1)
    assert make(small, label_first_frame=1)[1]['data_samples'].frames[0] == 20
    write_labels(small / 'label' / 'person_01_day_high.json', [(0, 5, 'up')])
    with pytest.raises(DataError, match=r'up has the range 0 to .* from 1 on \(label_first_frame\)'):
        make(small, label_first_frame=1)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('{', 'not readable as JSON'),
        ('{}', r'has no annotations\[\]'),
        (
            '{"annotations": [{"videoLabels": [{"ranges": []}]}]}',
            r'needs one timelinelabels and ranges of start and end, one is',
        ),
        ('{"annotations": [{"videoLabels": [{"timelinelabels": ["jump"], "ranges": []}]}]}', "unknown class 'jump'"),
        (
            '{"annotations": [{"videoLabels": [{"timelinelabels": ["up"], "ranges": [{"start": 5, "end": 5}]}]}]}',
            'start must be below end',
        ),
        (
            '{"annotations": [{"videoLabels": [{"timelinelabels": ["up"], "ranges": [{"start": 100, "end": 105}]}]}]}',
            'a segment begins at frame 100, the video has 100 frames',
        ),
    ],
)
def test_wrong_labels_are_named(small, content, words):
    (small / 'label' / 'person_01_day_high.json').write_text(content)
    with pytest.raises(DataError, match=words):
        make(small)


def test_missing_and_broken_files_are_named(small):
    with pytest.raises(DataNotFoundError, match=r'no recording .*make_demo\.py driver'):
        make(small / 'nowhere')
    points = small / 'keypoints' / 'person_01' / 'day_high'
    (points / '000000.npz').write_bytes(b'PK\x03\x04 broken')
    with pytest.raises(DataError, match=r'000000\.npz: not a readable npz'):
        make(small, load_kpt=True)[0]
    np.savez(points / '000000.npz', keypoints=np.zeros((17, 3)))
    with pytest.raises(DataError, match=r'shape \(17, 3\), must be \(52, 3\)'):
        make(small, load_kpt=True)[0]
    (points / '000000.npz').unlink()
    with pytest.raises(DataNotFoundError, match=r'000000\.npz: no such file; without keypoints set load_kpt=False'):
        make(small, load_kpt=True)[0]
    (small / 'mini.json').write_text('{"person_01": {"day_high": {"start": 5}}}')
    with pytest.raises(DataError, match=r"mini\.json: must be .*KeyError: 'end'"):
        make(small)


def test_missing_keypoints_are_zero(small):
    points = np.full((52, 3), 2.0)
    points[3] = np.nan
    np.savez(small / 'keypoints' / 'person_01' / 'day_high' / '000000.npz', points)
    keypoints = make(small, load_kpt=True)[0]['inputs']['keypoints']
    assert keypoints[0, 3].tolist() == [0, 0, 0]
    assert keypoints[0, 4].tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(load_rgb=False), 'both False'),
        (dict(num_io_threads=0), 'num_io_threads must be at least 1, got 0'),
        (dict(views=[]), 'number of views must be at least 1'),
        (dict(img_size=0), 'img_size must be at least 1, got 0'),
    ],
)
def test_options_that_cannot_work_are_refused(root, options, words):
    with pytest.raises(ValueError, match=words):
        make(root, **options)


def test_the_picture_shows_every_view_and_frame(root):
    packed = make(root)[1]
    sample = packed['data_samples']
    sample.pred_label, sample.pred_scores = torch.tensor(0), torch.full((9,), 0.2)
    picture = make(root).draw(sample, packed['inputs'])
    assert picture.shape == (26 + 3 * (SIZE[0] + 2), 8 * SIZE[1], 3)
    np.testing.assert_array_equal(
        picture[26 : 26 + SIZE[0], : SIZE[1]], packed['inputs']['front'][:, 0].permute(1, 2, 0)
    )


def test_the_loader_is_what_knows_the_number_of_points(small):
    np.savez(small / 'keypoints' / 'person_01' / 'day_high' / '000000.npz', np.zeros((52, 3)))
    with pytest.raises(DataError, match=r'must be \(17, 3\)'):
        make(small, load_kpt=True, load_rgb=False, pipeline=[LoadDriverClip(num_points=17)])[0]


def test_prepare_is_used_by_the_index(root, tmp_path):
    shutil.copytree(root, tmp_path / 'copy')
    prepare(tmp_path / 'copy', num_folds=2)
    want, got = make(root)[3]['inputs'], make(tmp_path / 'copy')[3]['inputs']
    assert (tmp_path / 'copy' / 'index' / 'person_01' / 'day_high' / 'left.npz').is_file()
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_a_cache_gives_the_same_samples_and_notices_a_changed_file(small):
    want = make(small, load_kpt=True)[1]['inputs']
    for part in ('nothing', 'video', 'keypoints'):
        if part == 'video':
            write_video(small / 'videos_split' / 'person_01' / 'day_high' / 'left.mp4', 100, tint=4)
        elif part == 'keypoints':
            np.savez(small / 'keypoints' / 'person_01' / 'day_high' / '000020.npz', np.zeros((52, 3)))
        cached = make(small, load_kpt=True)
        cached.prepare_cache('disk', num_workers=0)
        got = cached[1]['inputs']
        assert [name for name in want if not torch.equal(got[name], want[name])] == dict(
            nothing=[], video=['left'], keypoints=['left', 'keypoints']
        )[part]


def shifted(clips: dict, seed: int = 0, **options) -> dict:
    return ShiftDriverClip(**options)(dict(clips=clips, rng=np.random.default_rng(seed)))['clips']


def test_clips_are_moved_as_a_whole_by_at_most_what_is_said():
    """Two frames with one bright pixel each: both move alike, each view by itself, and no further than 8 % of 50."""
    clip = np.zeros((2, 50, 100, 3), np.uint8)
    clip[0, 20, 30] = clip[1, 25, 60] = 100
    moves = set()
    for seed in range(60):
        views = shifted(dict(front=clip, left=clip), seed, max_gain=0, max_tint=0)
        for moved in views.values():
            (first, second) = (np.argwhere(frame[..., 0])[0] - place for frame, place in zip(
                moved, ((20, 30), (25, 60)), strict=True,
            ))  # fmt: skip
            assert first.tolist() == second.tolist()
            moves.add(tuple(first.tolist()))
    assert {move[0] for move in moves} == set(range(-4, 5))
    assert {move[1] for move in moves} <= set(range(-8, 9))
    assert len({move[1] for move in moves}) > 10


def test_the_light_of_all_views_and_frames_changes_by_one_factor_per_color():
    clips = dict(front=np.full((2, 4, 4, 3), 100, np.uint8), left=np.full((2, 4, 4, 3), 250, np.uint8))
    factors = []
    for seed in range(40):
        moved = shifted(clips, seed, max_gain=0.2, max_tint=0.1)
        levels = moved['front'].reshape(-1, 3)
        assert (levels == levels[0]).all()
        factors.append(levels[0] / 100)
        np.testing.assert_allclose(moved['left'][0, 0, 0], np.minimum(250 * factors[-1], 255), atol=2)
    assert np.min(factors) >= round(100 / 1.2 / 1.1) / 100
    assert 1.15 < np.max(factors) <= 1.32
    assert np.ptp(factors, axis=1).max() > 0.05
    for view, clip in shifted(clips, 1, max_shift=0, max_gain=0, max_tint=0).items():
        np.testing.assert_array_equal(clip, clips[view])


@pytest.mark.parametrize('options', [dict(max_shift=0.5), dict(max_gain=-0.1)])
def test_impossible_shifts_are_refused(options):
    with pytest.raises(ValueError, match=r'max_shift must be in \[0, 0\.5\)'):
        ShiftDriverClip(**options)


def test_shifting_without_clips_is_refused(root):
    pipeline = [dict(type='LoadDriverClip'), dict(type='ShiftDriverClip'), dict(type='PackDriverClip')]
    with pytest.raises(ValueError, match='ShiftDriverClip moves clips, and load_rgb=False'):
        make(root, load_rgb=False, load_kpt=True, pipeline=pipeline)[0]
