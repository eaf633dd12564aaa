import json

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmopt.datasets.bev import NuScenesBEVDataset
from mmopt.datasets.common import ResumableSampler, stack_collate
from mmopt.utils.errors import DataError, DataNotFoundError

from .conftest import label, stop_workers

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadBEVLabel')]
PIPELINE = [*LOAD, dict(type='Resize', scale=(800, 600)), dict(type='PackBEVInputs')]
DISTORTING = [*PIPELINE[:-1], dict(type='PhotoMetricDistortion'), PIPELINE[-1]]


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.JPG'])
def test_a_sample_has_the_resized_image_its_camera_and_the_label_as_on_disk(make_nuscenes, suffix):
    dataset = NuScenesBEVDataset(str(make_nuscenes(2, suffix)), pipeline=PIPELINE)
    assert len(dataset) == 2
    item = dataset[1]
    sample = item['data_samples']
    assert item['inputs'].shape == (3, 600, 800)
    assert item['inputs'].dtype == torch.uint8
    assert np.array_equal(sample.label_bits.numpy(), label(1))
    assert sample.label_bits.dtype == torch.int32
    # Row 0 by 800/1600, row 1 by 600/900.
    expected = [[633.2085, 0, 408.1335], [0, 844.278, 327.67133], [0, 0, 1]]
    torch.testing.assert_close(sample.intrinsics, torch.tensor(expected))
    assert (sample.ori_shape, sample.img_shape, sample.sample_idx, sample.epoch) == ((900, 1600), (600, 800), 1, 0)
    assert sample.img_path.endswith(f'token1{suffix}')


def test_the_image_is_rgb(make_nuscenes):
    root = make_nuscenes(1, '.png')
    red_bgr = np.zeros((900, 1600, 3), np.uint8)
    red_bgr[..., 2] = 255
    cv2.imwrite(str(root / 'img_dir/train/token0.png'), red_bgr)
    assert NuScenesBEVDataset(str(root), pipeline=PIPELINE)[0]['inputs'].amax((1, 2)).tolist() == [255, 0, 0]


def test_samples_of_one_epoch_are_the_same_for_any_number_of_workers_and_another_epochs_differ(make_nuscenes):
    dataset = NuScenesBEVDataset(str(make_nuscenes(3)), pipeline=DISTORTING)

    def stream(num_workers: int) -> list[torch.Tensor]:
        sampler = ResumableSampler(dataset, seed=7, endless=True, shuffle=False)
        loader = DataLoader(dataset, batch_size=3, sampler=sampler, num_workers=num_workers, collate_fn=stack_collate)
        batches = iter(loader)
        return [next(batches)['inputs'] for _ in range(2)]

    alone, shared = stream(0), stream(2)
    assert all(torch.equal(one, other) for one, other in zip(alone, shared, strict=True))
    assert not torch.equal(alone[0], alone[1])


def test_one_sample_is_a_data_set(make_nuscenes):
    dataset = NuScenesBEVDataset(str(make_nuscenes(1)), pipeline=PIPELINE)
    sampler = ResumableSampler(dataset, endless=True)
    batch = next(iter(DataLoader(dataset, batch_size=2, sampler=sampler, collate_fn=stack_collate)))
    assert torch.equal(batch['inputs'][0], batch['inputs'][1])


def test_missing_data_names_the_folder_and_both_ways_to_make_it(tmp_path):
    with pytest.raises(DataNotFoundError, match='not found: the folder .*img_dir/train does not exist') as caught:
        NuScenesBEVDataset(str(tmp_path / 'none'))
    assert f'prepare_nuscenes.py <nuScenes folder> --out {tmp_path / "none"}' in str(caught.value)
    assert 'make_demo.py nuscenes, then add --options data.data_root=data/demo/nuscenes' in str(caught.value)


def test_an_empty_folder_counts_as_missing_data(make_nuscenes):
    with pytest.raises(DataNotFoundError, match=r'img_dir/train holds no \.jpg or \.jpeg or \.png file'):
        NuScenesBEVDataset(str(make_nuscenes(0)))


def test_missing_calibration_counts_as_missing_data(make_nuscenes):
    root = make_nuscenes(1)
    (root / 'calib.json').unlink()
    with pytest.raises(DataNotFoundError, match=r'calib\.json does not exist'):
        NuScenesBEVDataset(str(root))


@pytest.mark.parametrize(
    ('gone', 'text'),
    [
        (
            ['ann_bev_dir/train/token1.png'],
            r'1 image in .*img_dir/train without an entry in .*ann_bev_dir/train: token1',
        ),
        (['img_dir/train/token0.jpg'], r'1 label in .*ann_bev_dir/train without an entry in .*img_dir/train: token0'),
        (
            [f'img_dir/train/token{index}.jpg' for index in range(4)],
            r'4 labels in .*: token0, token1, token2, \.\.\.\. Make the missing ones or move these away',
        ),
    ],
)
def test_images_and_labels_must_come_in_pairs(make_nuscenes, gone, text):
    root = make_nuscenes(5)
    for name in gone:
        (root / name).unlink()
    with pytest.raises(DataError, match=text):
        NuScenesBEVDataset(str(root))


def test_an_image_in_two_formats_is_an_error(make_nuscenes):
    root = make_nuscenes(1)
    (root / 'img_dir/train/token0.png').write_bytes((root / 'img_dir/train/token0.jpg').read_bytes())
    with pytest.raises(DataError, match='token0 is there twice, as token0'):
        NuScenesBEVDataset(str(root))


def test_files_that_are_no_images_are_left_alone(make_nuscenes):
    root = make_nuscenes(1)
    (root / 'img_dir/train/.token9.jpg').touch()
    (root / 'img_dir/train/notes.txt').touch()
    assert len(NuScenesBEVDataset(str(root))) == 1


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        ('{"token0": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}', r'1 image in .* without an entry in .*calib\.json: token1'),
        (
            '{"token0": [[1, 0], [0, 1]], "token1": 3}',
            r'calib\.json: token0 must have a 3x3 matrix of focal > 0',
        ),
        ('{"token0": [[1, 0, 0], [0, 1], [0, 0, 1]], "token1": 3}', r'calib\.json: token0 must have a 3x3 matrix'),
        ('[1, 2]', r'calib\.json: must map tokens to 3x3 matrices, is a list'),
        ('{"token0"', r'calib\.json: not readable as JSON: Expecting'),
    ],
)
def test_a_broken_calibration_names_the_file_and_the_token(make_nuscenes, content, text):
    root = make_nuscenes(2)
    (root / 'calib.json').write_text(content)
    with pytest.raises(DataError, match=text):
        NuScenesBEVDataset(str(root))


@pytest.mark.parametrize(
    ('array', 'text'),
    [
        (np.zeros((196, 200), np.uint8), r'16-bit channel of 196x200 .*, this is uint8 of 196x200'),
        (np.zeros((200, 196), np.uint16), r'16-bit channel of 196x200 .*, this is uint16 of 200x196'),
        (np.zeros((196, 200, 3), np.uint16), r'this is uint16 of 196x200x3'),
        (np.full((196, 200), 1 << 15, np.uint16), r'bit 15 is set, but a BEV label has bits 0-13 .* and 14 \(ignore\)'),
    ],
)
def test_a_wrong_label_names_the_file_and_what_it_is(make_nuscenes, array, text):
    root = make_nuscenes(1)
    cv2.imwrite(str(root / 'ann_bev_dir/train/token0.png'), array)
    with pytest.raises(DataError, match=rf'token0\.png: .*{text}'):
        NuScenesBEVDataset(str(root), pipeline=PIPELINE)[0]


@pytest.mark.parametrize('num_workers', [0, 1])
def test_a_broken_image_is_one_line_with_and_without_workers(make_nuscenes, num_workers):
    root = make_nuscenes(1)
    path = root / 'img_dir/train/token0.jpg'
    path.write_bytes(path.read_bytes()[:5000])
    dataset = NuScenesBEVDataset(str(root), pipeline=PIPELINE)
    batches = iter(DataLoader(dataset, num_workers=num_workers, collate_fn=stack_collate))
    with pytest.raises(DataError, match=r'^\S*token0\.jpg: the file is truncated\. Copy or make it'):
        next(batches)
    stop_workers(batches)


def test_an_image_that_vanishes_while_training_is_named(make_nuscenes):
    root = make_nuscenes(1)
    dataset = NuScenesBEVDataset(str(root), pipeline=PIPELINE)
    (root / 'img_dir/train/token0.jpg').unlink()
    with pytest.raises(DataNotFoundError, match=r'token0\.jpg: no such file\. Are data_root'):
        dataset[0]


def test_packing_without_a_label_names_the_missing_step(make_nuscenes):
    dataset = NuScenesBEVDataset(
        str(make_nuscenes(1)), pipeline=[dict(type='LoadImageFromFile'), dict(type='PackBEVInputs')]
    )
    with pytest.raises(ValueError, match='put LoadBEVLabel before it'):
        dataset[0]


def test_part_of_the_data_set_can_be_taken(make_nuscenes):
    root = make_nuscenes(3)
    assert len(NuScenesBEVDataset(str(root), indices=2)) == 2
    assert json.loads((root / 'calib.json').read_text()).keys() == {'token0', 'token1', 'token2'}
