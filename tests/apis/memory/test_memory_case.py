"""What is estimated comes from the data where it is asked to: the samples with the most labels, and what lacks."""

from types import SimpleNamespace

import pytest
import torch

from mmopt.apis.memory.case import load_case
from mmopt.apis.memory.samples import bytes_of
from mmopt.apis.run.facts import build_dataset
from mmopt.datasets.detection.demo import make_demo
from mmopt.utils.errors import UserError
from tests.conftest import REPO

CONFIG = REPO / 'configs' / 'demo' / 'yolov5_fred_rgb.py'


def test_a_scan_takes_the_samples_with_the_most_labels(tmp_path):
    root = make_demo(tmp_path / 'fred', 16, 8, (90, 160)).out
    case = load_case(CONFIG, [f'data.data_root={root}'], batch_size=3, scan=True)
    dataset = build_dataset(case.cfg, 'train_dataloader')
    counts = sorted((len(dataset[index]['data_samples'].boxes) for index in range(len(dataset))), reverse=True)
    assert counts[0] > counts[-1]
    batch = case.batch_maker()()
    assert [len(sample.boxes) for sample in batch['data_samples']] == counts[:3]
    assert bytes_of(batch) > bytes_of(load_case(CONFIG, batch_size=1, max_items=0).batch_maker()())


def test_more_samples_than_the_data_has_repeat_the_largest(tmp_path):
    root = make_demo(tmp_path / 'fred', 16, 8, (90, 160)).out
    case = load_case(CONFIG, [f'data.data_root={root}'], batch_size=20, scan=True)
    counts = [len(sample.boxes) for sample in case.batch_maker()()['data_samples']]
    assert counts[16:] == counts[:4]


def test_a_scan_without_the_data_says_so(tmp_path):
    case = load_case(CONFIG, [f'data.data_root={tmp_path}'], scan=True)
    with pytest.raises(UserError, match='a scan needs the data, and the data cannot be read'):
        case.batch_maker()


@pytest.mark.skipif(torch.cuda.is_available(), reason='with a GPU its own precision is estimated')
def test_without_a_gpu_an_automatic_precision_is_estimated_as_on_those_that_have_bf16():
    assert load_case(CONFIG).precision == 'bf16'
    assert load_case(CONFIG, precision='auto').precision == 'bf16'
    assert load_case(CONFIG, precision='fp32').precision == 'fp32'


@pytest.mark.parametrize(('device', 'fused'), [('simgpu', True), ('cpu', None)])
def test_fp16_is_estimated_with_the_optimizer_that_a_gpu_gets(monkeypatch, device, fused):
    case = load_case(CONFIG, precision='fp16', optimizer='AdamW')
    monkeypatch.setattr('mmopt.apis.memory.case.device_of', lambda model: SimpleNamespace(type=device))
    wrapper = case.build_optim_wrapper(torch.nn.Linear(2, 2))
    assert wrapper.optimizer.defaults['fused'] is fused


def test_a_run_with_workers_copies_ahead_unless_it_is_told_not_to():
    case = load_case(CONFIG)
    case.cfg.train_dataloader.num_workers = 2
    assert case.prefetches
    case.cfg.train_cfg.device_prefetch = False
    assert not case.prefetches
    case.cfg.train_cfg.device_prefetch = True
    case.cfg.train_dataloader.num_workers = 0
    assert not case.prefetches
