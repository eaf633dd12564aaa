"""Behaviors in recordings: files of every program, and what is written, read back."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmopt.apis import Predictor, evaluate, load_config
from mmopt.datasets.tad.prepare.annotations import read_annotations
from mmopt.datasets.tad.tables import write_table
from mmopt.engine import checkpoint_io
from mmopt.evaluation import TemporalDetection
from mmopt.evaluation.tad.kaggle import kaggle_score, mouse_name, read_submission, target_name, to_events
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, UserError
from tests.apis.predict.track_files import ANIMALS, WRITERS, made_up_tracks
from tests.apis.predict.trained import Trained
from tests.apis.predict.trained_recordings import make_behaviors, predict, read_json, read_rows, write_into

SAID = dict(fps=25, pix_per_cm=4)


@pytest.fixture(scope='module')
def behaviors(tmp_path_factory) -> Trained:
    return make_behaviors(tmp_path_factory.mktemp('behaviors'))


@pytest.fixture(scope='module')
def predictor(behaviors) -> Predictor:
    return Predictor(behaviors.checkpoint, source_options=SAID)


@pytest.fixture
def recording(tmp_path) -> Path:
    path = tmp_path / 'in' / 'käfig [1] 50%.csv'
    path.parent.mkdir()
    WRITERS['deeplabcut.csv'](path, made_up_tracks())
    return path


def write_truth(behaviors: Trained) -> None:
    """Annotate what a model with random weights finds half of: every third of its events, moved by a frame."""
    root = Path(behaviors.pictures[0]).parents[2]
    for path, result in zip(behaviors.pictures, Predictor(behaviors.checkpoint)(behaviors.pictures), strict=True):
        labeled = {(agent, target, action) for agent, target, action in result.video.labeled}
        rows = [row for row in result.confident_rows().tolist() if row[1] - row[0] > 4][::3]
        assert rows
        assert {(agent, target, result.classes[action]) for _, _, agent, target, action in rows} <= labeled
        start, stop, agent, target, action = zip(*rows, strict=True)
        columns = dict(
            agent_id=np.array(agent) + 1,
            target_id=np.array(target) + 1,
            action=[result.classes[number] for number in action],
            start_frame=np.array(start) + 1,
            stop_frame=np.array(stop),
        )
        write_table(root / 'train_annotation' / Path(path).parent.name / Path(path).name, columns)


def test_metrics_of_the_written_files_equal_those_of_a_test(behaviors, tmp_path):
    write_truth(behaviors)
    cfg = load_config(behaviors.config, options=behaviors.options, work_dir=str(tmp_path / 'test'))
    expected = evaluate(cfg, behaviors.checkpoint)
    assert 0.1 < expected['F1'] < 0.95
    out = tmp_path / 'out'
    write_into(Predictor(behaviors.checkpoint), behaviors.pictures, out)

    dataset = Predictor(behaviors.checkpoint).dataset
    dataset.full_init()
    classes = dataset.metainfo['classes']
    metric = TemporalDetection(score_threshold=0.012)
    metric.dataset_meta = dict(classes=classes)
    solution, labeled, lab_of = [], {}, {}
    for found, video, events in zip(read_json(out / 'results.json'), dataset.videos, dataset.events, strict=True):
        assert found['video'] == video.video_id
        number = {name: place for place, name in enumerate(classes)}
        sample = DataSample(
            metainfo=dict(
                lab_id=found['laboratory'], video_id=found['video'], num_frames=found['num_frames'], fps=found['fps'],
                window=(0, found['num_frames']),
            )
        )  # fmt: skip
        sample.labeled = torch.tensor([[a, t, number[action]] for a, t, action in video.labeled])
        sample.truth = torch.from_numpy(events)
        sample.pred_segments = torch.tensor(found['segments'])
        sample.pred_scores = torch.tensor(found['scores'], dtype=torch.float64)
        sample.pred_triples = torch.tensor([found[key] for key in ('agents', 'targets', 'labels')]).T
        metric.process(None, [sample])
        solution += to_events(video.video_id, events, classes)
        labeled[video.video_id] = {f'{mouse_name(a)},{target_name(a, t)},{action}' for a, t, action in video.labeled}
        lab_of[video.video_id] = video.lab_id
    measured = metric.evaluate(len(dataset.videos))
    assert {key: measured[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    score = kaggle_score(solution, read_submission(out / 'submission.csv'), labeled, lab_of)
    assert score == pytest.approx(expected['kaggle_F'], abs=1e-6)
    assert score > 0


@pytest.mark.parametrize('name', WRITERS)
def test_tracks_of_every_program_give_the_same_behaviors(predictor, recording, tmp_path, name):
    (expected,) = predictor(recording)
    WRITERS[name](tmp_path / name, made_up_tracks())
    (result,) = predictor(tmp_path / name)
    assert len(result.segments) > 10
    assert result.rows_N5.tolist() == expected.rows_N5.tolist()
    assert np.allclose(result.scores, expected.scores)
    assert result.num_frames == 230
    if name in ('deeplabcut.csv', 'sleap.h5'):
        assert result.individuals == ANIMALS


def test_a_folder_gives_its_tracks_and_no_other_table(predictor, tmp_path):
    tracks = made_up_tracks()
    for name in ('a b.csv', 'deeper/猫.csv', 'deeper/.hidden.csv'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        WRITERS['deeplabcut.csv'](tmp_path / name, tracks)
    WRITERS['deeplabcut.h5'](tmp_path / 'a b.h5', tracks)  # DeepLabCut writes both
    WRITERS['mabe.parquet'](tmp_path / 'm.parquet', tracks)
    (tmp_path / 'notes.csv').write_text('name,weight\na,3\n')
    write_table(tmp_path / 'annotation.parquet', dict(action=['x']))
    items = predictor.list_items([str(tmp_path)])
    assert [item.name for item in items] == ['a b', 'm', 'deeper/猫']
    assert [item.file for item in items][0] == str(tmp_path / 'a b.csv')
    listed = tmp_path / 'list.txt'
    listed.write_text('a b.csv\ndeeper/猫.csv\na b.csv\n', encoding='utf-8')
    assert [item.name for item in predictor.list_items([str(listed)])] == ['a b', '猫']
    assert [item.name for item in predictor.list_items([str(tmp_path / '**' / '*b.csv')])] == ['a b']


def test_a_file_of_the_layout_is_known_from_inside_of_it(behaviors, monkeypatch):
    path = Path(behaviors.pictures[0])
    monkeypatch.chdir(path.parent)
    (result,) = predict(behaviors)(path.name)
    assert (result.video.lab_id, result.fps) == ('DemoOtter', 30)


def test_an_empty_or_wrong_source_is_one_line(predictor, tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'list.txt').write_text('\n')
    for source, match in (
        ([], 'There is no source: name a file of tracks'),
        ([str(tmp_path / 'empty')], 'neither the folder nor its subfolders hold tracks'),
        ([str(tmp_path / 'list.txt')], 'the list names nothing'),
        ([str(tmp_path / '*.xyz')], 'nothing has such a name'),
        ([str(tmp_path / 'none.csv')], 'does not exist'),
    ):
        with pytest.raises(UserError, match=match) as caught:
            predictor.list_items(source)
        assert '\n' not in str(caught.value)


def test_what_does_not_fit_the_model_is_one_line(behaviors, predictor, recording, tmp_path, caplog):
    def found(path=recording, **options):
        (result,) = predict(behaviors, **options)(path)
        return result

    with pytest.raises(UserError, match=r'nothing says its frame rate: say --fps and --pix-per-cm'):
        found()
    with pytest.raises(UserError, match=r'nothing says its scale: say --pix-per-cm'):
        found(fps=25)
    with pytest.raises(UserError, match=r'--fps 0: must be more than 0'):
        found(fps=0, pix_per_cm=4)
    with pytest.raises(UserError, match=r"--fps 'fast': must be a number"):
        found(fps='fast', pix_per_cm=4)
    with pytest.raises(UserError, match=r"--behaviors pair,sing: the model knows no 'sing'; it knows attack"):
        found(**SAID, behaviors=['pair,sing'])
    with pytest.raises(UserError, match=r'--intrinsics: sources of MABeDataset take --fps, --pix-per-cm'):
        found(intrinsics='1,2,3,4')
    path = tmp_path / 'strange.csv'
    path.write_text(recording.read_text(encoding='utf-8').replace('nose', 'snout'), encoding='utf-8')
    with pytest.raises(DataError, match='--parts names muzzle, but the tracks are of snout'):
        found(path, **SAID, parts=['muzzle=nose'])
    path.write_text(
        ''.join(f',a_{c},b_{c}'[1:] + '\n' for c in 'x').replace('a_x,b_x', 'a_x,a_y,b_x,b_y') + '1,2,3,4\n' * 120
    )
    with pytest.raises(DataError, match=r'has none of the body parts that the model sees \(nose, .*\), but a, b'):
        found(path, **SAID)
    caplog.clear()
    found(**SAID)
    assert 'the model sees body_center, hip_left, hip_right, too, which count as missing here' in caplog.text
    assert 'frames per second' not in caplog.text
    caplog.clear()
    found(fps=60, pix_per_cm=4)
    assert 'its 60 frames per second are far from the 25 to 30 that the model was trained at' in caplog.text
    caplog.clear()
    WRITERS['mabe.parquet'](tmp_path / 'many.parquet', made_up_tracks(num_animals=5))
    found(tmp_path / 'many.parquet', **SAID)
    assert 'of its 5 animals the model sees the first 3: mouse1, mouse2, mouse3' in caplog.text


def test_parts_of_other_names_are_renamed(behaviors, predictor, recording, tmp_path):
    (expected,) = predictor(recording)
    path = tmp_path / 'strange.csv'
    path.write_text(recording.read_text(encoding='utf-8').replace('nose', 'snout'), encoding='utf-8')
    (without,) = predictor(path)
    assert not np.array_equal(without.scores, expected.scores)
    (renamed,) = Predictor(behaviors.checkpoint, source_options=dict(SAID, parts='snout=nose'))(path)
    assert renamed.scores.tolist() == expected.scores.tolist()


def test_what_is_looked_for_can_be_said(behaviors, recording):
    def found(*rules):
        (result,) = Predictor(behaviors.checkpoint, source_options=dict(SAID, behaviors=list(rules)))(recording)
        return {(int(a), int(t), result.classes[c]) for _, _, a, t, c in result.rows_N5}

    assert found('mouse2,mouse1,attack') == {(1, 0, 'attack')}
    assert (1, 1, 'rear') in found('self,rear') <= {(0, 0, 'rear'), (1, 1, 'rear')}
    assert found('all,sniff', 'all,chase') <= {(-1, -1, 'sniff'), (-1, -1, 'chase')}
    (result,) = Predictor(behaviors.checkpoint, source_options=SAID)(recording)
    # As in training: animals rear by themselves, the rest they do to each other.
    assert {(a == t, action) for a, t, action in result.video.labeled} == {
        (True, 'rear'), (False, 'attack'), (False, 'chase'), (False, 'sniff')
    }  # fmt: skip


def test_a_checkpoint_that_knows_no_behaviors_asks_the_data_or_the_user(behaviors, recording, tmp_path):
    content = checkpoint_io.load(behaviors.checkpoint)
    del content['meta']['dataset_meta']['of_data']
    old = tmp_path / 'old.pth'
    checkpoint_io.save(old, dict(meta=content['meta'], state_dict=content['state_dict']))
    (result,) = Predictor(old, source_options=SAID)(recording)
    assert len(result.video.labeled) == 2 + 3 * 2
    options = [f'data_root={tmp_path}' if option.startswith('data_root') else option for option in behaviors.options]
    with pytest.raises(UserError, match='nothing says which behaviors to look for'):
        list(Predictor(behaviors.config, old, options=options, source_options=SAID)(recording))


def test_every_file_is_read_back(predictor, recording, tmp_path):
    done = write_into(predictor, [str(recording.parent)], tmp_path / 'out')
    assert (done.num_new, done.skipped) == (1, ())
    (result,) = predictor(recording)
    assert result.bouts()
    name = recording.stem
    bouts = read_rows(tmp_path / 'out' / 'bouts.csv')
    assert [(int(row['start_frame']), int(row['stop_frame'])) for row in bouts] == [
        (bout.start, bout.stop) for bout in result.bouts()
    ]
    assert {row['agent'] for row in bouts} == set(ANIMALS)
    assert all(float(row['stop_s']) * 25 == pytest.approx(int(row['stop_frame'])) for row in bouts)
    assert all(float(row['score']) >= 0.012 for row in bouts)
    # Behaviors of one subject overlap: BORIS' reader pools subjects, so what it gives is what was written.
    events = read_annotations(tmp_path / 'out' / 'boris' / f'{name}.csv', 25).events
    assert sorted(events) == sorted((bout.start, bout.stop, bout.behavior) for bout in result.bouts())
    labels = read_annotations(tmp_path / 'out' / 'simba' / f'{name}.csv', 25)
    assert sorted(labels.events) == sorted(
        (bout.start, bout.stop, f'{bout.behavior}_{bout.agent}_{bout.target}') for bout in result.bouts()
    )
    assert len(read_rows(tmp_path / 'out' / 'simba' / f'{name}.csv')) == 230
    submission = read_submission(tmp_path / 'out' / 'submission.csv')
    assert {event.video_id for event in submission} == {name}
    assert len(submission) == len(bouts)
    assert cv2.imdecode(np.fromfile(tmp_path / 'out' / 'ethograms' / f'{name}.png', np.uint8), 1).shape[1] == 1390


def test_totals_are_counts_durations_and_latencies(predictor, recording, tmp_path):
    write_into(predictor, [str(recording)], tmp_path / 'out', formats=['totals', 'csv'])
    rows = read_rows(tmp_path / 'out' / 'totals.csv')
    (result,) = predictor(recording)
    assert len(rows) == len(result.video.labeled)
    bouts = read_rows(tmp_path / 'out' / 'bouts.csv')
    for row in rows:
        mine = [bout for bout in bouts if all(bout[key] == row[key] for key in ('agent', 'target', 'behavior'))]
        seconds = [float(bout['duration_s']) for bout in mine]
        assert int(row['count']) == len(mine)
        assert float(row['total_s']) == pytest.approx(sum(seconds))
        assert float(row['share_of_recording']) == pytest.approx(sum(seconds) * 25 / 230, abs=1e-5)
        if mine:
            assert float(row['mean_s']) == pytest.approx(sum(seconds) / len(mine), abs=1e-5)
            assert float(row['latency_s']) == pytest.approx(min(float(bout['start_s']) for bout in mine))
        else:
            assert (row['mean_s'], row['latency_s']) == ('', '')
    assert any(int(row['count']) for row in rows)


def test_frames_are_those_of_the_file(predictor, tmp_path):
    """A file that begins at frame 1000: the first thousand have no points."""
    tracks = made_up_tracks()
    WRITERS['mabe.parquet'](
        tmp_path / 'late.parquet', np.pad(tracks, ((1000, 0), *[(0, 0)] * 3), constant_values=np.nan)
    )
    (result,) = predictor(tmp_path / 'late.parquet')
    assert result.num_frames == 1230
    assert result.segments[:, 1].max() > 1100


@pytest.mark.parametrize('num_frames', [1, 7])
def test_a_recording_shorter_than_a_window_is_predicted(predictor, tmp_path, num_frames):
    WRITERS['simba.csv'](tmp_path / 'short.csv', made_up_tracks(num_frames))
    done = write_into(predictor, [str(tmp_path / 'short.csv')], tmp_path / 'out')
    assert done.num_new == 1
    (found,) = read_json(tmp_path / 'out' / 'results.json')
    assert found['num_frames'] == num_frames
    assert all(0 <= start < stop <= num_frames for start, stop in found['segments'])
    assert len(read_rows(tmp_path / 'out' / 'simba' / 'short.csv')) == num_frames


def test_a_recording_without_an_event_has_empty_files(behaviors, recording, tmp_path):
    write_into(predict(behaviors, **SAID), [str(recording)], tmp_path / 'out', confidence=1.0)
    assert read_submission(tmp_path / 'out' / 'submission.csv') == []
    assert {row['count'] for row in read_rows(tmp_path / 'out' / 'totals.csv')} == {'0'}
    assert (tmp_path / 'out' / 'ethograms' / f'{recording.stem}.png').stat().st_size > 1000


def test_no_more_than_two_batches_are_read_ahead(predictor, tmp_path):
    WRITERS['mabe.parquet'](tmp_path / 'long.parquet', made_up_tracks(2000))
    taken, ahead = [], []
    dataset, predict_timed = predictor.dataset, predictor._predict_timed

    def info(part):
        taken.append(part.start)
        return type(dataset).predict_info(dataset, part)

    def timed(prepared):
        ahead.append(len(taken) - sum(map(len, done)))
        done.append(prepared)
        return predict_timed(prepared)

    done: list[list] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, 'predict_info', info, raising=False)
        patch.setattr(predictor, '_predict_timed', timed)
        list(predictor(tmp_path / 'long.parquet'))
    assert len(taken) == 39
    assert max(ahead) <= 3 * 2  # the batch that is predicted and two behind it, of two windows each


def test_the_bar_moves_within_a_recording(predictor, recording, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr('mmopt.apis.predict.run.tqdm.refresh', lambda bar, *args, **kwargs: shown.append(bar.n))
    recording.with_name('broken.csv').write_text('')
    write_into(predictor, [str(recording.parent)], tmp_path / 'out', formats=['csv'])
    # A broken one, and one of four windows in batches of two.
    assert [value for value in dict.fromkeys(shown) if value] == [1, 1.5, 2]


def test_confidence_leaves_events_out_everywhere(predictor, recording, tmp_path):
    (result,) = predictor(recording)
    least = float(np.sort(result.scores)[-4])
    write_into(predictor, [str(recording)], tmp_path / 'out', formats=['json', 'csv'], confidence=least)
    (found,) = read_json(tmp_path / 'out' / 'results.json')
    assert len(found['scores']) == 4
    assert min(found['scores']) >= least
    assert {float(row['score']) >= least for row in read_rows(tmp_path / 'out' / 'bouts.csv')} == {True}


def test_a_resumed_run_ends_with_the_files_of_an_uninterrupted_one(predictor, recording, tmp_path):
    for name in ('b', 'c'):
        shutil.copy(recording, recording.with_name(f'{name}.csv'))
    sources = [str(recording.parent)]
    write_into(predictor, sources, tmp_path / 'whole')
    stopping = Predictor(predictor.checkpoint, source_options=SAID)
    opened = stopping.dataset.open_source

    def interrupted(source):
        if source.endswith('käfig [1] 50%.csv'):
            raise KeyboardInterrupt
        return opened(source)

    stopping.dataset.open_source = interrupted
    with pytest.raises(KeyboardInterrupt):
        write_into(stopping, sources, tmp_path / 'parts')
    assert not read_json(tmp_path / 'parts' / 'predictions.json')['complete']
    done = write_into(predictor, sources, tmp_path / 'parts')
    assert (done.num_before, done.num_new) == (2, 1)
    for path in (tmp_path / 'whole').rglob('*'):
        if path.is_file() and path.name not in ('predictions.json', 'records.jsonl'):
            assert path.read_bytes() == (tmp_path / 'parts' / path.relative_to(tmp_path / 'whole')).read_bytes()
    with pytest.raises(UserError, match='holds predictions of another source_options'):
        write_into(Predictor(predictor.checkpoint, source_options=dict(SAID, fps=50)), sources, tmp_path / 'parts')


def test_broken_tracks_are_skipped_and_strict_stops(predictor, recording, tmp_path):
    whole = recording.read_text(encoding='utf-8')
    recording.with_name('cut.csv').write_text(whole[: len(whole) // 2], encoding='utf-8')
    recording.with_name('empty.csv').write_text('')
    recording.with_name('torn.parquet').write_bytes(b'PAR1')
    done = write_into(predictor, [str(recording.parent)], tmp_path / 'out', formats=['csv'])
    assert done.num_new == 1
    assert [Path(file).name for file, _ in done.skipped] == ['cut.csv', 'empty.csv', 'torn.parquet']
    assert [entry['file'] for entry in read_json(tmp_path / 'out' / 'predictions.json')['skipped']] == [
        file for file, _ in done.skipped
    ]
    with pytest.raises(DataError, match='Is the file cut off'):
        write_into(predictor, [str(recording.with_name('cut.csv'))], tmp_path / 'strict', strict=True)


def test_results_have_what_their_names_say(predictor, recording):
    (result,) = predictor([recording])
    assert result.segments.shape == (len(result.scores), 2)
    assert result.names == [result.classes[label] for label in result.labels]
    assert json.loads(json.dumps(result.to_json()))['segments'] == result.segments.tolist()
    assert result.draw().ndim == 3
    assert len(list(predictor(path for path in [recording, recording]))) == 2
