"""Pictures through a model of a library that knows nothing of mmopt."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from mmopt.apis import Predictor, load_config
from mmopt.apis.predict.run import predict_into
from mmopt.apis.run.facts import model_config
from mmopt.registry import MODELS
from mmopt.utils.errors import UserError
from tests.apis.shapelib import library_config, shapelib, write, write_images
from tests.conftest import load_script


@pytest.fixture(scope='module', autouse=True)
def library(tmp_path_factory) -> Iterator[None]:
    with shapelib(tmp_path_factory.mktemp('shapelib')):
        yield


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='module')
def checkpoint(images, tmp_path_factory) -> Path:
    """Weights, which fit whatever the model gives, with what MMEngine stores of the data set."""
    folder = tmp_path_factory.mktemp('weights')
    cfg = load_config(write(folder / 'shapes_config.py', library_config(images, folder)))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(model_config(cfg))
    meta = dict(dataset_meta=dict(CLASSES=('round',)))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'model.pth')
    return folder / 'model.pth'


@pytest.fixture
def config(images, tmp_path):
    def make(gives: str, **changes) -> Path:
        cfg = library_config(images, tmp_path, model=dict(type='Finder', channels=4, gives=gives), **changes)
        return write(tmp_path / 'shapes_config.py', cfg)

    return make


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.reader(file))


def predict(config: Path, checkpoint: Path, images: Path, out: Path, **options) -> list[dict]:
    predict_into(Predictor(config, checkpoint, device='cpu'), [str(images)], out, **options)
    return json.loads((out / 'results.json').read_text(encoding='utf-8'))


def test_boxes_with_scores_and_labels_are_detections_in_all_of_our_formats(config, checkpoint, images, tmp_path):
    results = predict(config('detections'), checkpoint, images, tmp_path / 'out')
    assert len(results) == 6
    assert results[1]['size'] == [20, 32]
    assert results[1]['names'] == ['round', 'round']  # of the checkpoint, which was trained with them
    instances = results[1]['sample']['pred_instances']
    assert instances['bboxes'] == results[1]['boxes']
    # Down the columns: one column of zeros, then two columns whose first 2 of 20 pixels are ones.
    assert instances['masks'][0] == dict(size=[20, 32], counts=[20, 2, 18, 2, 20 * 32 - 42])
    assert instances['masks'][1] == dict(size=[20, 32], counts=[0, 1, 20 * 32 - 1])
    assert 'gt_instances' not in results[1]['sample']
    assert rows_of(tmp_path / 'out' / 'boxes.csv')[2][1:] == ['round', '0', '0.25', '1.0', '2.0', '9.0', '8.0']
    coco = json.loads((tmp_path / 'out' / 'coco_results.json').read_text(encoding='utf-8'))
    assert coco[1]['bbox'] == [1.0, 2.0, 8.0, 6.0]
    picture = cv2.imread(str(tmp_path / 'out' / 'pictures' / '1.png'))
    assert picture.shape[:2] == (20, 32)
    assert picture[-1, 16].min() == 255  # the line that the library's visualizer draws under predictions


def test_a_confidence_leaves_instances_out_of_the_sample_as_well(config, checkpoint, images, tmp_path):
    results = predict(config('detections'), checkpoint, images, tmp_path / 'out', confidence=0.5)
    assert all(result['scores'] == [0.75] == result['sample']['pred_instances']['scores'] for result in results)


def test_predictions_are_those_of_test_step(config, checkpoint, images):
    predictor = Predictor(config('positions'), checkpoint, device='cpu')
    (result,) = predictor(str(images / '3.png'))
    inputs = torch.from_numpy(cv2.resize(cv2.imread(str(images / '3.png')), (27, 24)).transpose(2, 0, 1).copy())
    with torch.no_grad():
        expected = predictor.model.test_step(dict(inputs=[inputs], data_samples=[result.sample.clone()]))[0]
    assert torch.equal(result.sample.pred_instances.bboxes, expected.pred_instances.bboxes)


def test_an_array_gives_what_its_file_gives(config, checkpoint, images):
    predictor = Predictor(config('positions'), checkpoint, device='cpu')
    path = str(images / '2.png')
    (of_file,), (of_array,) = predictor(path), predictor(cv2.imread(path)[..., ::-1])
    assert of_array.to_json() == of_file.to_json()
    assert np.array_equal(of_array.draw(), of_file.draw())


def test_a_map_of_classes_is_a_picture_and_no_list(config, checkpoint, images, tmp_path):
    results = predict(config('classmap'), checkpoint, images, tmp_path / 'out')
    assert results[5]['pixels'] == dict(round=36 * 32)
    assert results[5]['sample']['seg_logits']['data'] == dict(shape=[40, 36, 32], dtype='float32')
    label = cv2.imread(str(tmp_path / 'out' / 'labels' / '5.png'), cv2.IMREAD_UNCHANGED)
    assert label.shape == (36, 32)
    assert rows_of(tmp_path / 'out' / 'areas.csv')[6][1:] == ['round', str(36 * 32), '1.0']


def test_a_label_of_the_picture_is_a_line_of_a_table(config, checkpoint, images, tmp_path):
    results = predict(config('label'), checkpoint, images, tmp_path / 'out')
    assert results[0]['names'] == ['round']
    assert results[0]['sample']['pred_label'] == [0]
    assert rows_of(tmp_path / 'out' / 'labels.csv')[1][1:3] == ['round', '0']
    assert float(rows_of(tmp_path / 'out' / 'labels.csv')[1][3]) == pytest.approx(0.9)


def test_other_samples_keep_their_fields_and_large_arrays_have_files(config, checkpoint, images, tmp_path):
    results = predict(config('depth'), checkpoint, images, tmp_path / 'out')
    assert results[0]['sample']['pred_depth_map']['data'] == dict(shape=[1, 200, 200], dtype='float32')
    with np.load(tmp_path / 'out' / 'arrays' / '0.npz') as stored:
        assert stored['pred_depth_map.data'][0, 7, 7] == 1.5


def test_what_has_no_picture_and_no_array_is_written_as_json_alone(config, checkpoint, images, tmp_path):
    results = predict(config('nothing', visualizer=None), checkpoint, images, tmp_path / 'out')
    assert results[0]['sample']['pred_value'] is None  # json has no NaN
    with pytest.raises(UserError, match='--format png: samples has json'):
        predict(config('nothing', visualizer=None), checkpoint, images, tmp_path / 'out', formats=['png'])


def test_without_a_visualizer_mmopt_draws(config, checkpoint, images):
    for gives in ('detections', 'classmap', 'label'):
        (result,) = Predictor(config(gives, visualizer=None), checkpoint, device='cpu')(str(images / '5.png'))
        assert not np.array_equal(result.draw(), result.picture)


def pipeline_with(step: dict, images: Path, work_dir: Path) -> dict:
    loader = library_config(images, work_dir)['test_dataloader']
    load, *rest = loader['dataset']['pipeline']
    return dict(loader, dataset=dict(loader['dataset'], pipeline=[load, step, *rest]))


def test_a_step_that_loads_labels_is_left_out(config, checkpoint, images, tmp_path):
    loader = pipeline_with(dict(type='LoadShapeAnnotations'), images, tmp_path)
    assert len(predict(config('label', test_dataloader=loader), checkpoint, images, tmp_path / 'out')) == 6


def test_a_step_that_cannot_do_without_data_is_named_before_the_first_picture(config, checkpoint, images, tmp_path):
    loader = pipeline_with(dict(type='NeedsLidar'), images, tmp_path)
    with pytest.raises(UserError, match=r"pipeline of Shapes fails.*NeedsLidar: KeyError: 'lidar_points'.*loads_truth"):
        Predictor(config('label', test_dataloader=loader), checkpoint, device='cpu')


def test_a_picture_that_the_library_cannot_read_is_skipped_with_the_reason(config, checkpoint, images, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'no picture')
    predictor = Predictor(config('label'), checkpoint, device='cpu')
    sources = [str(tmp_path / 'broken.png'), str(images / '0.png')]
    done = predict_into(predictor, sources, tmp_path / 'out')
    assert done.num_new == 1
    assert done.skipped[0][0] == sources[0]
    assert 'cannot be read by' in done.skipped[0][1]


def test_the_tool_takes_the_librarys_config_and_goes_on_after_an_interruption(
    config, checkpoint, images, tmp_path, capsys
):
    main = load_script('tools/predict.py').main
    arguments = [str(config('detections')), str(checkpoint), str(images), '--out', str(tmp_path / 'out')]
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert '0 pictures predicted, 6 were done before' in capsys.readouterr().out
