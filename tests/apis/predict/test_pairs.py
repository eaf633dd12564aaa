"""Pictures with the event frames of the same moments, for a model that takes both."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmopt.apis import Predictor
from mmopt.apis.predict.run import predict_into
from mmopt.datasets.detection.pairs import Pair, pair_up
from mmopt.utils.errors import DataNotFoundError, UserError
from tests.apis.predict.test_predictor import evaluated


@pytest.fixture(scope='module')
def sequence(fusion) -> Path:
    """The folder of a sequence, with PADDED_RGB and Event/Frames."""
    return Path(fusion.pictures[0]).parents[1]


def test_a_sequence_is_predicted_as_an_evaluation_predicts_it(fusion, sequence, tmp_path):
    samples = {Path(sample.img_path).name: sample for sample in evaluated(fusion, tmp_path)}
    predictor = Predictor(fusion.checkpoint, batch_size=4)
    results = {Path(result.file).name: result for result in predictor(str(sequence))}
    assert len(results) == len(list((sequence / 'PADDED_RGB').iterdir()))  # event frames are none of their own
    both = results.keys() & samples.keys()
    assert len(both) > 2
    for name in both:
        assert np.allclose(results[name].scores, samples[name].pred_scores.double(), atol=1e-5)
        assert len(results[name].boxes) > 0


def test_arrays_of_six_channels_and_pairs_give_what_files_give(fusion):
    predictor = Predictor(fusion.checkpoint, batch_size=1)
    picture = fusion.pictures[0]
    (expected,) = predictor(picture)
    (pair,) = pair_up([picture])
    (given,) = predictor([pair])
    views = [cv2.imread(path)[..., ::-1] for path in (pair.path, pair.second)]
    (array,) = predictor(np.concatenate(views, axis=2))
    assert expected.to_json() == given.to_json() == array.to_json()
    assert expected.draw().shape == array.draw().shape == (180, 640, 3)  # both, at twice their size
    with pytest.raises(UserError, match='takes pairs of pictures: name the folder of the second ones with --events'):
        list(predictor(views[0].copy()))


def test_event_frames_of_another_folder_are_found_by_name_or_number(fusion, sequence, tmp_path):
    rgb, events = tmp_path / 'rgb', tmp_path / 'ev'
    rgb.mkdir()
    events.mkdir()
    sources = sorted((sequence / 'PADDED_RGB').iterdir())[:3]
    others = sorted((sequence / 'Event' / 'Frames').iterdir(), key=lambda path: (len(path.name), path.name))[:3]
    for number, (source, other) in enumerate(zip(sources, others, strict=True)):
        shutil.copy(source, rgb / f'view {number:03d}.jpg')
        shutil.copy(other, events / (f'view {number:03d}.png' if number < 1 else f'ev_{number}.png'))
    cv2.imwrite(str(rgb / 'view 007.png'), np.zeros((90, 160, 3), np.uint8))
    predictor = Predictor(fusion.checkpoint, batch_size=2)
    done = predict_into(predictor, [str(rgb)], tmp_path / 'out', formats=['json'], events=str(events))
    assert done.num_new == 3
    assert [Path(file).name for file, _ in done.skipped] == ['view 007.png']
    assert 'has its name or its number' in done.skipped[0][1]
    expected = [result.to_json()['scores'] for result in predictor([str(path) for path in sources])]
    found = json.loads((tmp_path / 'out' / 'results.json').read_text())
    for entry, scores in zip(found, expected, strict=True):
        assert entry['scores'] == pytest.approx(scores)


def test_frames_that_are_too_far_apart_are_no_pair(sequence, tmp_path):
    root = tmp_path / '7'
    shutil.copytree(sequence, root)
    frames = sorted((root / 'Event' / 'Frames').iterdir(), key=lambda path: int(path.stem.rpartition('_')[2]))
    frames[1].unlink()
    pairs = pair_up([str(path) for path in sorted((root / 'PADDED_RGB').iterdir())])
    alone = [pair for pair in pairs if pair is not None and pair.second is None]
    assert len(alone) == 1
    assert 'is within half a frame' in alone[0].reason


def test_pictures_as_recorded_stand_back_behind_the_padded_ones(sequence, tmp_path):
    shutil.copytree(sequence, tmp_path / '7')
    shutil.copytree(sequence / 'PADDED_RGB', tmp_path / '7' / 'RGB')
    recorded = [str(path) for path in (tmp_path / '7' / 'RGB').iterdir()]
    assert pair_up(recorded) == [None] * len(recorded)
    shutil.rmtree(tmp_path / '7' / 'PADDED_RGB')
    assert all(isinstance(pair, Pair) for pair in pair_up(recorded))


def test_a_pair_whose_event_frame_changed_is_predicted_again(fusion, sequence, tmp_path):
    root = tmp_path / '7'
    shutil.copytree(sequence, root)
    predictor = Predictor(fusion.checkpoint, batch_size=2)
    picture = sorted(str(path) for path in (root / 'PADDED_RGB').iterdir())[:2]
    assert predict_into(predictor, picture, tmp_path / 'out', formats=['json']).num_new == 2
    assert predict_into(predictor, picture, tmp_path / 'out', formats=['json']).num_new == 0
    Path(pair_up(picture)[1].second).touch()
    log, predict = [], predictor.predict_batches

    def logged(batches, **kwargs):
        for batch in predict(batches, **kwargs):
            log.append(len(batch))
            yield batch

    predictor.predict_batches = logged
    predict_into(predictor, picture, tmp_path / 'out', formats=['json'])
    assert log == [2]  # its batch, of which the other one is kept


def test_numbered_pairs_are_a_film(fusion, sequence, tmp_path):
    for folder, source in (('rgb', 'PADDED_RGB'), ('ev', 'Event/Frames')):
        (tmp_path / folder).mkdir()
        for number, path in enumerate(sorted((sequence / source).iterdir())[:4]):
            shutil.copy(path, tmp_path / folder / f'{number:04d}{path.suffix}')
    predictor = Predictor(fusion.checkpoint, batch_size=2)
    options = dict(events=str(tmp_path / 'ev'), fps=10.0)
    done = predict_into(predictor, [str(tmp_path / 'rgb')], tmp_path / 'out', **options)
    assert done.num_new == 4
    assert (tmp_path / 'out' / 'films' / 'rgb.mp4').is_file()


def test_what_is_no_pair_is_one_line(fusion, detector, tmp_path):
    predictor = Predictor(fusion.checkpoint)
    with pytest.raises(UserError, match='there are no event frames in .*--events'):
        list(predictor(shutil.copy(detector.pictures[0], tmp_path / 'alone.jpg')))
    with pytest.raises(DataNotFoundError, match='--events .*none: there is no such folder'):
        predict_into(predictor, fusion.pictures, tmp_path, events=str(tmp_path / 'none'))
    with pytest.raises(UserError, match='the model takes single pictures, no pairs'):
        predict_into(Predictor(detector.checkpoint), detector.pictures, tmp_path, events=str(tmp_path))
