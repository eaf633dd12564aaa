import torch
from torch.utils.data import DataLoader

from mmopt.datasets.common import stack_collate


def make_samples(count: int) -> list[dict]:
    return [dict(inputs=dict(image=torch.full((3, 2), i)), data_samples=i) for i in range(count)]


def test_inputs_are_stacked_and_samples_listed():
    batch = stack_collate(make_samples(3))
    assert batch['inputs']['image'].shape == (3, 3, 2)
    assert batch['data_samples'] == [0, 1, 2]


def test_unequal_shapes_stay_a_list():
    batch = stack_collate([dict(inputs=torch.zeros(1)), dict(inputs=torch.zeros(2))])
    assert [len(x) for x in batch['inputs']] == [1, 2]


def test_a_worker_stacks_into_shared_memory():
    (batch,) = DataLoader(make_samples(4), batch_size=4, num_workers=1, collate_fn=stack_collate)
    assert torch.equal(batch['inputs']['image'][:, 0, 0], torch.arange(4))
