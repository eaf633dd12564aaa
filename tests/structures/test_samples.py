import torch
from torch import Tensor

from mmopt.structures import DataSample


def test_the_loader_can_pin_every_tensor_of_a_sample(monkeypatch):
    """Without a method of this name torch's loader passes an object on as it is."""
    monkeypatch.setattr(Tensor, 'pin_memory', lambda self: self + 1)  # there may be no GPU to pin for
    sample = DataSample(label=torch.zeros(2), names=['a'], metainfo=dict(sample_idx=3))
    pinned = torch.utils.data._utils.pin_memory.pin_memory([sample])[0]
    assert pinned.label.tolist() == [1.0, 1.0]
    assert (pinned.names, pinned.sample_idx) == (['a'], 3)
    assert sample.label.tolist() == [0.0, 0.0]
