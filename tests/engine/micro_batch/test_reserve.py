import pytest
import torch
from torch import nn

from mmopt.engine.micro_batch.reserve import StateReserve, state_tensors

OPTIMIZERS = {
    'sgd': lambda params: torch.optim.SGD(params, lr=0.1),
    'momentum': lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    'adamw': lambda params: torch.optim.AdamW(params, lr=0.1),
    'adamw fused': lambda params: torch.optim.AdamW(params, lr=0.1, fused=True),
    'amsgrad': lambda params: torch.optim.Adam(params, lr=0.1, amsgrad=True),
    'nadam': lambda params: torch.optim.NAdam(params, lr=0.1),
    'rmsprop': lambda params: torch.optim.RMSprop(params, lr=0.1, momentum=0.9, centered=True),
}


def bytes_of_state(optimizer: torch.optim.Optimizer) -> int:
    return sum(v.nbytes for slots in optimizer.state.values() for v in slots.values() if torch.is_tensor(v) and v.dim())


@pytest.mark.parametrize('make', OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_what_is_reserved_is_what_the_first_step_allocates(make):
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2).to(torch.bfloat16))
    optimizer = make([dict(params=[p]) for p in model.parameters()])
    reserve = StateReserve(optimizer)
    assert not optimizer.state
    assert all(p.grad is None for p in model.parameters())
    for param in model.parameters():
        param.grad = torch.ones_like(param)
    optimizer.step()
    assert reserve.num_bytes == bytes_of_state(optimizer)


def test_a_released_reserve_holds_nothing_and_a_resumed_state_needs_none():
    model = nn.Linear(3, 5)
    optimizer = torch.optim.AdamW(model.parameters())
    reserve = StateReserve(optimizer)
    assert reserve.num_bytes == 2 * 4 * (15 + 5)
    reserve.release()
    assert reserve.num_bytes == 0
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert StateReserve(optimizer).num_bytes == 0


def test_hooks_and_wrapped_steps_do_not_see_the_trial():
    model = nn.Linear(3, 5)
    optimizer = torch.optim.AdamW(model.parameters())
    seen = []
    optimizer.register_step_pre_hook(lambda *args: seen.append('hook'))
    optimizer.step = lambda: seen.append('wrapped')
    state_tensors(optimizer)
    assert seen == []


def test_an_optimizer_with_kernels_of_its_own_counts_as_adam():
    class Special(torch.optim.SGD):
        def step(self, closure=None):
            raise NotImplementedError('no kernel for meta tensors')

    model = nn.Linear(3, 5)
    assert StateReserve(Special(model.parameters())).num_bytes == 2 * 4 * (15 + 5)
