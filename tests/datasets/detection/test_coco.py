"""COCO's format: what is read, refused and counted."""

import json

import numpy as np
import pytest
import torch

from mmopt.datasets.detection import CocoDataset
from mmopt.datasets.detection.pictures import PREDICTION, TRUTH, class_color, draw_boxes
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, DataNotFoundError
from tests.datasets.detection.conftest import LOAD


def build(root, **changes) -> CocoDataset:
    pipeline = [LOAD, dict(type='Letterbox', size=64), dict(type='PackDetection')]
    return CocoDataset('train.json', **(dict(data_root=str(root), pipeline=pipeline) | changes))


def test_boxes_and_classes_are_those_of_the_json(coco_root):
    dataset = build(coco_root)
    assert dataset.metainfo['classes'] == ('bird', 'drone')  # by id
    assert len(dataset) == 6
    info = dataset.get_data_info(1)
    assert info['boxes'].tolist() == [[8, 6, 28, 26]]
    assert info['labels'].tolist() == [1]
    assert len(dataset.get_data_info(5)['boxes']) == 0
    assert len(build(coco_root, keep_empty=False)) == 5


def test_chosen_classes_are_numbered_in_their_order_and_others_are_no_objects(coco_root):
    dataset = build(coco_root, metainfo=dict(classes=('drone',)))
    assert [len(dataset.get_data_info(index)['boxes']) for index in range(6)] == [0, 1, 0, 1, 0, 0]
    assert dataset.get_data_info(1)['labels'].tolist() == [0]
    with pytest.raises(DataError, match='metainfo.classes names kite, the json has bird, drone'):
        build(coco_root, metainfo=dict(classes=('drone', 'kite')))


def test_a_packed_sample_has_boxes_in_pixels_of_the_input_and_the_truth_in_pixels_of_the_file(coco_root):
    packed = build(coco_root, test_mode=True)[1]
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 64, 64)
    # 80x60 becomes 64x48 with 8 rows of gray above and below.
    torch.testing.assert_close(sample.boxes, torch.tensor([[6.4, 12.8, 22.4, 28.8]]))
    assert sample.truth.tolist() == [[8, 6, 28, 26, 1, 0]]
    assert sample.letterbox == (0.8, 0.8, 0, 8)
    assert sample.img_shape == (64, 64)
    assert 'truth' not in build(coco_root)[1]['data_samples']


def test_boxes_outside_are_clipped_and_empty_ones_left_out(coco_root, change_json):
    def move(coco):
        coco['annotations'][0]['bbox'] = [-10, -10, 25, 25]
        coco['annotations'][1]['bbox'] = [90, 10, 20, 20]
        coco['annotations'][2]['bbox'] = [10, 10, 0, 20]

    change_json(move)
    dataset = build(coco_root)
    assert dataset.get_data_info(0)['boxes'].tolist() == [[0, 0, 15, 15]]
    assert [len(dataset.get_data_info(index)['boxes']) for index in (1, 2)] == [0, 0]


def test_a_crowd_is_truth_but_nothing_to_learn(coco_root, change_json):
    change_json(lambda coco: coco['annotations'][1].update(iscrowd=1))
    info = build(coco_root).get_data_info(1)
    assert len(info['boxes']) == 0
    assert info['truth'][0, 5] == 1


def test_anchor_sizes_are_in_pixels_of_the_input(coco_root):
    np.testing.assert_allclose(build(coco_root).anchor_sizes(), np.full((5, 2), 16.0))


def test_pictures_show_boxes_predictions_and_pairs(coco_root):
    dataset = build(coco_root)
    packed = dataset[1]
    sample = packed['data_samples']
    plain = dataset.draw(sample, packed['inputs'])
    assert plain.shape == (128, 128, 3)  # 64x64 is small: twice its size
    assert (plain == TRUTH).all(axis=-1).any()
    assert not (plain == PREDICTION).all(axis=-1).any()
    sample.pred_boxes, sample.pred_scores = torch.tensor([[5.0, 30.0, 40.0, 60.0]]), torch.tensor([0.9])
    sample.pred_labels = torch.tensor([1])
    assert (dataset.draw(sample, packed['inputs']) == class_color(1)).all(axis=-1).any()
    pipeline = [dict(type='LoadImagePair'), dict(type='Letterbox', size=64), dict(type='PackDetection')]
    pair = build(coco_root, pipeline=pipeline)
    packed = pair[2]
    assert packed['inputs'].shape == (6, 64, 64)
    drawn = pair.draw(packed['data_samples'], packed['inputs'])
    assert drawn.shape == (128, 256, 3)
    rows_last = packed['inputs'].permute(1, 2, 0).numpy()
    assert (pair.draw(packed['data_samples'], rows_last) == drawn).all()


def test_confidences_stay_in_the_picture_and_off_each_other():
    """Three predictions in one place, and one in each corner."""
    sample = DataSample()
    sample.boxes = torch.zeros(0, 4)
    corners = [[0, 0, 20, 20], [480, 0, 499, 20], [0, 280, 20, 299], [480, 280, 499, 299]]
    sample.pred_boxes = torch.tensor([[200.0, 100, 240, 140]] * 3 + corners)
    sample.pred_scores, sample.pred_labels = torch.full((7,), 0.9), torch.zeros(7, dtype=torch.int64)
    black = np.zeros((300, 500, 3), np.uint8)
    picture = draw_boxes(black, sample, ('drone',))
    assert not black.any()
    alone = []
    for index in range(7):
        one = DataSample()
        one.boxes = sample.boxes
        for name in ('pred_boxes', 'pred_scores', 'pred_labels'):
            one.set_field(sample.get(name)[index : index + 1], name)
        alone.append(draw_boxes(black, one, ('drone',)).any(axis=-1).sum())
    # Each writes as many pixels as alone, but for the frames of the first three, which are one.
    frame = 4 * 40
    assert picture.any(axis=-1).sum() == pytest.approx(sum(alone) - 2 * frame, abs=40)
    sample.pred_scores[:] = 0.2
    assert not draw_boxes(black, sample, ('drone',)).any()


def _draw_one(picture: np.ndarray) -> np.ndarray:
    sample = DataSample()
    sample.boxes = torch.zeros(0, 4)
    height, width = picture.shape[:2]
    sample.pred_boxes = torch.tensor([[0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height]])
    sample.pred_scores, sample.pred_labels = torch.tensor([0.9]), torch.tensor([0])
    return draw_boxes(picture, sample, ('drone', 'bird'))


@pytest.mark.parametrize('gray', [0, 128, 200, 255])
def test_letters_are_readable_on_any_background(gray):
    """The letters' color differs from what is around them by more than a contrast of 3, WCAG's for large text."""
    picture = _draw_one(np.full((600, 600, 3), gray, np.uint8))
    band = picture[138:146, 152:200].reshape(-1, 3)
    light = ((band / 255) ** 2.2) @ [0.2126, 0.7152, 0.0722]
    assert (light.max() + 0.05) / (light.min() + 0.05) > 3


def test_lines_and_letters_grow_with_the_picture():
    small, large = (_draw_one(np.zeros((side, side, 3), np.uint8)) for side in (600, 2400))
    rows = [(picture[len(picture) // 2, : len(picture) // 2] == PREDICTION).all(axis=-1) for picture in (small, large)]
    assert rows[0].sum() == 1
    assert 3 <= rows[1].sum() <= 5  # OpenCV rounds widths up
    letters = [np.flatnonzero(picture[: len(picture) // 4 - 2].any(axis=(1, 2))) for picture in (small, large)]
    assert np.ptp(letters[1]) > 2.5 * np.ptp(letters[0])


def test_a_missing_image_is_an_error_with_its_path(coco_root):
    (coco_root / 'images' / '2.png').unlink()
    with pytest.raises(DataNotFoundError, match=r'images/2\.png: no such file'):
        build(coco_root)[2]


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('{"images": [', 'train.json: not readable as JSON'),
        ('{"images": []}', 'no COCO json: annotations, categories missing'),
        (json.dumps(dict(images=[], annotations=[], categories=[])), 'train.json: no image to use'),
    ],
)
def test_broken_jsons_are_named(coco_root, text, match):
    (coco_root / 'train.json').write_text(text)
    with pytest.raises(DataError, match=match):
        build(coco_root)


def test_a_missing_json_says_what_makes_it(coco_root):
    with pytest.raises(DataNotFoundError, match=r'other.json does not exist.*prepare_fred.py.*make_demo.py fred'):
        CocoDataset('other.json', data_root=str(coco_root))


def test_an_annotation_of_an_unknown_image_is_named(coco_root, change_json):
    change_json(lambda coco: coco['annotations'][0].update(image_id=7))
    with pytest.raises(DataError, match='annotation 1: category 1 of image 7: one of them is not listed'):
        build(coco_root)


@pytest.mark.parametrize('bbox', [[1, 2, 3], [1, 2, 3, float('nan')], 'none', [[1, 2, 3, 4]]])
def test_a_bbox_that_is_not_four_numbers_is_named(coco_root, change_json, bbox):
    change_json(lambda coco: coco['annotations'][2].update(bbox=bbox))
    with pytest.raises(
        DataError, match=r'train.json: annotation 3: bbox (must be four numbers|is nan, it must be a number)'
    ):
        build(coco_root)


@pytest.mark.parametrize(
    ('kind', 'key'), [('images', 'height'), ('images', 'id'), ('annotations', 'bbox'), ('categories', 'name')]
)
def test_an_entry_without_a_key_is_named(coco_root, change_json, kind, key):
    change_json(lambda coco: coco[kind][1].pop(key))
    with pytest.raises(DataError, match=f'train.json: {kind}: each entry needs .*{key}.*; one is {{'):
        build(coco_root)


def test_images_of_one_id_are_refused(coco_root, change_json):
    change_json(lambda coco: coco['images'][5].update(id=100))
    with pytest.raises(DataError, match='two images have this id'):
        build(coco_root)


def test_a_file_of_another_size_than_the_json_says_is_named(coco_root, change_json):
    change_json(lambda coco: coco['images'][1].update(height=30, width=40))
    with pytest.raises(DataError, match=r'images/1.png: the file is 60x80 \(height x width\), the json says 30x40'):
        build(coco_root)[1]


def test_truth_and_prediction_are_told_apart_without_colors():
    """The truth's frame is interrupted on every side, the prediction's on none; where both agree, both show."""

    def rows(truth: bool, prediction: bool) -> np.ndarray:
        sample = DataSample()
        box = torch.tensor([[100.0, 100, 300, 200]])
        sample.boxes = box if truth else box[:0]
        sample.labels = torch.zeros(int(truth), dtype=torch.int64)
        if prediction:
            sample.pred_boxes, sample.pred_scores = box, torch.tensor([0.9])
            sample.pred_labels = torch.tensor([0])
        return draw_boxes(np.full((600, 600, 3), 200, np.uint8), sample, ('drone', 'bird'))

    sides = [(slice(100, 101), slice(110, 290)), (slice(200, 201), slice(110, 290))]
    sides += [(slice(110, 190), slice(100, 101)), (slice(110, 190), slice(300, 301))]
    for rows_of, columns in sides:
        truth, prediction, both = (rows(*shown)[rows_of, columns] for shown in ((1, 0), (0, 1), (1, 1)))
        assert 0.3 < (truth == TRUTH).all(axis=-1).mean() < 0.8
        assert (prediction == PREDICTION).all(axis=-1).mean() == 1
        assert (both == TRUTH).all(axis=-1).any()
        assert (both == PREDICTION).all(axis=-1).any()


def test_the_truth_has_its_class_names():
    sample = DataSample()
    sample.boxes = torch.tensor([[100.0, 100, 300, 200]])
    empty = np.zeros((600, 600, 3), np.uint8)
    unnamed = draw_boxes(empty, sample, ('drone', 'bird'))
    sample.labels = torch.tensor([1])
    named = draw_boxes(empty, sample, ('drone', 'bird'))
    below = slice(204, 220), slice(100, 140)
    assert not unnamed[below].any()
    assert (named[below].max(axis=-1) > 100).sum() > 20


def test_classes_have_light_colors_of_their_own():
    colors = [class_color(label) for label in range(8)]
    assert len(set(colors)) == 8
    assert TRUTH not in colors
    assert all(0.2126 * red + 0.7152 * green + 0.0722 * blue > 110 for red, green, blue in colors)
