from collections import OrderedDict

import pytest
import torch
from torch import nn

from mmopt.engine.checkpoint_io import (
    load,
    load_weights,
)
from mmopt.utils.errors import UserError


def small_model() -> nn.Module:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4)))


def test_weights_of_a_ddp_model_load(tmp_path):
    source, model = small_model(), small_model()
    wrapped = {f'module.{key}': value for key, value in source.state_dict().items()}
    torch.save(wrapped, tmp_path / 'a.pth')
    report = load_weights(model, tmp_path / 'a.pth', strict=True)
    assert report.complete
    assert report.num_loaded == 6
    assert torch.equal(model.conv.weight, source.conv.weight)


class Recorder:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, line: str) -> None:
        self.lines.append(line)


def test_what_does_not_fit_is_reported_in_one_line_each():
    model, logger = small_model(), Recorder()
    weights = model.state_dict()
    del weights['norm.weight'], weights['norm.num_batches_tracked']
    weights['conv.weight'] = torch.zeros(7, 3, 1, 1)
    weights |= {f'head.{index}': torch.zeros(1) for index in range(8)}
    weights['conv.bias'] = torch.full((4,), 5.0)
    report = load_weights(model, weights, logger=logger)
    assert report.missing == ('norm.weight',)
    assert report.mismatched == ('conv.weight: (7, 3, 1, 1) -> (4, 3, 1, 1)',)
    assert logger.lines == [
        'the state dict: 1 missing in the checkpoint and left as initialized: norm.weight.',
        'the state dict: 8 in the checkpoint and unknown to the model: '
        'head.0, head.1, head.2, head.3, head.4, ... 3 more.',
        'the state dict: 1 of another shape and not loaded: conv.weight: (7, 3, 1, 1) -> (4, 3, 1, 1).',
    ]
    assert model.conv.bias.tolist() == [5.0] * 4
    with pytest.raises(UserError, match='does not fit the model. 1 missing'):
        load_weights(model, weights, strict=True)


def test_weights_of_another_model_are_an_error():
    with pytest.raises(UserError, match=r'nothing fits the model. The checkpoint has backbone.conv.weight.*prefix'):
        load_weights(small_model(), {'backbone.conv.weight': torch.zeros(1)})


def test_keys_can_be_revised():
    model = small_model()
    weights = {f'backbone.{key}': value for key, value in small_model().state_dict().items()}
    assert load_weights(model, weights, revise_keys=[(r'^backbone\.', '')]).complete


def test_weights_may_lie_under_the_usual_names(tmp_path):
    torch.save(dict(model=small_model().state_dict(), epoch=3), tmp_path / 'a.pth')
    assert load_weights(small_model(), tmp_path / 'a.pth').complete
    assert load(tmp_path / 'a.pth')['source_format'] == 'weights'
    torch.save(dict(a=1), tmp_path / 'b.pth')
    with pytest.raises(UserError, match=r"b.pth: no weights found: .*its keys are \['a'\]"):
        load(tmp_path / 'b.pth')
    torch.save([1], tmp_path / 'c.pth')
    with pytest.raises(UserError, match='c.pth: holds a list, not a checkpoint'):
        load(tmp_path / 'c.pth')
