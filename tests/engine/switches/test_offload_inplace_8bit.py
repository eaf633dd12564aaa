import copy

import pytest
import torch
from torch import nn

from mmopt.engine.switches import Effect, apply_to_model
from mmopt.engine.switches.eight_bit import eight_bit
from mmopt.engine.switches.offload import Offload, offload_modules
from mmopt.registry import OPTIMIZERS
from mmopt.utils.errors import UserError
from mmopt.utils.live_bytes import LiveBytes


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten())


IMAGE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


# ---------------------------------------------------------------------------------------------------- offload
def test_offloaded_activations_give_the_same_gradients_and_leave_the_device():
    """On a CPU the copies are made as well, so that the originals, which are counted here, can go."""
    plain, switched = net(), net()
    switched.load_state_dict(plain.state_dict())
    hooks = Offload(min_bytes=1)
    with LiveBytes() as live:
        with hooks:
            loss = switched(IMAGE).sum()
        kept = live.current - hooks.num_bytes
    with LiveBytes() as live:
        plain_loss = plain(IMAGE).sum()
        assert live.current > 4 * max(kept, 1)
    loss.backward()
    plain_loss.backward()
    for got, want in zip(switched.parameters(), plain.parameters(), strict=True):
        assert torch.equal(got.grad, want.grad)


def test_a_tensor_that_two_operators_save_is_copied_once_and_weights_never():
    weight = nn.Parameter(torch.randn(64, 64))
    x = torch.randn(8, 64, requires_grad=True)
    with Offload(min_bytes=1) as hooks:
        hidden = (x @ weight.t()).sigmoid()  # saved by sigmoid and by each product
        out = hidden @ weight + hidden * hidden
    assert hooks.num_bytes == x.nbytes + hidden.nbytes
    out.sum().backward()


def test_small_and_expanded_tensors_stay():
    x = torch.randn(1, 4, requires_grad=True)
    with Offload(min_bytes=1000) as hooks:
        y = (x.expand(1000, 4) * 2.0).exp()  # saves y, 16000 bytes
        z = (x * x).sum()
    assert hooks.num_bytes == y.nbytes
    (y.sum() + z).backward()


def test_a_tensor_changed_in_place_after_it_was_copied_is_copied_again():
    x = torch.ones(64, requires_grad=True)
    with Offload(min_bytes=1):
        factor = torch.ones(64)
        one = x * factor
        factor.add_(1.0)
        two = x * factor
    (one + two).sum().backward()
    assert torch.equal(x.grad, torch.full((64,), 1.0 + 2.0))


def test_offloading_wraps_modules_and_survives_a_copy():
    model = net()
    offload_modules({'': model}, min_bytes=1)
    average = copy.deepcopy(model)
    average(IMAGE).sum().backward()
    assert model[0].weight.grad is None
    assert average[0].weight.grad is not None


def test_offloading_on_a_cpu_says_that_it_frees_nothing():
    effect = apply_to_model(net(), dict(offload=True))['offload']
    assert effect == Effect('activations of a model on the CPU are in host memory already', is_effective=False)


def test_offloading_by_a_pattern_that_matches_nothing_names_the_candidates():
    effect = apply_to_model(net(), dict(offload='stage*'))['offload']
    assert "matched no module: patterns ['stage*'], candidates ['0', '1'" in effect.text


# ---------------------------------------------------------------------------------------------------- in place
def test_activations_behind_their_layer_work_in_place_with_the_same_gradients_and_a_lower_peak():
    plain, switched = net(), net()
    switched.load_state_dict(plain.state_dict())
    assert apply_to_model(switched, dict(inplace=True))['inplace'] == Effect('2 activations')
    peaks = []
    for model in (plain, switched):
        with LiveBytes() as live:
            loss = model(IMAGE).sum()
            peaks.append(live.peak)
        loss.backward()
    # The last convolution's output and the activation's are one tensor.
    assert peaks[0] - peaks[1] == pytest.approx(4 * 2 * 8 * 12 * 12, abs=8)
    for got, want in zip(switched.parameters(), plain.parameters(), strict=True):
        assert torch.equal(got.grad, want.grad)


def test_what_others_may_need_is_left_alone():
    class Tapped(nn.Sequential):
        def forward(self, value):
            hidden = self[0](value)
            return self[1](hidden) + hidden

    hooked = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    hooked[0].register_forward_hook(lambda *args: None)
    models = [Tapped(nn.Linear(2, 2), nn.ReLU()), hooked, nn.Sequential(nn.Sigmoid(), nn.ReLU())]
    models.append(nn.Sequential(nn.Linear(2, 2), nn.SiLU()))  # its backward pass needs its input
    for model in models:
        effect = apply_to_model(model, dict(inplace=True))['inplace']
        assert not effect.is_effective
        assert 'none follows its layer in an nn.Sequential' in effect.text
        assert not any(getattr(part, 'inplace', False) for part in model.modules())


def test_activations_that_work_in_place_already_are_counted():
    effect = apply_to_model(nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)), dict(inplace=True))['inplace']
    assert effect == Effect('no activation changed: all 1 work in place already', is_effective=False)


# ---------------------------------------------------------------------------------------------------- 8 bits
WRAPPER = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1, fused=True))


def test_the_eight_bit_optimizer_takes_the_place_with_its_arguments():
    class AdamW8bit(torch.optim.AdamW):
        """What bitsandbytes registers where it is installed."""

    OPTIMIZERS.register_module(module=AdamW8bit, force=True)
    try:
        wrapper, effect = eight_bit(WRAPPER, True)
    finally:
        del OPTIMIZERS.module_dict['AdamW8bit']
    assert effect == Effect('AdamW -> AdamW8bit')
    assert wrapper['optimizer'] == dict(type='AdamW8bit', lr=1e-3, weight_decay=0.1)
    assert WRAPPER['optimizer']['type'] == 'AdamW'


def test_without_bitsandbytes_the_remedy_is_named():
    with pytest.raises(UserError, match=r"has no AdamW8bit: pip install 'mmopt\[gpu\]', or drop the key"):
        eight_bit(WRAPPER, True)


def test_an_optimizer_without_an_eight_bit_kind_warns():
    _, effect = eight_bit(dict(optimizer=dict(type='NAdam')), True)
    assert effect == Effect('there is no 8-bit NAdam; known: Adam, AdamW, SGD, RMSprop, Adagrad', is_effective=False)
