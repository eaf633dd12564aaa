"""`optimize.checkpointing`: forget the activations of blocks and compute them again in the backward pass.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, https://arxiv.org/abs/1604.06174

A block keeps its inputs only. With ``selective`` it keeps the outputs of its matrix products, convolutions and
attention as well: what is cheap (norms, activations, dropout) is computed again, what is dear is not.

Results are those without it: random numbers are drawn alike, and BatchNorm's statistics are updated by the first pass
only (torch's checkpoint alone would update them twice).
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from mmopt.engine.switches.blocks import find_blocks, match_modules
from mmopt.engine.switches.effect import Effect
from mmopt.utils.memory import GIB

__all__ = ['budget_bytes', 'checkpoint_modules', 'checkpointing', 'choose_modules']

_aten = torch.ops.aten
_KEPT = [
    _aten.mm.default,
    _aten.addmm.default,
    _aten.bmm.default,
    _aten.baddbmm.default,
    _aten.convolution.default,
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
]


def checkpointing(model: nn.Module, value: Any) -> Effect:
    """Checkpoint blocks of a model in place.

    Args:
        value: True or ``'blocks'`` for its repeated blocks; a pattern or a list of patterns (see
            :func:`match_modules`); or ``dict(patterns=..., selective=True, budget_gib=4)``. With a budget, blocks are
            chosen at the first iteration, when the batch is known (:mod:`mmopt.engine.switches.checkpoint_budget`).

    Returns:
        What was checkpointed.
    """
    if value is False:
        return Effect('off')
    modules, nothing = choose_modules(model, value)
    if not modules:
        return Effect(nothing, is_effective=False)
    selective = isinstance(value, Mapping) and value.get('selective', False)
    limit = budget_bytes(value)
    if limit is not None:
        return Effect(f'up to {len(modules)} blocks, until activations take {limit / GIB:g} GiB')
    num_changed = checkpoint_modules(modules, selective=selective)
    text = f'{len(modules)} blocks ({next(iter(modules))}, ...)'
    if selective:
        text += ', outputs of products kept'
        text += f', {num_changed} activations no longer in place' if num_changed else ''
    return Effect(text)


def choose_modules(model: nn.Module, value: Any) -> tuple[dict[str, nn.Module], str]:
    """Return the modules that a value of the switch names, and what to say where there are none."""
    patterns = value.get('patterns', 'blocks') if isinstance(value, Mapping) else value
    blocks = find_blocks(model)
    if patterns is True or patterns == 'blocks':
        own = [name for name, module in model.named_modules() if getattr(module, 'with_cp', False) is True]
        if own:  # once is enough: inside another checkpoint a block would run three times
            blocks = {
                name: block for name, block in blocks.items() if not any(f'{name}.'.startswith(f'{o}.') for o in own)
            }
            reason = f'{own[0] or type(model).__name__} checkpoints its blocks itself (with_cp=True)'
            return blocks, f'{reason}, and there are no others'
        return blocks, f'{type(model).__name__} has no repeated blocks: give patterns of module names'
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    candidates = list(blocks) or [name for name, _ in model.named_children()]
    shown = candidates[:8] + ['...'] * (len(candidates) > 8)
    return match_modules(model, patterns), f'matched no module: patterns {patterns}, candidates {shown}'


def budget_bytes(value: Any) -> int | None:
    """Return the budget of activations that a value of the switch has; None without one."""
    budget_gib = value.get('budget_gib') if isinstance(value, Mapping) else None
    return None if budget_gib is None else int(budget_gib * GIB)


def checkpoint_modules(modules: Mapping[str, nn.Module], *, selective: bool = False) -> int:
    """Checkpoint modules in place; names of parameters and classes stay.

    Args:
        modules: Modules by name, none inside another.
        selective: Keep the outputs of matrix products, convolutions and attention.

    Returns:
        Activations that were made to work out of place: what is kept must not be overwritten.
    """
    num_changed = 0
    for module in modules.values():
        # A bound method and not a closure: a copy of the model (EMA) then runs the copy's weights.
        module.forward = functools.partial(_outside_of_graphs(), module.forward, module, selective)
        if selective:
            part: Any
            for part in module.modules():
                if getattr(part, 'inplace', False) is True:
                    part.inplace = False
                    num_changed += 1
    return num_changed


@functools.cache
def _outside_of_graphs() -> Callable:
    """Return ``_forward`` so that torch.compile leaves it alone, and compiles the block's own forward pass inside it.

    In a graph, BatchNorm's count would be an input that changes under the checkpoint. Made when it is needed: the
    compiler takes seconds to import.
    """
    return torch.compiler.disable(_forward, recursive=False)


def _forward(forward: Callable, module: nn.Module, selective: bool, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    contexts = functools.partial(_contexts, module, selective)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def _contexts(module: nn.Module, selective: bool) -> tuple[AbstractContextManager, AbstractContextManager]:
    first, second = create_selective_checkpoint_contexts(_KEPT) if selective else (nullcontext(), nullcontext())
    return first, _recompute(module, second)


@contextmanager
def _recompute(module: nn.Module, inner: AbstractContextManager) -> Iterator[None]:
    """Let norms update copies of their statistics: the first pass has updated them already."""
    norms = [part for part in module.modules() if isinstance(part, _NormBase) and part.track_running_stats]
    with ExitStack() as stack:
        for norm in norms:
            kept = dict(norm._buffers)
            # Other objects and not other values: autograd may hold the originals.
            norm._buffers.update({name: None if value is None else value.clone() for name, value in kept.items()})
            stack.callback(norm._buffers.update, kept)
        stack.enter_context(inner)
        yield
