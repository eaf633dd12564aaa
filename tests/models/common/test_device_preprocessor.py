import torch

from mmopt.models.common import DevicePreprocessor
from mmopt.structures import DataSample


def test_a_batch_moves_and_what_the_host_reads_stays():
    preprocessor = DevicePreprocessor(host_fields=('segments',)).to(torch.device('meta'))
    sample = DataSample(segments=torch.ones(2, 2), label=torch.tensor(1))
    batch = preprocessor(dict(inputs=torch.zeros(1, 3), data_samples=[sample]), True)
    moved = batch['data_samples'][0]
    assert batch['inputs'].device.type == moved.label.device.type == 'meta'
    assert moved.segments.device.type == 'cpu'
    assert sample.label.device.type == 'cpu'
