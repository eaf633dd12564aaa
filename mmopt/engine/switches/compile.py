"""`optimize.compile`: compile the blocks that a model repeats, each in its place.

Regional compilation: a block that occurs twelve times is compiled once, in a twelfth of the time that the whole model
would take, and graph breaks elsewhere do not matter. Weights, names and checkpoints stay what they are. A region that
cannot be compiled (no C++ compiler, an operator that the compiler does not know) runs as it was written, and the log
says why; a backward pass that cannot be compiled ends the run.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import nn

from mmopt.engine.switches.blocks import match_modules
from mmopt.engine.switches.effect import Effect
from mmopt.utils.memory import is_out_of_memory

__all__ = ['compile_regions', 'find_regions']

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
# The preprocessor handles lists of samples; nothing of it can be compiled.
_LEFT_OUT = ('data_preprocessor',)
_VERSIONS = 4


class _Region:
    """A compiled module call that gives up, once and for all, when the compiler does.

    Args:
        name: Name of the module, for the log.
        options: Arguments of :func:`torch.compile`.
    """

    def __init__(self, name: str, module: nn.Module, options: Mapping[str, Any]) -> None:
        self.name = name
        self.module = module
        self._compiled = torch.compile(module._call_impl, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._compiled(*args, **kwargs)
        except Exception as error:
            if is_out_of_memory(error) or not _is_of_compiler(error):
                raise
            self.module._compiled_call_impl = None
            reason = ' '.join(str(error).split())[:200]
            MMLogger.get_current_instance().log(
                logging.WARNING, f'optimize.compile: {self.name} runs uncompiled: {type(error).__name__}: {reason}'
            )
            return self.module._call_impl(*args, **kwargs)


def _is_of_compiler(error: BaseException) -> bool:
    """Tell the compiler's errors from the model's own."""
    from torch._dynamo.exc import TorchDynamoException

    # Inductor's (no compiler, a failed kernel) do not all derive from dynamo's.
    return isinstance(error, TorchDynamoException) or type(error).__module__.startswith('torch._inductor')


def _signature(module: nn.Module) -> tuple:
    return type(module), tuple((name, tuple(param.shape)) for name, param in module.named_parameters())


def _candidates(module: nn.Module, prefix: str = '') -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that could be regions: neither leaves nor containers, parameters inside."""
    for name, child in module.named_children():
        full_name = f'{prefix}{name}'
        if full_name in _LEFT_OUT:
            continue
        has_parts = next(child.children(), None) is not None
        if has_parts and not isinstance(child, _CONTAINERS) and next(child.parameters(), None) is not None:
            yield full_name, child
        yield from _candidates(child, f'{full_name}.')


def _make_room(num_signatures: int) -> None:
    """Let the compiler keep a version of each kind of region: at its limit of 8 per function the rest stays eager.

    All blocks of a class share their ``forward``, whatever their shapes; each is wanted in training, in evaluation and
    for a last, smaller batch.
    """
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _VERSIONS * num_signatures)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, 2 * _VERSIONS * num_signatures)


def find_regions(model: nn.Module, patterns: list[str] | None = None) -> dict[str, nn.Module]:
    """Find what to compile.

    Args:
        patterns: As :func:`mmopt.engine.switches.blocks.match_modules` takes them; None finds them.

    Returns:
        Modules by name, none inside another. Without patterns: the outermost modules of every class that the model has
        at least twice with equal shapes (what one compilation serves); of a model without repetition, its parts
        (backbone, neck, head).
    """
    if patterns is not None:
        return match_modules(model, patterns)
    candidates = list(_candidates(model))
    counts = Counter(_signature(module) for _, module in candidates)
    repeated = {signature[0] for signature, count in counts.items() if count > 1}
    regions = _outermost((name, module) for name, module in candidates if type(module) in repeated)
    return regions or _outermost(candidates)


def _outermost(named: Any) -> dict[str, nn.Module]:
    chosen: dict[str, nn.Module] = {}
    for name, module in named:  # parents come before their children
        if not any(name.startswith(f'{parent}.') for parent in chosen):
            chosen[name] = module
    return chosen


def compile_regions(model: nn.Module, value: Any) -> Effect:
    """Compile regions of a model in place; the compilation itself happens at the first call.

    Args:
        model: The model, on its device.
        value: True; a mode of :func:`torch.compile` without CUDA graphs; a dict with ``regions`` (names of modules
            with ``*``), ``mode``, ``dynamic`` or ``backend``; False for none.

    Returns:
        What will be compiled.
    """
    if value is False:
        return Effect('off')
    options: dict[str, Any] = (
        dict(value) if isinstance(value, Mapping) else dict(mode=value) if isinstance(value, str) else {}
    )
    patterns = options.pop('regions', None)
    regions = find_regions(model, patterns)
    if not regions:
        names = [name for name, _ in _candidates(model)][:10]
        wanted = 'the model has no parts with parameters' if patterns is None else f'{patterns} match no module'
        return Effect(f'{wanted}; candidates: {", ".join(names) or "none"}', is_effective=False)
    _make_room(len({_signature(module) for module in regions.values()}))
    for name, module in regions.items():
        module._compiled_call_impl = _Region(name, module, options)
    counts = Counter(type(module).__name__ for module in regions.values())
    listed = ', '.join(f'{count} {name}' for name, count in counts.items())
    return Effect(f'{listed}; the first iterations compile them')
