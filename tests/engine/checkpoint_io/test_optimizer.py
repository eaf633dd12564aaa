import copy

import pytest
import torch
from torch import nn

from mmopt.engine.checkpoint_io import remap_optimizer_state
from mmopt.utils.errors import UserError

ORDER = ('0.weight', '0.bias', '1.weight', '1.bias', '2.weight', '2.bias')
MERGED = (('0.weight', '1.weight', '2.weight'), ('0.bias', '1.bias', '2.bias'))


def make_model(frozen: str | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    if frozen:
        model.get_submodule(frozen).requires_grad_(False)
    return model


def decay(name: str) -> float:
    return 0.0 if name.endswith('bias') else 0.1


def per_parameter(model: nn.Module, optimizer_type=torch.optim.AdamW) -> torch.optim.Optimizer:
    """One group per parameter, frozen ones included, as mmcv 1.x has it."""
    named = model.named_parameters()
    groups = [dict(params=[param], weight_decay=decay(name), initial_lr=0.01) for name, param in named]
    return optimizer_type(groups, lr=0.01)


def merged(model: nn.Module, optimizer_type=torch.optim.AdamW, **options) -> torch.optim.Optimizer:
    """Groups by equal settings, as mmopt's constructor makes them."""
    parameters = dict(model.named_parameters())
    order = list(parameters)
    groups = [
        dict(
            params=[parameters[name] for name in names],
            param_names=list(names),
            param_positions=[order.index(name) for name in names],
            weight_decay=decay(names[0]),
        )
        for names in MERGED
    ]
    return optimizer_type(groups, lr=0.05, **options)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer.zero_grad()
    model(torch.randn(5, 3, generator=generator)).square().sum().backward()
    optimizer.step()


def weights(model: nn.Module) -> list:
    return [param.tolist() for param in model.parameters()]


@pytest.mark.parametrize('frozen', [None, '0', '1', '2'])
@pytest.mark.parametrize('optimizer_type', [torch.optim.AdamW, torch.optim.Adam])
def test_a_run_continues_the_same_in_merged_groups(frozen, optimizer_type):
    old_model = make_model(frozen)
    old = per_parameter(old_model, optimizer_type)
    step(old_model, old, seed=1)
    state = copy.deepcopy(old.state_dict())
    model = copy.deepcopy(old_model)
    step(old_model, old, seed=2)

    new = merged(model, optimizer_type)
    new.load_state_dict(remap_optimizer_state(state, new))
    assert [group['lr'] for group in new.param_groups] == [0.01, 0.01]
    assert [group['initial_lr'] for group in new.param_groups] == [0.01, 0.01]
    step(model, new, seed=2)
    assert weights(model) == weights(old_model)


def test_names_can_be_given_apart_from_the_optimizer():
    model = make_model()
    old = per_parameter(model)
    step(model, old, seed=1)
    new = merged(model)
    for group in new.param_groups:
        del group['param_names']
    remapped = remap_optimizer_state(old.state_dict(), new, MERGED)
    expected = old.state[model[1].weight]['exp_avg']
    assert torch.equal(remapped['state'][1]['exp_avg'], expected)


def test_states_with_names_go_by_name_whatever_their_order():
    """A layer-wise decay of mmcv, or an earlier run of ours with another paramwise_cfg."""
    model = make_model()
    parameters = dict(model.named_parameters())
    order = sorted(parameters, reverse=True)
    old = torch.optim.AdamW([dict(params=[parameters[name]], param_names=[name]) for name in order])
    step(model, old, seed=1)
    new = merged(model)
    new.load_state_dict(remap_optimizer_state(old.state_dict(), new))
    for param in model.parameters():
        assert torch.equal(new.state[param]['exp_avg'], old.state[param]['exp_avg'])


def test_a_state_without_the_frozen_parameters_goes_by_order():
    model = make_model(frozen='0')
    trainable = [param for param in model.parameters() if param.requires_grad]
    old = torch.optim.AdamW([dict(params=[param]) for param in trainable])
    step(model, old, seed=1)
    new = torch.optim.AdamW(
        [
            dict(params=[model[1].bias, model[2].bias], param_positions=[3, 5]),
            dict(params=[model[1].weight, model[2].weight], param_positions=[2, 4]),
        ]
    )
    new.load_state_dict(remap_optimizer_state(old.state_dict(), new))
    for param in trainable:
        assert torch.equal(new.state[param]['exp_avg'], old.state[param]['exp_avg'])


def test_a_step_of_old_torch_becomes_a_tensor_and_a_scaler_passes_through():
    model = make_model()
    old = per_parameter(model)
    step(model, old, seed=1)
    state = old.state_dict()
    for entry in state['state'].values():
        entry['step'] = int(entry['step'])
    new = merged(model, fused=True)
    remapped = remap_optimizer_state(state | dict(loss_scaler=dict(scale=512.0)), new)
    assert remapped['loss_scaler'] == dict(scale=512.0)
    assert remapped['state'][0]['step'].item() == 1.0
    assert all(group['fused'] for group in remapped['param_groups'])


def test_momentum_of_sgd_is_kept():
    model = make_model()
    old = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step(model, old, seed=1)
    new = merged(model, torch.optim.SGD)
    new.load_state_dict(remap_optimizer_state(old.state_dict(), new))
    assert [group['momentum'] for group in new.param_groups] == [0.9, 0.9]
    assert torch.equal(new.state[model[2].bias]['momentum_buffer'], old.state[model[2].bias]['momentum_buffer'])


def test_a_smaller_checkpoint_is_refused():
    model = make_model()
    old = torch.optim.AdamW([dict(params=[param]) for param in list(model.parameters())[:4]])
    with pytest.raises(UserError, match=r'the checkpoint has 4 parameters, the model at least 6.*--load-from'):
        remap_optimizer_state(old.state_dict(), merged(model))


def test_another_model_is_refused():
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2))
    old = per_parameter(other)
    step(other, old, seed=1)
    with pytest.raises(UserError, match=r'exp_avg of 1.weight has shape \(5, 4\), the parameter \(4, 4\)'):
        remap_optimizer_state(old.state_dict(), merged(make_model()))


def test_an_unknown_name_is_refused():
    model = make_model()
    old = torch.optim.AdamW([dict(params=[model[0].weight], param_names=['0.weight'])])
    with pytest.raises(UserError, match='5 parameters are not in the checkpoint, among them 1.weight'):
        remap_optimizer_state(old.state_dict(), merged(model))


def test_names_that_do_not_fit_the_groups_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match=r'group_members has \[6\] names, the groups have \[3, 3\]'):
        remap_optimizer_state({}, merged(make_model()), [ORDER])
