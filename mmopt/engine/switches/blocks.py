"""Find the parts of a model that a switch is applied to: by pattern, or its repeated blocks."""

import fnmatch
from collections.abc import Sequence

from torch import nn

__all__ = ['find_blocks', 'match_modules']


def match_modules(model: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """Return the modules that patterns name, outermost first where one lies in another.

    Args:
        patterns: Names as in ``named_modules``, with ``*`` and ``?`` as in file names, or names of classes.

    Returns:
        Modules by name. What lies inside another match is left out.
    """
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if not name or any(name.startswith(f'{outer}.') for outer in found):
            continue
        if any(fnmatch.fnmatchcase(name, p) or type(module).__name__ == p for p in patterns):
            found[name] = module
    return found


def find_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Return the blocks that a model is built of: residual blocks, transformer layers and the like.

    A block is an entry of a list or sequence that does two or more products with weights (convolutions, linear or
    recurrent layers) and that has no such entries inside.

    Returns:
        Blocks by name.
    """
    candidates = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Sequential | nn.ModuleList):
            for key, child in module.named_children():
                num_products = sum(
                    any(param.dim() >= 2 for param in part.parameters(recurse=False)) for part in child.modules()
                )
                if num_products >= 2 and not isinstance(child, nn.ModuleList):
                    candidates[f'{name}.{key}' if name else key] = child
    return {
        name: module
        for name, module in candidates.items()
        if not any(other.startswith(f'{name}.') for other in candidates)
    }
