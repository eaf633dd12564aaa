"""optimize.compile: which regions, the same numbers, and what happens when the compiler gives up."""

import copy
import logging

import pytest
import torch
from torch import nn

from mmopt.config import ConfigError
from mmopt.engine.switches import apply_to_model
from mmopt.engine.switches.compile import find_regions
from tests.engine.test_runner import build, losses_of
from tests.engine.toy import toy_config

# torch's own tracer looks at gradients of intermediate values.
pytestmark = pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor that is not a leaf')

EAGER = dict(backend='aot_eager')  # traces like inductor and needs no C++ compiler


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU())

    def forward(self, x):
        return x + self.inner(x)


class Net(nn.Module):
    """Two blocks of one width, one of another, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([Block(4), Block(4)])
        self.widen = nn.Linear(4, 6)
        self.last = Block(6)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.last(self.widen(x)).sum()


def test_blocks_that_repeat_are_the_regions_and_none_lies_inside_another():
    assert list(find_regions(Net())) == ['blocks.0', 'blocks.1', 'last']
    assert list(find_regions(Net(), ['blocks.*'])) == ['blocks.0', 'blocks.1']


def test_a_model_without_repetition_is_compiled_by_its_parts():
    model = nn.Module()
    model.backbone, model.head = Block(2), nn.Sequential(Block(3))
    model.data_preprocessor = Block(4)
    assert list(find_regions(model)) == ['backbone', 'head.0']


def test_every_shape_of_a_block_is_compiled_beyond_the_compilers_own_limit():
    compiled = []

    def backend(graph, inputs):
        compiled.append(len(inputs))
        return graph.forward

    class Widths(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(block for width in range(2, 12) for block in (Block(width), Block(width)))

        def forward(self, x):
            return sum(block(x[:, : block.inner[0].in_features]).sum() for block in self.blocks)

    model = Widths()
    apply_to_model(model, dict(compile=dict(backend=backend, dynamic=False)))
    model(torch.randn(2, 16))
    assert len(compiled) == 10
    with torch.no_grad():
        model(torch.randn(2, 16))
    assert len(compiled) == 20


def test_compiled_regions_give_the_same_loss_gradients_and_checkpoint():
    plain, inputs = Net(), torch.randn(2, 3)
    switched = copy.deepcopy(plain)
    effect = apply_to_model(switched, dict(compile=EAGER))['compile']
    assert effect.text == '3 Block; the first iterations compile them'
    for model in (plain, switched):
        model(inputs).backward()
    assert all(block._compiled_call_impl is not None for block in (*switched.blocks, switched.last))
    assert plain.state_dict().keys() == switched.state_dict().keys()
    for want, got in zip(plain.parameters(), switched.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad)
    copy.deepcopy(switched)(inputs)  # what an average of the weights does


def test_a_region_that_cannot_be_compiled_runs_as_it_was_written(caplog, monkeypatch):
    def refuse(graph, example_inputs):
        raise NotImplementedError('no such operator')

    plain, inputs = Net(), torch.randn(2, 3)
    switched = copy.deepcopy(plain)
    apply_to_model(switched, dict(compile=dict(backend=refuse, regions=['last'])))
    logger = logging.getLogger('compile-test')
    monkeypatch.setattr('mmengine.logging.MMLogger.get_current_instance', classmethod(lambda cls: logger))
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(switched(inputs), plain(inputs))
    assert 'optimize.compile: last runs uncompiled' in caplog.text
    assert 'no such operator' in caplog.text
    assert switched.last._compiled_call_impl is None
    assert switched(inputs).isfinite()


def test_an_error_of_the_model_itself_is_raised():
    model = Net()
    apply_to_model(model, dict(compile=EAGER))
    with pytest.raises(RuntimeError, match='shapes cannot be multiplied'):
        model.blocks[0](torch.randn(2, 3))


def test_patterns_that_match_nothing_are_told_with_candidates():
    effect = apply_to_model(Net(), dict(compile=dict(regions=['backbone.*'])))['compile']
    assert not effect.is_effective
    assert 'candidates: blocks.0' in effect.text


@pytest.mark.parametrize('value', ['fast', dict(mod='default'), dict(mode='fast'), 3])
def test_a_value_that_compile_does_not_know_is_refused(value):
    with pytest.raises(ConfigError, match='optimize.compile must be'):
        apply_to_model(Net(), dict(compile=value))


def test_a_compiled_run_learns_what_the_plain_one_learns(tmp_path):
    losses = []
    for name, optimize in (('plain', {}), ('compiled', dict(compile=dict(backend='aot_eager', regions=['hidden'])))):
        cfg = toy_config(tmp_path / name, optimize=optimize, model=dict(dropout=0.0), train_cfg=dict(val_interval=8))
        build(cfg).train()
        losses.append(list(losses_of(tmp_path / name).values()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    log = (tmp_path / 'compiled' / 'latest.log').read_text()
    assert 'optimize.compile: 1 Linear' in log
    assert 'uncompiled' not in log
