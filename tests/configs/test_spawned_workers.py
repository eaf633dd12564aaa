"""What a spawned worker is sent: data sets of all demos, after a sample was read, and what goes with them."""

import pickle
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement

from mmopt.apis.config import load_config
from mmopt.datasets.demos import find_demo
from mmopt.engine.loading.build import build_dataloader
from mmopt.utils.seeding import SampleIndex
from tests.conftest import REPO

CONFIGS = sorted((REPO / 'configs' / 'demo').glob('*.py'))


@pytest.fixture(scope='module')
def demo_data(tmp_path_factory):
    """Make the smallest set of a name, once."""
    folder, made = tmp_path_factory.mktemp('demos'), set()

    def make(name: str) -> Path:
        if name not in made:
            size = None if name == 'mabe' else (64, 96)
            find_demo(name).make(folder / name, num_train=2, num_val=1, image_size=size)
            made.add(name)
        return folder / name

    return make


def root_of(dataset: dict) -> str:
    while 'data_root' not in dataset:
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset['data_root']


def assert_alike(one, other) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor | np.ndarray):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    elif isinstance(one, BaseDataElement):
        assert_alike(dict(one.all_items()), dict(other.all_items()))
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_alike(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_alike(first, second)


@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_a_data_set_reads_the_same_sample_in_a_spawned_worker(config, demo_data):
    name = Path(root_of(load_config(config).train_dataloader.dataset)).name
    cfg = load_config(config, options=[f'data.data_root={demo_data(name)}'])
    init_default_scope(cfg.default_scope)
    for key in ('train_dataloader', 'val_dataloader'):
        loader = build_dataloader({**cfg[key], 'num_workers': 1, 'persistent_workers': True}, seed=3)
        index = SampleIndex(len(loader.dataset) - 1, seed=3, epoch=1)
        here = loader.dataset[index]  # opens what a data set keeps open
        sent = (loader.dataset, loader.collate_fn, loader.worker_init_fn, loader.sampler, loader.batch_sampler)
        dataset, collate, *_ = pickle.loads(ForkingPickler.dumps(sent))
        assert_alike(here, dataset[pickle.loads(pickle.dumps(index))])
        assert_alike(loader.collate_fn([here]), collate([here]))
