"""A checkpoint, its own config, and predictions that equal an evaluation's."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmopt.apis import Predictor, load_config
from mmopt.apis.run.start import build_runner
from mmopt.datasets.common import decode_file
from mmopt.engine import checkpoint_io
from mmopt.utils.errors import DataError, UserError


def evaluated(trained, work_dir) -> list:
    """Return what an evaluation's metric is given, in its order."""
    cfg = load_config(trained.config, options=trained.options, work_dir=str(work_dir))
    cfg.load_from = trained.checkpoint
    runner = build_runner(cfg)
    kept: list = []
    evaluator = runner.test_loop.evaluator
    process = evaluator.process

    def keep(data_samples, data_batch):
        kept.extend(sample.cpu() for sample in data_samples)
        process(data_samples=data_samples, data_batch=data_batch)

    evaluator.process = keep
    runner.test()
    return kept


def test_boxes_equal_those_of_an_evaluation_and_lie_in_pixels_of_the_file(detector, tmp_path):
    samples = evaluated(detector, tmp_path)
    results = list(Predictor(detector.checkpoint)(detector.pictures))
    assert [sample.img_path for sample in samples] == detector.pictures
    for sample, result in zip(samples, results, strict=True):
        assert len(result.boxes) > 0
        assert result.scores.tolist() == sample.pred_scores.double().tolist()
        assert result.labels.tolist() == sample.pred_labels.tolist()
        scale_x, scale_y, left, top = sample.letterbox
        forth = result.boxes * [scale_x, scale_y, scale_x, scale_y] + [left, top, left, top]
        inside = (result.boxes > 0).all(axis=1) & (result.boxes < [160, 90, 160, 90]).all(axis=1)
        assert np.allclose(forth[inside], sample.pred_boxes.numpy()[inside], atol=1e-4)
        assert result.size == (90, 160)


def test_labels_equal_those_of_an_evaluation(segmentor, tmp_path):
    samples = evaluated(segmentor, tmp_path)
    results = list(Predictor(segmentor.checkpoint)(segmentor.pictures))
    assert [sample.img_path for sample in samples] == segmentor.pictures
    assert len({int(value) for result in results for value in np.unique(result.label)}) > 1
    for sample, result in zip(samples, results, strict=True):
        assert np.array_equal(result.label, sample.pred_label.numpy())


@pytest.mark.parametrize('task', ['detector', 'segmentor'])
def test_arrays_lists_and_generators_give_what_files_give(task, request):
    trained = request.getfixturevalue(task)
    predictor = Predictor(trained.config, trained.checkpoint, options=trained.options, batch_size=2)
    pictures = trained.pictures[:3]
    arrays = [cv2.cvtColor(decode_file(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) for path in pictures]
    expected = [result.to_json() for result in predictor(pictures)]
    assert [result.to_json() for result in predictor(arrays)] == expected
    assert [result.to_json() for result in predictor(iter(arrays))] == expected
    assert [result.to_json() for result in predictor([pictures[0], arrays[1], pictures[2]])] == expected


def test_pictures_of_unequal_sizes_share_a_batch(segmentor, tmp_path):
    predictor = Predictor(segmentor.checkpoint, batch_size=3)
    generator = np.random.default_rng(0)
    sizes = [(64, 96), (50, 70), (1, 1), (40, 200)]
    arrays = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    results = list(predictor(arrays))
    assert [result.label.shape for result in results] == sizes
    # The largest of a batch is not padded, so that it is what it is alone.
    assert np.array_equal(results[3].label, next(predictor(arrays[3])).label)


def test_boxes_are_those_of_the_picture_as_it_is_displayed(detector, tmp_path):
    """Orientation 6: stored lying, to be turned clockwise."""
    stored = Image.open(detector.pictures[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / 'turned.jpg', exif=exif, quality=95)
    (result,) = Predictor(detector.checkpoint)(tmp_path / 'turned.jpg')
    assert result.size == (160, 90)
    assert result.picture.shape == (160, 90, 3)
    assert (result.boxes <= [90, 160, 90, 160]).all()
    (array,) = Predictor(detector.checkpoint)(result.picture)
    assert np.array_equal(array.boxes, result.boxes)


def test_a_generator_is_read_no_further_than_two_batches_ahead(detector):
    predictor = Predictor(detector.checkpoint, batch_size=2)
    taken = []

    def frames():
        for number in range(20):
            taken.append(number)
            yield np.zeros((90, 160, 3), np.uint8)

    results = predictor(frames())
    next(results)
    assert len(taken) <= 4
    results.close()


def test_a_gray_array_is_a_picture_and_other_arrays_are_refused(detector):
    predictor = Predictor(detector.checkpoint)
    (result,) = predictor(np.full((40, 60), 90, np.uint8))
    assert result.picture.shape == (40, 60, 3)
    for array in (np.zeros((40, 60, 3), np.float32), np.zeros((3, 40, 60), np.uint8), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(DataError, match='An array of shape'):
            list(predictor(array))


def test_drawings_show_what_was_found(detector, segmentor):
    (boxes,) = Predictor(detector.checkpoint)(detector.pictures[0])
    found = boxes.above(float(boxes.scores[2]))
    assert 3 <= len(found.boxes) < len(boxes.boxes)
    assert found.draw().shape == (180, 320, 3)  # a small picture is shown at twice its size
    assert (found.draw() != boxes.above(1.1).draw()).any()
    (label,) = Predictor(segmentor.checkpoint)(segmentor.pictures[0])
    assert label.draw().shape == label.color().shape == (64, 96, 3)
    assert sum(label.areas().values()) == 64 * 96


def test_a_mistake_is_one_line(detector, tmp_path):
    with pytest.raises(UserError, match='is a config: name the checkpoint'):
        Predictor(detector.config)
    with pytest.raises(UserError, match='does not exist'):
        Predictor(tmp_path / 'none.pth')
    with pytest.raises(UserError, match='model.onnx does not exist'):
        Predictor(tmp_path / 'model.onnx')
    bare = tmp_path / 'bare.pth'
    torch.save(checkpoint_io.load(detector.checkpoint)['state_dict'], bare)
    with pytest.raises(UserError, match='does not hold the config'):
        Predictor(bare)
    with pytest.raises(UserError, match='Options change a config file'):
        Predictor(detector.checkpoint, options=['model.score_threshold=0.1'])


def test_weights_must_fit_unless_told_otherwise(detector, tmp_path):
    state = checkpoint_io.load(detector.checkpoint)['state_dict']
    del state[next(iter(state))]
    part = tmp_path / 'part.pth'
    torch.save(state, part)
    with pytest.raises(UserError, match='--allow-partial'):
        Predictor(detector.config, part, options=detector.options)
    Predictor(detector.config, part, options=detector.options, allow_partial=True)


def test_classes_of_a_checkpoint_that_names_none_are_asked_of_the_data(detector, tmp_path):
    bare = tmp_path / 'bare.pth'
    torch.save(checkpoint_io.load(detector.checkpoint)['state_dict'], bare)
    assert Predictor(detector.config, bare, options=detector.options).classes == ('drone',)
    options = [*detector.options, f'data.data_root={tmp_path}']
    with pytest.raises(UserError, match='name no classes'):
        Predictor(detector.config, bare, options=options)
