"""Films: what of them is predicted, which frame is which, what is written of them, and how it goes on."""

import csv
import io
import json
import shutil
import tracemalloc
import weakref
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmopt.apis import Predictor
from mmopt.apis.predict import film
from mmopt.apis.predict.film.cut import Cut
from mmopt.apis.predict.film.live import FilmEndedError
from mmopt.apis.predict.records import Records
from mmopt.apis.predict.run import predict_into
from mmopt.apis.predict.sources import Sources, list_items
from mmopt.datasets.common.film.reader import VideoReader
from mmopt.utils.errors import DataError, UserError
from tests.datasets.video.conftest import number_of, picture, write_video

RATE = Fraction(30000, 1001)


@pytest.fixture(scope='module')
def video(tmp_path_factory) -> str:
    return str(write_video(tmp_path_factory.mktemp('film') / 'my film é.mp4', 70, RATE))


def _frames(items) -> list[int]:
    return [item.frame for item in items]


def _cut(**moments) -> Sources:
    return Sources(Cut.parse(*(moments.get(name) for name in ('start', 'end', 'step'))))


def _read(path: Path) -> list:
    return json.loads(path.read_text(encoding='utf-8'))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ('moments', 'expected'),
    [
        (dict(), range(70)),
        (dict(step=7), range(0, 70, 7)),
        (dict(start='10', end='20f'), range(10, 20)),
        (dict(start='1s', end='0:02'), range(30, 60)),
        (dict(start=5, end='1s', step='10f'), (5, 15, 25)),
        (dict(step='0.5s'), (0, 15, 30, 45, 60)),
        (dict(start=60, end=500), range(60, 70)),
    ],
)
def test_moments_are_frames_or_seconds(video, moments, expected):
    assert _frames(list_items([video], how=_cut(**moments))) == list(expected)


@pytest.mark.parametrize(
    ('moments', 'match'),
    [
        (dict(start='soon'), r'--start soon: must be a number of frames \(300\) or of seconds'),
        (dict(step=0), '--step 0: must be above 0'),
        (dict(start='9', end='9'), '--end 9 must lie behind --start 9'),
        (dict(step='-1'), '--step -1: must be a number'),
    ],
)
def test_moments_that_are_none_are_one_line(moments, match):
    with pytest.raises(UserError, match=match):
        _cut(**moments)


def test_a_cut_without_a_frame_is_one_line(video):
    with pytest.raises(UserError, match='no frame lies between --start and --end'):
        list_items([video], how=_cut(start='5s'))


def test_frames_are_those_of_the_film_with_its_times(video):
    items = list_items([video])
    assert [number_of(item.source.load()) for item in items] == list(range(70))
    assert [item.time_s for item in items] == pytest.approx([float(frame / RATE) for frame in range(70)])
    assert [item.name for item in items[:2]] == ['my film é/000000', 'my film é/000001']
    assert items[69].frame == items[-1].frame == 69


def test_films_lie_in_folders_beside_pictures_and_names_do_not_collide(video, tmp_path):
    (tmp_path / 'a').mkdir()
    cv2.imwrite(str(tmp_path / 'a' / '000000.png'), picture(0))
    shutil.copy(video, tmp_path / 'a.mp4')
    shutil.copy(video, tmp_path / 'b.MKV')
    items = list_items([str(tmp_path)], how=_cut(step=35))
    assert len(items) == 5
    assert len({item.name for item in items}) == 5
    assert [film.path for film in items.films] == [str(tmp_path / 'a.mp4'), str(tmp_path / 'b.MKV')]


def _write_frames(folder: Path, numbers, name: str = 'shot {:04d}.png') -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        cv2.imwrite(str(folder / name.format(number)), picture(number))
    return folder


def test_numbered_pictures_are_a_film_for_those_who_say_so(tmp_path):
    folder = _write_frames(tmp_path / 'shots', (8, 9, 10, 11, 14))
    assert [item.film for item in list_items([str(folder)])] == [None] * 5
    for source, how in ((str(folder), Sources(fps=2.0)), (str(folder / 'shot %04d.png'), Sources(fps=2.0))):
        items = list_items([source], how=how)
        assert _frames(items) == [8, 9, 10, 11, 14]
        assert [item.time_s for item in items] == [0, 0.5, 1, 1.5, 3]
        assert items[4].file == str(folder / 'shot 0014.png')
        assert len(items.films) == 1
    assert _frames(list_items([str(folder)], how=Sources(Cut.parse('1s', None, None), fps=2.0))) == [10, 11, 14]
    cv2.imwrite(str(folder / 'cover 7.png'), picture(0))  # names that differ are no film
    assert not list_items([str(folder)], how=Sources(fps=2.0)).films


def test_a_film_is_predicted_with_frame_numbers_and_times(detector, video, tmp_path):
    predictor = Predictor(detector.checkpoint, batch_size=4)
    done = predict_into(predictor, [video], tmp_path, step='10', confidence=0.1)
    assert (done.num_new, done.skipped) == (7, ())
    results = list(predictor.stream(video, step=10))
    assert [(result.file, result.frame) for result in results] == [(video, frame) for frame in range(0, 70, 10)]
    entries = _read(tmp_path / 'results.json')
    assert [entry['frame'] for entry in entries] == list(range(0, 70, 10))
    for entry, result in zip(entries, results, strict=True):
        assert entry['time_s'] == pytest.approx(float(entry['frame'] / RATE))
        assert entry['boxes'] == result.above(0.1).boxes.tolist()
    rows = _rows(tmp_path / 'boxes.csv')
    assert {(row['file'], row['frame']) for row in rows} <= {(video, str(frame)) for frame in range(0, 70, 10)}
    assert float(rows[-1]['time_s']) == pytest.approx(int(rows[-1]['frame']) * 1001 / 30000, abs=1e-6)
    assert {entry['frame'] for entry in _read(tmp_path / 'coco_results.json')} <= set(range(0, 70, 10))
    assert not (tmp_path / 'pictures').exists()  # a file per frame only for those who ask
    written = {Path(file).relative_to(tmp_path).parts[0] for file in done.files}
    assert written == {'results.json', 'coco_results.json', 'boxes.csv', 'films'}


def test_the_film_that_is_written_has_every_frame_at_its_time(segmentor, video, tmp_path):
    predictor = Predictor(segmentor.checkpoint, batch_size=8)
    predict_into(predictor, [video], tmp_path, formats=['mp4'], start=3, step=2)
    reader = VideoReader(tmp_path / 'films' / 'my film é.mp4')
    assert len(reader) == 34
    begin = 3 / RATE
    for place in range(34):
        assert float(reader.index.time_s(place)) == pytest.approx(float((3 + 2 * place) / RATE - begin), abs=1e-4)
    assert reader.read([0]).shape == (1, 24, 96, 3)


def test_an_interrupted_film_goes_on_and_ends_the_same(segmentor, video, tmp_path, monkeypatch):
    monkeypatch.setattr(film.file, '_FRAMES_PER_PART', 10)
    predictor = Predictor(segmentor.checkpoint, batch_size=4)
    monkeypatch.setattr(predictor.dataset.result_type, 'draw', lambda result: result.picture)
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    predict_into(predictor, [video], whole)
    predict = predictor.predict_batches
    seen: list[int] = []

    def stop_at(num_batches: int):
        def limited(batches, **kwargs):
            for number, batch in enumerate(predict(batches, **kwargs)):
                if number == num_batches:
                    raise KeyboardInterrupt
                seen.extend(item.frame for item, _ in batch)
                yield batch

        return limited

    for num_batches in (4, 3):
        predictor.predict_batches = stop_at(num_batches)
        with pytest.raises(KeyboardInterrupt):
            predict_into(predictor, [video], parts)
        assert not _read(parts / 'predictions.json')['complete']
        assert not (parts / 'films' / 'my film é.mp4').exists()
    predictor.predict_batches = stop_at(99)
    done = predict_into(predictor, [video], parts)
    assert (done.num_before, done.num_new) == (28, 42)
    assert seen == list(range(70))
    for name in ('results.json', 'areas.csv'):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    for out in (whole, parts):
        reader = VideoReader(out / 'films' / 'my film é.mp4')
        assert [number_of(image) for image in reader.read(range(70))] == list(range(70))
        assert [reader.index.time_s(frame) for frame in range(70)] == pytest.approx(
            [float(frame / RATE) for frame in range(70)], abs=1e-4
        )
        assert [path.name for path in (out / 'films').iterdir()] == ['my film é.mp4']  # no part is left
    assert predict_into(predictor, [video], parts).num_new == 0


def test_what_a_kill_left_of_a_part_is_predicted_again(segmentor, video, tmp_path, monkeypatch):
    monkeypatch.setattr(film.file, '_FRAMES_PER_PART', 16)
    predictor = Predictor(segmentor.checkpoint, batch_size=8)
    monkeypatch.setattr(predictor.dataset.result_type, 'draw', lambda result: result.picture)
    monkeypatch.setattr(film.file.FilmFile, 'pause', _never_at_the_end(film.file.FilmFile.pause))
    predict = predictor.predict_batches

    def limited(batches, **kwargs):
        for number, batch in enumerate(predict(batches, **kwargs)):
            if number == 3:
                raise RuntimeError('killed')
            yield batch

    predictor.predict_batches = limited
    with pytest.raises(RuntimeError, match='killed'):
        predict_into(predictor, [video], tmp_path)
    monkeypatch.undo()
    predictor.predict_batches = predict
    done = predict_into(predictor, [video], tmp_path)
    assert (done.num_before, done.num_new) == (16, 54)
    assert len(VideoReader(tmp_path / 'films' / 'my film é.mp4')) == 70


def _never_at_the_end(pause):
    def killed(self):
        if self._part is not None and self._part.num_frames >= film.file._FRAMES_PER_PART:
            pause(self)

    return killed


def test_no_more_frames_are_in_memory_than_a_few_batches(segmentor, tmp_path, monkeypatch):
    path = write_video(tmp_path / 'long.mp4', 300)
    read, alive, most = film.video.OpenFilm.read, weakref.WeakSet(), []

    class Counted(np.ndarray):
        """Arrays themselves are not hashable."""

        __hash__ = object.__hash__

    def counted(self, *args):
        image = read(self, *args).view(Counted)
        alive.add(image)
        most.append(len(alive))
        return image

    monkeypatch.setattr(film.video.OpenFilm, 'read', counted)
    done = predict_into(Predictor(segmentor.checkpoint, batch_size=4), [str(path)], tmp_path / 'out')
    assert done.num_new == 300
    # One batch that is read ahead, one in the model, one that is written, and one that was just handed over.
    assert 4 <= max(most) <= 20


def test_listing_a_film_and_its_records_takes_a_few_bytes_per_frame(tmp_path):
    path, num_frames = write_video(tmp_path / 'long.mp4', 3000), 3000
    (tmp_path / 'out').mkdir()
    result = SimpleNamespace(frame=0, time_s=0.0, to_json=lambda: dict(boxes=[[0.5] * 4] * 20))
    tracemalloc.start()
    try:
        items = list_items([str(path)])
        with Records(tmp_path / 'out', lambda item: []) as records:
            for item in items:
                result.frame = item.frame
                records.add(item, result)
            used, _ = tracemalloc.get_traced_memory()
            assert all(map(records.has, items))
    finally:
        tracemalloc.stop()
    assert used < 100 * num_frames


def test_a_changed_film_is_predicted_anew(segmentor, video, tmp_path):
    path = shutil.copy(video, tmp_path / 'a.mp4')
    predictor = Predictor(segmentor.checkpoint, batch_size=8)
    predict_into(predictor, [str(path)], tmp_path / 'out')
    write_video(Path(path), 20)
    assert predict_into(predictor, [str(path)], tmp_path / 'out').num_new == 20
    assert len(VideoReader(tmp_path / 'out' / 'films' / 'a.mp4')) == 20


def test_another_cut_of_a_film_is_another_prediction(segmentor, video, tmp_path):
    predictor = Predictor(segmentor.checkpoint, batch_size=8)
    predict_into(predictor, [video], tmp_path, step=30)
    with pytest.raises(UserError, match='holds predictions of another film .*--overwrite'):
        predict_into(predictor, [video], tmp_path, step=20)
    (tmp_path / 'notes.txt').write_text('mine')
    assert predict_into(predictor, [video], tmp_path, step=20, overwrite=True).num_new == 4
    assert len(VideoReader(tmp_path / 'films' / 'my film é.mp4')) == 4
    assert (tmp_path / 'notes.txt').exists()


def test_no_file_of_a_film_stays_open(segmentor, video, tmp_path, monkeypatch):
    readers, start = [], VideoReader.__init__
    monkeypatch.setattr(VideoReader, '__init__', lambda self, *args: (readers.append(self), start(self, *args))[1])
    predict_into(Predictor(segmentor.checkpoint, batch_size=8), [video], tmp_path, step=20)
    assert len(readers) == 1
    with pytest.raises(AssertionError, match='not open'):  # PyAV's
        readers[0].read([3])


def test_a_film_of_one_frame_is_a_film(detector, tmp_path):
    path = write_video(tmp_path / 'one.mp4', 1)
    done = predict_into(Predictor(detector.checkpoint), [str(path)], tmp_path / 'out')
    assert done.num_new == 1
    assert len(VideoReader(tmp_path / 'out' / 'films' / 'one.mp4')) == 1
    assert [entry['frame'] for entry in _read(tmp_path / 'out' / 'results.json')] == [0]


def test_a_film_that_was_cut_off_gives_what_is_there_and_says_so(segmentor, tmp_path):
    path = write_video(tmp_path / 'cut.mkv', 70)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    useless = write_video(tmp_path / 'useless.mp4', 20)
    useless.write_bytes(useless.read_bytes()[:1000])
    whole = write_video(tmp_path / 'whole.mp4', 5)
    predictor = Predictor(segmentor.checkpoint, batch_size=8)
    done = predict_into(predictor, [str(path), str(useless), str(whole)], tmp_path / 'out', formats=['json', 'mp4'])
    entries = _read(tmp_path / 'out' / 'results.json')
    assert 10 < sum(entry['file'] == str(path) for entry in entries) < 60
    assert sum(entry['file'] == str(whole) for entry in entries) == 5
    assert str(useless) in [file for file, _ in done.skipped]
    assert sorted(file.name for file in (tmp_path / 'out' / 'films').iterdir()) == ['cut.mp4', 'whole.mp4']
    assert not any('cut.mkv' in reason and 'promises' in reason for _, reason in done.skipped)  # Matroska counts none
    with pytest.raises(DataError, match=r'useless\.mp4: not a readable video'):
        predict_into(predictor, [str(useless)], tmp_path / 'strict', strict=True)


def test_a_film_that_lacks_promised_frames_is_named_once(segmentor, tmp_path):
    import av

    source, path = write_video(tmp_path / 'whole.mp4', 120), tmp_path / 'cut.mp4'
    with av.open(str(source)) as whole, av.open(str(path), 'w', options=dict(movflags='+faststart')) as made:
        stream = made.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    content = path.read_bytes()
    path.write_bytes(content[: 7 * len(content) // 10])
    done = predict_into(Predictor(segmentor.checkpoint, batch_size=8), [str(path)], tmp_path / 'out', formats=['json'])
    ((file, reason),) = done.skipped
    frames = [entry['frame'] for entry in _read(tmp_path / 'out' / 'results.json')]
    assert file == str(path)
    assert 'of the frames that its head promises are not there' in reason
    assert frames == list(range(len(frames)))
    assert 30 < len(frames) < 110
    (entry,) = _read(tmp_path / 'out' / 'predictions.json')['skipped']
    # The last ones lack what they refer to.
    assert [gap.partition('-')[0] for gap in entry['frames']] == [str(len(frames))]


def test_every_nth_frame_is_drawn(detector, video, tmp_path):
    predict_into(Predictor(detector.checkpoint), [video], tmp_path, formats=['png', 'yolo'], end=30, show_every=10)
    names = [f'{frame:06d}' for frame in range(30)]
    assert sorted(path.stem for path in (tmp_path / 'pictures' / 'my film é').iterdir()) == names[::10]
    assert sorted(path.stem for path in (tmp_path / 'labels' / 'my film é').iterdir()) == names


def test_a_film_of_pictures_is_asked_for_in_vain_with_one_line(detector, tmp_path):
    with pytest.raises(UserError, match='--format mp4: no source is a film; --fps N'):
        predict_into(Predictor(detector.checkpoint), detector.pictures, tmp_path, formats=['mp4'])


class _Pipe(io.BufferedReader):
    """Standard input with something in it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))

    def seekable(self) -> bool:
        return False


def test_paths_are_piped_in(detector):
    text = '\n'.join([detector.pictures[0], '', detector.pictures[1]])
    assert [item.source for item in list_items(['-'], how=Sources(stdin=_Pipe(text.encode())))] == detector.pictures[:2]
    with_zeros = '\0'.join(detector.pictures[:3]).encode() + b'\0'
    assert len(list_items(['-'], how=Sources(stdin=_Pipe(with_zeros)))) == 3
    with pytest.raises(UserError, match='-: nothing came from standard input'):
        list_items(['-'], how=Sources(stdin=_Pipe(b'')))


@pytest.mark.parametrize('ending', ['mkv', 'ts'])
def test_an_encoded_film_is_piped_in(tmp_path, ending):
    path = write_video(tmp_path / f'film.{ending}', 40)
    items = list_items(['-'], how=Sources(Cut.parse(4, 30, 5), stdin=_Pipe(path.read_bytes())))
    assert items.live is not None
    read = []
    for item in items:
        try:
            read.append((number_of(item.source.load()), item.frame, item.time_s))
        except FilmEndedError:
            break
    assert [number for number, _, _ in read] == [frame for _, frame, _ in read] == [4, 9, 14, 19, 24, 29]
    assert [time_s for _, _, time_s in read] == pytest.approx([frame / 30 for _, frame, _ in read], abs=2e-3)
    items.live.close()
    with pytest.raises(UserError, match='neither a list of paths nor a film'):
        list_items(['-'], how=Sources(stdin=_Pipe(bytes(range(256)) * 20)))


def test_a_piped_film_is_predicted_as_its_file_is_and_does_not_go_on(segmentor, tmp_path, monkeypatch):
    path = write_video(tmp_path / 'film.mkv', 21)
    predictor = Predictor(segmentor.checkpoint, batch_size=4)
    predict_into(predictor, [str(path)], tmp_path / 'file')
    for _ in range(2):
        monkeypatch.setattr('sys.stdin', io.TextIOWrapper(_Pipe(path.read_bytes())))
        done = predict_into(predictor, ['-'], tmp_path / 'piped', overwrite=True)
        assert done.num_new == 21
    drop = [dict(entry, file='') for entry in _read(tmp_path / 'file' / 'results.json')]
    assert [dict(entry, file='') for entry in _read(tmp_path / 'piped' / 'results.json')] == drop
    assert len(VideoReader(tmp_path / 'piped' / 'films' / 'stdin.mp4')) == 21
    monkeypatch.setattr('sys.stdin', io.TextIOWrapper(_Pipe(path.read_bytes())))
    with pytest.raises(UserError, match='passes by only once'):
        predict_into(predictor, ['-'], tmp_path / 'piped')


class _Camera:
    def __init__(self, number: int) -> None:
        self.is_there, self.left = number == 0, 12

    def isOpened(self) -> bool:
        return self.is_there

    def get(self, key: int) -> float:
        return 10.0

    def read(self):
        if self.left == 0:
            raise KeyboardInterrupt  # the only end that a camera has
        self.left -= 1
        return True, picture(11 - self.left)[..., ::-1]

    def release(self) -> None:
        self.is_there = False


def test_a_camera_is_predicted_until_ctrl_c(segmentor, tmp_path, monkeypatch):
    cameras = []
    monkeypatch.setattr(cv2, 'VideoCapture', lambda number: cameras.append(_Camera(number)) or cameras[-1])
    done = predict_into(Predictor(segmentor.checkpoint, batch_size=4), ['0'], tmp_path)
    assert done.num_new in (8, 12)  # what was read behind the last whole batch is lost
    manifest = _read(tmp_path / 'predictions.json')
    assert manifest['complete']
    assert len(VideoReader(tmp_path / 'films' / 'camera_0.mp4')) == done.num_new
    assert not cameras[0].is_there
    with pytest.raises(UserError, match='7: OpenCV opens no camera of this number'):
        list_items(['7'])


def test_tensors_and_batches_give_what_files_give(detector):
    predictor = Predictor(detector.checkpoint, batch_size=3)
    expected = [result.to_json() for result in predictor(detector.pictures[:3])]
    arrays = [cv2.imread(path)[..., ::-1].copy() for path in detector.pictures[:3]]
    tensors = [torch.from_numpy(array).permute(2, 0, 1) for array in arrays]
    assert [result.to_json() for result in predictor(tensors)] == expected
    assert [result.to_json() for result in predictor(torch.stack(tensors))] == expected
    assert [result.to_json() for result in predictor(np.stack(arrays))] == expected
    assert [result.to_json() for result in predictor(iter(tensors))] == expected
    with pytest.raises(DataError, match='must be uint8'):
        list(predictor(tensors[0] / 255))
