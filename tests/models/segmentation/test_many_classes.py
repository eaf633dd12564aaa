"""More classes than a byte holds: from masks of 16 bits to losses, scores, pictures and files."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmopt.apis.predict.formats.writers import _write_label
from mmopt.datasets.segmentation import ImageMaskDataset
from mmopt.datasets.segmentation.result import SegmentationResult
from mmopt.evaluation import SegmentationIoU, majority_map
from mmopt.structures import DataSample
from tests.models.segmentation.conftest import POINTS, build

NUM_CLASSES = 300
MANY = dict(
    head=dict(type='SegmentationHead', in_channels=16, channels=16, num_classes=NUM_CLASSES), auxiliary_heads=None
)
VALUES = np.array([255, 256, 298, 299, 65535, 0], np.uint16)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """Two pictures whose masks hold classes on both sides of 255, and ignored pixels."""
    root = tmp_path_factory.mktemp('many')
    for name in ('train', 'trainannot'):
        (root / name).mkdir()
    for index in range(2):
        mask_HW = cv2.resize(np.roll(VALUES, index).reshape(2, 3), (96, 64), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(root / 'train' / f'{index}.png'), np.dstack([(mask_HW % 251).astype(np.uint8)] * 3))
        cv2.imwrite(str(root / 'trainannot' / f'{index}.png'), mask_HW)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadSegmentationLabel'),
        dict(type='LoadBorderDistance', cache_dir=None),
        dict(type='RandomScaleCropFlip', crop_size=(64, 96), scale_range=(1.0, 1.0)),
        dict(type='BoundaryRegions'),
        dict(type='PackInputs'),
    ]
    classes = [f'c{index}' for index in range(NUM_CLASSES)]
    return ImageMaskDataset(str(root), pipeline=pipeline, metainfo=dict(classes=classes))


@pytest.fixture(scope='module')
def batch(dataset):
    items = [dataset[index] for index in range(2)]
    images = torch.stack([item['inputs'] for item in items]).float() / 128 - 1
    return dict(inputs=images, data_samples=[item['data_samples'] for item in items])


def test_labels_keep_their_classes_through_the_pipeline(batch):
    label_HW = batch['data_samples'][0].label
    assert label_HW.dtype == torch.int16
    assert sorted(label_HW.unique().tolist()) == [0, 255, 256, 298, 299, 32767]


def test_beside_ignored_pixels_is_no_border(batch):
    label_HW, regions_HW = batch['data_samples'][0].label, batch['data_samples'][0].regions
    touches = (label_HW[:, 1:] == 32767) ^ (label_HW[:, :-1] == 32767)
    rows = touches.any(dim=1).nonzero().flatten()
    far = rows[(rows - 32).abs() > 4]  # the middle row is a border between classes
    columns = touches[far[0]].nonzero().flatten()
    assert len(columns)
    assert not (regions_HW[far[0], columns] & 1).any()


@pytest.mark.parametrize('points', [None, POINTS | dict(num_classes=NUM_CLASSES)], ids=['plain', 'points'])
def test_the_loss_counts_class_255_and_leaves_out_the_ignored(batch, points):
    model = build(**MANY, ohem_threshold=None, point_head=points).eval()
    losses = model(**batch, mode='loss')
    label = torch.stack([sample.label for sample in batch['data_samples']]).long()
    features = model.backbone(batch['inputs'])
    logits = F.interpolate(model.head(features.fused_BCHW), label.shape[-2:], mode='bilinear', align_corners=False)
    want = F.cross_entropy(logits, label, ignore_index=32767)
    torch.testing.assert_close(losses['loss_main'], want, rtol=1e-4, atol=1e-5)
    sum(losses.values()).backward()
    assert model.head.classifier.bias.grad[[255, 299]].ne(0).all()


def test_predictions_metric_and_baseline_tell_classes_apart_that_share_a_byte(dataset, batch):
    model = build(**MANY).eval()
    with torch.no_grad():
        model.head.classifier.weight.zero_()
        model.head.classifier.bias.zero_()[299] = 5
        (sample, _) = model(batch['inputs'], batch['data_samples'], mode='predict')
    assert sample.pred_label.dtype == torch.int16
    assert (sample.pred_label == 299).all()
    metric = SegmentationIoU()
    metric.dataset_meta = dataset.metainfo
    metric.process({}, [sample])
    scores = metric.evaluate(1)
    # One of five labeled sixths is right, and 299 is predicted everywhere.
    assert scores['aAcc'] == pytest.approx(0.2)
    assert scores['IoU.c299'] == pytest.approx(0.2)
    assert scores['IoU.c255'] == 0
    assert majority_map(dataset, dataset)['IoU.c255'] > 0


def test_class_maps_are_files_of_16_bits_and_ignored_pixels_are_black(tmp_path):
    label_HW = np.array([[0, 43, 255, 299, 32767]], np.int16)
    palette = [(index % 256, index // 256, 9) for index in range(NUM_CLASSES)]
    classes = [str(index) for index in range(NUM_CLASSES)]
    result = SegmentationResult(label_HW, classes, palette, lambda: np.zeros((1, 5, 3), np.uint8))
    assert result.color()[0].tolist() == [[0, 0, 9], [43, 0, 9], [255, 0, 9], [43, 1, 9], [0, 0, 0]]
    _write_label(result, tmp_path / 'a.png')
    written = cv2.imread(str(tmp_path / 'a.png'), cv2.IMREAD_UNCHANGED)
    assert (written.dtype, written[0, :4].tolist()) == (np.uint16, [0, 43, 255, 299])


def test_a_picture_with_many_classes_is_drawn(dataset):
    item = dataset[0]
    sample: DataSample = item['data_samples']
    sample.pred_label = sample.label.clamp(max=299)
    assert dataset.draw(sample, item['inputs']).dtype == np.uint8


def test_the_memory_of_a_label_follows_its_classes():
    config = dict(pipeline=[dict(type='RandomScaleCropFlip', crop_size=(8, 8))])
    many = config | dict(metainfo=dict(classes=[str(index) for index in range(NUM_CLASSES)]))
    few = config | dict(metainfo=dict(classes=['a', 'b']))
    assert ImageMaskDataset.example_sample(many)['data_samples'].label.dtype == torch.int16
    assert ImageMaskDataset.example_sample(few)['data_samples'].label.dtype == torch.uint8
    assert ImageMaskDataset.host_bytes(many)['sample'] > ImageMaskDataset.host_bytes(few)['sample']
