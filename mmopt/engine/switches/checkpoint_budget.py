"""Choose which blocks to checkpoint so that activations fit a budget, at the least recomputation.

Each block's bytes and floating point operations are measured on the first batch; the blocks that give most bytes per
operation go first. What is chosen is measured again, and more is chosen if the budget is not met: blocks share tensors
with their neighbors, so that their savings do not add up exactly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from mmopt.engine.switches.checkpointing import checkpoint_modules
from mmopt.engine.switches.effect import Effect
from mmopt.utils.flops import flop_counter
from mmopt.utils.live_bytes import LiveBytes

__all__ = ['BlockCost', 'checkpoint_to_budget', 'choose_blocks', 'measure_blocks']

_MIB = 1024**2


@dataclass(frozen=True)
class BlockCost:
    """What a block costs.

    Attributes:
        saved_bytes: What it keeps for the backward pass beyond its inputs and outputs.
        flops: Operations of its forward pass, which checkpointing repeats.
    """

    saved_bytes: int
    flops: int


def choose_blocks(costs: Mapping[str, BlockCost], excess_bytes: int) -> list[str]:
    """Choose blocks that free ``excess_bytes``, by bytes per recomputed operation.

    Args:
        costs: Cost of each block.
        excess_bytes: What must be freed.

    Returns:
        Names, the best first; all that free something where even they do not suffice. None of them can be left out.
    """
    useful = [name for name in costs if costs[name].saved_bytes > 0]
    useful.sort(key=lambda name: (costs[name].flops + 1) / costs[name].saved_bytes)
    chosen: list[str] = []
    freed = 0
    for name in useful:
        if freed >= excess_bytes:
            break
        chosen.append(name)
        freed += costs[name].saved_bytes
    for name in reversed(chosen.copy()):  # the last one may have made an earlier one superfluous
        if freed - costs[name].saved_bytes >= excess_bytes:
            chosen.remove(name)
            freed -= costs[name].saved_bytes
    return chosen


def measure_blocks(run: Callable[[], Any], modules: Mapping[str, nn.Module]) -> tuple[int, dict[str, BlockCost]]:
    """Measure a forward pass.

    Args:
        run: Runs the forward pass and returns the loss.
        modules: Blocks by name.

    Returns:
        Bytes kept for the backward pass, and the cost of each block.
    """
    live, counter = LiveBytes(), flop_counter()
    costs: dict[str, BlockCost] = {}
    handles = [handle for name, module in modules.items() for handle in _watch(name, module, live, counter, costs)]
    try:
        with counter, live:
            loss = run()
            total = live.current
        del loss
    finally:
        for handle in handles:
            handle.remove()
    return total, {name: costs.get(name, BlockCost(0, 0)) for name in modules}


def _watch(
    name: str, module: nn.Module, live: LiveBytes, counter: FlopCounterMode, costs: dict[str, BlockCost]
) -> tuple[RemovableHandle, RemovableHandle]:
    before: list[tuple[int, int]] = []

    def enter(module: nn.Module, args: Any) -> None:
        before.append((live.current, counter.get_total_flops()))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        bytes_before, flops_before = before.pop()
        outputs = {value.untyped_storage()._cdata: value for value in tree_iter(output) if isinstance(value, Tensor)}
        kept = live.current - bytes_before - sum(value.untyped_storage().nbytes() for value in outputs.values())
        known = costs.get(name, BlockCost(0, 0))  # a block may run several times, e.g. once per camera
        costs[name] = BlockCost(
            known.saved_bytes + max(kept, 0), known.flops + counter.get_total_flops() - flops_before
        )

    return module.register_forward_pre_hook(enter), module.register_forward_hook(leave)


def checkpoint_to_budget(
    modules: Mapping[str, nn.Module],
    run: Callable[[], Tensor],
    budget_bytes: int,
    *,
    scale: float = 1.0,
    selective: bool = False,
) -> Effect:
    """Checkpoint blocks until the activations of a forward pass fit.

    Args:
        modules: Blocks to choose from, none inside another.
        run: Runs the forward pass and returns the loss; is called some times.
        budget_bytes: What activations may take in a step.
        scale: Samples of a step per sample of ``run``.
        selective: See :func:`checkpoint_modules`.

    Returns:
        What was done.
    """
    total, costs = measure_blocks(run, modules)
    first = total
    chosen: list[str] = []
    while total * scale > budget_bytes:
        left = {name: cost for name, cost in costs.items() if name not in chosen}
        more = choose_blocks(left, int(total - budget_bytes / scale))
        if not more:
            break
        checkpoint_modules({name: modules[name] for name in more}, selective=selective)
        chosen += more
        total, _ = measure_blocks(run, {})
    extra = sum(costs[name].flops for name in chosen) / max(sum(cost.flops for cost in costs.values()), 1)
    text = (
        f'{len(chosen)} of {len(modules)} blocks: activations {first * scale / _MIB:,.0f} -> '
        f'{total * scale / _MIB:,.0f} MiB, {extra:.0%} of their forward pass computed twice'
    )
    if total * scale > budget_bytes:
        return Effect(f'{text}; the budget of {budget_bytes / _MIB:,.0f} MiB is not met', is_effective=False)
    return Effect(text if chosen else f'not needed: activations take {total * scale / _MIB:,.0f} MiB')
