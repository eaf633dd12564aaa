import pytest
import torch

from mmopt.models.common import ImagePreprocessor
from mmopt.structures import DataSample

MEAN, STD = (10.0, 20.0, 30.0), (1.0, 2.0, 4.0)


def test_normalizes_each_channel_to_float32():
    inputs = torch.tensor([12, 20, 22], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    batch = ImagePreprocessor(MEAN, STD)(dict(inputs=inputs, data_samples=None))
    assert batch['inputs'].dtype == torch.float32
    assert batch['inputs'][1, :, 2, 2].tolist() == [2.0, 0.0, -2.0]
    assert batch['data_samples'] is None


def test_distorts_only_in_training_and_only_samples_with_parameters():
    inputs = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
    samples = [DataSample(photometric=torch.tensor([8.0, 1.0, 1.0, 0.0, 1.0])), DataSample()]
    preprocessor = ImagePreprocessor((0.0,) * 3, (1.0,) * 3)
    trained = preprocessor(dict(inputs=inputs, data_samples=samples), training=True)['inputs']
    assert trained.amax((1, 2, 3)).tolist() == [108.0, 100.0]
    tested = preprocessor(dict(inputs=inputs, data_samples=samples))['inputs']
    assert tested.unique().tolist() == [100.0]


def test_unequal_images_are_padded_at_the_bottom_right():
    images = [torch.full((3, 2, 5), 7, dtype=torch.uint8), torch.full((3, 4, 3), 9, dtype=torch.uint8)]
    preprocessor = ImagePreprocessor((0.0,) * 3, (1.0,) * 3, pad_size_divisor=4, pad_value=-1.0)
    inputs = preprocessor(dict(inputs=images, data_samples=[DataSample(), DataSample()]))['inputs']
    assert inputs.shape == (2, 3, 4, 8)
    assert (inputs[0, :, :2, :5] == 7).all()
    assert (inputs[0, :, 2:] == -1).all()
    assert (inputs[1, :, :, 3:] == -1).all()


def test_the_batch_handed_in_is_not_changed():
    inputs = torch.randint(0, 256, (1, 3, 4, 4), dtype=torch.uint8)
    before = inputs.clone()
    sample = DataSample(photometric=torch.tensor([8.0, 1.2, 0.7, 3.0, 1.0]))
    batch = dict(inputs=inputs, data_samples=[sample])
    ImagePreprocessor()(batch, training=True)
    assert torch.equal(batch['inputs'], before)
    assert batch['data_samples'][0] is sample


def test_what_decides_on_the_host_stays_there_and_all_else_moves():
    sample = DataSample(intrinsics=torch.eye(3), label=torch.ones(2), metainfo=dict(img_path='a'))
    preprocessor = ImagePreprocessor().to('meta')
    moved = preprocessor(dict(inputs=torch.zeros(1, 3, 4, 4), data_samples=[sample]))['data_samples'][0]
    assert (moved.intrinsics.device.type, moved.label.device.type) == ('cpu', 'meta')
    assert moved.intrinsics is sample.intrinsics
    assert moved.img_path == 'a'


def test_mean_and_std_must_agree():
    with pytest.raises(ValueError, match='mean has 3 channels and std 2'):
        ImagePreprocessor(MEAN, (1.0, 2.0))
