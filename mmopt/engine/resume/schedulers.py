"""Schedulers of a run that goes on: where the checkpoint left them, or where a fresh run would have them by then."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmopt.config.spelling import spelled
from mmopt.utils.errors import UserError

__all__ = ['Position', 'resume_schedulers', 'scale_learning_rate']

_PROGRESS = (
    *('last_step', '_global_step', '_last_value', 'base_values', 'verbose'),
    *('best', 'num_bad_epochs', 'cooldown_counter'),  # of ReduceOnPlateau
)
"""What of an MMEngine scheduler's attributes says how far it is; all others are its settings."""


@dataclass(frozen=True)
class Position:
    """Where a run is.

    Attributes:
        iters: Finished iterations.
        epoch_ends: The iterations after which epochs ended.
    """

    iters: int
    epoch_ends: tuple[int, ...] = ()

    @classmethod
    def of_loop(cls, loop: Any) -> 'Position':
        """Return where a training loop is."""
        iters, epochs = loop.iter, loop.epoch
        until = getattr(loop, 'iters_until', None)
        if until is None:  # a foreign loop: as if its epochs were alike
            return cls(iters, tuple(round(iters * (epoch + 1) / epochs) for epoch in range(epochs)))
        return cls(iters, tuple(until(epoch + 1) for epoch in range(epochs)))


def resume_schedulers(
    schedulers: Sequence | Mapping[str, Sequence] | None,
    states: Sequence | Mapping[str, Sequence] | None,
    position: Position,
    *,
    begin_anew: bool = False,
    fresh_optimizer: bool = False,
) -> None:
    """Put schedulers where a run is.

    Closed forms jump there. MMEngine's own are a chain of multiplications: they load their state, or, where there is
    none or it belongs to other settings, make all their steps from the beginning.

    Args:
        schedulers: Those of the run; by optimizer where it has several.
        states: Those of the checkpoint; None in a checkpoint of mmcv 1.x.
        position: Where the run is.
        begin_anew: Whether the states do not fit, because rates or schedules have changed since.
        fresh_optimizer: Whether the optimizer's state was not loaded, so that its rates are those of the beginning.

    Raises:
        UserError: If the numbers of schedulers differ, or one that depends on measurements would have to begin anew.
    """
    if schedulers is None:
        return
    named = schedulers if isinstance(schedulers, Mapping) else {'': schedulers}
    for name, items in named.items():
        of_name = states.get(name) if isinstance(states, Mapping) else states
        if of_name is not None and not fresh_optimizer and len(of_name) != len(items):
            raise UserError(
                f'The checkpoint has {len(of_name)} schedulers, the config {len(items)}: bring '
                f'{spelled("param_scheduler")} back to what the run began with, or start with its weights '
                '(--load-from).'
            )
        chained = [item for item in items if not hasattr(item, 'set_iteration')]
        fits = of_name is not None and not (begin_anew or fresh_optimizer) and _fit(items, of_name)
        if chained and not fits:
            _step_from_the_beginning(chained, position)
        elif chained:
            for item, state in zip(items, of_name or (), strict=True):
                item.load_state_dict(state)
        for item in items:
            if hasattr(item, 'set_iteration'):
                item.set_iteration(position.iters)


def _fit(schedulers: Sequence, states: Sequence) -> bool:
    return all(
        _settings(item, item.state_dict()) == _settings(item, state)
        for item, state in zip(schedulers, states, strict=True)
    )


def _settings(scheduler: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a scheduler's state are settings; of others' classes it is not known what is."""
    if not type(scheduler).__module__.startswith('mmengine.'):
        return {}
    return {key: _plain(value) for key, value in state.items() if key not in _PROGRESS}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _step_from_the_beginning(schedulers: Sequence, position: Position) -> None:
    for item in schedulers:
        if getattr(item, 'need_val_args', False):
            raise UserError(
                f'{type(item).__name__}: its steps depend on the evaluations before, so it cannot be put at iteration '
                f'{position.iters} of another schedule or rate. Bring optimizer and param_scheduler back to what the '
                'run began with, or start with its weights (--load-from).'
            )
    for item in schedulers:
        for group in item.optimizer.param_groups:
            initial = group.setdefault(f'initial_{item.param_name}', group[item.param_name])
            group[item.param_name] = initial
        item.base_values = [group[f'initial_{item.param_name}'] for group in item.optimizer.param_groups]
        item.last_step = item._global_step = -1
    with warnings.catch_warnings():
        # They miss the optimizer's steps in between.
        warnings.filterwarnings('ignore', message='(Seems like|Detected call of)')
        for item in schedulers:
            item.step()
        ends = iter(position.epoch_ends)
        end = next(ends, None)
        for done in range(1, position.iters + 1):
            for item in schedulers:
                if not item.by_epoch:
                    item.step()
            while end == done:
                for item in schedulers:
                    if item.by_epoch:
                        item.step()
                end = next(ends, None)


def scale_learning_rate(optimizer: torch.optim.Optimizer, schedulers: Sequence[Any], factor: float) -> None:
    """Multiply all learning rates, present and scheduled.

    Args:
        optimizer: Closed-form schedules begin at the initial rates of its groups.
        schedulers: MMEngine's own keep theirs themselves.
    """
    for group in optimizer.param_groups:
        for key in ('lr', 'initial_lr'):
            if key in group:
                group[key] = group[key] * factor
    for scheduler in schedulers:
        if hasattr(scheduler, 'base_values') and scheduler.param_name == 'lr':
            scheduler.base_values = [value * factor for value in scheduler.base_values]
