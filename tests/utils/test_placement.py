import re

import torch
from torch import nn

from mmopt.utils.placement import device_of
from tests.conftest import REPO


def test_a_module_is_where_its_first_parameter_is_without_one_its_first_buffer_without_either_the_cpu():
    assert device_of(nn.Linear(1, 1, device='meta')).type == 'meta'
    frozen = nn.BatchNorm2d(1, affine=False, device='meta')
    assert device_of(frozen).type == 'meta'
    assert device_of(nn.Sequential(nn.ReLU(), frozen)).type == 'meta'
    assert device_of(nn.ReLU()) == torch.device('cpu')


def test_nobody_else_asks_a_first_parameter_for_its_device():
    asks = re.compile(r'next\(.*parameters\(\)\)\.device|parameter\.device for parameter in')
    found = [
        f'{path.relative_to(REPO)}:{number}'
        for path in sorted((REPO / 'mmopt').rglob('*.py'))
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), start=1)
        if asks.search(line)
    ]
    assert found == []
