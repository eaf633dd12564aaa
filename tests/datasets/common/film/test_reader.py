"""Frame k is frame k."""

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mmopt.datasets.common.film.frame_index import FrameIndex, count_frames
from mmopt.datasets.common.film.reader import ReaderPool, VideoReader
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from tests.conftest import REPO
from tests.datasets.video.conftest import number_of, write_video

CLIPS = ['street_28fps_280f.mp4', 'short_30fps_32f.mp4', 'ntsc_29_97fps_300f.mp4']


def decode_all(path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)])


@pytest.mark.parametrize('name', CLIPS)
def test_frames_of_real_clips_equal_those_of_a_full_decode_in_any_order(shared_dir, name):
    path = shared_dir / 'data' / 'clips' / name
    everything = decode_all(path)
    reader = VideoReader(path)
    assert len(reader) == len(everything) == count_frames(path)
    rng = np.random.default_rng(0)
    for _ in range(4):
        chosen = rng.integers(len(everything), size=3)
        np.testing.assert_array_equal(reader.read(chosen), everything[chosen])
    ends = [len(everything) - 1, 0]
    np.testing.assert_array_equal(reader.read(ends), everything[ends])


@pytest.mark.parametrize('rate', [Fraction(6), Fraction(2805, 100), Fraction(30000, 1001), Fraction(25)])
@pytest.mark.parametrize(('codec', 'gop'), [('libx264', 12), ('mpeg4', 5), ('libx264', 1000)])
def test_frame_k_is_frame_k_at_odd_rates_codecs_and_key_frame_distances(tmp_path, rate, codec, gop):
    path = write_video(tmp_path / 'v.mp4', 70, rate, codec, gop)
    reader = VideoReader(path)
    assert len(reader) == 70
    order = np.random.default_rng(1).permutation(70)
    assert [number_of(reader.read([frame])[0]) for frame in order] == order.tolist()
    chosen = [69, 3, 3, 40]
    assert [number_of(image) for image in reader.read(chosen)] == chosen


@pytest.mark.parametrize('rate', [Fraction(30000, 1001), Fraction(30), Fraction(28)])
def test_times_are_exact_multiples_of_the_frame_time(tmp_path, rate):
    index = FrameIndex.scan(write_video(tmp_path / 'v.mp4', 64, rate))
    assert [index.time_s(frame) for frame in range(64)] == [frame / rate for frame in range(64)]
    assert [index.frame_at(frame / rate) for frame in range(64)] == list(range(64))
    assert index.frame_at(Fraction(0)) == 0
    assert index.frame_at(Fraction(1000)) == 63


def test_the_nearest_frame_of_another_rate_by_hand(tmp_path):
    """At 15 fps frames are 2/30 s apart: frame 3 of 30 fps lies midway between 1 and 2, the earlier one counts."""
    index = FrameIndex.scan(write_video(tmp_path / 'v.mp4', 20, Fraction(15)))
    assert [index.frame_at(Fraction(frame, 30)) for frame in range(6)] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ('name', 'codec', 'is_counted'),
    [('v.avi', 'libx264', True), ('v.h264', 'libx264', True), ('v.avi', 'mpeg4', False), ('v.mkv', 'libx264', False)],
)
def test_frames_are_counted_where_the_container_does_not_say_when_they_are_shown(tmp_path, name, codec, is_counted):
    path = write_video(tmp_path / name, 50, codec=codec, gop=12)
    index = FrameIndex.scan(path)
    index.save(tmp_path / 'index.npz')
    for known in (index, FrameIndex.load(path, tmp_path / 'index.npz')):
        assert known.is_counted == is_counted
        reader = VideoReader(path, known)
        assert len(reader) == 50
        assert [number_of(reader.read([frame])[0]) for frame in range(24)] == list(range(24))
        order = np.random.default_rng(1).permutation(50)
        assert [number_of(reader.read([frame])[0]) for frame in order] == order.tolist()
    if name != 'v.h264':  # a raw stream need not say its rate
        assert float(index.time_s(30)) == pytest.approx(1, abs=1e-3)


def test_counting_begins_at_the_key_frame_before_and_not_at_the_first(tmp_path, monkeypatch):
    reader = VideoReader(write_video(tmp_path / 'v.avi', 120, gop=12))
    reopened = []
    monkeypatch.setattr(reader, '_reopen', lambda: reopened.append(1))
    assert number_of(reader.read([100])[0]) == 100
    assert not reopened


@pytest.mark.parametrize(
    ('name', 'num_frames', 'is_counted'),
    [('plain.mp4', 60, False), ('vfr.mkv', 60, False), ('h264.avi', 60, True), ('tail_cut_faststart.mp4', 25, False)],
)
def test_frames_of_other_peoples_files_are_counted_right(shared_dir, name, num_frames, is_counted):
    index = FrameIndex.scan(shared_dir / 'cases' / 'videos' / name)
    assert (len(index.pts_N), index.is_counted) == (num_frames, is_counted)


def test_frames_of_an_avi_with_reordered_frames_are_those_that_are_shown(shared_dir):
    reader = VideoReader(shared_dir / 'cases' / 'videos' / 'h264.avi')
    for frame in [*range(24), 59, 3, 40, 41]:
        image = reader.read([frame])[0]
        bars = image[2:4].mean((0, 2)).reshape(8, -1).mean(axis=1) > 128
        assert (bars << np.arange(8)).sum() == frame


def test_a_stored_index_is_used_for_the_same_file_only(tmp_path):
    path, stored = write_video(tmp_path / 'v.mp4', 30), tmp_path / 'deep' / 'v.npz'
    index = FrameIndex.scan(path)
    index.save(stored)
    again = FrameIndex.of(path, stored)
    assert again.time_base == index.time_base
    np.testing.assert_array_equal(again.pts_N, index.pts_N)
    np.testing.assert_array_equal(again.key_seek_K, index.key_seek_K)
    assert count_frames(path, stored) == 30
    write_video(path, 40)
    assert len(FrameIndex.of(path, stored).pts_N) == count_frames(path, stored) == 40
    # What was found by reading the file counts, not what its header says.
    index = FrameIndex.scan(path)
    replace(index, pts_N=index.pts_N[:39]).save(stored)
    assert count_frames(path, stored) == 39


def test_going_on_decodes_each_frame_once_and_a_jump_begins_at_a_key_frame(tmp_path):
    reader = VideoReader(write_video(tmp_path / 'v.mp4', 60, gop=20))
    seeks = []
    seek = reader._seek
    reader._seek = lambda key: seeks.append(key) or seek(key)
    reader.read([2, 5, 9])
    assert seeks == [0]
    reader.read([12])
    assert seeks == [0]  # from 9 on
    reader.read([47])
    assert seeks == [0, 2]
    reader.read([44])
    assert seeks == [0, 2, 2]  # back


def test_frames_are_scaled_while_they_are_decoded(tmp_path):
    reader = VideoReader(write_video(tmp_path / 'v.mp4', 5))
    clip = reader.read([1, 4], (12, 48))
    assert clip.shape == (2, 12, 48, 3)
    whole = reader.read([4])[0].astype(float)
    by_hand = whole.reshape(12, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.abs(clip[1] - by_hand).mean() < 4


def test_the_pool_keeps_the_last_used_videos_open(tmp_path):
    paths = [write_video(tmp_path / f'{name}.mp4', 3) for name in 'abc']
    pool = ReaderPool(max_open=2)
    opened = []
    for number in (0, 1, 0, 2, 0, 1):
        with pool.open(paths[number]) as reader:
            opened.append(reader)
            reader.read([0])
    assert opened[0] is opened[2] is opened[4]
    assert opened[5] is not opened[1]  # 1 was the least recently used when 2 came
    assert len(pool) == 2


def test_a_reader_is_lent_to_one_at_a_time_and_closed_after_an_error(tmp_path):
    path = write_video(tmp_path / 'v.mp4', 3)
    pool = ReaderPool(max_open=1)
    with pool.open(path) as first, pool.open(path) as second:
        assert first is not second
    assert len(pool) == 1
    with (
        pytest.raises(DataError, match=r'frames \[7\] were asked for, the video has 0 to 2'),
        pool.open(path) as reader,
    ):
        reader.read([7])
    assert len(pool) == 0


def test_without_pyav_the_command_that_brings_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(UserError, match=r'Videos need PyAV.*pip install .*\.\[video\]'):
        VideoReader(tmp_path / 'v.mp4')


def test_broken_files_are_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r'none\.mp4: no such video'):
        VideoReader(tmp_path / 'none.mp4')
    text = tmp_path / 'text.mp4'
    text.write_text('no video')
    with pytest.raises(DataError, match=r'text\.mp4: not a readable video'):
        VideoReader(text)
    empty = tmp_path / 'empty.mp4'
    empty.touch()
    with pytest.raises(DataError, match=r'empty\.mp4: not a readable video'):
        count_frames(empty)


def test_a_frame_that_is_damaged_is_named_and_the_others_are_read(tmp_path):
    """The file loses its end after it was indexed: what is before can still be read."""
    path = write_video(tmp_path / 'v.mkv', 60, gop=6)
    index = FrameIndex.scan(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    reader = VideoReader(path, index)
    assert number_of(reader.read([3])[0]) == 3
    with pytest.raises(DataError, match=r'v\.mkv: frame 59 of 60 cannot be decoded; the file is damaged or truncated'):
        reader.read([59])
    assert number_of(reader.read([4])[0]) == 4


MEASURE = """
import sys
import psutil
from mmopt.datasets.common.film.frame_index import FrameIndex
from mmopt.datasets.common.film.reader import VideoReader
path, frames = sys.argv[1], [int(frame) for frame in sys.argv[2:]]
reader = VideoReader(path)
reader.read([0], (64, 64))
before = psutil.Process().memory_info().rss
peak = before
for frame in frames:
    reader.read([frame], (64, 64))
    peak = max(peak, psutil.Process().memory_info().rss)
print(len(reader), peak - before)
"""


def repeat(source, target, times):
    """Write the packets of a video several times over: encoding ten minutes would take half of one."""
    import av

    with av.open(str(source)) as given, av.open(str(target), 'w') as made:
        stream = given.streams.video[0]
        out = made.add_stream_from_template(stream)
        packets = [(bytes(p), p.pts, p.dts, p.is_keyframe, p.time_base) for p in given.demux(stream) if p.size]
        length = len(packets) * (packets[1][2] - packets[0][2])
        for turn in range(times):
            for content, pts, dts, is_keyframe, time_base in packets:
                packet = av.Packet(content)
                packet.stream, packet.time_base, packet.is_keyframe = out, time_base, is_keyframe
                packet.pts, packet.dts = pts + turn * length, dts + turn * length
                made.mux(packet)
    return target


def test_ten_minutes_cost_no_more_memory_than_the_frames_that_are_asked_for(tmp_path):
    """18000 frames of 24 x 96 would be 124 MB; walking through all of them from one key frame takes less than 12."""
    path = repeat(write_video(tmp_path / 'short.mp4', 300, codec='mpeg4', gop=300), tmp_path / 'long.mp4', 60)
    command = [sys.executable, '-c', MEASURE, str(path), '17999', '4', '9599', '17399']
    environment = {**os.environ, 'PYTHONPATH': str(REPO)}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    num_frames, growth = map(int, done.stdout.split())
    assert num_frames == 18000
    assert growth < 12e6
