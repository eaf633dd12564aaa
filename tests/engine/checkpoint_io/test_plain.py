import random
from collections import namedtuple
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import ConfigDict
from mmengine.logging import MessageHub
from torch import nn

from mmopt.engine import checkpoint_io
from mmopt.engine.checkpoint_io import load, save, to_plain
from mmopt.engine.checkpoint_io.plain import from_device


class Mode(IntEnum):
    FAST = 1


def test_everything_becomes_plain():
    point = namedtuple('Point', 'x y')(np.float32(1.5), np.int64(2))
    plain = to_plain(
        dict(
            number=np.float64(0.1),
            flag=np.bool_(True),
            text=np.str_('a'),
            enum=Mode.FAST,
            point=point,
            array=np.arange(3, dtype=np.uint16),
            names=np.array(['a', 'b']),
            cfg=ConfigDict(a=dict(b=[1])),
            path=Path('x') / 'y',
            dtype=torch.float16,
            classes={1, 2},
        )
    )
    assert plain.pop('array').tolist() == [0, 1, 2]
    expected = dict(
        number=0.1,
        flag=True,
        text='a',
        enum=1,
        point=(1.5, 2),
        names=['a', 'b'],
        cfg=dict(a=dict(b=[1])),
        path=str(Path('x/y')),
        dtype=torch.float16,
        classes={1, 2},
    )
    assert plain == expected
    for key, value in expected.items():
        assert type(plain[key]) is type(value)
    assert type(plain['cfg']['a']) is dict


def test_tied_weights_stay_tied_and_views_do_not_drag_their_storage_along(tmp_path):
    shared = torch.zeros(1000)
    save(tmp_path / 'a.pth', dict(state_dict=dict(a=shared, b=shared, row=torch.zeros(1000, 1000)[0]), meta={}))
    weights = load(tmp_path / 'a.pth')['state_dict']
    assert weights['a'].data_ptr() == weights['b'].data_ptr()
    assert (tmp_path / 'a.pth').stat().st_size < 20_000


class OnGpu(torch.Tensor):
    """A tensor that says it lies on a GPU, and counts how often it is copied from there."""

    num_copies = 0

    @property
    def device(self):
        return torch.device('cuda', 0)

    def detach(self):
        return self

    def to(self, device):
        assert device == 'cpu'
        OnGpu.num_copies += 1
        return self.as_subclass(torch.Tensor).clone()


def test_what_came_from_a_gpu_is_copied_once_although_training_goes_on(monkeypatch):
    monkeypatch.setattr(OnGpu, 'num_copies', 0)
    weight = torch.ones(3).as_subclass(OnGpu)
    on_host = torch.ones(2)
    state = from_device(dict(weight=weight, tied=[weight], moment=on_host, betas=(0.9, 0.99)))
    assert OnGpu.num_copies == 1
    plain = to_plain(state, copy=True)
    assert plain['weight'].data_ptr() == plain['tied'][0].data_ptr() == state['weight'].data_ptr()
    assert plain['moment'].data_ptr() != on_host.data_ptr(), 'the training writes to it'
    assert plain['betas'] == (0.9, 0.99)
    # Who puts something else in its place, as the hooks of averages do, gets that copied.
    state['weight'] = torch.zeros(3)
    assert to_plain(state, copy=True)['weight'].data_ptr() != state['weight'].data_ptr()


def test_memory_format_survives(tmp_path):
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    save(tmp_path / 'a.pth', dict(state_dict=dict(weight=weight), meta={}))
    assert load(tmp_path / 'a.pth')['state_dict']['weight'].is_contiguous(memory_format=torch.channels_last)


def test_an_object_in_the_state_is_an_error_that_names_its_place(tmp_path, state):
    with pytest.raises(TypeError, match=r'checkpoint entry optimizer\.extra\[1\] is a .*Linear: only tensors'):
        save(tmp_path / 'a.pth', state() | dict(optimizer=dict(extra=[1, nn.Linear(1, 1)])))


def test_an_object_in_meta_is_left_out_and_named(tmp_path, warnings_logged, state):
    save(tmp_path / 'a.pth', state(dataset_meta=dict(palette=np.zeros(3), loader=nn.Linear(1, 1))))
    assert list(load(tmp_path / 'a.pth')['meta']['dataset_meta']) == ['palette']
    assert 'dataset_meta.loader (Linear)' in warnings_logged[0]


def test_a_module_layout_version_survives(tmp_path):
    save(tmp_path / 'a.pth', dict(meta=dict(mmopt_version='0'), state_dict=nn.BatchNorm1d(2).state_dict()))
    assert load(tmp_path / 'a.pth')['state_dict']._metadata['']['version'] == 2


def test_the_message_hub_comes_back(tmp_path, state):
    hub = MessageHub.get_instance('before')
    for loss in (1.0, 0.5):
        hub.update_scalar('train/loss', loss)
    hub.update_scalar('train/weighted', 2.0, count=4)
    hub.update_scalar('train/weighted', 3.0)
    hub.update_scalar('train/time', 1.0, resumed=False)
    hub.update_info('best', np.float64(0.25))
    hub.update_info('object', nn.Linear(1, 1))
    save(tmp_path / 'a.pth', state() | dict(message_hub=checkpoint_io.message_hub_state(hub)))

    other = MessageHub.get_instance('after')
    checkpoint_io.restore_message_hub(other, load(tmp_path / 'a.pth')['message_hub'])
    assert other.get_scalar('train/loss').data[0].tolist() == [1.0, 0.5]
    assert other.get_scalar('train/loss').mean(2) == 0.75
    assert other.get_scalar('train/weighted').data[1].tolist() == [4, 1]
    assert other.get_info('best') == 0.25
    assert not {'train/time', 'object'} & {*other.log_scalars, *other.runtime_info}
    other.update_scalar('train/loss', 0.25)
    assert other.get_scalar('train/loss').current() == 0.25


def test_all_generators_continue_where_they_were(tmp_path, state):
    save(tmp_path / 'a.pth', state() | dict(rng=checkpoint_io.rng_state()))

    def draw() -> list:
        return [random.random(), random.gauss(0, 1), *np.random.rand(2), np.random.normal(), *torch.rand(2).tolist()]

    expected = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    checkpoint_io.set_rng_state(load(tmp_path / 'a.pth')['rng'])
    assert draw() == expected


def test_a_cached_gaussian_is_restored():
    random.gauss(0, 1), np.random.normal()
    kept = checkpoint_io.rng_state()
    expected = [random.gauss(0, 1), np.random.normal()]
    random.seed(5), np.random.seed(5)
    checkpoint_io.set_rng_state(kept)
    assert [random.gauss(0, 1), np.random.normal()] == expected


@pytest.mark.gpu
def test_the_generator_of_a_device_continues(tmp_path, state):
    torch.rand(1, device='cuda')
    save(tmp_path / 'a.pth', state() | dict(rng=checkpoint_io.rng_state()))
    expected = torch.rand(3, device='cuda')
    checkpoint_io.set_rng_state(load(tmp_path / 'a.pth', map_location='cuda')['rng'])
    assert torch.equal(torch.rand(3, device='cuda'), expected)
