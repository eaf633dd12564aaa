"""Checkpointing: same results, fewer bytes, and how many more operations."""

import copy

import pytest
import torch
from torch import nn

from mmopt.engine.switches import Effect, apply_to_model
from mmopt.engine.switches.blocks import find_blocks
from mmopt.engine.switches.checkpoint_budget import BlockCost, checkpoint_to_budget, choose_blocks, measure_blocks
from mmopt.utils.flops import count_flops
from mmopt.utils.live_bytes import LiveBytes
from tests.engine.test_runner import build
from tests.engine.toy import toy_config
from tests.models.contract_cases import CASES


class Block(nn.Module):
    """BatchNorm, dropout and an in-place activation behind a convolution: what checkpointing may get wrong."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.two = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, feat_BCHW):
        return feat_BCHW + self.act(self.two(self.drop(self.norm(self.act(self.one(feat_BCHW))).sigmoid())))


class Net(nn.Module):
    def __init__(self, num_blocks: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(8) for _ in range(num_blocks)))

    def forward(self, image):
        return self.blocks(self.stem(image)).square().mean()


IMAGE = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
VALUES = {
    'all blocks': True,
    'a pattern': 'blocks.*',
    'a class': ['Block'],
    'selective': dict(selective=True),
}


def run(model: nn.Module) -> dict[str, torch.Tensor]:
    """Two steps without an update: gradients add up, statistics move twice, random numbers go on."""
    torch.manual_seed(1)
    for _ in range(2):
        model(IMAGE).backward()
    results = {f'grad {name}': param.grad for name, param in model.named_parameters()}
    return results | {f'buffer {name}': value for name, value in model.named_buffers()} | dict(draw=torch.rand(1))


def kept_bytes(model: nn.Module) -> int:
    with LiveBytes() as live:
        loss = model(IMAGE)
        kept = live.current
    loss.backward()
    return kept


@pytest.mark.parametrize('value', VALUES.values(), ids=VALUES)
def test_gradients_statistics_and_random_numbers_are_those_without_it_bit_for_bit(value):
    plain, switched = Net(), Net()
    switched.load_state_dict(plain.state_dict())
    assert apply_to_model(switched, dict(checkpointing=value))['checkpointing'].is_effective
    assert switched.state_dict().keys() == plain.state_dict().keys()
    want, got = run(plain), run(switched)
    assert [name for name in want if not torch.equal(want[name], got[name])] == []
    assert int(switched.blocks[0].norm.num_batches_tracked) == 2


def test_it_keeps_the_inputs_of_blocks_only_and_repeats_their_forward_pass():
    plain, switched = Net(), Net()
    apply_to_model(switched, dict(checkpointing=True))
    one_map = 4 * 4 * 8 * 16 * 16
    # Four block inputs, the network's output, the loss.
    assert kept_bytes(switched) <= 5 * one_map + 4096
    assert kept_bytes(plain) > 4 * kept_bytes(switched)
    forward = count_flops(lambda: plain.blocks(torch.zeros(4, 8, 16, 16)))
    extra = count_flops(lambda: switched(IMAGE).backward()) - count_flops(lambda: plain(IMAGE).backward())
    assert extra == forward


def test_selective_checkpointing_repeats_no_product_and_keeps_less_than_all():
    plain, selective, full = Net(), Net(), Net()
    apply_to_model(selective, dict(checkpointing=dict(selective=True)))
    apply_to_model(full, dict(checkpointing=True))
    backward = [count_flops(lambda model=model: model(IMAGE).backward()) for model in (plain, selective)]
    assert backward[0] == backward[1]
    assert kept_bytes(full) < kept_bytes(selective) < 0.75 * kept_bytes(plain)


def test_compiled_blocks_are_checkpointed_around_their_graph():
    """Dynamo alone, without a compiler behind it; dropout off, whose numbers it may draw otherwise."""
    plain, switched = Net(2), Net(2)
    switched.load_state_dict(plain.state_dict())
    for model in (plain, switched):
        for block in model.blocks:
            block.drop.p = 0.0
    apply_to_model(switched, dict(checkpointing=True, compile=dict(regions=['blocks.*'], backend='eager')))
    want, got = run(plain), run(switched)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-5, atol=1e-6)
    assert kept_bytes(plain) > 2 * kept_bytes(switched)


def test_a_copy_of_the_model_runs_its_own_weights():
    """EMA copies the model."""
    model = Net()
    apply_to_model(model, dict(checkpointing=True))
    average = copy.deepcopy(model)
    with torch.no_grad():
        for param in average.parameters():
            param.zero_()
    loss = average(IMAGE)
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(param.grad is None for param in model.parameters())
    assert float(model(IMAGE).detach()) > 0


def test_nothing_is_repeated_where_no_gradient_is_asked_for():
    model = Net()
    apply_to_model(model, dict(checkpointing=True))
    with torch.no_grad():
        assert count_flops(lambda: model(IMAGE)) == count_flops(lambda: Net()(IMAGE))


def test_a_pattern_that_matches_nothing_names_the_candidates():
    effect = apply_to_model(Net(2), dict(checkpointing=['layer*']))['checkpointing']
    expected = "matched no module: patterns ['layer*'], candidates ['blocks.0', 'blocks.1']"
    assert effect == Effect(expected, is_effective=False)


def test_a_model_without_blocks_says_so():
    effect = apply_to_model(nn.Linear(2, 2), dict(checkpointing='blocks'))['checkpointing']
    assert effect == Effect('Linear has no repeated blocks: give patterns of module names', is_effective=False)


def test_blocks_that_a_model_checkpoints_itself_are_left_to_it():
    model = nn.ModuleDict(dict(one=Net(2), two=Net(2)))
    model['one'].with_cp = True
    assert apply_to_model(model, dict(checkpointing=True))['checkpointing'].text == '2 blocks (two.blocks.0, ...)'
    assert 'forward' not in vars(model['one'].blocks[0])
    effect = apply_to_model(nn.ModuleList([model['one']]), dict(checkpointing=True))['checkpointing']
    expected = '0 checkpoints its blocks itself (with_cp=True), and there are no others'
    assert effect == Effect(expected, is_effective=False)


def test_blocks_are_the_innermost_entries_with_two_products():
    model = nn.ModuleList([nn.Sequential(Net(2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.ReLU())])
    assert list(find_blocks(model)) == ['0.0.blocks.0', '0.0.blocks.1']


@pytest.mark.parametrize('name', CASES)
def test_every_task_model_gives_the_same_gradients_with_its_blocks_checkpointed(name):
    torch.manual_seed(0)
    model, batch = CASES[name]()
    grads = []
    for value in (False, True):
        effect = apply_to_model(model, dict(checkpointing=value))['checkpointing']
        model.zero_grad()
        torch.manual_seed(1)
        losses = model(**batch, mode='loss', normalizers=model.loss_normalizers(batch['data_samples']))
        sum(loss for key, loss in losses.items() if 'loss' in key).backward()
        grads.append(
            {key: None if param.grad is None else param.grad.clone() for key, param in model.named_parameters()}
        )
    assert effect.is_effective == bool(find_blocks(model))
    plain, switched = grads
    for key, want in plain.items():
        if want is not None:
            torch.testing.assert_close(switched[key], want, rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------------------------------------------- budgets
def brute_force(costs: dict[str, BlockCost], excess: int) -> int | None:
    """Return the fewest repeated operations that free enough."""
    best = None
    names = list(costs)
    for mask in range(1 << len(names)):
        chosen = [name for place, name in enumerate(names) if mask >> place & 1]
        if sum(costs[name].saved_bytes for name in chosen) >= excess:
            flops = sum(costs[name].flops for name in chosen)
            best = flops if best is None else min(best, flops)
    return best


def test_the_choice_meets_every_budget_that_can_be_met_at_near_the_least_cost():
    generator = torch.Generator().manual_seed(0)
    ratios = []
    for _ in range(60):
        table = torch.randint(1, 30, (7, 2), generator=generator).tolist()
        costs = {str(place): BlockCost(*row) for place, row in enumerate(table)}
        total = sum(cost.saved_bytes for cost in costs.values())
        for excess in range(1, total + 2, 9):
            chosen = choose_blocks(costs, excess)
            freed = sum(costs[name].saved_bytes for name in chosen)
            if excess > total:
                assert len(chosen) == 7
                continue
            assert freed >= excess
            assert all(freed - costs[name].saved_bytes < excess for name in chosen)
            ratios.append((sum(costs[name].flops for name in chosen) + 1) / (brute_force(costs, excess) + 1))
    assert sum(ratios) / len(ratios) < 1.1


def test_blocks_that_free_nothing_are_never_chosen():
    assert choose_blocks(dict(a=BlockCost(0, 1), b=BlockCost(5, 10**9)), 100) == ['b']


def test_the_measured_cost_of_a_block_is_what_checkpointing_it_frees():
    model = Net()
    total, costs = measure_blocks(lambda: model(IMAGE), find_blocks(model))
    assert total == kept_bytes(model)
    assert costs['blocks.1'].flops == 2 * 2 * 4 * 16 * 16 * 8 * 8 * 9
    apply_to_model(model, dict(checkpointing='blocks.1'))
    assert total - kept_bytes(model) == pytest.approx(costs['blocks.1'].saved_bytes, rel=0.02)


@pytest.mark.parametrize('share', [0.9, 0.6, 0.35])
def test_blocks_are_checkpointed_until_the_budget_is_met_and_no_further(share):
    model = Net()
    plain = kept_bytes(model)
    effect = checkpoint_to_budget(find_blocks(model), lambda: model(IMAGE), int(share * plain))
    assert effect.is_effective
    assert kept_bytes(model) <= share * plain
    assert kept_bytes(model) > (share - 0.3) * plain


def test_a_budget_that_is_met_already_changes_nothing():
    model = Net()
    assert 'not needed' in checkpoint_to_budget(find_blocks(model), lambda: model(IMAGE), 10**9).text
    assert 'forward' not in vars(model.blocks[0])


def test_a_budget_that_cannot_be_met_says_so():
    model = Net()
    effect = checkpoint_to_budget(find_blocks(model), lambda: model(IMAGE), 1000)
    assert not effect.is_effective
    assert '4 of 4 blocks' in effect.text
    assert 'the budget of 0 MiB is not met' in effect.text


def test_a_run_chooses_with_its_first_batch_and_leaves_no_trace_in_it(tmp_path):
    finals = []
    for name, optimize in (('plain', None), ('budget', dict(checkpointing=dict(patterns=['hidden'], budget_gib=0)))):
        runner = build(toy_config(tmp_path / name, max_iters=2, optimize=optimize))
        runner.train()
        finals.append(runner.model.state_dict())
    text = (tmp_path / 'budget' / 'latest.log').read_text()
    assert 'optimize.checkpointing: up to 1 blocks, until activations take 0 GiB' in text
    assert 'is not met' in text
    assert all(torch.equal(finals[0][key], finals[1][key]) for key in finals[0])
