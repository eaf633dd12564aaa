"""What the estimating process makes of a model that cannot take so few samples."""

import pytest

from mmopt.apis.memory.worker import _on_the_line, _Session
from mmopt.utils.errors import UserError
from tests.conftest import REPO


class StubSimulator:
    """Refuses small batches as torch's batch statistics do."""

    def __init__(self, message: str) -> None:
        self.message = message

    def trace(self, *args, **kwargs):
        raise ValueError(self.message)


def session(message: str) -> _Session:
    request = dict(config=str(REPO / 'configs/demo/bisenetv2_cityscapes.py'), options=[], optimizer=None)
    request |= dict(max_items=None, scan=False, expandable_segments=False)
    return _Session(request, StubSimulator(message))


REFUSAL = 'Expected more than 1 value per channel when training, got input size torch.Size([1, 8, 1, 1])'


def test_a_batch_that_batch_statistics_refuse_is_named_with_the_smallest_one():
    with pytest.raises(UserError, match='batch 1: a BatchNorm after global .* smallest batch of this model is 2'):
        session(REFUSAL).case(1, 'fp32', 'none')


def test_the_search_takes_it_as_too_large_and_finds_nothing():
    asked = dict(batch_size=2, precision='fp32', checkpointing='none', reserved=1000, num_events=9)
    assert session(REFUSAL).largest(asked, capacity=900, slack=0.1)['batch_size'] == 0


def test_other_errors_are_not_renamed():
    with pytest.raises(ValueError, match='something else'):
        session('something else').case(1, 'fp32', 'none')


def test_a_case_beyond_those_that_were_traced_continues_their_lines():
    def case(batch_size: int) -> dict:
        sizes = dict(allocated=10, reserved=20, reserved_low=15, reserved_high=30, prefetched=3, num_events=100)
        grown = {name: value * batch_size for name, value in sizes.items()}
        return dict(grown, batch_size=batch_size, parts=dict(inputs=batch_size), most=dict(inputs=2 * batch_size))

    found = _on_the_line([case(2), case(4)], 10)
    assert {key: value for key, value in found.items() if key not in ('modules', 'beyond')} == case(10)
