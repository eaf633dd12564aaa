"""Prefixes that wrappers put before the names of weights: found, and taken off where everything then fits."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmopt.utils.errors import UserError

__all__ = ['fit_names']

_INSERTED = '_orig_mod.'
"""What torch.compile puts into names, at any place."""
_USUAL = ('module.', 'model.', 'net.', 'network.', 'model.module.', 'module.model.')
"""Wrappers that hold the trained model and nothing else; an ``ema.`` or ``teacher.`` is a choice of the user's."""


def fit_names(
    model: nn.Module, state: Mapping[str, Tensor], source: str, strip_prefix: str | None = None
) -> tuple[dict[str, Tensor], str]:
    """Take a prefix off the names of a state dict, where all of the model's entries are there without it.

    Args:
        model: Whose entries decide what fits; without a DDP wrapper.
        state: The weights.
        source: Where they are from, for messages.
        strip_prefix: Take this one off, whatever then fits.

    Returns:
        The weights, and what was done; an empty text if nothing was.

    Raises:
        UserError: If no name begins with ``strip_prefix``, or several prefixes would fit.
    """
    if strip_prefix is not None:
        prefix = strip_prefix.rstrip('.') + '.'
        stripped = _without(state, prefix)
        if not stripped:
            raise UserError(
                f'{source}: --strip-prefix {strip_prefix}: no entry begins with it; the first is '
                f'{next(iter(state), "")}.'
            )
        return stripped, _note(source, prefix, len(state) - len(stripped))
    wanted = {
        name: value.shape for name, value in model.state_dict().items() if not name.endswith('num_batches_tracked')
    }
    if not wanted or _fits(state, wanted):
        return dict(state), ''
    given = state
    without_inserted = {name.replace(_INSERTED, ''): value for name, value in state.items()}
    if len(without_inserted) == len(state) and without_inserted.keys() != state.keys():
        if _fits(without_inserted, wanted):
            return without_inserted, f"{source}: took '{_INSERTED}' (of torch.compile) out of the names."
        state = without_inserted
    first = next(iter(wanted))
    candidates = [name.removesuffix(first) for name in state if name.endswith('.' + first)]
    fitting = [prefix for prefix in candidates if _fits(_without(state, prefix), wanted)]
    usual = [prefix for prefix in fitting if prefix in _USUAL]
    if len(usual) == 1:
        fitting = usual
    if len(fitting) > 1:
        raise UserError(
            f'{source}: holds the weights of this model {len(fitting)} times, under {", ".join(fitting)}: choose one '
            f'with --strip-prefix {fitting[0].rstrip(".")}.'
        )
    if not fitting:
        return dict(given), ''
    stripped = _without(state, fitting[0])
    return stripped, _note(source, fitting[0], len(state) - len(stripped))


def _without(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _fits(state: Mapping[str, Tensor], wanted: Mapping[str, tuple]) -> bool:
    return all(name in state and state[name].shape == shape for name, shape in wanted.items())


def _note(source: str, prefix: str, num_others: int) -> str:
    others = f'; {num_others} entries without it were left out' if num_others else ''
    return f"{source}: took the prefix '{prefix}' off the names{others}."
