"""Pixels and boxes move together; Mosaic and MixUp stop where they are told, in workers too."""

import cv2
import numpy as np
import pytest
import torch

from mmopt.datasets.common import ResumableSampler, stack_collate
from mmopt.datasets.detection import CocoDataset, DrawHSV
from mmopt.engine.loading.build import build_dataloader
from mmopt.models.common import ImagePreprocessor
from mmopt.structures import DataSample
from mmopt.utils.seeding import SampleIndex
from tests.datasets.detection.conftest import LOAD

SIZE = 96
RANDOM = dict(type='RandomLetterbox', size=SIZE, scale=(0.5, 1.5), aspect=0.2)
PACK = dict(type='PackDetection')


def build(root, *steps, load=LOAD) -> CocoDataset:
    return CocoDataset('train.json', data_root=str(root), pipeline=[load, *steps, PACK])


def mosaic(**changes) -> dict:
    return dict(type='Mosaic', size=SIZE, prob=1.0) | changes


def white_inside(packed, box) -> float:
    """Return the mean of the inner pixels of a box."""
    x1, y1, x2, y2 = box.round().int().tolist()
    inside = packed['inputs'][:, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].float()
    return float(inside.mean()) if inside.numel() else 255.0


@pytest.mark.parametrize(
    'steps', [[RANDOM], [RANDOM, dict(type='RandomFlipBoxes', prob=1.0)], [mosaic()]], ids=['random', 'flip', 'mosaic']
)
def test_boxes_stay_on_their_squares(coco_root, steps):
    dataset = build(coco_root, *steps)
    count = 0
    for epoch in range(6):
        for index in range(6):
            packed = dataset[SampleIndex(index, 1, epoch)]
            sample = packed['data_samples']
            assert packed['inputs'].shape == (3, SIZE, SIZE)
            assert (sample.boxes >= 0).all()
            assert (sample.boxes <= SIZE).all()
            for box in sample.boxes:
                count += 1
                assert white_inside(packed, box) > 240
    assert count > 20


def test_boxes_that_are_nearly_cut_off_are_left_out(coco_root):
    dataset = build(coco_root, dict(type='RandomLetterbox', size=SIZE, scale=(2.0, 2.0), aspect=0.0))
    areas = [
        float((box[2:] - box[:2]).prod())
        for epoch in range(30)
        for box in dataset[SampleIndex(1, 0, epoch)]['data_samples'].boxes
    ]
    full = (20 * 1.2 * 2) ** 2
    assert areas
    assert 0.29 * full <= min(areas) < 0.9 * full


def test_the_same_index_gives_the_same_mosaic_and_another_epoch_another(coco_root):
    dataset = build(coco_root, mosaic(), dict(type='MixUp', prob=1.0, load=[LOAD, RANDOM]))
    one, same, other = (dataset[SampleIndex(2, 3, epoch)]['inputs'] for epoch in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_mixup_follows_a_mosaic_only_and_keeps_the_boxes_of_both(coco_root):
    mixup = dict(type='MixUp', prob=1.0, load=[LOAD, RANDOM])
    assert 'is_mixed' not in build(coco_root, mosaic(prob=0.0), mixup, RANDOM)[0]['data_samples']
    plain, mixed = build(coco_root, mosaic()), build(coco_root, mosaic(), mixup)
    more = 0
    for index in range(6):
        before, after = (dataset[SampleIndex(index, 0, 0)]['data_samples'] for dataset in (plain, mixed))
        assert after.is_mixed
        torch.testing.assert_close(after.boxes[: len(before.boxes)], before.boxes)
        more += len(after.boxes) - len(before.boxes)
    assert more > 0


def test_mixup_names_a_size_that_differs(coco_root):
    with pytest.raises(ValueError, match='end load with RandomLetterbox of the same size'):
        build(coco_root, mosaic(), dict(type='MixUp', prob=1.0, load=[LOAD]))[0]


@pytest.mark.parametrize('workers', [0, 2])
def test_mosaic_and_mixup_stop_at_their_epoch_also_in_persistent_workers(coco_root, workers):
    dataset = build(coco_root, mosaic(stop_epoch=2), dict(type='MixUp', prob=1.0, load=[LOAD, RANDOM]), RANDOM)
    loader = build_dataloader(
        dict(
            dataset=dataset,
            batch_size=3,
            num_workers=workers,
            persistent_workers=bool(workers),
            multiprocessing_context='fork' if workers else None,
            sampler=ResumableSampler(dataset),
            collate_fn=stack_collate,
        ),
        seed=0,
    )
    share = []
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)
        samples = [sample for batch in loader for sample in batch['data_samples']]
        share.append([np.mean([key in sample for sample in samples]) for key in ('is_mosaic', 'is_mixed')])
    assert share == [[1, 1], [1, 1], [0, 0], [0, 0]]
    if workers:
        loader._iterator._shutdown_workers()


def test_the_probability_of_a_mosaic_is_kept(coco_root):
    dataset = build(coco_root, mosaic(prob=0.5), RANDOM)
    drawn = ['is_mosaic' in dataset[SampleIndex(i, 0, epoch)]['data_samples'] for i in range(6) for epoch in range(40)]
    assert 0.4 < np.mean(drawn) < 0.6


def test_a_pair_goes_through_everything_as_one(coco_root):
    """The event frame is the negative of the image: so it must stay, but for the gray border."""
    pair = dict(type='LoadImagePair')
    dataset = build(coco_root, mosaic(prob=0.5, load=[pair]), RANDOM, load=pair)
    for index in range(5):
        image = dataset[SampleIndex(index, 0, 0)]['inputs'].int()
        border = (image == 114).all(dim=0)
        assert ((image[:3] + image[3:] - 255).abs()[:, ~border] <= 2).all()


def test_hsv_changes_of_the_device_are_those_of_opencv():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 200, (40, 40, 3)).astype(np.uint8), (0, 0), 3)
    results = DrawHSV(hue=0.1, saturation=0.2, value=0.2)(dict(rng=np.random.default_rng(4), fields=[]))
    _, value, saturation, hue, _ = results['photometric']
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + hue) % 180
    hsv[..., 1:] = (hsv[..., 1:] * [saturation, value]).clip(0, 255)
    want = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
    sample = DataSample()
    sample.photometric = torch.from_numpy(results['photometric'])
    device = ImagePreprocessor(mean=(0.0,) * 3, std=(1.0,) * 3)
    inputs = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()
    got = device(dict(inputs=inputs, data_samples=[sample]), training=True)['inputs'][0]
    assert np.abs(got.permute(1, 2, 0).numpy() - want).mean() < 3
    assert np.abs(image - want).mean() > 6


def test_colors_of_a_pairs_second_image_stay():
    sample = DataSample()
    sample.photometric = torch.tensor([0.0, 1.5, 1.0, 0.0, 1.0])
    device = ImagePreprocessor(mean=(0.0,) * 6, std=(1.0,) * 6)
    inputs = torch.full((1, 6, 4, 4), 100, dtype=torch.uint8)
    got = device(dict(inputs=inputs, data_samples=[sample]), training=True)['inputs'][0]
    assert got[:3].unique().tolist() == [150]
    assert got[3:].unique().tolist() == [100]
