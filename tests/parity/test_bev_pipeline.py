"""What the original's pipeline made of a sample: a recorded corner, and all of it where the shared files are."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmopt.datasets.bev import LoadBEVLabel, NuScenesBEVDataset
from mmopt.datasets.common import Normalize, Resize
from mmopt.ops.bev_labels import decode_label_bits

NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)


@pytest.fixture(scope='module')
def recorded():
    with np.load(Path(__file__).with_name('bev_pipeline.npz')) as arrays:
        return dict(arrays)


def test_a_corner_of_the_image_is_resized_and_normalized_as_by_the_original(recorded):
    # Bilinear resizing by 2 and 1.5 is local, so the corner alone gives the corner of the result.
    results = dict(img=recorded['image_HW3'], channel_order='rgb', intrinsics=recorded['K'])
    results = Normalize(**NORM)(Resize(scale=(16, 32))(results))
    np.testing.assert_allclose(results['img'][::4, ::4].transpose(2, 0, 1), recorded['normalised'], rtol=0, atol=1e-6)
    np.testing.assert_allclose(results['intrinsics'], recorded['K_scaled'], rtol=1e-6)


def test_the_label_holds_the_maps_that_the_original_decoded(recorded, tmp_path):
    path = str(tmp_path / 'label.png')
    cv2.imwrite(path, recorded['label_ZX'])
    bits = LoadBEVLabel()(dict(label_path=path, fields=[]))['label_bits']
    assert np.array_equal(_decode(bits), _unpacked(recorded['maps']))


def test_the_shared_sample_gives_the_originals_tensors(shared_dir, tmp_path):
    folder = shared_dir / 'parity'
    calibration = json.loads((folder / 'calib.json').read_text())
    token = next(iter(calibration))
    for name, source in (('img_dir/train', 'image.jpg'), ('ann_bev_dir/train', 'label.png')):
        target = tmp_path / name / f'{token}{Path(source).suffix}'
        target.parent.mkdir(parents=True)
        target.write_bytes((folder / source).read_bytes())
    (tmp_path / 'calib.json').write_text(json.dumps(calibration))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadBEVLabel'),
        dict(type='Resize', img_scale=(800, 600), keep_ratio=False),
        dict(type='Normalize', **NORM),
        dict(type='PackBEVInputs'),
    ]
    item = NuScenesBEVDataset(str(tmp_path), pipeline=pipeline)[0]
    with np.load(folder / 'pipeline.npz') as expected:
        np.testing.assert_allclose(item['inputs'].numpy()[:, ::4, ::4], expected['img_stride4'], rtol=0, atol=1e-6)
        np.testing.assert_allclose(item['data_samples'].intrinsics.numpy(), expected['K_scaled'], rtol=1e-6)
        assert np.array_equal(_decode(item['data_samples'].label_bits.numpy()), _unpacked(expected['maps']))


def _decode(bits: np.ndarray) -> np.ndarray:
    return decode_label_bits(torch.from_numpy(bits)).numpy()


def _unpacked(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed)[: 15 * 196 * 200].reshape(15, 196, 200)
