"""Every shipped config gives an example batch from itself alone: no file is read."""

import pytest
import torch

from mmopt.apis.memory.case import load_case
from mmopt.apis.memory.samples import batch_maker
from mmopt.structures import batch_size
from tests.conftest import REPO

SHIPPED = sorted(
    str(p.relative_to(REPO)) for kind in ('baseline', 'demo') for p in (REPO / 'configs' / kind).glob('*.py')
)


@pytest.mark.parametrize('path', SHIPPED)
def test_every_shipped_config_gives_an_example_batch_without_its_data(path, monkeypatch, tmp_path):
    cfg = load_case(REPO / path).cfg
    monkeypatch.chdir(tmp_path)  # relative data roots lead nowhere
    batch = batch_maker(cfg, 2, None, False)()
    assert batch_size(batch) == 2
    first, second = batch['data_samples']
    for name, value in first.items():
        assert isinstance(value, torch.Tensor), name
        assert torch.equal(value, second.get(name))


@pytest.mark.parametrize('path', [path for path in SHIPPED if 'tad' in path or 'yolo' in path])
def test_the_number_of_labels_can_be_chosen(path):
    cfg = load_case(REPO / path).cfg
    for count in (0, 1, 7):
        sample = batch_maker(cfg, 1, count, False)()['data_samples'][0]
        assert len(sample.get('boxes', sample.get('segments'))) == count
