"""Actions in recordings of three views, or of keypoints: what is predicted, and what is written, read back."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmopt.apis import evaluate, load_config
from mmopt.apis.run.facts import build_dataset
from mmopt.evaluation import ActionClassification
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from tests.apis.predict.trained import Trained
from tests.apis.predict.trained_recordings import (
    make_actions,
    make_skeletons,
    predict,
    read_json,
    read_rows,
    write_into,
)


@pytest.fixture(scope='module')
def actions(tmp_path_factory) -> Trained:
    return make_actions(tmp_path_factory.mktemp('actions'))


@pytest.fixture(scope='module')
def root(actions) -> Path:
    return Path(actions.pictures[0]).parents[2]


@pytest.fixture(scope='module')
def skeletons(tmp_path_factory, root) -> Trained:
    return make_skeletons(tmp_path_factory.mktemp('skeletons'), root)


@pytest.fixture
def drive(actions, tmp_path) -> Path:
    """A recording outside of any data root."""
    folder = tmp_path / 'my drive [1] é.2026'
    shutil.copytree(actions.pictures[0], folder)
    return folder


def first(predictor, source):
    (result,) = predictor(source)
    return result


@pytest.mark.parametrize('kind', ['actions', 'skeletons'])
def test_metrics_of_the_written_segments_equal_those_of_a_test(kind, request, root, tmp_path):
    trained = request.getfixturevalue(kind)
    cfg = load_config(trained.config, options=trained.options, work_dir=str(tmp_path / 'test'))
    expected = evaluate(cfg, trained.checkpoint)
    write_into(predict(trained, segments=root / 'label'), trained.pictures, tmp_path / 'out')
    dataset = build_dataset(load_config(trained.config, options=trained.options), 'test_dataloader')
    truth = {}
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        start, stop = (info['chunk'][0] + frame for frame in info['segment'])  # which count from the chunk
        truth[info['recording'].name, start, stop] = info['label']
    ways: dict[str, list[tuple[tuple, int]]] = dict(json=[], csv=[])
    for found in read_json(tmp_path / 'out' / 'results.json'):
        for span, label in zip(found['segments'], found['labels'], strict=True):
            ways['json'].append(((found['recording'], *span), label))
    for row in read_rows(tmp_path / 'out' / 'windows.csv'):
        name = '/'.join(Path(row['file']).parts[-2:])
        ways['csv'].append(((name, int(row['start_frame']), int(row['stop_frame'])), int(row['label'])))
    for way in ways.values():
        metric = ActionClassification(classes=dataset.metainfo['classes'])
        assert len(way) == len(dataset)
        for key, label in way:
            sample = DataSample()
            sample.label, sample.pred_label = torch.tensor(truth[key]), torch.tensor(label)
            metric.process(None, [sample])
        measured = metric.evaluate(len(dataset))
        assert {key: measured[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    assert 0 < expected['accuracy'] < 1


def test_windows_cover_the_recording(actions, drive):
    result = first(predict(actions), drive)
    # Half a window after the other, as long as the segments of the training.
    assert result.segments[0].tolist() == [0, 16]
    assert set(np.diff(result.segments[:-1, 0])) == {8}
    assert result.segments[-1, 1] == result.num_frames
    assert result.fps == pytest.approx(10)
    said = first(predict(actions, window_s=4, step_s='1.5'), drive)
    assert said.segments[:2].tolist() == [[0, 40], [15, 55]]
    whole = first(predict(actions, window_s=1000), drive)
    assert whole.segments.tolist() == [[0, whole.num_frames]]


def test_a_window_is_predicted_as_a_segment_of_it_is(actions, drive, tmp_path):
    windows = first(predict(actions), drive)
    table = tmp_path / 'spans.csv'
    table.write_text('start_s,stop_s\n0.8,2.4\n4.0,5.6\n')
    result = first(predict(actions, segments=table), drive)
    assert result.segments.tolist() == [[8, 24], [40, 56]]
    assert np.allclose(result.probabilities, windows.probabilities[[1, 5]], atol=1e-6)
    assert result.times_s.tolist() == [
        [pytest.approx(0.8), pytest.approx(2.4)],
        [pytest.approx(4.0), pytest.approx(5.6)],
    ]


def test_another_table_of_segments_does_not_go_on(actions, drive, tmp_path):
    table, out = tmp_path / 'spans.csv', tmp_path / 'out'
    table.write_text('start_frame,stop_frame\n8,24\n')
    write_into(predict(actions, segments=table), [str(drive)], out, formats=['json'])
    assert write_into(predict(actions, segments=table), [str(drive)], out, formats=['json']).num_before == 1
    table.write_text('start_frame,stop_frame\n9,24\n')
    with pytest.raises(UserError, match='holds predictions of another source_options'):
        write_into(predict(actions, segments=table), [str(drive)], out, formats=['json'])


def test_every_way_to_name_the_views_gives_the_same(actions, drive, tmp_path):
    expected = first(predict(actions), drive).to_json()
    views = {view: tmp_path / f'{number}.mp4' for number, view in enumerate(('left', 'front', 'right'))}
    for view, path in views.items():
        shutil.copy(drive / f'{view}.mp4', path)
    named = predict(actions, view=[f'{view}={path}' for view, path in views.items()])
    for result in (first(named, []), first(predict(actions), views)):
        assert result.title == '1'
        assert result.to_json() == expected | dict(recording='1')
    upper = tmp_path / 'upper'
    upper.mkdir()
    for view in views:
        shutil.copy(drive / f'{view}.mp4', upper / f'{view.upper()}.MP4')
    assert first(predict(actions), upper).to_json() == expected | dict(recording='upper')


def test_a_data_root_a_list_and_a_pattern_name_all_recordings(actions, root, tmp_path):
    predictor = predict(actions)
    names = [item.name for item in predictor.list_items([str(root)])]
    assert len(names) == 2
    assert names[1:] == ['/'.join(Path(path).parts[-2:]) for path in actions.pictures]
    listed = tmp_path / 'list.txt'
    listed.write_text('\n'.join(actions.pictures))
    pattern = str(root / 'videos_split' / 'person_101' / '*')
    for source in (str(listed), pattern):
        assert [item.name for item in predictor.list_items([source])] == names[1:]


def test_a_recording_of_a_data_root_is_known_from_inside_of_it(actions, skeletons, root, monkeypatch):
    monkeypatch.chdir(actions.pictures[0])
    (item,) = predict(actions).list_items(['.'])
    assert item.name == 'person_101/day_high'
    assert item.source.source.keypoints == root / 'keypoints' / 'person_101' / 'day_high'
    monkeypatch.chdir(root)
    assert first(predict(skeletons), 'keypoints/person_101/day_high').fps == pytest.approx(10)


def test_keypoints_alone_are_predicted(skeletons, root, tmp_path):
    expected = first(predict(skeletons), skeletons.pictures[0])
    assert len(expected.segments) > 10
    alone = tmp_path / 'points'
    shutil.copytree(skeletons.pictures[0], alone)
    with pytest.raises(UserError, match=r'points: nothing says its frame rate: say --fps'):
        first(predict(skeletons), alone)
    assert first(predict(skeletons, fps=10), alone).to_json() == expected.to_json() | dict(recording='points')
    assert len(predict(skeletons).list_items([str(root)])) == 2
    (alone / '000005.npz').unlink()
    with pytest.raises(DataError, match='1 of .* frames have no keypoints, frame 5 first'):
        first(predict(skeletons, fps=10), alone)


def test_every_file_is_read_back(actions, drive, tmp_path):
    predictor = predict(actions)
    done = write_into(predictor, [str(drive)], tmp_path / 'out')
    assert done.num_new == 1
    result = first(predictor, drive)
    (found,) = read_json(tmp_path / 'out' / 'results.json')
    assert found['file'] == str(drive)
    assert np.allclose(found['probabilities'], result.probabilities)
    rows = read_rows(tmp_path / 'out' / 'windows.csv')
    assert len(rows) == len(result.segments)
    for row, scores in zip(rows, result.probabilities, strict=True):
        assert [float(row[name]) for name in result.classes] == pytest.approx(scores.tolist())
        assert row['action'] == max(result.classes, key=lambda name: float(row[name]))
        assert float(row['stop_s']) - float(row['start_s']) == pytest.approx(1.6, abs=1e-5)
    spans = read_rows(tmp_path / 'out' / 'actions.csv')
    assert len(spans) > 1
    assert int(spans[0]['start_frame']) == 0
    assert int(spans[-1]['stop_frame']) == result.num_frames
    for one, after in zip(spans, spans[1:], strict=False):
        assert one['stop_frame'] == after['start_frame']
        assert one['stop_s'] == after['start_s']
        assert one['action'] != after['action']
    picture = cv2.imdecode(np.fromfile(tmp_path / 'out' / 'timelines' / f'{drive.name}.png', np.uint8), 1)
    assert picture.shape[1] > 1200


def test_frames_have_the_mean_of_the_windows_that_show_them(actions, drive):
    result = first(predict(actions), drive)
    mean = result.frame_probabilities()
    for frame in (0, 9, 20, result.num_frames - 1):
        showing = (result.segments[:, 0] <= frame) & (frame < result.segments[:, 1])
        assert np.allclose(mean[frame], result.probabilities[showing].mean(axis=0))


def test_a_wrong_source_or_option_is_one_line(actions, skeletons, drive, tmp_path):
    (tmp_path / 'empty').mkdir()
    cases = [
        ({}, [], 'There is no source: name the folder of a recording'),
        ({}, str(tmp_path / 'empty'), 'neither the folder nor its subfolders hold a recording: front.mp4'),
        ({}, str(drive / 'front.mp4'), 'a recording is a folder with front.mp4, left.mp4, right.mp4; name it, or'),
        (dict(view=['front=a.mp4']), [], "The view 'left' is not named: the model sees front, left, right"),
        (dict(view=['top=a.mp4']), [], "There is no view 'top': the model sees front, left, right"),
        (dict(view=dict.fromkeys(('front', 'left', 'right'), tmp_path / 'no.mp4')), [], 'there is no such file'),
        (dict(view='front'), [], '--view front: write VIEW=FILE'),
        (dict(view=['front=a.mp4']), str(drive), '--view names the files of the recording already'),
        (dict(window_s=-1), str(drive), '--window-s -1: must be more than 0'),
        (dict(step_s=3), str(drive), r'--step-s 3: must be at most a window \(1.6 s\)'),
        (dict(segments=tmp_path / 'x.csv', step_s=1), str(drive), '--segments and --step-s exclude each other'),
        (dict(pix_per_cm=3), str(drive), '--pix-per-cm: sources of DriverActionDataset take --view'),
    ]
    for said, source, match in cases:
        with pytest.raises(UserError, match=match) as caught:
            list(predict(actions, **said)(source))
        assert '\n' not in str(caught.value)
    with pytest.raises(UserError, match='--start, --end and --step are for films of single pictures'):
        write_into(predict(actions), [str(drive)], tmp_path / 'out', start=3)
    with pytest.raises(UserError, match='The model sees no videos'):
        list(predict(skeletons, view=['front=a.mp4'])([]))


def test_segments_that_do_not_fit_are_one_line(actions, drive, tmp_path):
    table = tmp_path / 'spans.csv'
    for text, match in (
        ('start_frame,stop_frame\n5,3\n', r'spans.csv:2: the segment from frame 5 to 3 is none'),
        ('start_frame,stop_frame\nx,3\n', 'must be numbers'),
        ('from,to\n1,3\n', 'needs the columns start_frame and stop_frame, or start_s and stop_s'),
        ('start_frame,stop_frame\n', 'needs the columns'),
        ('start_frame,stop_frame\n9000,9001\n', 'a segment begins at frame 9000, the recording has'),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=match):
            first(predict(actions, segments=table), drive)
    with pytest.raises(DataNotFoundError, match='no such file of segments'):
        first(predict(actions, segments=tmp_path / 'none.csv'), drive)
    with pytest.raises(DataNotFoundError, match='no segments of'):
        first(predict(actions, segments=tmp_path), drive)


def test_broken_recordings_are_skipped_and_the_same_command_goes_on(actions, drive, tmp_path):
    for name in ('b', 'c', 'd'):
        shutil.copytree(drive, tmp_path / 'in' / name)
    (tmp_path / 'in' / 'b' / 'left.mp4').unlink()
    (tmp_path / 'in' / 'c' / 'right.mp4').write_bytes(b'no film')
    out, predictor = tmp_path / 'out', predict(actions)
    done = write_into(predictor, [str(tmp_path / 'in')], out)
    assert done.num_new == 1
    assert [Path(file).name for file, _ in done.skipped] == ['b', 'c']
    reasons = [entry['reason'] for entry in read_json(out / 'predictions.json')['skipped']]
    assert "no video of the view 'left' (left.mp4); there: front, right" in reasons[0]
    assert 'not a readable video' in reasons[1]
    shutil.copy(drive / 'left.mp4', tmp_path / 'in' / 'b' / 'left.mp4')
    done = write_into(predictor, [str(tmp_path / 'in')], out)
    assert (done.num_before, done.num_new, len(done.skipped)) == (1, 1, 1)
    assert [found['recording'] for found in read_json(out / 'results.json')] == ['b', 'd']
    with pytest.raises(DataError, match='not a readable video'):
        write_into(predictor, [str(tmp_path / 'in' / 'c')], tmp_path / 'strict', strict=True)


def test_a_recording_of_one_frame_is_predicted(actions, tmp_path):
    from mmopt.datasets.common.film.frame_index import import_av

    av = import_av()
    for view in ('front', 'left', 'right'):
        with av.open(str(tmp_path / f'{view}.mp4'), 'w') as file:
            stream = file.add_stream('mpeg4', rate=10)
            stream.height = stream.width = 64
            stream.pix_fmt = 'yuv420p'
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format='rgb24')))
            file.mux(stream.encode())
    write_into(predict(actions), [str(tmp_path)], tmp_path / 'out')
    (found,) = read_json(tmp_path / 'out' / 'results.json')
    assert found['segments'] == [[0, 1]]


def test_results_have_what_their_names_say(actions, drive):
    result = first(predict(actions), drive)
    assert result.names == [result.classes[label] for label in result.labels]
    assert result.scores.tolist() == [
        row[label] for row, label in zip(result.probabilities, result.labels, strict=True)
    ]
    assert len(result.above(float(np.median(result.scores))).segments) < len(result.segments)
    assert json.loads(json.dumps(result.to_json()))['labels'] == result.labels.tolist()
    assert result.above(1.1).draw().shape == result.draw().shape
