"""Containers to batches, against numbers by hand."""

import pytest
import torch

from mmopt.mmcv1.standins.collate import HostList, collate, mmcv1_collate, scatter, to_device
from mmopt.mmcv1.standins.containers import DataContainer as DC
from mmopt.mmcv1.standins.parallel import MMDataParallel, is_module_wrapper
from mmopt.structures import batch_size, split_batch


def samples() -> list[dict]:
    return [
        dict(
            img=DC(torch.full((3, 2, 4 - index), 1.0 + index), stack=True, padding_value=-1),
            boxes=DC(torch.ones(index, 4)),
            meta=DC(dict(index=index), cpu_only=True),
            label=index,
            views=[DC(torch.full((1, 1, 1), float(index)), stack=True)],
        )
        for index in range(2)
    ]


def test_a_batch_is_padded_listed_and_plain():
    batch = mmcv1_collate(samples())
    assert batch['img'].shape == (2, 3, 2, 4)
    assert batch['img'][1, 0].tolist() == [[2, 2, 2, -1]] * 2
    assert [len(boxes) for boxes in batch['boxes']] == [0, 1]
    assert batch['meta'] == [dict(index=0), dict(index=1)]
    assert isinstance(batch['meta'], HostList)
    assert batch['label'].tolist() == [0, 1]
    assert batch['views'][0].flatten().tolist() == [0, 1]
    part = {key: value for key, value in batch.items() if key != 'views'}
    assert batch_size(part) == 2
    assert [piece['meta'] for piece in split_batch(part, 1)] == [[dict(index=0)], [dict(index=1)]]


def test_groups_of_a_batch_stay_apart():
    grouped = collate(samples(), samples_per_gpu=1)
    assert [tuple(img.shape) for img in grouped['img'].data] == [(1, 3, 2, 4), (1, 3, 2, 3)]
    assert grouped['meta'].data == [[dict(index=0)], [dict(index=1)]]
    assert grouped['meta'].cpu_only


@pytest.mark.parametrize('num', [1, 2, 3, None])
def test_as_many_axes_are_padded_as_the_container_says(num):
    sizes = (
        [(2, 3, 4, 5), (2, 3, 4, 5)]
        if num is None
        else [(2, 3, 4, 5), (2, *[n + (i >= 3 - num) for i, n in enumerate((3, 4, 5))])]
    )
    batch = [DC(torch.ones(size), stack=True, pad_dims=num) for size in sizes]
    assert mmcv1_collate(batch).shape == (2, *sizes[1])


def test_what_cannot_be_stacked_is_refused():
    with pytest.raises(AssertionError, match='pad_dims must be'):
        DC(1, pad_dims=4)
    with pytest.raises(AssertionError, match='must hold a tensor'):
        mmcv1_collate([DC([1], stack=True)])
    with pytest.raises(AssertionError, match='2 axes cannot be padded on its last 2'):
        mmcv1_collate([DC(torch.ones(1, 1), stack=True)])
    with pytest.raises(AttributeError, match='has no attribute size'):
        DC([1]).size()


def test_lists_of_the_host_stay_there():
    meta = torch.device('meta')
    moved = to_device(dict(a=torch.ones(1), b=HostList([torch.ones(1)]), c=(torch.ones(1), 'x')), meta)
    assert moved['a'].device == moved['c'][0].device == meta
    assert moved['b'][0].device.type == 'cpu'


def test_one_process_drives_one_device():
    assert scatter(dict(a=DC([torch.ones(1)])), [-1])[0]['a'].device.type == 'cpu'
    with pytest.raises(ValueError, match='one process drives one device'):
        scatter({}, [0, 1])
    wrapper = MMDataParallel(torch.nn.Identity(), device_ids=[0])
    assert wrapper(collate(samples(), 2)['img']).shape == (2, 3, 2, 4)
    assert is_module_wrapper(wrapper)
    assert not is_module_wrapper(wrapper.module)
