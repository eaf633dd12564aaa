"""Loading weights into a model and saying in a few lines what did not fit."""

import logging
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from mmopt.engine.checkpoint_io.prefixes import fit_names
from mmopt.engine.checkpoint_io.read import load
from mmopt.utils.errors import UserError

__all__ = ['LoadReport', 'load_weights']

_SHOWN = 5
_ROWS = 20


@dataclass(frozen=True)
class LoadReport:
    """What fitted and what did not.

    Attributes:
        num_loaded: Entries of the model that were filled.
        missing: Entries of the model that the file lacks.
        unexpected: Entries of the file that the model lacks.
        mismatched: ``name: (shape in the file) -> (shape in the model)``; these were not loaded.
    """

    num_loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everything fitted."""
        return not (self.missing or self.unexpected or self.mismatched)

    def lines(self) -> list[str]:
        """Return one line per kind of misfit: how many, and the first few."""
        return [f'{len(names)} {text}: {_shorten(names)}' for names, text in self._kinds() if names]

    def table(self) -> str:
        """Return what does not fit, a line per kind and part of the model: how many entries, and the first."""
        found = [
            (text, part, len(names), names[0])
            for members, text in self._kinds()
            for part, names in _by_part(members).items()
        ]
        widths = [max(len(str(row[column])) for row in found) for column in range(3)] if found else [0] * 3
        rows = [
            f'  {text:<{widths[0]}}  {part:<{widths[1]}}  {count:>{widths[2]}}  {first}'
            for text, part, count, first in found
        ]
        more = [f'  and {len(rows) - _ROWS} lines more'] if len(rows) > _ROWS else []
        return '\n'.join([*rows[:_ROWS], *more])

    def _kinds(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        return (
            (self.missing, 'missing in the checkpoint and left as initialized'),
            (self.unexpected, 'in the checkpoint and unknown to the model'),
            (self.mismatched, 'of another shape and not loaded'),
        )


def _by_part(names: Sequence[str]) -> dict[str, list[str]]:
    """Group names by the first part of their dotted path."""
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(name.split(':')[0].split('.')[0], []).append(name)
    return parts


def _shorten(names: Sequence[str]) -> str:
    more = f', ... {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + more


def load_weights(
    model: nn.Module,
    path_or_state: str | Path | Mapping[str, Tensor],
    strict: bool = False,
    revise_keys: Sequence[tuple[str, str]] = ((r'^module\.', ''),),
    logger: logging.Logger | None = None,
    allow_pickle: bool = False,
    *,
    source: str = 'the state dict',
    strip_prefix: str | None = None,
) -> LoadReport:
    """Load weights, whatever fits, into a model.

    Where names do not fit, and all would without a prefix (``model.``, ``_orig_mod.``), it is taken off. A model that
    knows the names of another implementation has a method ``convert_weights(state) -> state``.

    Args:
        model: The model, without a DDP wrapper.
        path_or_state: A file that :func:`mmopt.engine.checkpoint_io.load` reads, or a state dict.
        strict: Fail unless every entry fits.
        revise_keys: ``(pattern, replacement)`` pairs, applied to each key in turn with :func:`re.sub`.
        logger: Gets one warning per kind of misfit.
        allow_pickle: See :func:`mmopt.engine.checkpoint_io.load`.
        source: What a state dict is called in messages.
        strip_prefix: Take this prefix off, and leave out what does not have it.

    Returns:
        What fitted and what did not.

    Raises:
        UserError: If nothing fits at all, or with ``strict`` if anything does not.
    """
    if isinstance(path_or_state, Mapping):
        state = path_or_state
    else:
        source, state = str(path_or_state), load(path_or_state, allow_pickle=allow_pickle)['state_dict']
    metadata = getattr(state, '_metadata', None)
    state = {_revise(key, revise_keys): value for key, value in state.items()}
    if (convert := getattr(model, 'convert_weights', None)) is not None:
        state = convert(state)
    state, note = fit_names(model, state, source, strip_prefix)
    if note:
        metadata = None  # it is by the old names
        print_log(note, logger or 'current', logging.WARNING)
    report = _load(model, state, metadata)
    if not report.num_loaded:
        raise UserError(
            f'{source}: nothing fits the model. The checkpoint has {_shorten(list(state))}; the model has '
            f'{_shorten(list(model.state_dict()))}. Is it the checkpoint of another model, or does a prefix differ '
            '(--strip-prefix P)?'
        )
    if strict and not report.complete:
        raise UserError(
            f'{source}: does not fit the model. {"; ".join(report.lines())}. What is left out would stay random: use '
            'the config that the checkpoint was trained with, or accept it with --allow-partial.'
        )
    if logger is not None:
        for line in report.lines():
            logger.warning(f'{source}: {line}.')
    return report


def _revise(key: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _load(model: nn.Module, state: dict[str, Tensor], metadata: Mapping | None) -> LoadReport:
    wanted = model.state_dict()
    mismatched: dict[str, str] = {}
    try:
        # First all of it: a module may rename or resize entries in its own load hooks.
        keys = model.load_state_dict(_with_metadata(state, metadata), strict=False)
    except RuntimeError:
        mismatched = {
            name: f'{name}: {tuple(value.shape)} -> {tuple(wanted[name].shape)}'
            for name, value in state.items()
            if name in wanted and value.shape != wanted[name].shape
        }
        if not mismatched:
            raise
        keys = model.load_state_dict(
            _with_metadata({name: value for name, value in state.items() if name not in mismatched}, metadata),
            strict=False,
        )
    # Not counted: BatchNorm's step counters, which old files lack and torch then fills in by itself.
    counted = [name for name in wanted if not name.endswith('num_batches_tracked')]
    missing = tuple(name for name in keys.missing_keys if name in counted and name not in mismatched)
    return LoadReport(
        num_loaded=len(counted) - len(missing) - len(mismatched),
        missing=missing,
        unexpected=tuple(keys.unexpected_keys),
        mismatched=tuple(mismatched.values()),
    )


def _with_metadata(state: Mapping[str, Tensor], metadata: Mapping | None) -> OrderedDict:
    """Add the versions of the modules' layouts, which some modules look at while loading."""
    versioned: Any = OrderedDict(state)
    if metadata is not None:
        versioned._metadata = metadata
    return versioned
